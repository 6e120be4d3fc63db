"""Capabilities of this device, and NVML behind its adapter."""

from __future__ import annotations

import ctypes
import sys
from types import SimpleNamespace

import pytest

from meshwit.bench import capabilities as module
from meshwit.bench import nvml
from meshwit.bench.capabilities import capabilities
from meshwit.bench.cores import usable_cores
from meshwit.bench.memory import usable_memory_bytes
from meshwit.bench.nvml import Gpu, Gpus, probe_gpus
from meshwit.bench.requirements import is_name, parse_requirement


class NVMLError(Exception):
    """As NVML raises it."""


class FakeNvml:
    """NVML with these GPUs, (name, memory); a call named in `broken` raises."""

    NVMLError = NVMLError

    def __init__(self, gpus=(), broken=None):
        self.gpus = list(gpus)
        self.broken = broken or {}
        self.opened = 0

    def _call(self, name):
        if name in self.broken:
            raise self.broken[name]

    def nvmlInit(self):
        self._call("init")
        self.opened += 1

    def nvmlShutdown(self):
        self._call("shutdown")
        self.opened -= 1

    def nvmlDeviceGetCount(self):
        self._call("count")
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index):
        self._call(f"gpu {index}")
        return self.gpus[index]

    def nvmlDeviceGetName(self, handle):
        return handle[0]

    def nvmlDeviceGetMemoryInfo(self, handle):
        self._call("memory")
        return SimpleNamespace(total=handle[1])

    def nvmlSystemGetCudaDriverVersion_v2(self):
        self._call("cuda")
        return 12040


@pytest.fixture
def driver(monkeypatch):
    """Put a fake NVML in place."""

    def install(*gpus, **broken):
        fake = FakeNvml(gpus, {name.replace("_", " "): error for name, error in broken.items()})
        monkeypatch.setattr(nvml, "pynvml", fake)
        monkeypatch.setattr(nvml, "_driver_is_there", lambda: True)
        monkeypatch.setattr(nvml, "is_installed", lambda name: True)
        return fake

    return install


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(module, "probe_gpus", Gpus)


@pytest.mark.usefixtures("no_gpu")
def test_of_this_device():
    found = capabilities()
    assert found["os"] in ("linux", "windows", "macos")
    assert found["os.version"]
    assert found["cpu.cores"] == usable_cores()
    assert found["memory"] == usable_memory_bytes()
    assert found["python"] == ".".join(str(part) for part in sys.version_info[:3])
    assert (found["gpu"], found["gpu.count"]) == (False, 0)
    assert not {"gpu.name", "gpu.memory", "gpu.cuda"} & found.keys()
    assert all(is_name(name) and isinstance(value, (str, int, bool)) for name, value in found.items())
    assert parse_requirement("python >= 3.11 and memory >= 1MiB and cpu.cores >= 1 and not gpu").met_by(found)
    assert parse_requirement("os.version >= 1 and arch and hostname").met_by(found)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize(
    ("machine", "arch"),
    [("AMD64", "x86_64"), ("x86_64", "x86_64"), ("aarch64", "arm64"), ("ARM64", "arm64"), ("riscv64", "riscv64")],
)
def test_one_architecture_has_one_name(monkeypatch, machine, arch):
    monkeypatch.setattr(module.platform, "machine", lambda: machine)
    assert capabilities()["arch"] == arch


@pytest.mark.usefixtures("no_gpu")
def test_the_owners_properties():
    found = capabilities({"site": "berlin", "rack.unit": "7"})
    assert parse_requirement("site == 'berlin' and rack.unit >= 7").met_by(found)


@pytest.mark.parametrize("name", ["", "my site", "and", "7up"])
def test_a_property_that_nothing_could_ask_for(name):
    with pytest.raises(ValueError, match="cannot be the name of a property"):
        capabilities({name: "x"})


@pytest.mark.parametrize("name", ["memory", "gpu.cuda", "os.name"])
def test_a_property_cannot_pose_as_measured(name):
    with pytest.raises(ValueError, match="is measured"):
        capabilities({name: "x"})


def test_the_largest_gpu_counts(driver):
    fake = driver(("Small", 2**33), (b"Large", 2**36))
    found = capabilities()
    assert (found["gpu"], found["gpu.count"], found["gpu.name"]) == (True, 2, "Large")
    assert (found["gpu.memory"], found["gpu.cuda"]) == (2**36, "12.4")
    assert parse_requirement("gpu and gpu.memory >= 64GiB and gpu.cuda >= 12.1").met_by(found)
    assert fake.opened == 0


@pytest.mark.parametrize(
    "broken",
    [
        {"init": NVMLError("no driver")},
        {"init": ImportError("no module")},
        {"init": FutureWarning("deprecated")},
        {"count": NVMLError("lost")},
        {"count": AttributeError("nvmlDeviceGetCount")},
        {"gpu_0": NVMLError("fallen off the bus")},
        {"shutdown": NVMLError("unknown")},
    ],
    ids=lambda broken: repr(broken),
)
def test_whatever_goes_wrong_is_no_gpu(driver, broken):
    fake = driver(("Large", 2**36), **broken)
    assert probe_gpus() == Gpus()
    assert fake.opened == (1 if "shutdown" in broken else 0)


def test_what_one_gpu_does_not_tell_is_left_out(driver):
    driver(("Lost", 1), ("Large", 2**36), gpu_0=NVMLError("lost"))
    assert probe_gpus() == Gpus((Gpu("Large", 2**36),), "12.4")
    driver(("Shared", 1), memory=NVMLError("not supported"), cuda=NVMLError("not supported"))
    found = capabilities()
    assert (found["gpu"], found["gpu.name"]) == (True, "Shared")
    assert not {"gpu.memory", "gpu.cuda"} & found.keys()


def test_without_a_driver_nothing_is_imported(monkeypatch):
    def absent(name):
        raise OSError(name)

    monkeypatch.setattr(nvml.sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", absent)
    monkeypatch.setattr(nvml, "pynvml", None)
    assert probe_gpus() == Gpus()
