"""The messages of joining, and how they are read from an untrusted side.

    open       Ask -> Welcome
    approval   Ask -> Nonce -> Reveal -> (a person approves) -> Welcome
    code       CodeAsk -> CodeReply -> CodeProof -> Welcome
    token      TokenAsk -> TokenReply -> TokenProof -> Welcome

Either side may end it with Refuse. A joiner that waits for approval may send a CodeAsk instead.
"""

from __future__ import annotations

from typing import Final

import msgspec

from meshwit.peer.trust.certificates import name_fault
from meshwit.peer.trust.invites import Address
from meshwit.peer.trust.join_effects import JoinRefused, RefusalKind, Way
from meshwit.peer.trust.membership import MeshSecret
from meshwit.records import Record

MESSAGE_BYTES_MAX: Final = 16 * 1024
NONCE_BYTES: Final = 32
PROOF_BYTES: Final = 32
ADDRESSES_MAX: Final = 32
EXPULSIONS_BYTES_MAX: Final = 6 * 1024
"""Of a welcome; the new member hears of the rest by gossip."""
_HOST_LENGTH_MAX: Final = 255
_TEXT_LENGTH_MAX: Final = 240


class Ask(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """May I come in? With the hash of a nonce that is told only after the member's."""

    name: str
    commitment: bytes


class Nonce(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The member's nonce, and what its mesh is called."""

    nonce: bytes
    mesh_name: str


class Reveal(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The nonce behind the commitment."""

    nonce: bytes


class CodeAsk(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """I know the code with that number: the first half of SPAKE2."""

    name: str
    number: int
    share: bytes


class CodeReply(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """The other half; proves nothing yet, so that nobody learns from it whether a guess was right."""

    share: bytes


class CodeProof(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """That both halves came to the same key."""

    proof: bytes


class TokenAsk(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """I have an invite into the mesh with that hash."""

    name: str
    nonce: bytes
    mesh_hash: bytes


class TokenReply(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """I am a member of it, as my chain says."""

    nonce: bytes
    chain: bytes


class TokenProof(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """The invite's chain, and what its key signs for this connection."""

    chain: bytes
    signature: bytes


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """You are a member: a `WelcomeBody`, and where a code was used the proof that it comes from who knows it."""

    body: bytes
    proof: bytes = b""


class Refuse(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """No. The texts are shown to people after cleaning."""

    why: int
    reason: str
    hint: str = ""


class WelcomeBody(msgspec.Struct, frozen=True, array_like=True):
    """All that makes a member."""

    way: Way
    mesh_key: bytes
    mesh_name: str
    chain: bytes
    secrets: tuple[MeshSecret, ...]
    expulsions: tuple[Record, ...] = ()
    addresses: tuple[Address, ...] = ()


Message = Ask | Nonce | Reveal | CodeAsk | CodeReply | CodeProof | TokenAsk | TokenReply | TokenProof | Welcome | Refuse

_messages: Final[msgspec.msgpack.Decoder[Message]] = msgspec.msgpack.Decoder(Message)
_bodies: Final = msgspec.msgpack.Decoder(WelcomeBody)


def encode(message: Message | WelcomeBody) -> bytes:
    """For the wire."""
    return msgspec.msgpack.encode(message)


def decode(raw: bytes) -> Message:
    """One message. Raises ValueError if it is none."""
    if len(raw) > MESSAGE_BYTES_MAX:
        raise ValueError(f"a message of {len(raw)} bytes is longer than joining needs")
    try:
        return _messages.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ValueError("a message that is none of joining") from None


def decode_body(raw: bytes) -> WelcomeBody:
    """What a welcome holds. Raises ValueError if it is none; of its truth nothing is said."""
    try:
        return _bodies.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ValueError("a welcome that cannot be read") from None


def refused_by_other(message: Refuse) -> JoinRefused:
    """What the other side's refusal means here: its texts cleaned, for they go to a terminal."""
    known = {each.value for each in RefusalKind}
    return JoinRefused(
        plain(message.reason) or "the other side refused",
        plain(message.hint),
        RefusalKind(message.why) if message.why in known else RefusalKind.PROTOCOL,
    )


def plain(text: str) -> str:
    """A text from outside without control characters, on one line, of bounded length."""
    return " ".join("".join(each if each.isprintable() else " " for each in text[:_TEXT_LENGTH_MAX]).split())


def shown_name(name: str) -> str:
    """A name from outside if it may be one, else a question mark."""
    return "?" if name_fault(name) else name


def sound_addresses(addresses: tuple[Address, ...]) -> tuple[Address, ...]:
    """Those that can be addresses, a bounded number of them."""
    return tuple(
        (host, port)
        for host, port in addresses[:ADDRESSES_MAX]
        if 0 < len(host) <= _HOST_LENGTH_MAX and host.isprintable() and 0 < port < 65_536
    )


def fitting(records: tuple[Record, ...]) -> tuple[Record, ...]:
    """The first ones, seniors' first, that a welcome has room for."""
    room, taken = EXPULSIONS_BYTES_MAX, []
    for each in records:
        room -= len(each.payload) + 256
        if room < 0:
            break
        taken.append(each)
    return tuple(taken)
