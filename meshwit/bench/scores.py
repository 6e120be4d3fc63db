"""From measurements to scores, which compare devices. No I/O.

Each class is relative to the reference device, which has 100 in every one of them:

    single   100 * units/s of one process alone                       / 500
    all      100 * units/s of one process per usable core, together   / 2000
    memory   100 * GB/s read and written by copying                   / 20
    disk     100 * MB/s of writing through to the disk and reading    / 1000
    gpu      100 * TFLOPS of 32 bit floats, peak, all GPUs together   / 10, 0 where nothing tells

A unit is `workload.Mix.unit`. The reference is a definition, not one product: about four cores of AMD Zen 4 at 3.7 GHz
under CPython 3.11, one channel of DDR5, an NVMe disk, a GPU of the middle class of 2022.

`score`, the composite, is throughput of CPU work: proportional to work per second with all usable cores busy, so that
a device of twice the score does the same work in half the time, and shares by score end together. It therefore *is*
the class `all`; a mean with other classes would break that proportion. The mix itself is what is composed: Python,
floats and bytes at fixed amounts per unit. A peer that offers fewer slots than cores has `score_of_slots`.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Final

import msgspec

SINGLE_PER_S: Final = 500.0
ALL_PER_S: Final = 4 * SINGLE_PER_S
MEMORY_GB_S: Final = 20.0
DISK_MB_S: Final = 1000.0
GPU_TFLOPS: Final = 10.0

DISTURBED: Final = 0.1
"""Share of the device; a system at rest takes a few hundredths."""
CLASSES: Final = ("single", "all", "memory", "disk", "gpu")
_REFERENCE: Final = {
    "single": (SINGLE_PER_S, "units/s"),
    "all": (ALL_PER_S, "units/s"),
    "memory": (MEMORY_GB_S, "GB/s"),
    "disk": (DISK_MB_S, "MB/s"),
    "gpu": (GPU_TFLOPS, "TFLOPS"),
}
_CEILING: Final = {"single": 1e4, "all": 1e7, "memory": 1e5, "disk": 1e5, "gpu": 1e7}
"""Scores above these are faults of a clock or lies: hundred times the fastest core, a thousand cores of those, ..."""


class Measured(msgspec.Struct, frozen=True):
    """What the probes found at one time.

    Attributes:
        single_per_s: units per second of one process alone.
        all_per_s: of `cores` processes together.
        memory_gb_s: read and written by one process.
        disk_mb_s: 0 where nothing could be written.
        gpu_tflops: all GPUs together; 0 where nothing tells.
        cores: usable at that time.
        measured_at: seconds since 1970.
        took_s: all probes together.
        others: share of the device that was busy with something else meanwhile, 0 to 1; above `DISTURBED` the CPU's
            values are lower bounds.
    """

    single_per_s: float
    all_per_s: float
    memory_gb_s: float
    disk_mb_s: float
    gpu_tflops: float
    cores: int
    measured_at: float
    took_s: float
    others: float = 0.0


class Scores(msgspec.Struct, frozen=True):
    """How fast a device is; see the module for the classes.

    Attributes:
        score: the composite, proportional to CPU work per second.
        cores: usable when it was measured.
        fingerprint: of the hardware.
        measured_at: seconds since 1970, the newest of the measurements behind it.
        took_s: that measurement.
        others: share of the device that something else had while it was measured, at best.
    """

    score: float
    single: float
    all: float
    memory: float
    disk: float
    gpu: float
    cores: int
    fingerprint: str
    measured_at: float
    took_s: float
    others: float = 0.0

    def of(self, name: str) -> float:
        """The score of a class."""
        return {"single": self.single, "all": self.all, "memory": self.memory, "disk": self.disk, "gpu": self.gpu}[name]

    def value(self, name: str) -> tuple[float, str]:
        """What was measured in a class, and its unit."""
        reference, unit = _REFERENCE[name]
        return self.of(name) * reference / 100, unit

    def score_of_slots(self, slots: int) -> float:
        """The composite when only so many tasks run at once: each as fast as one alone until the cores are used up.

        Two hyperthreads of one core count as two cores here, so that with half the slots it is rather too high a
        score than too low a one: what is observed while tasks run corrects it, and too low a share would waste cores.
        """
        alone = self.single * SINGLE_PER_S / ALL_PER_S
        return max(0.0, min(self.score, slots * alone))


def scores_of(measured: Measured, fingerprint: str) -> Scores:
    """The scores of a measurement."""
    everything = 100 * measured.all_per_s / ALL_PER_S
    return Scores(
        score=everything,
        single=100 * measured.single_per_s / SINGLE_PER_S,
        all=everything,
        memory=100 * measured.memory_gb_s / MEMORY_GB_S,
        disk=100 * measured.disk_mb_s / DISK_MB_S,
        gpu=100 * measured.gpu_tflops / GPU_TFLOPS,
        cores=measured.cores,
        fingerprint=fingerprint,
        measured_at=measured.measured_at,
        took_s=measured.took_s,
        others=measured.others,
    )


def is_plausible(measured: Measured) -> bool:
    """Whether a device can be like that; a broken file or clock cannot pass for a fast device."""
    scores = scores_of(measured, "")
    cpu = scores.single > 0 and scores.all > 0 and measured.cores > 0
    return cpu and all(0 <= scores.of(name) <= _CEILING[name] for name in CLASSES)


def median_of_maxima(rounds: Sequence[float], groups: int = 3) -> float:
    """What several short rounds say of the device itself; 0 without any.

    What others do at the same time only ever makes a round slower, so the best of a few rounds is nearest to the
    truth. But a single round can also be too fast (a burst of clock rate, a coarse timer), and the best of all would
    be just that one: so the best of each group, and of these the one in the middle.
    """
    size = max(1, len(rounds) // groups)
    maxima = [max(rounds[at : at + size]) for at in range(0, len(rounds) - len(rounds) % size, size)]
    return statistics.median(maxima) if maxima else 0.0


def settled(single: float, everything: float, others: float, cores: int) -> tuple[float, float]:
    """Units per second of one core and of all, made consistent and with others' part of the cores given back.

    One core was measured in moments, all of them over tenths of a second. So what others took shows in the second
    number alone, in proportion; with it given back, all cores cannot do more than each of them does for a moment.
    What a quota or heat takes stays taken: it is idle time, and nobody's.

    Args:
        single: as measured.
        everything: as measured, of all cores.
        others: the share of the cores' time that something else had while all were measured.
        cores: how many.
    """
    given_back = min(everything / max(0.05, 1 - others), single * cores)
    together = max(everything, given_back)
    if cores == 1:
        return together, together  # the same thing measured twice, the longer time counts
    return max(single, together / cores), max(single, together)


def best_of(history: Sequence[Measured]) -> Measured:
    """The higher of what plausible measurements of the same hardware say, class by class; the times of the newest.

    Others' load makes results low and nothing makes them high, so among equals the higher is the truer. A device that
    has become slower for good (dust, another power plan) is known as such once no measurement that is kept remembers
    the better days.

    Args:
        history: of one fingerprint, at least one, the newest last.
    """
    newest = history[-1]
    kept = [one for one in history if is_plausible(one)] or [newest]
    single, everything = max(one.single_per_s for one in kept), max(one.all_per_s for one in kept)
    return msgspec.structs.replace(
        newest,
        single_per_s=single,
        all_per_s=everything,
        memory_gb_s=max(one.memory_gb_s for one in kept),
        disk_mb_s=max(one.disk_mb_s for one in kept),
        gpu_tflops=newest.gpu_tflops,
        others=min(one.others for one in kept),
    )


def encode_scores(scores: Scores) -> bytes:
    """The payload of the gossip topic `score`."""
    return msgspec.msgpack.encode({"score": scores.score, **{name: scores.of(name) for name in CLASSES}})


def decode_scores(payload: bytes) -> dict[str, float]:
    """What a peer says of itself, `score` and the classes; empty where it cannot be so. Never raises."""
    try:
        said = msgspec.msgpack.decode(payload, type=dict[str, float])
    except (msgspec.MsgspecError, ValueError, RecursionError):  # ValueError: a text that is no UTF-8
        return {}
    known: dict[str, float] = {name: said[name] for name in ("score", *CLASSES) if name in said}
    # `not a <= b` and not `a > b`: NaN is neither.
    if "score" not in known or not all(0 <= value <= _CEILING.get(name, 1e7) for name, value in known.items()):
        return {}
    return known
