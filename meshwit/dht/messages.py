"""What nodes say to each other: the layout of `rpcudp` with our arguments.

One byte kind (0 request, 1 answer), 20 bytes message id, then MessagePack: of a request `[method, arguments]`. Read
and written by msgspec, which gives the same bytes as the package's `umsgpack`, checks types and never recurses without
end. Arguments are arrays: later versions append, earlier ones ignore what they do not know.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec

from meshwit.ids import ID_BYTES, peer_id
from meshwit.records import Record

REQUEST: Final = 0
ANSWER: Final = 1
MESSAGE_ID_BYTES: Final = 20
HEAD_BYTES: Final = 1 + MESSAGE_ID_BYTES
STORED_AT_ONCE_MAX: Final = 8
"""Records in one `store`."""

T = TypeVar("T")


class WireRecord(msgspec.Struct, frozen=True, array_like=True):
    """A record as it travels: its owner is the hash of its key and need not be said."""

    topic: str
    version: int
    payload: bytes
    expires_at: int
    key: bytes
    signature: bytes

    def record(self) -> Record:
        """The record; whether it is true is not checked."""
        return Record(
            peer_id(self.key), self.topic, self.version, self.payload, self.expires_at, self.key, self.signature
        )


class Told(msgspec.Struct, frozen=True, array_like=True):
    """A node that another tells of: id, packed IP address (4 or 16 bytes), port."""

    id: bytes
    host: bytes
    port: int


class Ping(msgspec.Struct, frozen=True, array_like=True):
    """Are you there? Answered with the node id."""

    node: bytes


class Stored(msgspec.Struct, frozen=True, array_like=True):
    """A record to keep, at that level."""

    level: int
    record: msgspec.Raw


class Store(msgspec.Struct, frozen=True, array_like=True):
    """Keep these. Answered with one `Kept` each."""

    node: bytes
    records: list[Stored]


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """What became of a record: a `Keeping`, how many owners the key has there, and the version that was in its way."""

    keeping: int
    owners: int = 0
    version: int = 0


class FindNode(msgspec.Struct, frozen=True, array_like=True):
    """Who is close to that key? Answered with `Told`s, closest first."""

    node: bytes
    key: bytes


class FindValue(msgspec.Struct, frozen=True, array_like=True):
    """What do you have under that key? Records are chosen by a hash with `salt`, from number `offset` on."""

    node: bytes
    key: bytes
    salt: int = 0
    offset: int = 0


class Value(msgspec.Struct, frozen=True, array_like=True):
    """Some of the records under a key, how many there are, where the next page starts (0: none), and closer nodes."""

    records: list[WireRecord]
    nodes: list[Told]
    owners: int = 0
    next: int = 0


class RawValue(msgspec.Struct, frozen=True, array_like=True):
    """A `Value` whose records are already encoded."""

    records: list[msgspec.Raw]
    nodes: list[Told]
    owners: int = 0
    next: int = 0


Request = Ping | Store | FindNode | FindValue
METHODS: Final[dict[type[Any], str]] = {
    Ping: "ping",
    Store: "store",
    FindNode: "find_node",
    FindValue: "find_value",
}
_REQUESTS: Final = {name: msgspec.msgpack.Decoder(form) for form, name in METHODS.items()}
_CALL: Final = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw])
_ANSWERS: Final[dict[type[Any], msgspec.msgpack.Decoder[Any]]] = {
    Ping: msgspec.msgpack.Decoder(bytes),
    Store: msgspec.msgpack.Decoder(list[Kept]),
    FindNode: msgspec.msgpack.Decoder(list[Told]),
    FindValue: msgspec.msgpack.Decoder(Value),
}
_RECORD: Final = msgspec.msgpack.Decoder(WireRecord)
_ENCODER: Final = msgspec.msgpack.Encoder()


class MalformedError(ValueError):
    """Bytes that are no message."""


def encode_request(message_id: bytes, request: Request) -> bytes:
    """The datagram of a question."""
    return bytes([REQUEST]) + message_id + _ENCODER.encode((METHODS[type(request)], request))


def encode_answer(message_id: bytes, answer: Any) -> bytes:
    """The datagram of an answer."""
    return bytes([ANSWER]) + message_id + _ENCODER.encode(answer)


def decode_request(body: bytes) -> Request | None:
    """The question, None for a method that we do not know. Raises MalformedError."""
    name, arguments = _decode(_CALL, body)
    decoder = _REQUESTS.get(name)
    request: Request | None = None if decoder is None else _decode(decoder, bytes(arguments))
    return request


def decode_answer(form: type[Any], body: bytes) -> Any:
    """The answer to a question of that form. Raises MalformedError."""
    return _decode(_ANSWERS[form], body)


def encode_record(record: Record) -> bytes:
    """A record as it travels."""
    return _ENCODER.encode(
        WireRecord(record.topic, record.version, record.payload, record.expires_at, record.key, record.signature)
    )


def decode_record(raw: bytes) -> Record:
    """A record as it came; whether it is true is not checked. Raises MalformedError."""
    return _decode(_RECORD, raw).record()


@lru_cache(maxsize=8192)
def packed_host(host: str) -> bytes:
    """The 4 or 16 bytes of an IP address; none if it is a name, or one that only its own link understands."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return b""
    return b"" if address.is_link_local and address.version == 6 else address.packed


@lru_cache(maxsize=8192)
def host_text(packed: bytes) -> str:
    """The address whose bytes these are; empty if they are none that a peer could have."""
    if len(packed) not in (4, 16):
        return ""
    address = ipaddress.ip_address(packed)
    return "" if address.is_multicast or address.is_unspecified else str(address)


def is_key(raw: bytes) -> bool:
    """Whether it has the length of keys and node ids."""
    return len(raw) == ID_BYTES


def _decode(decoder: msgspec.msgpack.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise MalformedError(str(error)) from None
