"""Activity rates: how fast one worker process of this device is at an activity, by the activity's own benchmark.

Which benchmarks there are and when one is needed, how many calls make a rate, the file that keeps rates, and what
gossip carries of them. Running a benchmark is done elsewhere (`activity_bench`).

A rate is for the device as it was found: of other hardware (another fingerprint) or another version of the controller
it says nothing. It is of one worker process alone; how all of them get on together is what the scores tell.
"""

from __future__ import annotations

import importlib.metadata
import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

import meshwit
from meshwit.bench.cache import write_whole
from meshwit.bench.requirements import parse_requirement
from meshwit.peer.job.software import package_of
from meshwit.plugins.discovery import GROUP
from meshwit.plugins.registry import Registry
from meshwit.records import RECORD_BYTES_MAX

TOPIC: Final = "rates"
FILE: Final = "rates.json"
FINGERPRINTS_MAX: Final = 8
RATES_MAX: Final = 256
"""Kept of one fingerprint, and told to others."""
ENOUGH_S: Final = 0.5
"""Of measured calls, after the first: more is not known better, since devices differ from minute to minute."""
LONG_S: Final = 2.0
"""A first call that takes so long is the measurement: what it spent on importing hardly counts."""
CALLS_MAX: Final = 64
_NAME_CHARS_MAX: Final = 128
_FILE_BYTES_MAX: Final = 1 << 20

Unit = Literal["tasks/s", "work/s"]
RunBenchmark = Callable[[str, Sequence[Any]], float]
"""Calls an activity with arguments; the seconds that took."""


class RateError(Exception):
    """A benchmark could not be run; says why."""


class Rate(msgspec.Struct, frozen=True):
    """How fast one worker process is at an activity.

    Attributes:
        activity: its name.
        version: of the controller that brings it.
        per_s: calls of the benchmark per second; where the activity estimates its work, that work per second.
        unit: which of the two.
        measured_at: seconds since 1970.
    """

    activity: str
    version: str
    per_s: float
    unit: Unit
    measured_at: float


def rate_text(per_s: float, unit: str) -> str:
    """`9.81 tasks/s`, `0.52 M work/s`: three digits."""
    for letter, factor in (("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if per_s >= factor / 10:
            return f"{_three_digits(per_s / factor)} {letter} {unit}"
    return f"{_three_digits(per_s)} {unit}"


def _three_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


class Benchmark(msgspec.Struct, frozen=True):
    """One standard call of an activity: the form that it takes, its arguments, its work where that is estimated."""

    activity: str
    form: int
    arguments: tuple[Any, ...]
    work: float | None

    def rate(self, seconds: float, version: str, measured_at: float) -> Rate:
        """The rate of a device that takes `seconds` for the call."""
        per_s = 1 / max(seconds, 1e-9)
        if self.work is None:
            return Rate(self.activity, version, per_s, "tasks/s", measured_at)
        return Rate(self.activity, version, self.work * per_s, "work/s", measured_at)


class Trial:
    """Decides how many calls to make, and what they say. The first warms up: imports, compiles, fills caches."""

    def __init__(self) -> None:
        self._warm: list[float] = []
        self._counted: list[float] = []

    def wants(self) -> int:
        """How many more calls to make now; 0 if the time of a call is known."""
        if not self._warm:
            return 1
        if self._warm[0] >= LONG_S:
            return 0
        if not self._counted:
            return 1
        rest_s = ENOUGH_S - sum(self._counted)
        room = CALLS_MAX - len(self._counted)
        return max(0, min(room, math.ceil(rest_s / max(1e-6, self.seconds))))

    def took(self, seconds: float) -> None:
        """One call was made."""
        (self._counted if self._warm else self._warm).append(max(0.0, seconds))

    @property
    def seconds(self) -> float:
        """Of one call: the median, so that neither a pause of the system nor a burst of its clock counts."""
        return statistics.median(self._counted or self._warm)


def benchmark_of(registry: Registry, activity: str) -> Benchmark | None:
    """The benchmark of an activity; None where it has none. Calls code of the controller, which may take a while.

    Raises:
        RateError: its arguments cannot be made.
    """
    found = registry.offer.activities.get(activity)
    for form in range(len(found.forms)) if found is not None and not found.control else ():
        assert found is not None
        code = registry.implementations.get((found.name, form))
        if code is None or code.benchmark is None:
            continue
        try:
            arguments = tuple(code.benchmark())
        except Exception as reason:
            told = f"{type(reason).__name__}: {reason}"
            raise RateError(f"the benchmark of `{found.name}` cannot be made: {told}") from reason
        return Benchmark(found.name, form, arguments, _work(code.work, arguments))
    return None


def _work(estimate: Callable[..., float] | None, arguments: Sequence[Any]) -> float | None:
    if estimate is None:
        return None
    try:
        work = float(estimate(*arguments))
    except Exception:
        return None  # an estimate that fails costs its unit, never the rate
    return work if math.isfinite(work) and work > 0 else None


def rate_of(benchmark: Benchmark, version: str, run: RunBenchmark, clock: Callable[[], float] = time.time) -> Rate:
    """Run a benchmark as often as it needs. Raises what `run` raises."""
    trial = Trial()
    while count := trial.wants():
        for _ in range(count):
            trial.took(run(benchmark.activity, benchmark.arguments))
    return benchmark.rate(trial.seconds, version, clock())


def controller_versions(registry: Registry) -> dict[str, str]:
    """Version of each controller by its reference (`module:class`); of what is not installed, meshwit's own.

    An entry point may name a class where it is only imported, so its package tells to which distribution it belongs.
    """
    points = importlib.metadata.entry_points(group=GROUP)
    installed = {package_of(point.value): point.dist.version for point in points if point.dist is not None}
    installed[package_of(__name__)] = meshwit.__version__  # also of a checkout that was never installed
    return {one: installed.get(package_of(one), meshwit.__version__) for one in registry.controllers}


def rates_needed(
    registry: Registry,
    activities: Iterable[str],
    known: Mapping[str, Rate],
    versions: Mapping[str, str],
    capabilities: Mapping[str, object],
) -> list[str]:
    """Which of the activities to measure before they are placed, in order, each once.

    Not those without a benchmark, those that this device cannot run, and those whose rate is of the present version.

    Args:
        registry: what is installed here.
        activities: their names, perhaps aliases.
        known: rates by the activities' own names.
        versions: of the controllers.
        capabilities: of this device.
    """
    needed: dict[str, None] = {}
    for name in activities:
        found = registry.offer.activities.get(name)
        if found is None or found.missing or not has_benchmark(registry, name):
            continue
        rate = known.get(found.name)
        current = rate is not None and rate.version == versions.get(found.controller, "")
        if not current and parse_requirement(found.requires).met_by(capabilities):
            needed[found.name] = None
    return list(needed)


def has_benchmark(registry: Registry, activity: str) -> bool:
    """Whether an activity brings a benchmark."""
    found = registry.offer.activities.get(activity)
    forms = range(len(found.forms)) if found is not None else ()
    return found is not None and any(
        code is not None and code.benchmark is not None
        for code in (registry.implementations.get((found.name, form)) for form in forms)
    )


class RateBook:
    """The rates of this device, kept in a file by hardware fingerprint. A file that cannot be read is empty.

    Args:
        folder: where it is.
        fingerprint: of the hardware now.
        registry: the controllers that are installed.
    """

    def __init__(self, folder: Path, fingerprint: str, registry: Registry) -> None:
        self._file = folder / FILE
        self._fingerprint = fingerprint
        self._registry = registry
        self.versions = controller_versions(registry)
        found = _read(self._file).get(fingerprint, [])
        self.rates = {rate.activity: rate for rate in found if self._is_current(rate)}

    def version_of(self, activity: str) -> str:
        """The version of the controller that brings an activity; empty where none does."""
        found = self._registry.offer.activities.get(activity)
        return self.versions.get(found.controller, "") if found is not None else ""

    def needed(self, activities: Iterable[str], capabilities: Mapping[str, object]) -> list[str]:
        """Which of them to measure, see `rates_needed`."""
        return rates_needed(self._registry, activities, self.rates, self.versions, capabilities)

    def read_again(self) -> None:
        """Take in what others on this device have measured since."""
        for rate in _read(self._file).get(self._fingerprint, []):
            known = self.rates.get(rate.activity)
            if self._is_current(rate) and (known is None or known.measured_at < rate.measured_at):
                self.rates[rate.activity] = rate

    def add(self, rate: Rate) -> None:
        """Keep a rate, also for other peers on this device, whose rates stay. The file may fail to be written."""
        self.rates[rate.activity] = rate
        said = _read(self._file)
        together = {**{one.activity: one for one in said.pop(self._fingerprint, [])}, **self.rates}
        newest = sorted(together.values(), key=lambda one: one.measured_at)[-RATES_MAX:]
        others = list(said.items())[-FINGERPRINTS_MAX + 1 :]
        write_whole(self._file, msgspec.json.format(msgspec.json.encode(dict([*others, (self._fingerprint, newest)]))))

    def _is_current(self, rate: Rate) -> bool:
        return rate.version == self.version_of(rate.activity) and _is_rate(rate.activity, rate.per_s)


def _read(file: Path) -> dict[str, list[Rate]]:
    try:
        with file.open("rb") as opened:
            return msgspec.json.decode(opened.read(_FILE_BYTES_MAX), type=dict[str, list[Rate]])
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError):
        return {}


# --- gossip ----------------------------------------------------------------------------------------------------


def encode_rates(rates: Iterable[Rate]) -> bytes:
    """The payload of the topic `rates`: activity -> [rate, unit]. The oldest are left out where there are too many."""
    kept = sorted(rates, key=lambda one: one.measured_at)[-RATES_MAX:]
    while len(payload := _payload(kept)) > RECORD_BYTES_MAX:
        kept = kept[max(1, len(kept) // 8) :]
    return payload


def _payload(rates: Sequence[Rate]) -> bytes:
    return msgspec.msgpack.encode({rate.activity: (round(rate.per_s, 6), rate.unit) for rate in rates})


def decode_rates(payload: bytes) -> dict[str, tuple[float, Unit]]:
    """What a peer says of itself; without what cannot be so, empty where nothing can be read. Never raises."""
    try:
        said = msgspec.msgpack.decode(payload, type=dict[str, tuple[float, Unit]])
    except (msgspec.MsgspecError, ValueError, RecursionError):  # ValueError: a text that is no UTF-8
        return {}
    good = {name: told for name, told in said.items() if _is_rate(name, told[0])}
    return dict(list(good.items())[:RATES_MAX])


def _is_rate(activity: str, per_s: float) -> bool:
    return 0 < per_s < 1e18 and 0 < len(activity) <= _NAME_CHARS_MAX
