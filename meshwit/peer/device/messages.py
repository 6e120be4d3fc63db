"""What two linked peers say of the device that they may share: one message a frame of Channel.DEVICE. Core.

Each side offers its folder, and proves that it is its own; whoever can read what lies there proves that in turn.
Peers of an earlier version have no such channel and pass over what comes on it.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

from meshwit.ids import PeerId

NONCE_BYTES: Final = 16
SECRET_BYTES: Final = 32
PROOF_BYTES: Final = 32
NAMES_MAX: Final = 4096
"""Segments that one message names."""

Proof: TypeAlias = Annotated[bytes, Meta(min_length=PROOF_BYTES, max_length=PROOF_BYTES)]


class Offer(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Segments of mine lie in a folder of this name: who shows that it can read there gets large buffers by it.

    Attributes:
        folder: its name; where such folders are, each knows by itself.
        owned: proves that the sender knows the secret in it.
        store: the folder of the sender's blob store.
    """

    folder: Annotated[str, Meta(max_length=200)]
    nonce: Annotated[bytes, Meta(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]
    owned: Proof
    store: Annotated[str, Meta(max_length=4096)]


class Shown(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The secret in the folder that you offered is known here."""

    proof: Proof


class Freed(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Nobody here looks at these segments of yours any more, one look less each time that one is named."""

    names: Annotated[list[Annotated[str, Meta(max_length=100)]], Meta(max_length=NAMES_MAX)]


Message: TypeAlias = Offer | Shown | Freed

_decoder: Final[msgspec.msgpack.Decoder[Message]] = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """The payload of a frame."""
    return msgspec.msgpack.encode(message)


def decode(payload: bytes) -> Message | None:
    """The message, None if it is none."""
    try:
        return _decoder.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def proof(secret: bytes, what: str, nonce: bytes, prover: PeerId, challenger: PeerId) -> bytes:
    """That `prover` knows a secret, told to `challenger`: of no use to anybody else, and on no other link."""
    told = msgspec.msgpack.encode((what, nonce, prover, challenger))
    return hashlib.blake2b(told, digest_size=PROOF_BYTES, key=secret).digest()
