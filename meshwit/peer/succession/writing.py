"""The log that a leader writes: what its `Keep` effects say, made records. Core.

Results of the items of one step that come close together make one record, so that a million items cost some thousand
records. What a report of a peer became durable with is remembered, so that the peer can be told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from meshwit.codec import Buffer, Codec, CodecError
from meshwit.ids import PeerId
from meshwit.lang.control import Failure
from meshwit.lang.wishes import Path
from meshwit.peer.job.effects import Keep, KeepAnswer, KeepConcluded, KeepIntent, KeepResults, KeepSleep
from meshwit.peer.succession.records import (
    Answered,
    Body,
    Concluded,
    Content,
    Intended,
    LogId,
    Part,
    Record,
    Results,
    Slept,
)
from meshwit.peer.work.messages import Done, span

CHUNK_BYTES_MAX: Final = 4 * 1024 * 1024
"""A chunk of results is closed when it holds so much."""
RECENT_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of records kept in memory after they were written, for standbys that are about to want them."""


class Report(msgspec.Struct, frozen=True):
    """A `Done` of a peer as it came: its content need not be encoded again.

    Attributes:
        unfit: its leader could not take the values: what it made of them is to be recorded.
    """

    peer: PeerId
    done: Done
    buffers: Sequence[Buffer]
    unfit: bool = False


class _Chunk:
    """A record of results that may still grow."""

    __slots__ = ("buffers", "bytes", "parts", "path", "since")

    def __init__(self, path: Path, since: int) -> None:
        self.path = path
        self.since = since
        self.parts: list[Part] = []
        self.buffers: list[Buffer] = []
        self.bytes = 0

    def record(self) -> Record:
        return Record(Results(self.path, self.since, self.parts), self.buffers)


class LogWriter:
    """Writes one log.

    Attributes:
        log: its id.
        count: records that are closed; `recent` holds the last ones, from number `recent_first` on.
        reports: of each closed record that has any: step, peer and number of the `Done` that it holds.
        intents: of each closed record that is one: what is to be told once it is durable.
    """

    def __init__(self, log: LogId, codec: Codec) -> None:
        self.log = log
        self.count = 0
        self.recent: deque[Record] = deque()
        self.recent_first = 0
        self.reports: dict[int, list[tuple[int, PeerId, int]]] = {}
        self.intents: dict[int, KeepIntent] = {}
        self._codec = codec
        self._open: list[_Chunk | Record] = []
        self._chunks: dict[Path, int] = {}
        self._reports: dict[int, list[tuple[int, PeerId, int]]] = {}
        self._intents: dict[int, KeepIntent] = {}
        self._recent_bytes = 0

    @property
    def waiting(self) -> int:
        """Records that are not closed."""
        return len(self._open)

    def add(self, body: Body, buffers: Sequence[Buffer] = ()) -> None:
        """A record as it is."""
        self._open.append(Record(body, buffers))

    def keep(self, effect: Keep, report: Report | None = None) -> None:
        """What a leader wants recorded; `report` is what it had just been told."""
        match effect:
            case KeepResults():
                self._results(effect, report)
            case KeepAnswer(path=path, since=since, known=known):
                if known.failure is not None:
                    self.add(Answered(path, since, None, known.failure))
                else:
                    self._answer(path, since, known.value)
            case KeepConcluded(path=path, since=since, failure=failure):
                self._chunks.pop(path, None)
                self.add(Concluded(path, since, failure))
            case KeepSleep(path=path, since=since, until=until):
                self.add(Slept(path, since, until))
            case KeepIntent(path=path, since=since, peer=peer, numbers=numbers):
                self._intents[len(self._open)] = effect
                self.add(Intended(path, since, span(numbers), peer))

    def close(self) -> list[Record]:
        """What has come since the last time, as records; they are written."""
        records = [each.record() if isinstance(each, _Chunk) else each for each in self._open]
        for place, told in self._reports.items():
            self.reports[self.count + place] = told
        for place, intent in self._intents.items():
            self.intents[self.count + place] = intent
        self._open, self._chunks, self._reports, self._intents = [], {}, {}, {}
        self.count += len(records)
        self.recent.extend(records)
        self._recent_bytes += sum(map(_size, records))
        return records

    def stored(self, upto: int) -> None:
        """So many records lie on disk: the oldest need not stay in memory."""
        while self.recent and self.recent_first < upto and self._recent_bytes > RECENT_BYTES_MAX:
            self._recent_bytes -= _size(self.recent.popleft())
            self.recent_first += 1

    def recent_records(self, first: int, stop: int) -> list[Record] | None:
        """Records from memory; None if they are there no more."""
        if first < self.recent_first:
            return None
        return [self.recent[number - self.recent_first] for number in range(first, min(stop, self.count))]

    def durable(self, upto: int) -> tuple[list[tuple[int, PeerId, int]], list[KeepIntent]]:
        """So many records are durable: the reports (step, peer, number) and the intents that were not before."""
        reports = [each for number in [n for n in self.reports if n < upto] for each in self.reports.pop(number)]
        intents = [self.intents.pop(number) for number in [n for n in self.intents if n < upto]]
        return reports, intents

    # --- inside ------------------------------------------------------------------------------------------------------

    def _answer(self, path: Path, since: int, value: Any) -> None:
        try:
            content, buffers = content_of(self._codec, value)
        except (CodecError, OSError) as reason:
            self.add(Answered(path, since, None, Failure(f"the value could not be recorded: {reason}")))
            return
        self.add(Answered(path, since, content), buffers)

    def _results(self, effect: KeepResults, report: Report | None) -> None:
        place = self._chunks.get(effect.path, -1)
        chunk = self._open[place] if place >= 0 else None
        if not isinstance(chunk, _Chunk) or chunk.bytes >= CHUNK_BYTES_MAX or chunk.since != effect.since:
            chunk = _Chunk(effect.path, effect.since)
            place = self._chunks[effect.path] = len(self._open)
            self._open.append(chunk)
        numbers = effect.numbers
        if report is not None and (effect.peer, effect.step) != (report.peer, report.done.step):
            report = None  # these came from elsewhere, while that was being taken
        plain = report is not None and not report.unfit and not report.done.failures
        if report is not None and plain and len(report.done.items.numbers) == len(numbers):
            buffers, header, blobs = list(report.buffers), report.done.header, report.done.blobs
        else:
            try:
                header, views, blobs = self._codec.encode_with_blobs(list(effect.values))
                buffers = list(views)
            except (CodecError, OSError):
                return  # they are computed again, should it come to that
        sizes = [memoryview(each).nbytes for each in buffers]
        chunk.parts.append(Part(span(numbers), Content(header, sizes, list(blobs))))
        chunk.buffers += buffers
        chunk.bytes += len(header) + sum(sizes)
        if report is not None and report.done.number:
            self._reports.setdefault(place, []).append((report.done.step, report.peer, report.done.number))


def content_of(codec: Codec, value: object) -> tuple[Content, list[Buffer]]:
    """A value as it is recorded, and its buffers. Raises CodecError."""
    header, buffers, blobs = codec.encode_with_blobs(value)
    return Content(header, [each.nbytes for each in buffers], list(blobs)), list(buffers)


def _size(record: Record) -> int:
    size = 256 + sum(memoryview(each).nbytes for each in record.buffers)
    if isinstance(record.body, Results):
        size += sum(len(part.content.header) for part in record.body.parts)
    elif isinstance(record.body, Answered) and record.body.content is not None:
        size += len(record.body.content.header)
    return size
