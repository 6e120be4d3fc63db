"""A benchmark that is ended by a signal leaves nothing behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks.loopback import ROOT
from benchmarks.options import end_on_signals
from benchmarks.outlive.crew import end_all, started_with, until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs signals for another process")


@pytest.fixture
def send() -> Iterator[Callable[[int], None]]:
    """`send(number)` sends this thread a signal; afterwards all mean what they did."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield signal.raise_signal
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_the_first_request_ends_and_further_ones_do_not_disturb_it(send: Callable[[int], None], number: str):
    end_on_signals()
    with pytest.raises(KeyboardInterrupt):
        send(getattr(signal, number))
    for further in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        send(further)
        assert signal.getsignal(further) is not signal.SIG_IGN


def test_a_signal_that_is_ignored_stays_so(send: Callable[[int], None]):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    end_on_signals()
    send(signal.SIGHUP)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """For a crew; nothing that has its home outlives the test."""
    yield tmp_path
    for home in tmp_path.glob("crew-*/home"):
        end_all(home)


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_a_peer_that_is_being_started_is_ended_too(folder: Path, number: str):
    def started() -> psutil.Process | None:
        found = (each for home in folder.glob("crew-*/home") for each in started_with(home))
        return next((each for each in found if "--child" in each.cmdline()), None)

    command = [sys.executable, "-m", "benchmarks.outlive", "--cases", "killed", "--peers", "3", "--keep", str(folder)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            until(started, "a peer is being started").suspend()  # so that it never comes up, and no command finds it
            process.send_signal(getattr(signal, number))
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert "interrupted" in said
    (home,) = folder.glob("crew-*/home")
    assert list(started_with(home)) == []
