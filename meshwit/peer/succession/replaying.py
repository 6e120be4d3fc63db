"""A job's history read from disk, as a leader wants it: answers by path, results by path and item."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from meshwit.codec import Buffer, Codec
from meshwit.ids import PeerId
from meshwit.lang.wishes import Path
from meshwit.peer.job.journal import Journal, Known
from meshwit.peer.succession.carrying import sizes_of
from meshwit.peer.succession.records import (
    Answered,
    Body,
    Concluded,
    Content,
    Decided,
    Intended,
    LogId,
    Over,
    Paused,
    Record,
    Results,
    Slept,
)
from meshwit.peer.succession.store import Store, StoreError

READ_BYTES_MAX: Final = 32 * 1024 * 1024
TRIES_MAX: Final = 8
"""Reading may find that a record is damaged: its log ends before it from then on, and what it all means is another."""


class _DamageFound(Exception):  # noqa: N818  it is a reason to begin anew
    """A record could not be read."""


class Replay(msgspec.Struct, frozen=True):
    """What is known of a job.

    Attributes:
        journal: what its leader starts with.
        results: of items, recorded by others than its line of leaders, that count all the same; `answers` likewise.
        elapsed: seconds that it has gone on for at least.
        limits: of each log, how late a wish may have been made for its results to count (`History.limits`).
        paused: it was paused last.
        whole: nothing of what its leaders had is missing here.
        over: the record of its end, if there is one.
    """

    journal: Journal
    results: list[tuple[Path, Sequence[int], list[Any]]]
    answers: list[tuple[Path, Known]]
    elapsed: float
    limits: dict[LogId, int]
    paused: bool
    whole: bool
    over: Over | None


def replay_of(store: Store, job: str, codec: Codec) -> Replay:
    """Read what is kept of a job. Raises StoreError and CodecError."""
    for _ in range(TRIES_MAX):
        try:
            return _replay_once(store, job, codec)
        except _DamageFound:
            continue
    raise StoreError(f"what is kept of the job {job} is too damaged to be read")


def _replay_once(store: Store, job: str, codec: Codec) -> Replay:
    history = store.history(job)
    journal = Journal()
    results: list[tuple[Path, Sequence[int], list[Any]]] = []
    answers: list[tuple[Path, Known]] = []
    sleeps: dict[Path, float] = {}
    over: Over | None = None
    elapsed = 0.0
    paused = False
    for log, first, stop in history.view():
        for record in _records(store, job, log, first, stop):
            match record.body:
                case Slept(path=path, until=until):
                    sleeps[path] = until
                case Answered(path=path):
                    elapsed = max(elapsed, sleeps.pop(path, 0.0))
                case Paused():
                    paused = record.body.paused
                case Over():
                    over = record.body
            _note(journal, record, codec)
    for log, number in history.extras():
        for record in _records(store, job, log, number, number + 1):
            match record.body:
                case Results(path=path):
                    results += [(path, numbers, values) for numbers, values in _parts(record, codec)]
                case Answered(path=path):
                    answers.append((path, _known(record.body, record.buffers, codec)))
    return Replay(journal, results, answers, elapsed, history.limits(), paused, not history.lacking(), over)


def _records(store: Store, job: str, log: LogId, first: int, stop: int) -> Iterator[Record]:
    while first < stop:
        records = store.read(job, log, first, stop, READ_BYTES_MAX)
        if not records:
            raise _DamageFound
        yield from records
        first += len(records)


def _note(journal: Journal, record: Record, codec: Codec) -> None:
    body: Body = record.body
    match body:
        case Answered(path=path):
            journal.record(path, _known(body, record.buffers, codec))
        case Results(path=path):
            for numbers, values in _parts(record, codec):
                journal.record_items(path, numbers, values)
        case Concluded(path=path, failure=failure):
            journal.conclude(path, failure)
        case Slept(path=path, until=until):
            journal.sleep(path, until)
        case Intended(path=path, items=items, peer=peer):
            journal.intend(path, items.numbers, PeerId(peer))
        case Decided(path=path, items=items, again=again):
            journal.decide(path, items.numbers, again=again)


def _known(body: Answered, buffers: Sequence[Buffer], codec: Codec) -> Known:
    if body.failure is not None or body.content is None:
        return Known(failure=body.failure)
    return Known(codec.decode(body.content.header, buffers))


def _parts(record: Record, codec: Codec) -> Iterator[tuple[Sequence[int], list[Any]]]:
    assert isinstance(record.body, Results) and len(record.buffers) == len(sizes_of(record.body))
    place = 0
    for part in record.body.parts:
        content: Content = part.content
        stop = place + len(content.sizes)
        values = codec.decode(content.header, record.buffers[place:stop])
        place = stop
        numbers = part.items.numbers
        if isinstance(values, list) and len(values) == len(numbers):
            yield numbers, values
