"""What peers say to each other about blobs: one message a frame, MessagePack, arrays with a tag. Core.

A fetcher asks (`Ask`), a source answers what it has (`Has`), gives the list of chunk hashes by pages (`Hashes`), and
chunks (`Chunk`). Later versions append fields with defaults; earlier ones ignore what they do not know.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

from meshwit.ids import ID_BYTES

CHUNK_BYTES: Final = 256 * 1024
"""A frame takes 1 MiB; smaller chunks cost more messages, larger ones are had later by those who wait for them."""
CHUNKS_MAX: Final = 1 << 18
"""64 GiB: the list of hashes is then 8 MiB, which is kept in memory."""
HASH_BYTES: Final = 32
PAGE_HASHES: Final = 8192
"""Chunk hashes in one message: 256 KiB."""
INDEXES_MAX: Final = 4096
"""Chunks that one message names."""
FETCHERS_MAX: Final = 32
"""Other fetchers that one answer names."""

Hash: TypeAlias = Annotated[bytes, Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]
MaybeHash: TypeAlias = Annotated[bytes, Meta(max_length=HASH_BYTES)]
Index: TypeAlias = Annotated[int, Meta(ge=0, lt=CHUNKS_MAX)]
Indexes: TypeAlias = Annotated[list[Index], Meta(max_length=INDEXES_MAX)]
Size: TypeAlias = Annotated[int, Meta(ge=0, le=CHUNKS_MAX * CHUNK_BYTES)]
RawPeer: TypeAlias = Annotated[bytes, Meta(min_length=ID_BYTES, max_length=ID_BYTES)]


class Why(IntEnum):
    """Why something is not given."""

    ABSENT = 1
    """The peer does not have the blob."""
    LACKING = 2
    """It does not have these chunks yet."""
    BUSY = 3
    """Later: as many as it can are being served, or it is still reading the blob itself."""
    ELSEWHERE = 4
    """Another fetcher has these chunks, or is about to."""


class Ask(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """What have you of this blob? Whoever asks fetches it, and is told of changes for a while."""

    hash: Hash
    size: Size


class Has(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """What a source has: all (`whole`), or the chunks of `bitmap`, most significant bit first.

    `digest` is over the list of chunk hashes, empty where the source has none yet. `fetchers` asked for it lately.
    """

    hash: Hash
    size: Size
    whole: bool
    digest: MaybeHash
    bitmap: Annotated[bytes, Meta(max_length=CHUNKS_MAX // 8)] = b""
    fetchers: Annotated[list[RawPeer], Meta(max_length=FETCHERS_MAX)] = []


class AskHashes(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The chunk hashes from number `first` on, please."""

    hash: Hash
    first: Index


class Hashes(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Chunk hashes from number `first` on, one after another."""

    hash: Hash
    first: Index
    hashes: Annotated[bytes, Meta(max_length=PAGE_HASHES * HASH_BYTES)]


class Want(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """These chunks, please; `insist`: they were to be had elsewhere and were not."""

    hash: Hash
    indexes: Indexes
    insist: bool = False


class Chunk(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """One chunk."""

    hash: Hash
    index: Index
    data: Annotated[bytes, Meta(max_length=CHUNK_BYTES)]


class Refuse(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """These chunks are not given; with no `indexes`, it answers an `Ask`. `peer` has them, `retry_ms` is for BUSY."""

    hash: Hash
    indexes: Indexes
    why: int
    peer: Annotated[bytes, Meta(max_length=ID_BYTES)] = b""
    retry_ms: Annotated[int, Meta(ge=0, le=60_000)] = 500


class Got(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """The sender has these chunks now too."""

    hash: Hash
    indexes: Indexes


Message: TypeAlias = Ask | Has | AskHashes | Hashes | Want | Chunk | Refuse | Got

_DECODER: Final[msgspec.msgpack.Decoder[Message]] = msgspec.msgpack.Decoder(Message)
_ENCODER: Final = msgspec.msgpack.Encoder()


def encode(message: Message) -> bytes:
    """The payload of a frame."""
    return _ENCODER.encode(message)


def decode(payload: bytes | bytearray | memoryview) -> Message | None:
    """The message, None if it is none."""
    try:
        return _DECODER.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
