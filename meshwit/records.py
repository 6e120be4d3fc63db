"""Signed records: what a peer says of itself, true wherever it is read.

A record belongs to its owner by signature: the owner's id is the hash of the key that it carries. Which owners are
members is not decided here. A record is replaced only by one of the same owner and topic with a higher version.
"""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from meshwit.ids import PeerId, is_id, peer_id

RECORD_BYTES_MAX: Final = 16 * 1024
"""Of a payload."""
TOPIC_LENGTH_MAX: Final = 64
_LABEL: Final = b"meshwit record 1\0"


class Signer(Protocol):
    """Holds a private key; the real one is a device key, a simulated one need not be secret."""

    @property
    def public_key(self) -> bytes:
        """The Ed25519 public key, 32 bytes."""

    def sign(self, message: bytes) -> bytes:
        """The signature, 64 bytes."""


class Verifier(Protocol):
    """Tells whether a signature is one; never raises."""

    def __call__(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Whether the holder of that key signed that message."""


class Record(msgspec.Struct, frozen=True, array_like=True):
    """What a peer says under one topic.

    Attributes:
        owner: who says it.
        topic: about what: `member`, `load`, `expel:<id>`.
        version: higher ones replace lower ones; milliseconds since 1970 where the owner has no better count.
        payload: what is said, MessagePack by the topic's own form; empty withdraws it.
        expires_at: seconds since 1970 when nobody needs to keep it any longer; 0 for never.
        key: the owner's public key.
        signature: over all of the above.
    """

    owner: PeerId
    topic: str
    version: int
    payload: bytes
    expires_at: int
    key: bytes
    signature: bytes


def signed_record(signer: Signer, topic: str, version: int, payload: bytes, expires_at: int = 0) -> Record:
    """A record of the signer. Raises ValueError if topic or payload are too long."""
    if len(topic) > TOPIC_LENGTH_MAX or len(payload) > RECORD_BYTES_MAX:
        raise ValueError(f"the record {topic[:80]!r} is too long: {len(payload)} bytes, {RECORD_BYTES_MAX} are allowed")
    owner = peer_id(signer.public_key)
    message = _message(owner, topic, version, payload, expires_at)
    return Record(owner, topic, version, payload, expires_at, signer.public_key, signer.sign(message))


def record_fault(record: Record, verify: Verifier) -> str:
    """Why a record is not its owner's; empty if it is. Of expiry and membership nothing is said."""
    if not is_id(record.owner) or len(record.key) != 32 or peer_id(record.key) != record.owner:
        return "the key is not the owner's"
    if len(record.topic) > TOPIC_LENGTH_MAX or len(record.payload) > RECORD_BYTES_MAX:
        return "too long"
    if not 0 <= record.version < 2**63 or not 0 <= record.expires_at < 2**63:
        return "a number is out of range"
    message = _message(record.owner, record.topic, record.version, record.payload, record.expires_at)
    return "" if verify(record.key, message, record.signature) else "the signature is wrong"


def _message(owner: PeerId, topic: str, version: int, payload: bytes, expires_at: int) -> bytes:
    return _LABEL + msgspec.msgpack.encode((owner, topic, version, payload, expires_at))
