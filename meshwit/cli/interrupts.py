"""Ctrl-C while a job runs: the first cancels it cleanly, the second kills it, a third gives up waiting for either.
Whoever only follows a job leaves it by the first.

The signal only counts; what it means is decided between two looks at the job, so nothing is ever torn in the middle.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Protocol

from meshwit.outcome import Outcome

LOOK_EVERY_S = 0.1
"""How long a signal may wait until it is seen."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Handle(Protocol):
    """A job that runs, here or led by the peer of this device."""

    def wait(self, timeout_s: float | None = None) -> Outcome | None:
        """The outcome, or None if the job still runs after `timeout_s`."""

    def cancel(self) -> None:
        """End the job within a second."""

    def kill(self) -> None:
        """End it now."""


class Interrupts:
    """Counts SIGINT and SIGTERM while it is entered; main thread only."""

    def __init__(self) -> None:
        self.count = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        for one in SIGNALS:
            self._before[one] = signal.signal(one, self._counted)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives the signals their meaning back."""
        for one, handler in self._before.items():
            signal.signal(one, handler)

    def _counted(self, number: int, frame: FrameType | None) -> None:
        self.count += 1


def follow(
    handle: Handle, interrupts: Interrupts, say: Callable[[str], None], give_up: Callable[[], bool] = lambda: False
) -> Outcome:
    """Wait for a job's outcome while signals cancel and kill it.

    Args:
        handle: the job.
        interrupts: entered before the job was started, so that no signal is lost.
        say: tells the person what a signal did.
        give_up: asked all the time; true cancels the job as the first signal does.

    Raises:
        KeyboardInterrupt: at the third signal.
        PeerError: the peer that tells of the job is lost, or the outcome.
    """
    seen = 0
    while (outcome := handle.wait(LOOK_EVERY_S)) is None:
        if seen == 0 and give_up():
            interrupts.count += 1
        if interrupts.count == seen:
            continue
        seen += 1
        if seen == 1:
            say("cancelling: running items are stopped (Ctrl-C again kills the worker processes)")
            handle.cancel()
        elif seen == 2:
            say("killing the worker processes")
            handle.kill()
        else:
            raise KeyboardInterrupt
    return outcome


def watch(handle: Handle, interrupts: Interrupts, give_up: Callable[[], bool] = lambda: False) -> Outcome | None:
    """Wait for a job's outcome; None once a signal, or `give_up`, says to follow it no more. Raises as `follow`."""
    while (outcome := handle.wait(LOOK_EVERY_S)) is None:
        if interrupts.count or give_up():
            return None
    return outcome
