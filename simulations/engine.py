"""Virtual time: a heap of events, seeded chance, and a trace whose hash says whether two runs were the same.

Of two events at one time, the one planned first happens first: nothing depends on addresses or on hashes, so a seed
and a commit are a run. What happens is noted by whoever lets it happen (`note`); the hash over all notes stands for
the run. The engine knows nothing of networks and protocols.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections.abc import Callable
from typing import Any, Final, TextIO

Action = Callable[..., None]

STANDSTILL_EVENTS_MAX: Final = 1_000_000
"""So many events at one instant mean that something plans itself again and again."""
_NOTES_PER_UPDATE: Final = 1024


class SimulationStuckError(RuntimeError):
    """Virtual time no longer moves."""


class Simulation:
    """One run in virtual time.

    Attributes:
        seed: all chance in the run comes from it.
        now: virtual seconds since the start.
        events: how many have happened.
    """

    def __init__(self, seed: int, trace: TextIO | None = None) -> None:
        """Starts at time 0; each note is also written to `trace`, one line each."""
        self.seed = seed
        self.now = 0.0
        self.events = 0
        self._heap: list[tuple[float, int, Action, tuple[Any, ...]]] = []
        self._planned = 0
        self._trace = trace
        self._hash = hashlib.blake2b(digest_size=16)
        self._notes: list[str] = []
        self._closing: list[Callable[[], None]] = []

    def at(self, time: float, action: Action, *arguments: object) -> None:
        """Plans an action; what is in the past is an error of the caller, and raises ValueError."""
        if not time >= self.now:
            raise ValueError(f"at {self.now} s nothing can be planned for {time} s")
        self._planned += 1
        heapq.heappush(self._heap, (time, self._planned, action, arguments))

    def after(self, delay_s: float, action: Action, *arguments: object) -> None:
        """Plans an action for so many seconds from now."""
        self.at(self.now + delay_s, action, *arguments)

    def every(self, period_s: float, action: Action, *arguments: object) -> None:
        """Plans an action for each whole period, as long as the run lasts."""

        def once() -> None:
            action(*arguments)
            self.after(period_s, once)

        self.after(period_s, once)

    def rng(self, name: str) -> random.Random:
        """Chance of its own for each name: what one draws does not shift what another draws."""
        return random.Random(f"{self.seed}/{name}")

    def note(self, text: str) -> None:
        """Adds one line to the trace, with the time."""
        self._notes.append(f"{self.now!r} {text}\n")
        if len(self._notes) >= _NOTES_PER_UPDATE:
            self._flush()

    def digest(self) -> str:
        """The hash over all notes so far."""
        self._flush()
        return self._hash.hexdigest()

    def run(self, until: float) -> None:
        """Lets everything happen up to that time, which is then `now`. What an action raises ends the run."""
        heap = self._heap
        pop = heapq.heappop
        standstill = 0
        while heap and heap[0][0] <= until:
            time, _, action, arguments = pop(heap)
            if time > self.now:
                self.now = time
                standstill = 0
            else:
                standstill += 1
                if standstill > STANDSTILL_EVENTS_MAX:
                    raise SimulationStuckError(f"{standstill} events at {time} s, the last of them {action!r}")
            self.events += 1
            action(*arguments)
        self.now = max(self.now, until)

    def at_end(self, action: Callable[[], None]) -> None:
        """Plans what is done when the run is over, and nobody looks at it any more."""
        self._closing.append(action)

    def close(self) -> None:
        """The run is over."""
        while self._closing:
            self._closing.pop()()

    def run_until(self, condition: Callable[[], bool], limit: float, step_s: float = 0.01) -> bool:
        """Runs in steps until the condition holds; False if it did not up to the time `limit`."""
        while not condition():
            if self.now >= limit:
                return False
            self.run(min(limit, self.now + step_s))
        return True

    def _flush(self) -> None:
        if not self._notes:
            return
        text = "".join(self._notes)
        self._notes.clear()
        self._hash.update(text.encode())
        if self._trace is not None:
            self._trace.write(text)
