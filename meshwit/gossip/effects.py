"""What the gossip core wants done, and what it tells; returned from every call, performed by the shell in order."""

from __future__ import annotations

from enum import IntEnum
from typing import TypeAlias

import msgspec

from meshwit.ids import PeerId
from meshwit.records import Record


class Evidence(IntEnum):
    """What the end of a link, or an attempt at one, says about the peer at the other end."""

    CLOSED = 1
    """The connection ended without goodbye: the process may be gone."""
    REFUSED = 2
    """The host answers and nobody listens there."""
    GOODBYE = 3
    """The peer said that it goes."""
    UNREACHABLE = 4
    """No answer in time: says little, the path may be broken."""


class Why(IntEnum):
    """Why a member is held for dead."""

    REFUSED = 1
    UNRESPONSIVE = 2


class Send(msgspec.Struct, frozen=True):
    """Send to a peer: over its link if `reliable` (dialled if there is none), else as one sealed datagram."""

    peer: PeerId
    raw: bytes
    reliable: bool


class Connect(msgspec.Struct, frozen=True):
    """Find out whether a peer can be connected to; the answer is `link_up` or `link_down`."""

    peer: PeerId


class MemberJoined(msgspec.Struct, frozen=True):
    """A member is new in view."""

    peer: PeerId


class MemberSuspected(msgspec.Struct, frozen=True):
    """A member did not answer; it has some seconds to object."""

    peer: PeerId
    by: PeerId


class MemberRecovered(msgspec.Struct, frozen=True):
    """A member that was suspected, dead or gone is alive."""

    peer: PeerId


class MemberDied(msgspec.Struct, frozen=True):
    """A member is held for dead."""

    peer: PeerId
    why: Why


class MemberLeft(msgspec.Struct, frozen=True):
    """A member said goodbye."""

    peer: PeerId


class MemberForgotten(msgspec.Struct, frozen=True):
    """A member is no longer in view: the mesh is too large to keep it, or it has been dead for long."""

    peer: PeerId


class RecordChanged(msgspec.Struct, frozen=True):
    """A record of another peer is new or has a higher version; it is signed and its owner is a member."""

    record: Record


class Misbehaved(msgspec.Struct, frozen=True):
    """A peer sent what no honest peer sends."""

    peer: PeerId
    why: str


Effect: TypeAlias = (
    Send
    | Connect
    | MemberJoined
    | MemberSuspected
    | MemberRecovered
    | MemberDied
    | MemberLeft
    | MemberForgotten
    | RecordChanged
    | Misbehaved
)
