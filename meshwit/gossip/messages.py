"""What gossiping peers say to each other: MessagePack arrays, one message per datagram or frame.

Any message but the smallest carries news: claims (who is alive, suspected, dead), records (small ones), notes (that
a record of some version exists, for who lacks it to ask). Limits of each field are checked by the decoding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final, TypeAlias, cast

import msgspec

from meshwit.ids import ID_BYTES, PeerId, id_bytes, id_text, peer_id
from meshwit.records import RECORD_BYTES_MAX, TOPIC_LENGTH_MAX, Record

NUMBER_MAX: Final = 2**62
ITEMS_MAX: Final = 8192
RawId: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=ID_BYTES, max_length=ID_BYTES)]
Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)]
Topic: TypeAlias = Annotated[str, msgspec.Meta(max_length=TOPIC_LENGTH_MAX)]
Hash: TypeAlias = Annotated[bytes, msgspec.Meta(max_length=8)]


class Claim(msgspec.Struct, array_like=True, frozen=True):
    """That a member is in some state: (subject, state, incarnation, accuser or empty, why)."""

    subject: RawId
    state: Annotated[int, msgspec.Meta(ge=1, le=4)]
    incarnation: Number
    by: Annotated[bytes, msgspec.Meta(max_length=ID_BYTES)] = b""
    why: Annotated[int, msgspec.Meta(ge=0, le=2)] = 0


class WireRecord(msgspec.Struct, array_like=True, frozen=True):
    """A record without its owner's id, which is the hash of the key."""

    key: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    topic: Topic
    version: Number
    payload: Annotated[bytes, msgspec.Meta(max_length=RECORD_BYTES_MAX)]
    expires_at: Number
    signature: Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


class Note(msgspec.Struct, array_like=True, frozen=True):
    """That the sender holds this version of a record."""

    owner: RawId
    topic: Topic
    version: Number


Claims: TypeAlias = Annotated[list[Claim], msgspec.Meta(max_length=ITEMS_MAX)]
Records: TypeAlias = Annotated[list[WireRecord], msgspec.Meta(max_length=ITEMS_MAX)]
Notes: TypeAlias = Annotated[list[Note], msgspec.Meta(max_length=ITEMS_MAX)]


class Ping(msgspec.Struct, array_like=True, frozen=True, tag=1):
    """Are you there?

    `known` is the digest of the records that the sender holds of the receiver, `shared` of those that concern all.
    """

    seq: Number
    known: Hash
    shared: Hash
    claims: Claims = []
    records: Records = []
    notes: Notes = []


class Ack(msgspec.Struct, array_like=True, frozen=True, tag=2):
    """I am here, or the one you asked for is."""

    seq: Number
    claims: Claims = []
    records: Records = []
    notes: Notes = []


class PingReq(msgspec.Struct, array_like=True, frozen=True, tag=3):
    """Ping that one for me, within so many milliseconds."""

    seq: Number
    target: RawId
    within_ms: Number
    claims: Claims = []
    records: Records = []
    notes: Notes = []


class Nack(msgspec.Struct, array_like=True, frozen=True, tag=4):
    """I am here, the one you asked for did not answer me."""

    seq: Number


class News(msgspec.Struct, array_like=True, frozen=True, tag=5):
    """News alone. `compare` asks to be told, or asked for, whatever differs from the notes."""

    claims: Claims = []
    records: Records = []
    notes: Notes = []
    compare: bool = False


class Entry(msgspec.Struct, array_like=True, frozen=True):
    """One member in a digest: its state, and a hash over the versions of its records."""

    subject: RawId
    state: Annotated[int, msgspec.Meta(ge=1, le=4)]
    incarnation: Number
    records: Hash


class Digest(msgspec.Struct, array_like=True, frozen=True, tag=6):
    """All that the sender knows of the members with ids from `low` to `high`; `room` if it can take in more of them.

    `shared` is a hash over the versions of the records that concern everybody.
    """

    low: RawId
    high: RawId
    entries: Annotated[list[Entry], msgspec.Meta(max_length=ITEMS_MAX)]
    shared: Hash
    room: bool


class Want(msgspec.Struct, array_like=True, frozen=True, tag=7):
    """Send me these records: (owner, topic), every topic of that owner where it is empty."""

    items: Annotated[list[tuple[RawId, Topic]], msgspec.Meta(max_length=2048)]


Message: TypeAlias = Ping | Ack | PingReq | Nack | News | Digest | Want

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final[msgspec.msgpack.Decoder[Message]] = msgspec.msgpack.Decoder(Message)

encode = _encoder.encode


def decode(raw: bytes) -> Message:
    """The message; raises ValueError if it is none."""
    try:
        return _decoder.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as fault:
        raise ValueError(str(fault)) from None


def to_wire(record: Record) -> WireRecord:
    """The record as it is sent."""
    return WireRecord(record.key, record.topic, record.version, record.payload, record.expires_at, record.signature)


def from_wire(wire: WireRecord) -> Record:
    """The record as it is kept; nothing is checked."""
    return Record(owner_of(wire.key), wire.topic, wire.version, wire.payload, wire.expires_at, wire.key, wire.signature)


# Ids cross between their two forms several times in each message: no more calls than necessary.
id_of: Final = cast(Callable[[bytes], PeerId], id_text)
"""The peer whose id these 20 bytes are."""
raw_of: Final = cast(Callable[[PeerId], bytes], id_bytes)
"""The 20 bytes of an id."""
owner_of: Final = cast(Callable[[bytes], PeerId], peer_id)
"""The peer with that public key."""
