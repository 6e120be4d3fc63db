from __future__ import annotations

import pytest

from meshwit.bench import cores, memory
from meshwit.bench.cgroups import own_groups
from meshwit.bench.cores import usable_cores
from meshwit.bench.memory import usable_memory_bytes


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Pretend to be in those control groups: file name to content, outermost folder first."""

    def pretend(*folders):
        paths = []
        for number, files in enumerate(folders):
            path = tmp_path / str(number)
            path.mkdir()
            for name, text in files.items():
                (path / name).write_text(text)
            paths.append(path)
        monkeypatch.setattr(cores, "own_groups", lambda controller: paths)
        monkeypatch.setattr(memory, "own_groups", lambda controller: paths)
        monkeypatch.setattr(cores.sys, "platform", "linux")
        monkeypatch.setattr(cores, "_affinity", lambda: 8)
        monkeypatch.delenv("PYTHON_CPU_COUNT", raising=False)

    return pretend


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        ([], 8),
        ([{"cpu.max": "max 100000\n"}], 8),
        ([{"cpu.max": "150000 100000\n"}], 2),
        ([{"cpu.max": "10000 100000\n"}], 1),
        ([{"cpu.max": "max 100000"}, {"cpu.max": "300000 100000"}], 3),
        ([{"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"}], 8),
        ([{"cpu.cfs_quota_us": "400000\n", "cpu.cfs_period_us": "100000\n"}], 4),
        ([{"cpu.max": "nonsense"}, {"cpu.max": "100000 0"}], 8),
    ],
)
def test_quotas(groups, folders, expected):
    groups(*folders)
    assert usable_cores() == expected


def test_python_cpu_count(groups, monkeypatch):
    groups()
    monkeypatch.setenv("PYTHON_CPU_COUNT", "3")
    assert usable_cores() == 3
    monkeypatch.setenv("PYTHON_CPU_COUNT", "default")
    assert usable_cores() == 8


def test_memory(groups):
    groups({"memory.max": "max\n"}, {"memory.limit_in_bytes": "123456789\n"})
    assert usable_memory_bytes() == 123456789


def test_groups_of_both_versions(tmp_path):
    membership = tmp_path / "cgroup"
    membership.write_text("3:cpu,cpuacct:/a/b\n2:memory:/elsewhere\n0::/a\n")
    for folder in ("cpu/a/b", "memory", "a"):
        (tmp_path / folder).mkdir(parents=True)
    found = [str(path.relative_to(tmp_path)) for path in own_groups("cpu", tmp_path, membership)]
    assert found == ["cpu/a/b", "cpu/a", "cpu", "a", "."]
    assert own_groups("memory", tmp_path, membership)[0] == tmp_path / "memory"
    assert own_groups("cpu", tmp_path, tmp_path / "none") == []
