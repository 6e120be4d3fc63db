"""The command line as a process of its own, in a folder of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_process import environment

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """`cli("check", "a.wit")` runs it in `tmp_path`."""

    def run(*arguments: str, input: str = "", env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "meshwit", *arguments],
            cwd=tmp_path,
            env=environment() | (env or {}),
            input=input,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], str]:
    """`script(text)` writes `job.wit` and gives its name."""

    def write(text: str, name: str = "job.wit") -> str:
        (tmp_path / name).write_text(text)
        return name

    return write
