"""Capabilities of this device, and NVML behind its adapter."""

from __future__ import annotations

import ctypes
import sys
from types import SimpleNamespace

import pytest

from meshwit.bench import capabilities as module
from meshwit.bench import gpu_interfaces, nvml
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


def test_peaks_of_a_gpu(driver):
    """An H200: 66.9 TFLOPS and 4.9 TB/s, as its maker says."""
    fake = driver(("NVIDIA H200", 141 * 10**9))
    fake.NVML_CLOCK_SM, fake.NVML_CLOCK_MEM = 1, 2
    fake.nvmlDeviceGetNumGpuCores = lambda handle: 16896
    fake.nvmlDeviceGetMaxClockInfo = lambda handle, clock: {1: 1980, 2: 3201}[clock]
    fake.nvmlDeviceGetMemoryBusWidth = lambda handle: 6144
    (gpu,) = probe_gpus().found
    assert (gpu.cores, gpu.clock_mhz, gpu.memory_clock_mhz, gpu.memory_bus_bits) == (16896, 1980, 3201, 6144)
    assert gpu.tflops == pytest.approx(66.9, rel=0.01)
    assert gpu.memory_gb_s == pytest.approx(4917, rel=0.01)


def test_peaks_that_the_driver_does_not_tell_are_0(driver):
    """Nothing optional ever costs the GPU itself: older bindings, drivers and GPUs tell less."""

    def unsupported(*arguments):
        raise NVMLError("not supported")

    fake = driver(("Old", 2**33))
    fake.NVML_CLOCK_SM = 1
    fake.nvmlDeviceGetMaxClockInfo = unsupported
    fake.nvmlDeviceGetMemoryBusWidth = lambda handle: None
    assert probe_gpus().found == (Gpu("Old", 2**33),)
    assert (Gpu("Old", 1).tflops, Gpu("Old", 1).memory_gb_s) == (0, 0)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("metal", [False, True])
@pytest.mark.parametrize("opencl", [False, True])
def test_other_interfaces_to_gpus(monkeypatch, metal, opencl):
    monkeypatch.setattr(module, "has_metal", lambda: metal)
    monkeypatch.setattr(module, "has_opencl", lambda: opencl)
    found = capabilities()
    assert found["gpu"] is False
    assert parse_requirement("gpu.metal").met_by(found) == metal
    assert parse_requirement("gpu.opencl").met_by(found) == opencl


@pytest.mark.parametrize(
    ("system", "machine", "metal"),
    [("darwin", "arm64", True), ("darwin", "x86_64", False), ("linux", "arm64", False)],
)
def test_metal_is_there_on_every_apple_chip(monkeypatch, system, machine, metal):
    monkeypatch.setattr(gpu_interfaces.sys, "platform", system)
    monkeypatch.setattr(gpu_interfaces.platform, "machine", lambda: machine)
    assert gpu_interfaces.has_metal() is metal


@pytest.mark.parametrize("system", ["linux", "win32", "darwin", "sunos5"])
@pytest.mark.parametrize("installed", [False, True])
def test_opencl_is_there_where_its_loader_is(monkeypatch, system, installed):
    asked = []

    def load(library):
        asked.append(library)
        if not installed:
            raise OSError(library)

    gpu_interfaces._loads.cache_clear()
    monkeypatch.setattr(gpu_interfaces.sys, "platform", system)
    monkeypatch.setattr(gpu_interfaces.ctypes, "CDLL", load)
    assert gpu_interfaces.has_opencl() is (installed and system != "sunos5")
    assert all("OpenCL" in library for library in asked)
    gpu_interfaces._loads.cache_clear()


def test_without_a_driver_nothing_is_imported(monkeypatch):
    def absent(name):
        raise OSError(name)

    monkeypatch.setattr(nvml.sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", absent)
    monkeypatch.setattr(nvml, "pynvml", None)
    assert probe_gpus() == Gpus()
