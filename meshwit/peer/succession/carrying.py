"""Records as they cross: many small ones in one message, their buffers beside it. Core."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from meshwit.codec import Buffer
from meshwit.peer.succession.messages import RECORDS_MAX, Append
from meshwit.peer.succession.records import Answered, Body, LogId, Record, Results, decode_body, encode_body
from meshwit.peer.succession.settings import APPEND_BYTES_MAX

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[bytes])


def append_messages(
    job: str, log: LogId, first: int, records: Sequence[Record]
) -> Iterator[tuple[Append, list[Buffer]]]:
    """The messages that carry records of one log, numbered from `first` on, and the buffers of each."""
    bodies: list[bytes] = []
    buffers: list[Buffer] = []
    blobs: dict[tuple[str, int], None] = {}
    size = 0
    for number, record in enumerate(records, start=first):
        body = encode_body(record.body)
        more = len(body) + sum(memoryview(each).nbytes for each in record.buffers)
        if bodies and (size + more > APPEND_BYTES_MAX or len(bodies) >= RECORDS_MAX):
            yield Append(job, *log, number - len(bodies), _encoder.encode(bodies), list(blobs)), buffers
            bodies, buffers, blobs, size = [], [], {}, 0
        bodies.append(body)
        buffers += record.buffers
        blobs.update(dict.fromkeys(record.blobs))
        size += more
    if bodies:
        yield Append(job, *log, first + len(records) - len(bodies), _encoder.encode(bodies), list(blobs)), buffers


def records_of(message: Append, buffers: Sequence[Buffer]) -> list[Record]:
    """The records that a message carries. Raises ValueError where it carries none that make sense."""
    try:
        bodies = [decode_body(each) for each in _decoder.decode(message.header)]
    except msgspec.DecodeError as error:
        raise ValueError(f"no list of records: {error}") from None
    found: list[Record] = []
    place = 0
    for body in bodies:
        sizes = sizes_of(body)
        own = buffers[place : place + len(sizes)]
        if [memoryview(each).nbytes for each in own] != sizes:
            raise ValueError("a record's buffers are not those that it names")
        found.append(Record(body, own))
        place += len(sizes)
    if place != len(buffers):
        raise ValueError("buffers that no record names")
    return found


def sizes_of(body: Body) -> list[int]:
    """How long the buffers beside a record are."""
    match body:
        case Answered(content=content) if content is not None:
            return content.sizes
        case Results(parts=parts):
            return [size for part in parts for size in part.content.sizes]
    return []
