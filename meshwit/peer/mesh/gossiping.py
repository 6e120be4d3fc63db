"""The shell of gossip: brings the core datagrams, messages, links and the time, and performs what it wants.

One funnel, `_perform`. A datagram goes to where the peer was last heard from, or where its link leads. What must not be
lost goes over the link, which is dialled if there is none; while that takes, a little is kept.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol, assert_never

from meshwit.gossip.effects import (
    Connect,
    Effect,
    Evidence,
    MemberDied,
    MemberForgotten,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    Misbehaved,
    RecordChanged,
    Send,
)
from meshwit.gossip.swim import Gossip
from meshwit.ids import PeerId
from meshwit.peer.wire import datagrams as udp
from meshwit.peer.wire.addresses import Address
from meshwit.peer.wire.datagrams import DatagramKind
from meshwit.peer.wire.endings import EndKind, ErrorKind, LinkEnd, LinkError
from meshwit.peer.wire.frames import Channel
from meshwit.peer.wire.link import Handler, Link

_log = logging.getLogger(__name__)

WAITING_MAX: Final = 32
"""Messages kept for one peer while it is dialled; gossip sends again what matters."""
DIALS_MAX: Final = 64
"""At the same time."""
HEARD_MAX: Final = 4096
"""Senders whose address is remembered: whoever has the secret can invent them. More than are ever in view."""

MemberEvent = (
    MemberJoined | MemberSuspected | MemberRecovered | MemberDied | MemberLeft | MemberForgotten | RecordChanged
)

_EVIDENCE_OF_END: Final[Mapping[EndKind, Evidence]] = {
    "goodbye": Evidence.GOODBYE,
    "refused": Evidence.REFUSED,
    "timeout": Evidence.UNREACHABLE,
}
"""What is not here is CLOSED: whoever breaks the rules is there, and so is asked again."""
_EVIDENCE_OF_FAILURE: Final[Mapping[ErrorKind, Evidence]] = {"refused": Evidence.REFUSED}


class Links(Protocol):
    """The links of this peer, as `peer.wire.links` has them."""

    @property
    def links(self) -> Mapping[PeerId, Link]:
        """Those that are up."""

    def on_message(self, channel: int, handler: Handler) -> None:
        """Sets who reads a channel."""

    async def connect(self, peer: PeerId, addresses: Sequence[Address]) -> Link:
        """The link to a peer, dialled unless there is one. Raises LinkError."""


class Datagrams(Protocol):
    """Sealed datagrams, as `peer.wire.datagrams` sends and opens them."""

    def on_datagram(self, kind: int, handler: udp.Handler) -> None:
        """Sets who reads a kind."""

    def send(self, address: Address, kind: int, payload: bytes) -> bool:
        """Sends one; False if there is no way there."""


class GossipShell:
    """Drives one `Gossip` on the running loop.

    Args:
        gossip: the core.
        addresses: where a peer may listen, the best first.
        on_event: told what happens to members, in order.
        on_misbehaved: told who broke the rules, and how.
    """

    def __init__(
        self,
        gossip: Gossip,
        links: Links,
        datagrams: Datagrams,
        addresses: Callable[[PeerId], Sequence[Address]],
        on_event: Callable[[MemberEvent], None],
        on_misbehaved: Callable[[PeerId, str], None],
    ) -> None:
        self.gossip = gossip
        self._links = links
        self._datagrams = datagrams
        self._addresses = addresses
        self._on_event = on_event
        self._on_misbehaved = on_misbehaved
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._dials: dict[PeerId, asyncio.Task[None]] = {}
        self._waiting: dict[PeerId, list[bytes]] = {}
        self._heard_at: dict[PeerId, Address] = {}
        self._closed = False

    def start(self, member_payload: bytes) -> None:
        """Begins; the own `member` record says that."""
        self._links.on_message(Channel.GOSSIP, self._from_link)
        self._datagrams.on_datagram(DatagramKind.GOSSIP, self._from_datagram)
        self._perform(self.gossip.start(self._loop.time(), member_payload))

    def publish(self, topic: str, payload: bytes, expires_at: int = 0) -> None:
        """Tells the mesh something new of this peer, that nobody needs to keep after so many seconds since 1970."""
        self._perform(self.gossip.publish(topic, payload, self._loop.time(), expires_at))

    def greet(self, peer: PeerId) -> None:
        """Compares notes with a peer that there is a link to, or can be."""
        self._perform(self.gossip.join(peer, self._loop.time()))

    def leave(self) -> None:
        """Says goodbye to everybody; the messages are on their way when it returns."""
        self._perform(self.gossip.leave(self._loop.time()))

    def close(self) -> None:
        """Stops; nothing more is sent."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for dial in self._dials.values():
            dial.cancel()

    def run(self, step: Callable[[Gossip, float], list[Effect]]) -> None:
        """Any other call of the core, its effects performed."""
        self._perform(step(self.gossip, self._loop.time()))

    # --- what comes in -----------------------------------------------------------------------------------------

    def link_up(self, link: Link) -> None:
        """A link is there."""
        self._heard_at[link.peer] = datagram_address(link)
        waiting = self._waiting.pop(link.peer, ())
        self._perform(self.gossip.link_up(link.peer, self._loop.time()))
        for raw in waiting:
            link.send(Channel.GOSSIP, raw)

    def link_down(self, peer: PeerId, end: LinkEnd) -> None:
        """A link has ended."""
        evidence = _EVIDENCE_OF_END.get(end.kind, Evidence.CLOSED)
        self._perform(self.gossip.link_down(peer, self._loop.time(), evidence))

    def dial_failed(self, peer: PeerId, error: LinkError) -> None:
        """A peer could not be connected to, whoever tried."""
        self._waiting.pop(peer, None)
        evidence = _EVIDENCE_OF_FAILURE.get(error.kind, Evidence.UNREACHABLE)
        self._perform(self.gossip.link_down(peer, self._loop.time(), evidence))

    def _from_link(self, link: Link, raw: bytes) -> None:
        self._perform(self.gossip.receive(raw, link.peer, self._loop.time(), reliable=True))

    def _from_datagram(self, sender: PeerId, address: Address, raw: bytes) -> None:
        self._heard_at[sender] = address
        if len(self._heard_at) > HEARD_MAX:
            del self._heard_at[next(iter(self._heard_at))]
        self._perform(self.gossip.receive(raw, sender, self._loop.time(), reliable=False))

    def _tick(self) -> None:
        self._timer = None
        self._perform(self.gossip.tick(self._loop.time()))

    # --- what goes out -----------------------------------------------------------------------------------------

    def _perform(self, effects: list[Effect]) -> None:
        if self._closed:
            return
        for effect in effects:
            match effect:
                case Send(peer=peer, raw=raw, reliable=reliable):
                    self._send(peer, raw, reliable=reliable)
                case Connect(peer=peer):
                    self._connect(peer)
                case Misbehaved(peer=peer, why=why):
                    self._on_misbehaved(peer, why)
                case MemberForgotten(peer=peer):
                    self._heard_at.pop(peer, None)
                    self._tell(effect)
                case (
                    MemberJoined()
                    | MemberSuspected()
                    | MemberRecovered()
                    | MemberDied()
                    | MemberLeft()
                    | RecordChanged()
                ):
                    self._tell(effect)
                case _:
                    assert_never(effect)
        self._arm()

    def _tell(self, event: MemberEvent) -> None:
        """What is wrong in there, with something that another peer says of itself, must not stop the gossip."""
        try:
            self._on_event(event)
        except Exception:
            _log.exception("what came of %s failed", type(event).__name__)

    def _arm(self) -> None:
        deadline = self.gossip.next_deadline()
        if self._timer is not None:
            if deadline is not None and self._timer.when() <= deadline:
                return  # it fires early at worst and is set anew then
            self._timer.cancel()
            self._timer = None
        if deadline is not None and not self._closed:
            self._timer = self._loop.call_at(deadline, self._tick)

    def _send(self, peer: PeerId, raw: bytes, *, reliable: bool) -> None:
        link = self._links.links.get(peer)
        if not reliable:
            address = self._heard_at.get(peer)
            if address is None and link is None:
                address = next(iter(self._addresses(peer)), None)
            if address is not None and self._datagrams.send(address, DatagramKind.GOSSIP, raw):
                return
        if link is not None:
            link.send(Channel.GOSSIP, raw)
        elif reliable:
            waiting = self._waiting.setdefault(peer, [])
            if len(waiting) < WAITING_MAX:
                waiting.append(raw)
            self._connect(peer)

    def _connect(self, peer: PeerId) -> None:
        if peer in self._dials:
            return
        if len(self._dials) >= DIALS_MAX:
            self._waiting.pop(peer, None)
            return
        self._dials[peer] = self._loop.create_task(self._dial(peer))

    async def _dial(self, peer: PeerId) -> None:
        try:
            link = await self._links.connect(peer, self._addresses(peer))
        except LinkError as error:
            self.dial_failed(peer, error)
        else:
            # A link that was there already is no news to `Links`, but it is the answer to `Connect`.
            self._loop.call_soon(self._answer, link)
        finally:
            del self._dials[peer]

    def _answer(self, link: Link) -> None:
        if self._links.links.get(link.peer) is link:
            self.link_up(link)


def datagram_address(link: Link) -> Address:
    """Where the peer of a link takes datagrams: at its host, on the port that it listens at."""
    host, port = link.address
    return host, link.info.addresses[0][1] if link.info.addresses else port
