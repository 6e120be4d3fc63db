"""Progress for a log: a line when something happens, and how far each step is, now and then."""

from __future__ import annotations

import sys
import threading

from meshwit import events
from meshwit.cli.progress_state import ProgressState, step_text

QUIET_S = 10.0
"""How long a running step says nothing, with `--watch` `WATCH_S`."""
WATCH_S = 1.0


class PlainProgress:
    """Prints to stderr. Events may come from any thread.

    Args:
        every_s: how often a running step tells how far it is.
        statements: whether each statement that is reached is told too.
    """

    def __init__(self, every_s: float = QUIET_S, statements: bool = False) -> None:
        self.state = ProgressState()
        self.every_s = every_s
        self.statements = statements
        self._lock = threading.Lock()
        self._told_at = 0.0

    def __call__(self, event: events.JobEvent) -> None:
        """Take an event in and print what it is worth."""
        with self._lock:
            said = self.state.fold(event)
            if said:
                self.say(said)
            if self.statements and isinstance(event, events.StatementReached | events.Waited):
                self.say(self.state.now_doing)
            if isinstance(event, events.Progressed):
                self._tell(event)

    def _tell(self, event: events.Progressed) -> None:
        step = self.state.steps.get(event.step)
        if step is None:
            return
        ended = step.ended_at == event.at
        if ended and step.took_s < self.every_s and not self.statements:
            return  # what ended before anybody asked needs no line
        # A job that is found again may have another clock.
        if ended or not 0 <= event.at - self._told_at < self.every_s:
            self._told_at = event.at
            self.say(step_text(step))

    def say(self, text: str) -> None:
        """A line of its own."""
        print(text, file=sys.stderr, flush=True)

    def lost(self) -> bool:
        """A log needs no reader."""
        return False
