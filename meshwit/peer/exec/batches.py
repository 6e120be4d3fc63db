"""What goes into a pool and what comes out, in the job layer's words: items with numbers, and their outcomes."""

from __future__ import annotations

import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

from meshwit.codec import Buffer, Codec, CodecError
from meshwit.peer.exec.messages import Results, TaskFailure


@dataclass(frozen=True, slots=True)
class EncodedItems:
    """Items as the codec wrote them: one list of ``count``.

    They go to a worker process as they are; decoded only if some of them must be sent without the others.
    """

    header: bytes
    buffers: Sequence[Buffer]
    count: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Items to run through a prepared step.

    Attributes:
        step_id: of the step.
        batch_id: unlike that of any open batch.
        items: anything the codec takes, or took.
        numbers: what the items are called in results, by default their positions.
    """

    step_id: int
    batch_id: int
    items: Sequence[Any] | EncodedItems
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
        blobs: hash and size of those that the values refer to.
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
    blobs: Sequence[tuple[str, int]] = ()

    @property
    def encoded(self) -> tuple[bytes, list[Buffer]] | None:
        """The list of values as it came, header and buffers, to be handed on; None if no item ran to an end."""
        return self._encoded

    @cached_property
    def values(self) -> list[Any]:
        """One for each number, None where the item failed; decoded when first asked for. Arrays are read-only views."""
        if self._encoded is None:
            return [None] * len(self.numbers)
        values: list[Any] = self._codec.decode(*self._encoded)
        return values


OnResults: TypeAlias = Callable[[BatchResults], None]
OnStarted: TypeAlias = Callable[[int], None]


class OpenBatch:
    """A submitted batch whose items have not all ended.

    Attributes:
        numbers: of all items.
        positions: of the items that can cross.
        uncrossable: the others.
        back: numbers taken back so far.
    """

    __slots__ = (
        "_encoded", "_items", "back", "batch", "codec", "numbers", "on_results", "on_started", "positions",
        "uncrossable",
    )  # fmt: skip

    def __init__(self, batch: Batch, on_results: OnResults, on_started: OnStarted | None, codec: Codec) -> None:
        self.batch = batch
        self.on_results = on_results
        self.on_started = on_started
        self.codec = codec
        items = batch.items
        count = items.count if isinstance(items, EncodedItems) else len(items)
        self.numbers = range(count) if batch.numbers is None else batch.numbers
        if len(self.numbers) != count:
            raise ValueError(f"{count} items with {len(self.numbers)} numbers")
        self.back: list[int] = []
        self.positions: Sequence[int] = range(count)
        self.uncrossable: dict[int, TaskFailure] = {}
        self._encoded: tuple[bytes, list[memoryview]] | None = None  # of all, until first asked for
        self._items: Sequence[Any] | None = None
        if isinstance(items, EncodedItems):
            return
        self._items = items
        try:
            self._encoded = codec.encode(list(items))
        except Exception:
            self.uncrossable = _uncrossable(items, codec)
            self.positions = [position for position in self.positions if position not in self.uncrossable]

    def encoded(self, positions: Sequence[int]) -> tuple[bytes, list[memoryview]]:
        """Return the items at those positions as one encoded list. Raises CodecError."""
        given = self.batch.items
        encoded, self._encoded = self._encoded, None
        if positions == self.positions:
            if isinstance(given, EncodedItems):
                return given.header, [memoryview(buffer) for buffer in given.buffers]
            if encoded is not None:
                return encoded
        if self._items is None:
            self._items = self._decoded()
        items = self._items
        return self.codec.encode([items[position] for position in positions])

    def positions_of(self, numbers: Iterable[int]) -> set[int]:
        """Where the items of those numbers are; of numbers that are not of this batch nothing."""
        wanted = set(numbers)
        return {position for position, number in enumerate(self.numbers) if number in wanted}

    def nothing_left(self) -> BatchResults:
        """Return that no more comes, and no outcome."""
        return BatchResults(self.batch.batch_id, (), {}, {}, (), -1, True, self.codec, None)

    def _decoded(self) -> Sequence[Any]:
        given = self.batch.items
        if not isinstance(given, EncodedItems):
            return given
        items = self.codec.decode(given.header, given.buffers)
        if type(items) is not list or len(items) != given.count:
            raise CodecError(f"the items are no list of {given.count}")
        return items

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
            self.batch.batch_id,
            numbers,
            failures,
            outputs,
            seconds,
            worker,
            finished,
            self.codec,
            encoded,
            said.blobs,
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
