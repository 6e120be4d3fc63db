"""The load of a device, and whether its owner lets it work."""

from __future__ import annotations

import os
from types import SimpleNamespace

import psutil
import pytest

from meshwit.bench import load as module
from meshwit.bench.input_idle import graphical_session, input_idle_s, last_read_s
from meshwit.bench.load import IDLE_AFTER_S, DeviceLoad, LoadMeter, busy_share, hottest, is_idle, may_work, probe_load

AT_REST = DeviceLoad(busy_cores=0.1, cores=8, memory_available=2**33, plugged_in=True)


def at_rest(**changes):
    return DeviceLoad(**{name: getattr(AT_REST, name) for name in DeviceLoad.__struct_fields__} | changes)


def test_of_this_device():
    first, second = probe_load(), probe_load()
    for load in (first, second):
        assert 0 <= load.busy_cores <= load.cores
        assert 0 < load.memory_available <= psutil.virtual_memory().total
        assert load.battery is None or 0 <= load.battery <= 1
        assert load.idle_s is None or load.idle_s >= 0


def test_busy_cores_are_those_since_the_last_look(monkeypatch):
    looks = iter([(10.0, 100.0), (16.0, 108.0), (99.0, 200.0)])
    clock = iter([0.0, 1.0, 1.1])
    monkeypatch.setattr(module, "cpu_seconds", lambda: next(looks))
    monkeypatch.setattr(module, "usable_cores", lambda: 4)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    meter = LoadMeter()
    assert meter.probe().busy_cores == 0
    assert meter.probe().busy_cores == pytest.approx(0.75 * 4)
    assert meter.probe().busy_cores == pytest.approx(0.75 * 4)  # too soon to tell anything new


def test_the_share_of_time_that_was_busy():
    assert busy_share((0.0, 0.0), (3.0, 4.0)) == 0.75
    assert busy_share((5.0, 8.0), (5.0, 8.0)) == 0.0
    assert busy_share((5.0, 8.0), (4.0, 9.0)) == 0.0  # idle counters of a kernel may run backwards
    assert busy_share((0.0, 0.0), (5.0, 4.0)) == 1.0


def test_a_battery_that_cannot_be_read_is_unknown(monkeypatch):
    def broken():
        raise FileNotFoundError("/sys/class/power_supply/BAT0/energy_full")

    monkeypatch.setattr(psutil, "sensors_battery", broken, raising=False)
    load = LoadMeter().probe()
    assert (load.battery, load.plugged_in) == (None, None)
    monkeypatch.setattr(psutil, "sensors_battery", lambda: SimpleNamespace(percent=83, power_plugged=False))
    load = LoadMeter().probe()
    assert (load.battery, load.plugged_in) == (0.83, False)
    monkeypatch.setattr(psutil, "sensors_battery", lambda: None)
    load = LoadMeter().probe()
    assert (load.battery, load.plugged_in) == (None, True)


def test_the_hottest_of_the_cpus_sensors():
    assert hottest({"nvme": [70.0], "coretemp": [50.0, 61.0], "acpitz": [99.0]}) == 61.0
    assert hottest({"acpitz": [-273.0, 40.0, 6553.5]}) == 40.0
    assert hottest({"nvme": [70.0]}) is None
    assert hottest({}) is None


def test_what_is_idle_enough_to_measure():
    assert is_idle(at_rest(busy_cores=0.7))
    assert not is_idle(at_rest(busy_cores=1.0))
    assert is_idle(at_rest(busy_cores=0.2, cores=1))


@pytest.mark.parametrize(
    ("when", "changes", "reason"),
    [
        ("always", {"plugged_in": False, "idle_s": 0.0}, ""),
        ("plugged-in", {}, ""),
        ("plugged-in", {"plugged_in": False, "battery": 0.83}, "it runs on battery (83%)"),
        ("plugged-in", {"plugged_in": False}, "it runs on battery"),
        ("plugged-in", {"plugged_in": None}, "does not tell whether the device is plugged in"),
        ("idle", {"idle_s": IDLE_AFTER_S}, ""),
        ("idle", {"idle_s": 12.0}, "somebody uses it"),
        ("idle", {}, "does not tell when the device was last used"),
    ],
)
def test_when_the_owner_lets_it_work(when, changes, reason):
    said = may_work(when, at_rest(**changes))
    assert reason in said
    assert bool(reason) == bool(said)


def test_idle_time_is_told_or_not_and_never_raises():
    idle_s = input_idle_s()
    assert idle_s is None or idle_s >= 0


def test_terminals_tell_by_what_was_read_from_them(tmp_path):
    """What a program writes there (a live table) is no sign of a person."""
    for name, read_at, written_at in (("0", 1000.0, 1900.0), ("1", 1500.0, 1999.0)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (read_at, written_at))
    paths = [tmp_path / "0", tmp_path / "1", tmp_path / "vanished"]
    assert last_read_s(paths, 2000.0) == 500.0
    assert last_read_s(paths, 1400.0) == 0.0
    assert last_read_s([], 2000.0) is None


@pytest.mark.parametrize(
    ("session", "graphical"),
    [
        ("CLASS=user\nTYPE=wayland\nACTIVE=1\n", True),
        ("CLASS=user\nTYPE=x11\nACTIVE=0\n", False),
        ("CLASS=greeter\nTYPE=wayland\nACTIVE=1\n", False),
        ("CLASS=user\nTYPE=tty\nACTIVE=1\n", False),
    ],
)
def test_a_graphical_session_in_use_hides_its_person(tmp_path, session, graphical):
    (tmp_path / "2").write_text(session)
    assert graphical_session(tmp_path) is graphical
    assert not graphical_session(tmp_path / "none")
