"""What two linked peers say about the link itself, on the SESSION channel. Core.

`Over` is the last message on a connection that is given up for a second one to the same peer; `Switched` the first on
the connection that is kept, from one who had already sent on the other: hear that out first.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec


class Goodbye(msgspec.Struct, frozen=True, tag="goodbye", tag_field="type"):
    """The sender ends the link on purpose."""

    reason: str = ""


class Over(msgspec.Struct, frozen=True, tag="over", tag_field="type"):
    """The sender says nothing more on this connection; he has another."""


class Switched(msgspec.Struct, frozen=True, tag="switched", tag_field="type"):
    """What follows here comes after the sender's `Over` on the other connection."""


class LinkPing(msgspec.Struct, frozen=True, tag="ping", tag_field="type"):
    """Asks for a `Pong` of the same number."""

    number: int = 0


class Pong(msgspec.Struct, frozen=True, tag="pong", tag_field="type"):
    """Answers a `LinkPing`."""

    number: int = 0


SessionMessage: TypeAlias = Goodbye | Over | Switched | LinkPing | Pong
_DECODER: Final = msgspec.msgpack.Decoder(SessionMessage)
_TAGGED: Final = msgspec.msgpack.Decoder(dict[str, msgspec.Raw])
_TAGS: Final = {"goodbye", "over", "switched", "ping", "pong"}


def encode_session(message: SessionMessage) -> bytes:
    """As bytes."""
    return msgspec.msgpack.encode(message)


def decode_session(payload: bytes) -> SessionMessage | str | None:
    """The message; None if it is one that is not known here; a text, what is wrong, if it is none."""
    try:
        message: SessionMessage = _DECODER.decode(payload)
        return message
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        tag = msgspec.msgpack.decode(_TAGGED.decode(payload)["type"])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError):
        return "a session message of another form"
    return "a session message with a wrong field" if not isinstance(tag, str) or tag in _TAGS else None
