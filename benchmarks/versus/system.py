"""What every contestant does."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import ClassVar


class System:
    """One contestant, in a process of its own.

    Attributes:
        needs: the module without which it cannot run.
        program: the program without which it cannot run.
        noops, latencies: how many of those tasks, where the usual number would last minutes; 0 for the usual one.
    """

    needs: ClassVar[str] = ""
    program: ClassVar[str] = ""
    noops: ClassVar[int] = 0
    latencies: ClassVar[int] = 0

    def start(self, stack: ExitStack) -> None:
        """Starts its workers; what ends them goes on the stack."""
        raise NotImplementedError

    def finish(self, works: Sequence[float], variant: str) -> None:
        """Runs these tasks and waits for all results. Raises whatever it raises when it loses some."""
        raise NotImplementedError

    def run(self, works: Sequence[float], variant: str, started: Callable[[], None]) -> float:
        """The seconds that it takes."""
        begun = time.perf_counter()
        started()
        self.finish(works, variant)
        return time.perf_counter() - begun

    def one_by_one(self, count: int) -> list[float]:
        """The seconds of each of so many tasks, the next one after the result of the one before."""
        return [self.run([0.0], "", lambda: None) for _ in range(count)]
