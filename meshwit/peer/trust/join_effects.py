"""What the machines of joining want done, by the shell that holds the connection and talks to people."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from meshwit.peer.trust.certificates import Certificate, Chain
from meshwit.peer.trust.invites import Address
from meshwit.peer.trust.membership import Membership


class Way(IntEnum):
    """How one comes in."""

    OPEN = 0
    APPROVAL = 1
    CODE = 2
    TOKEN = 3


class RefusalKind(IntEnum):
    """Why nothing came of it. Kinds that are not known here count as PROTOCOL."""

    PROTOCOL = 0
    """A message was malformed, out of place, or proved to be a lie."""
    WRONG_CODE = 1
    UNKNOWN_CODE = 2
    """This member shows no code with that number; another one may."""
    CLOSED = 3
    """Too many tries: ask again in a minute."""
    DENIED = 4
    TIMEOUT = 5
    EXPELLED = 6
    INVITE = 7
    """The invite is not good: expired, made by somebody expelled."""
    WRONG_MESH = 8
    OPEN_MESH = 9
    """The mesh takes anybody, and the user did not say that this will do."""
    FULL = 10
    """This member cannot admit; another one may."""
    GIVEN_UP = 11


class SendMessage(msgspec.Struct, frozen=True):
    """Write these bytes to the other side, as one message of at most 16 KiB."""

    raw: bytes


class Show(msgspec.Struct, frozen=True):
    """Show the two words to the person here, who compares them with those on the other device.

    Attributes:
        words: the two words.
        name: what the other side calls itself: the device on a member, the mesh on a joiner. Unproven.
    """

    words: str
    name: str


class AskCode(msgspec.Struct, frozen=True):
    """Let the person here type a code, now or while waiting; give it to `Joiner.code`."""


class Confirm(msgspec.Struct, frozen=True):
    """A member has approved: ask the person here whether the words were the same, then `confirm` or `deny`."""

    words: str
    name: str


class Joined(msgspec.Struct, frozen=True):
    """This device is a member now: keep the membership, then close the connection.

    Attributes:
        membership: to be saved.
        addresses: where other members are.
        way: how it came in.
    """

    membership: Membership
    addresses: tuple[Address, ...]
    way: Way


class Admit(msgspec.Struct, frozen=True):
    """The joiner was admitted, the welcome goes out with it: tell the others.

    Attributes:
        certificate: of the new member.
        chain: the same with those above it.
        way: how it came in.
        code: the code that it used, which is good for nothing now.
    """

    certificate: Certificate
    chain: Chain
    way: Way
    code: str = ""


class JoinRefused(msgspec.Struct, frozen=True):
    """It is over: show the reason and the hint, close the connection.

    Attributes:
        reason: what happened, for people.
        hint: what to do; may be empty.
        why: the same for programs.
    """

    reason: str
    hint: str
    why: RefusalKind


Effect = SendMessage | Show | AskCode | Confirm | Joined | Admit | JoinRefused
