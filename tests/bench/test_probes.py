"""The probes: they measure something, say so in order, leave nothing, and end. Nothing here looks at how much."""

from __future__ import annotations

import itertools

import psutil
import pytest

from meshwit.bench import crew as crew_module
from meshwit.bench import probes
from meshwit.bench.crew import Crew, together
from meshwit.bench.disk import SIZES, probe_disk
from meshwit.bench.fingerprint import Hardware, _linux, cpu_model, hardware
from meshwit.bench.probe_process import Compute, Copy
from meshwit.bench.probes import copy_bytes, measure, others_share
from meshwit.bench.scores import CLASSES, is_plausible
from meshwit.bench.workload import Mix, copy_rounds, unit_rounds

BRIEF = Compute(count=2, round_s=0.001, limit_s=5.0)


def test_everything_is_measured_and_told_in_order(tmp_path, monkeypatch):
    for name in ("SINGLE", "ALL"):
        monkeypatch.setattr(probes, name, BRIEF)
    monkeypatch.setattr(probes, "COPY_BYTES_MAX", 1 << 20)
    monkeypatch.setattr(probes, "CREW_LIMIT_S", 60.0)
    told = []
    measured = measure(tmp_path / "new", lambda name, value: told.append((name, value is not None)))
    assert told == [(name, ended) for name in CLASSES for ended in (False, True)]
    assert is_plausible(measured)
    assert measured.memory_gb_s > 0
    assert measured.disk_mb_s > 0
    assert measured.all_per_s >= measured.single_per_s
    assert 0 <= measured.others <= 1
    assert list((tmp_path / "new").iterdir()) == []


def test_without_processes_one_core_stands_for_all(tmp_path, monkeypatch):
    monkeypatch.setattr(probes, "SINGLE", BRIEF)
    monkeypatch.setattr(crew_module.sys, "executable", str(tmp_path / "no such program"))
    measured = measure(tmp_path)
    assert measured.single_per_s > 0
    assert measured.all_per_s >= measured.single_per_s
    assert measured.memory_gb_s == 0


# --- processes -------------------------------------------------------------------------------------------------


def test_processes_measure_together_and_end():
    with Crew(2, 60.0) as crew:
        pids = [process.pid for process in crew._processes]
        assert [len(rates) for rates in crew.measured(BRIEF)] == [2, 2]
        assert len(crew.measured(BRIEF, 1)) == 1
        assert len(crew.measured(Copy(1 << 16, 3, 10.0), 1)[0]) == 3
        assert crew.cpu_s() > 0
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_a_crew_whose_time_is_up_ends():
    """However long a process would take: no wait is without an end."""
    with pytest.raises(OSError, match="ended before it answered"), Crew(1, 0.0):
        pass
    with Crew(1, 60.0) as crew:
        crew._kill()
        with pytest.raises(OSError, match=r"."):
            crew.measured(BRIEF)


@pytest.mark.parametrize("module", ["this", "no_such_module_at_all"])
def test_a_process_that_is_something_else(module):
    with pytest.raises(OSError, match="measuring process"), Crew(1, 60.0, module):
        pass


def test_rates_add_up_round_by_round():
    assert together([[1.0, 2.0, 3.0], [10.0, 20.0]]) == [11.0, 22.0]
    assert together([]) == []


# --- the work --------------------------------------------------------------------------------------------------


def test_the_work_is_the_same_every_time():
    mix, other = Mix(), Mix()
    assert mix.unit() == mix.unit() == other.unit()


def test_a_round_ends_with_the_unit_that_fills_it(monkeypatch):
    clock = itertools.count(0.0, 0.25)
    monkeypatch.setattr("meshwit.bench.workload.time.perf_counter", lambda: next(clock))
    done = []
    assert unit_rounds(lambda: done.append(1), 2, 0.5, 100.0) == [4.0, 4.0]
    assert len(done) == 1 + 2 + 2  # the first warms up
    assert len(unit_rounds(lambda: None, 100, 0.5, 0.0)) == 1


def test_copies_count_what_is_read_and_what_is_written(monkeypatch):
    clock = itertools.count(0.0, 0.5)
    monkeypatch.setattr("meshwit.bench.workload.time.perf_counter", lambda: next(clock))
    assert copy_rounds(8000, 2, 100.0) == [pytest.approx(2 * 8000 / 0.5 / 1e9)] * 2
    assert len(copy_rounds(8000, 100, 0.0)) == 1


def test_a_small_device_copies_small_arrays(monkeypatch):
    assert 1 << 20 <= copy_bytes() <= probes.COPY_BYTES_MAX
    monkeypatch.setattr(probes, "usable_memory_bytes", lambda: 512 << 20)
    assert copy_bytes() <= 32 << 20


def test_others_share_is_what_was_busy_and_not_ours():
    assert others_share((10.0, 100.0), (16.0, 108.0), 4.0) == 0.25
    assert others_share((10.0, 100.0), (16.0, 108.0), 7.0) == 0.0


# --- disk ------------------------------------------------------------------------------------------------------


def test_a_fast_disk_takes_everything(tmp_path):
    ticks = itertools.count(0.0, 1e-6)
    assert probe_disk(tmp_path, clock=lambda: next(ticks)) > 0
    assert list(tmp_path.iterdir()) == []


def test_a_slow_disk_is_not_waited_for(tmp_path):
    """Each look at the clock costs a second: after the first piece nothing more is begun."""
    ticks = itertools.count(0.0, 1.0)
    looks = []

    def clock():
        looks.append(1)
        return next(ticks)

    assert probe_disk(tmp_path, clock=clock) > 0
    assert len(looks) < len(SIZES) + 4


def test_a_folder_that_takes_no_file_is_no_disk(tmp_path):
    (tmp_path / "file").touch()
    assert probe_disk(tmp_path / "file") == 0.0


# --- fingerprint -----------------------------------------------------------------------------------------------

DESKTOP = Hardware("AMD Ryzen 7", 16, 33_500_000_000, ("NVIDIA RTX 4070 11",), "linux x86_64", "cpython 3.12")


def test_of_this_device():
    assert hardware() == hardware()
    assert len(hardware().fingerprint) == 16
    assert cpu_model()


def test_what_changes_the_fingerprint_and_what_does_not():
    changes = (
        {"cpu": "x"},
        {"cores": 8},
        {"memory": 2**36},
        {"gpus": ()},
        {"system": "x"},
        {"python": "x"},
        {"probes": 0},
    )
    fields = {name: getattr(DESKTOP, name) for name in Hardware.__struct_fields__}
    others = {Hardware(**fields | change).fingerprint for change in changes}
    assert len(others | {DESKTOP.fingerprint}) == 1 + len(changes)
    # What the kernel keeps for itself differs by some megabytes from start to start.
    for memory in (33_400_000_000, 33_650_000_000):
        assert Hardware(**fields | {"memory": memory}).fingerprint == DESKTOP.fingerprint


@pytest.mark.parametrize(
    ("cpuinfo", "model"),
    [
        (
            "processor\t: 0\nmodel name\t: Intel(R) Core(TM) i5\nprocessor\t: 1\nmodel name\t: other\n",
            "Intel(R) Core(TM) i5",
        ),
        ("processor : 0\nHardware : BCM2835\nModel : Raspberry Pi 4 Model B\n", "Raspberry Pi 4 Model B"),
        ("CPU implementer : 0x41\nCPU part : 0xd0c\n", "cpu 0x41 0xd0c"),
        ("", ""),
    ],
)
def test_cpus_of_linux(cpuinfo, model):
    assert _linux(cpuinfo) == model
