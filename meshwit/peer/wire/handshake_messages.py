"""What the two sides of a handshake say, as MessagePack maps. Core.

New fields have defaults and nothing is retyped. `Hello` and `Refusal` must stay readable for ever, or versions cannot
be told.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

import msgspec

NONCE_BYTES: Final = 32

Purpose: TypeAlias = Literal["member", "join"]
_Key: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
_Nonce: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]
_Version: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=65535)]


class About(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `PeerInfo` says beyond what is proved."""

    name: str = ""
    version: str = ""
    controllers: dict[str, str] = {}
    addresses: tuple[tuple[str, int], ...] = ()
    datagram_counter: int = 0


class Hello(msgspec.Struct, frozen=True, tag="hello", tag_field="type"):
    """The client begins. `mesh` is the hash of its mesh under `nonce`; empty when it wants to join."""

    key: _Key
    nonce: _Nonce
    purpose: Purpose = "member"
    mesh: bytes = b""
    protocol_min: _Version = 1
    protocol_max: _Version = 1
    version: str = ""
    instance: bytes = b""


class Challenge(msgspec.Struct, frozen=True, tag="challenge", tag_field="type"):
    """The server chooses the version and proves itself."""

    key: _Key
    nonce: _Nonce
    signature: bytes
    protocol: _Version = 1
    chain: bytes = b""
    instance: bytes = b""


class Proof(msgspec.Struct, frozen=True, tag="proof", tag_field="type"):
    """The client proves itself. `gone` is the id of the last connection to this server that it lost."""

    signature: bytes
    chain: bytes = b""
    about: About = About()
    gone: bytes = b""


class Accepted(msgspec.Struct, frozen=True, tag="ready", tag_field="type"):
    """The server lets the client in."""

    about: About = About()


class Refusal(msgspec.Struct, frozen=True, tag="refusal", tag_field="type"):
    """Either side says why not. `code` is an error kind; others, of newer peers, count as `protocol`."""

    code: str = "protocol"
    message: str = ""
    protocol_min: _Version = 0
    protocol_max: _Version = 0
    name: str = ""


Message: TypeAlias = Hello | Challenge | Proof | Accepted | Refusal
