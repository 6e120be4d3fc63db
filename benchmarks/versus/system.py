"""What every contestant does."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, ClassVar

import numpy as np

from benchmarks.versus.cases import ARRAY_BYTES


class System:
    """One contestant, in a process of its own.

    Attributes:
        needs: the module without which it cannot run.
        program: the program without which it cannot run.
        only: the cases that it plays; empty for all.
        noops, latencies: how many of those tasks, where the usual number would last minutes; 0 for the usual one.
    """

    needs: ClassVar[str] = ""
    program: ClassVar[str] = ""
    only: ClassVar[tuple[str, ...]] = ()
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

    def double(self, arrays: Sequence[Any]) -> Sequence[Any]:
        """The double of each array, computed by the workers. Raises RuntimeError where it passes no arrays."""
        raise RuntimeError("it passes no arrays")

    def doubled(self, count: int) -> float:
        """The seconds until the doubles of so many arrays are all here; the second time, when memory has been used."""
        arrays = [np.full(ARRAY_BYTES // 8, float(number)) for number in range(count)]
        for _ in range(2):
            begun = time.perf_counter()
            results = self.double(arrays)
            took_s = time.perf_counter() - begun
            for number, result in enumerate(results):
                if not (np.asarray(result)[::512] == 2.0 * number).all():
                    raise RuntimeError(f"array {number} came back wrong")
            del results
        return took_s

    def one_by_one(self, count: int) -> list[float]:
        """The seconds of each of so many tasks, the next one after the result of the one before."""
        return [self.run([0.0], "", lambda: None) for _ in range(count)]
