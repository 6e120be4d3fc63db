"""`meshwit bench`: what it prints and keeps, without looking at how fast anything is."""

from __future__ import annotations

import json
import time

import msgspec
import pytest
from typer.testing import CliRunner

from meshwit.bench import cache, probes
from meshwit.bench.fingerprint import hardware
from meshwit.bench.nvml import Gpu, Gpus
from meshwit.bench.probe_process import Compute
from meshwit.bench.scores import CLASSES, Measured
from meshwit.cli import bench as module
from meshwit.cli.exit_codes import CommandError
from meshwit.peer.rates import Rate, RateBook
from meshwit.plugins.discovery import installed

KNOWN = Measured(510.4, 1234.5, 21.0, 1500.0, 0.0, 4, 1.7e9, 2.0)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MESHWIT_HOME", str(tmp_path / "home"))  # no peer runs
    monkeypatch.setattr(module, "default_folder", lambda: tmp_path)
    return tmp_path


@pytest.fixture
def known(folder):
    """The device was measured before."""

    def write(**changes):
        measured = msgspec.structs.replace(KNOWN, **changes)
        cache.write_whole(folder / cache.FILE, msgspec.json.encode({hardware().fingerprint: [measured]}))

    write()
    return write


def bench(*arguments):
    return CliRunner().invoke(module.app, arguments)


def fault(*arguments):
    """The error that ends the command."""
    error = bench(*arguments).exception
    assert isinstance(error, CommandError)
    return error


def test_measuring_now(folder, monkeypatch):
    """For real, with the shortest of measurements."""
    for name in ("SINGLE", "ALL"):
        monkeypatch.setattr(probes, name, Compute(count=1, round_s=0.001, limit_s=5.0))
    monkeypatch.setattr(probes, "COPY_BYTES_MAX", 1 << 20)
    monkeypatch.setattr(probes, "CREW_LIMIT_S", 60.0)
    done = bench("--json")
    assert done.exit_code == 0
    said = json.loads(done.stdout)
    assert (said["cached"], said["fingerprint"]) == (False, hardware().fingerprint)
    assert list(said["classes"]) == list(CLASSES)
    assert said["classes"]["single"]["value"] > 0
    assert [f"measured {name}" in done.stderr for name in CLASSES] == [True] * 5
    again = json.loads(bench("--json", "--cached").stdout)
    assert again == {**said, "cached": True}


def test_a_table_of_what_is_known(known):
    done = bench("--cached")
    assert done.exit_code == 0
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line}
    assert rows["class"] == ["class", "measured", "score"]
    assert rows["single"][1:4] == ["510", "units/s", "102"]
    assert rows["all"][1:4] == ["1,234", "units/s", "62"]
    assert rows["memory"][1:4] == ["21.0", "GB/s", "105"]
    assert rows["disk"][1:4] == ["1,500", "MB/s", "150"]
    assert rows["gpu"][1:3] == ["-", "-"]
    assert "score 62: CPU work per second" in done.stdout
    assert "too low" not in done.stdout
    assert "ago" in done.stderr


def test_what_was_measured_beside_others_work_says_so(known):
    known(others=0.42)
    assert "too low: others kept 42% of this device busy" in bench("--cached").stdout


def test_gpus_are_named(known, monkeypatch):
    found = Gpus((Gpu("NVIDIA H200", 141 * 2**30, 16896, 1980, 3201, 6144),), "12.4")
    monkeypatch.setattr(module, "known_gpus", lambda: found)
    assert "NVIDIA H200, 141.0 GiB, 66.9 TFLOPS, 4,917 GB/s" in bench("--cached").stdout
    (gpu,) = json.loads(bench("--cached", "--json").stdout)["gpus"]
    assert gpu == {"name": "NVIDIA H200", "memory": 141 * 2**30, "tflops": 66.908, "gb_s": 4916.7}


@pytest.mark.usefixtures("folder")
def test_an_activity_that_is_not_there_or_has_no_benchmark():
    assert "did you mean `GustavsonMultiply`" in fault("--activity", "GustavsonMultiplie").hint
    plain = fault("--activity", "NewGuid")
    assert plain.message == "`NewGuid` has no benchmark"
    assert "GustavsonMultiply" in plain.hint


def test_an_activity_that_is_known(folder):
    book = RateBook(folder, hardware().fingerprint, installed())
    name = "GustavsonMultiply"
    book.add(Rate(name, book.version_of(name), 8_357_485.9, "work/s", time.time()))
    done = bench("--activity", name, "--cached")
    assert done.stdout.startswith(f"{name}  8,357,486 work/s")
    said = json.loads(bench("--activity", name, "--cached", "--json").stdout)
    assert (said["activity"], said["rate"], said["unit"]) == (name, 8_357_485.9, "work/s")


def test_an_activity_measured_now(folder):
    pytest.importorskip("scipy", reason="GustavsonMultiply needs the extra `matrices`")
    done = bench("--activity", "GustavsonMultiply", "--json")
    assert done.exit_code == 0
    said = json.loads(done.stdout)
    assert (said["activity"], said["unit"]) == ("GustavsonMultiply", "work/s")
    assert said["rate"] > 0
    assert json.loads(bench("--activity", "GustavsonMultiply", "--cached", "--json").stdout) == said
