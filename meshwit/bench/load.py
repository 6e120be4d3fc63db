"""What the device is doing at present, and whether it may work for the mesh. Looking takes a millisecond."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
import time
from typing import Any, Final, Literal, assert_never

import msgspec
import psutil

from meshwit.bench.cores import usable_cores
from meshwit.bench.input_idle import input_idle_s
from meshwit.bench.memory import usable_memory_bytes

When = Literal["always", "idle", "plugged-in"]
"""When the owner lets the device work."""
IDLE_AFTER_S: Final = 300.0
"""Without keyboard and mouse, with `--when idle`: less would start work while somebody reads."""
_TEMPERATURE_EVERY_S: Final = 10.0  # some sensors take tens of milliseconds to read
_INTERVAL_S_MIN: Final = 0.2
_CPU_SENSORS: Final = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal", "soc_thermal", "acpitz")


class DeviceLoad(msgspec.Struct, frozen=True):
    """The load of a device.

    Attributes:
        busy_cores: worth of work by anybody, since the last look; 0 to `cores`.
        cores: usable.
        memory_available: bytes.
        battery: 0 to 1; None without one.
        plugged_in: None where it is not told; True without a battery.
        temperature_c: of the hottest core; None where it is not told, as by Windows and macOS.
        idle_s: since the last keyboard or mouse input; None where it is not told, see `input_idle`.
    """

    busy_cores: float
    cores: int
    memory_available: int
    battery: float | None = None
    plugged_in: bool | None = None
    temperature_c: float | None = None
    idle_s: float | None = None


class LoadMeter:
    """Looks at the load; keeps what it saw last. From any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: tuple[float, float] | None = None
        self._looked_at = 0.0
        self._share = 0.0
        self._temperature: float | None = None
        self._temperature_at = -math.inf

    def probe(self) -> DeviceLoad:
        """The load now; of the CPU, since the last call that lies at least a fifth of a second back."""
        with self._lock:
            now = time.monotonic()
            if self._times is None or now - self._looked_at >= _INTERVAL_S_MIN:
                times = cpu_seconds()
                self._share = 0.0 if self._times is None else busy_share(self._times, times)
                self._times, self._looked_at = times, now
            if now - self._temperature_at >= _TEMPERATURE_EVERY_S:
                self._temperature, self._temperature_at = _temperature_c(), now
            battery, plugged_in = _battery()
            cores = usable_cores()
            return DeviceLoad(
                busy_cores=self._share * cores,
                cores=cores,
                memory_available=min(int(psutil.virtual_memory().available), usable_memory_bytes()),
                battery=battery,
                plugged_in=plugged_in,
                temperature_c=self._temperature,
                idle_s=input_idle_s(),
            )


_METER: Final = LoadMeter()


def probe_load() -> DeviceLoad:
    """The load now, by the meter of this process; before it has seen an interval, no core counts as busy."""
    return _METER.probe()


def is_idle(load: DeviceLoad) -> bool:
    """Whether so little goes on that measuring tells the truth: less than a tenth of the device is busy."""
    return load.busy_cores < max(0.25, 0.1 * load.cores)


def may_work(when: When, load: DeviceLoad) -> str:
    """Why the device may not work for the mesh now; empty if it may.

    What the system does not tell counts against working, since the owner asked to be spared.
    """
    match when:
        case "always":
            return ""
        case "plugged-in":
            if load.plugged_in is None:
                return "this system does not tell whether the device is plugged in: `--when always` lets it work"
            charge = "" if load.battery is None else f" ({load.battery:.0%})"
            return "" if load.plugged_in else f"it runs on battery{charge}"
        case "idle":
            if load.idle_s is None:
                return "this system does not tell when the device was last used: `--when always` lets it work"
            minutes = f"{IDLE_AFTER_S / 60:.0f} minutes"
            if load.idle_s < IDLE_AFTER_S:
                return f"somebody uses it, and it works after {minutes} without"
            return ""
        case _:
            assert_never(when)


def busy_share(before: tuple[float, float], after: tuple[float, float]) -> float:
    """How much of the time between two looks was busy, 0 to 1. A look is (seconds busy, seconds in all)."""
    passed = after[1] - before[1]
    if passed <= 0:
        return 0.0
    return min(1.0, max(0.0, (after[0] - before[0]) / passed))


def cpu_seconds() -> tuple[float, float]:
    """Busy and all seconds of the cores that this process may use, since the system started.

    Not psutil.cpu_percent: that keeps its last look per thread, and a peer probes from whatever thread is free.
    """
    everything = idle = 0.0
    for one in _times_of_cores():
        fields = one._asdict()
        # On Linux the time of guests is in `user` and `nice` already. What the host of a virtual machine takes away
        # (`steal`) is nobody's work here.
        everything += sum(seconds for name, seconds in fields.items() if not name.startswith("guest"))
        idle += fields["idle"] + fields.get("iowait", 0.0) + fields.get("steal", 0.0)
    return everything - idle, everything


def visible_cores() -> int:
    """Of how many cores `cpu_seconds` tells: more than are usable where a quota leaves a share of all of them."""
    return len(_times_of_cores())


def _times_of_cores() -> list[Any]:
    each = psutil.cpu_times(percpu=True)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            ours = os.sched_getaffinity(0)
            return [one for number, one in enumerate(each) if number in ours] or each
    return each


def _battery() -> tuple[float | None, bool | None]:
    try:
        found = psutil.sensors_battery()
    except Exception:  # this build of psutil has no sensors, or a driver's files cannot be read
        return None, None
    if found is None:
        return None, True
    plugged = found.power_plugged
    return min(1.0, max(0.0, float(found.percent) / 100)), None if plugged is None else bool(plugged)


def _temperature_c() -> float | None:
    read = getattr(psutil, "sensors_temperatures", None)
    if read is None:
        return None
    with contextlib.suppress(Exception):  # whatever a driver's files may hold
        return hottest({name: [one.current for one in found] for name, found in read().items()})
    return None


def hottest(sensors: dict[str, list[float]]) -> float | None:
    """The hottest of the CPU's sensors, by their drivers' names; None without a believable one."""
    for name in _CPU_SENSORS:
        believable = [one for one in sensors.get(name, ()) if 1 <= one <= 130]
        if believable:
            return max(believable)
    return None
