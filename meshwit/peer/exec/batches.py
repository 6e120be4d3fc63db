"""What goes into a pool and what comes out, in the job layer's words: items with numbers, and their outcomes."""

from __future__ import annotations

import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

from meshwit.codec import Buffer, Codec
from meshwit.peer.exec.messages import Results, TaskFailure


@dataclass(frozen=True, slots=True)
class Batch:
    """Items to run through a prepared step.

    Attributes:
        step_id: of the step.
        batch_id: unlike that of any open batch.
        items: anything the codec takes.
        numbers: what the items are called in results, by default their positions.
    """

    step_id: int
    batch_id: int
    items: Sequence[Any]
    numbers: Sequence[int] | None = None


@dataclass(eq=False)
class BatchResults:
    """Outcomes of some items of a batch.

    Attributes:
        batch_id: of the batch.
        numbers: of the items.
        failures: by item number.
        outputs: what they printed, by item number; absent where nothing was.
        seconds: wall time of each, float32.
        worker: slot they ran in, -1 for none.
        finished: nothing more comes for this batch.
    """

    batch_id: int
    numbers: Sequence[int]
    failures: dict[int, TaskFailure]
    outputs: dict[int, str]
    seconds: Sequence[float]
    worker: int
    finished: bool
    _codec: Codec = field(repr=False)
    _encoded: tuple[bytes, list[Buffer]] | None = field(repr=False)

    @cached_property
    def values(self) -> list[Any]:
        """One for each number, None where the item failed; decoded when first asked for. Arrays are read-only views."""
        if self._encoded is None:
            return [None] * len(self.numbers)
        values: list[Any] = self._codec.decode(*self._encoded)
        return values


OnResults: TypeAlias = Callable[[BatchResults], None]


class OpenBatch:
    """A submitted batch whose items have not all ended.

    Attributes:
        numbers: of all items.
        positions: of the items that can cross.
        uncrossable: the others.
        back: numbers taken back so far.
    """

    __slots__ = ("_encoded", "back", "batch", "codec", "numbers", "on_results", "positions", "uncrossable")

    def __init__(self, batch: Batch, on_results: OnResults, codec: Codec) -> None:
        self.batch = batch
        self.on_results = on_results
        self.codec = codec
        self.numbers = range(len(batch.items)) if batch.numbers is None else batch.numbers
        if len(self.numbers) != len(batch.items):
            raise ValueError(f"{len(batch.items)} items with {len(self.numbers)} numbers")
        self.back: list[int] = []
        self.positions: Sequence[int] = range(len(batch.items))
        self.uncrossable: dict[int, TaskFailure] = {}
        self._encoded: tuple[bytes, list[memoryview]] | None = None  # of all, until first asked for
        try:
            self._encoded = codec.encode(list(batch.items))
        except Exception:
            self.uncrossable = _uncrossable(batch.items, codec)
            self.positions = [position for position in self.positions if position not in self.uncrossable]

    def encoded(self, positions: Sequence[int]) -> tuple[bytes, list[memoryview]]:
        """Return the items at those positions as one encoded list. Raises CodecError."""
        encoded, self._encoded = self._encoded, None
        if encoded is not None and positions is self.positions:
            return encoded
        items = self.batch.items
        return self.codec.encode([items[position] for position in positions])

    def arrived(
        self, positions: Sequence[int], worker: int, finished: bool, said: Results, buffers: list[Buffer]
    ) -> BatchResults:
        """Return what a worker said of some positions, by item number."""
        names = self.numbers
        numbers = (
            names[positions.start : positions.stop] if isinstance(positions, range) else [names[p] for p in positions]
        )
        failures, outputs = said.failures, said.outputs
        if failures:
            failures = {numbers[at - said.first]: failure for at, failure in failures.items()}
        if outputs:
            outputs = {numbers[at - said.first]: text for at, text in outputs.items()}
        seconds = array.array("f", said.seconds)
        encoded = (said.values.header, buffers)
        return BatchResults(
            self.batch.batch_id, numbers, failures, outputs, seconds, worker, finished, self.codec, encoded
        )

    def fail(
        self, positions: Sequence[int], failures: Iterable[TaskFailure], worker: int, finished: bool
    ) -> BatchResults:
        """Return the outcome of positions that failed without running to their end."""
        numbers = [self.numbers[position] for position in positions]
        by_number = dict(zip(numbers, failures, strict=True))
        return BatchResults(
            self.batch.batch_id, numbers, by_number, {}, [0.0] * len(numbers), worker, finished, self.codec, None
        )


def _uncrossable(items: Sequence[Any], codec: Codec) -> dict[int, TaskFailure]:
    failures: dict[int, TaskFailure] = {}
    for position, item in enumerate(items):
        try:
            codec.encode(item)
        except Exception as error:
            failures[position] = TaskFailure("unencodable", type(error).__qualname__, str(error))
    return failures
