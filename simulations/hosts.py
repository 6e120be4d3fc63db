"""Hosts and what can be said of the ways between them: data, no events.

A host is one device with at most one process that listens. Nothing here knows what the bytes mean.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final, Protocol

import msgspec


class Conditions(msgspec.Struct, frozen=True):
    """How the way between two hosts is.

    Attributes:
        delay_s: of one way, at least.
        jitter_s: mean of what comes on top, exponentially distributed.
        loss: share of packets lost, each way by itself.
        duplication: share of datagrams that arrive twice.
        reordering: share of datagrams that arrive late by up to `reordering_s`.
        reordering_s: so late at most.
        bytes_per_s: what a host can send; 0 for no limit.
    """

    delay_s: float = 0.0005
    jitter_s: float = 0.0005
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    reordering_s: float = 0.05
    bytes_per_s: float = 0.0


LAN: Final = Conditions()
WIFI: Final = Conditions(
    delay_s=0.002, jitter_s=0.004, loss=0.005, duplication=0.001, reordering=0.01, reordering_s=0.03
)
WAN: Final = Conditions(delay_s=0.03, jitter_s=0.01, loss=0.005, reordering=0.005, bytes_per_s=2_000_000)


class Traffic(msgspec.Struct):
    """What a host has sent and received, headers included."""

    datagrams_out: int = 0
    datagrams_in: int = 0
    messages_out: int = 0
    messages_in: int = 0
    dials: int = 0
    bytes_out: int = 0
    bytes_in: int = 0


class DialFailure(Enum):
    """Why a dial came to nothing."""

    REFUSED = "refused"
    UNREACHABLE = "unreachable"


class End(Protocol):
    """One side's end of a stream, as the process that holds it sees it."""

    @property
    def host(self) -> Host:
        """Whose end it is."""

    @property
    def other(self) -> End:
        """The end on the other side."""

    @property
    def open(self) -> bool:
        """Neither closed here nor told to be closed."""

    def send(self, payload: bytes, size: int | None = None) -> bool:
        """Sends one message; False if closed or full."""

    def close(self, reason: str = "closed") -> None:
        """Closes it after what was sent; the other side is told, if it can be."""

    def drop(self) -> None:
        """Forgets the stream on this side only."""


class Process(Protocol):
    """What runs on a host and is told what arrives."""

    def datagram_received(self, source: Host, payload: bytes) -> None:
        """One datagram."""

    def stream_accepted(self, end: End) -> None:
        """Somebody's dial came through."""

    def stream_received(self, end: End, payload: bytes) -> None:
        """One message, in order."""

    def stream_closed(self, end: End, reason: str) -> None:
        """The other side closed it, or it stalled for too long."""


class Host:
    """One device on the network.

    Attributes:
        process: who listens; None for nobody.
        plugged: whether anything reaches it.
        frozen_until: until then what arrives waits.
        loss: of its own, on top of that of the paths.
    """

    __slots__ = ("busy_until", "ends", "frozen_until", "index", "loss", "name", "plugged", "process", "site", "traffic")

    def __init__(self, name: str, index: int, site: str = "") -> None:
        self.name = name
        self.index = index
        self.site = site
        self.process: Process | None = None
        self.plugged = True
        self.frozen_until = 0.0
        self.busy_until = 0.0
        self.loss = 0.0
        self.ends: dict[End, None] = {}
        """Open ends of streams; a dict for its order."""
        self.traffic = Traffic()

    def __repr__(self) -> str:
        return f"<host {self.name}>"


class Cut:
    """Nothing gets from `left` to `right`; nor back, unless it is one-way."""

    __slots__ = ("left", "one_way", "right")

    def __init__(self, left: Iterable[Host], right: Iterable[Host], one_way: bool) -> None:
        self.left = frozenset(host.index for host in left)
        self.right = frozenset(host.index for host in right)
        self.one_way = one_way

    def blocks(self, source: Host, target: Host) -> bool:
        """Whether that direction is cut."""
        if source.index in self.left and target.index in self.right:
            return True
        return not self.one_way and source.index in self.right and target.index in self.left
