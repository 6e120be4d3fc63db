"""Who follows a job's events: the live view, lines for a log, JSON lines, or nobody."""

from __future__ import annotations

import sys
import threading
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import msgspec

from meshwit.cli.plain_progress import QUIET_S, WATCH_S, PlainProgress
from meshwit.cli.result_options import ShownOptions
from meshwit.cli.show_progress import LiveProgress
from meshwit.cli.terminal import is_terminal
from meshwit.events import JobEvent


class Watcher(Protocol):
    """Follows one job. Called from another thread than the one that made it."""

    def __call__(self, event: JobEvent) -> None:
        """Take an event in."""

    def say(self, text: str) -> None:
        """Tell the person something about the run itself."""

    def lost(self) -> bool:
        """Whether nobody reads any more, so that the job should be cancelled."""
        ...


class Silence:
    """Shows nothing but what is said about the run itself."""

    def __call__(self, event: JobEvent) -> None:
        """Events pass unseen."""

    def say(self, text: str) -> None:
        """To stderr."""
        print(text, file=sys.stderr, flush=True)

    def lost(self) -> bool:
        """Silence needs no reader."""
        return False


class EventLines(Silence):
    """Every event as a line of JSON on stdout, as it happens."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lost = False

    def __call__(self, event: JobEvent) -> None:
        """Write the event, unless the reader has gone."""
        line = msgspec.json.encode(event).decode()
        with self._lock:
            if self._lost:
                return
            try:
                print(line, flush=True)
            except OSError:
                self._lost = True

    def lost(self) -> bool:
        """Whether writing failed: `| head` has seen enough."""
        return self._lost


def watcher(options: ShownOptions) -> AbstractContextManager[Watcher]:
    """The watcher that the options and the terminal ask for."""
    if options.as_json and options.watch:
        return nullcontext(EventLines())
    if options.quiet:
        return nullcontext(Silence())
    if is_terminal(sys.stderr):
        return LiveProgress()
    return nullcontext(PlainProgress(WATCH_S, statements=True) if options.watch else PlainProgress(QUIET_S))
