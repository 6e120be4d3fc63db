"""The links of a simulated peer: the product's `Link` and handshakes over simulated connections.

Which of two connections stays when both sides dialled, what is heard out before, and how a link ends is decided by
`Link` itself; who is there by `ClientHandshake` and `ServerHandshake`; who is let in before he has proved anything by
`Gate`. What the shells of the product decide beside their sockets is bound here as it is there: `peer.wire.links` (one
link for each peer), `outgoing` (one handshake with each, tries, times), `keeping` (pauses between dials). A host has
one address, and TLS and the rules of the mesh's certificates are taken for granted: `Membership` knows one mesh.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, ParamSpec, cast

from meshwit.ids import PeerId
from meshwit.peer.wire.addresses import Address
from meshwit.peer.wire.budget import Gate
from meshwit.peer.wire.connection import Connection
from meshwit.peer.wire.endings import LinkEnd, LinkError
from meshwit.peer.wire.handshake import INSTANCE_BYTES, ClientHandshake, PeerInfo, Proved, ServerHandshake
from meshwit.peer.wire.handshake_messages import NONCE_BYTES
from meshwit.peer.wire.link import Handler, Link
from meshwit.peer.wire.settings import DEFAULTS
from simulations.hosts import DialFailure, End, Host
from simulations.jobs.clock import Clock
from simulations.jobs.wire import Setup, Wire
from simulations.keys import SimulatedKey, verify
from simulations.network import Network

TRIES: Final = 4
TRY_PAUSE_S: Final = 0.1
"""As in `peer.wire.outgoing`."""
MESH: Final = b"the mesh of simulated jobs"

Told = Callable[["Link | LinkError"], None]
P = ParamSpec("P")


class Membership:
    """What a simulated device knows of its mesh: the `Authority` of the handshakes."""

    chain: Final = b"a member of " + MESH

    def __init__(self, signer: SimulatedKey) -> None:
        self.signer = signer

    def mesh_hash(self, nonce: bytes) -> bytes:
        """The salted hash of the mesh."""
        return hashlib.blake2b(nonce, digest_size=32, key=MESH).digest()

    def admits(self, chain: bytes, key: bytes) -> str:
        """Why somebody is no member."""
        return "" if chain == self.chain else "no member of this mesh"


class Dial:
    """One call of `connect` that is under way, with all who wait for it."""

    __slots__ = ("over", "told", "tries")

    def __init__(self, told: Told) -> None:
        self.told = [told]
        self.tries = 0
        self.over = False


class Pending:
    """One handshake of ours, and the dials that wait for what comes of it."""

    __slots__ = ("dials", "setup")

    def __init__(self, setup: Setup, dial: Dial) -> None:
        self.setup = setup
        self.dials = [dial]


class KeptLink:
    """One peer to stay linked to, as `peer.wire.keeping` does it."""

    def __init__(self, links: Links, peer: PeerId) -> None:
        self.linked = peer in links.links
        self.stopped = False
        self._links = links
        self._peer = peer
        self._clock = links.clock
        self._pause_s = 0.0
        self._up_at = self._clock.now
        self._changed = False
        self._dialing = False
        self._wait = 0
        self._signal()

    def up(self) -> None:
        """A link came up, whoever dialled it."""
        self.linked = True
        self._up_at = self._clock.now
        self._signal()

    def down(self) -> None:
        """The link ended."""
        self.linked = False
        if self._clock.now - self._up_at >= DEFAULTS.redial_longest_s:
            self._pause_s = 0.0
        self._signal()

    def _signal(self) -> None:
        self._changed = True
        if not self._dialing:
            self._wait += 1
            self._clock.soon(self._turn, self._wait)

    def _turn(self, wait: int) -> None:
        if self.stopped or wait != self._wait or self._dialing:
            return
        self._changed = False
        if not self.linked:
            self._dialing = True
            self._links.dial(self._peer, self._dialed)

    def _dialed(self, result: Link | LinkError) -> None:
        self._dialing = False
        if self.stopped:
            return
        if isinstance(result, LinkError):
            self._links.on_dial_failed(self._peer, result)
        self._wait += 1
        if self.linked:
            self._pause_s = 0.0
            return
        self._pause_s = min(DEFAULTS.redial_longest_s, max(DEFAULTS.redial_first_s, 2 * self._pause_s))
        pause_s = 0.0 if self._changed else self._pause_s * self._links.rng.uniform(0.5, 1)
        self._clock.later(pause_s, self._turn, self._wait)


class Links:
    """See the module.

    Args:
        knows: whether this peer has an address of another.

    Attributes:
        on_up: called with each new link; `on_down` when one ended; `on_dial_failed` for a kept peer.
        links: the links that are up.
        duplicates: how often both sides had dialled, and one connection of two was given up.
        instance: another one at each start.
    """

    def __init__(
        self,
        host: Host,
        clock: Clock,
        network: Network,
        rng: random.Random,
        knows: Callable[[PeerId], bool],
        host_of: Callable[[PeerId], Host],
        counter: Callable[[], int],
    ) -> None:
        self.on_up: Callable[[Link], None] = lambda _link: None
        self.on_down: Callable[[PeerId, LinkEnd], None] = lambda _peer, _end: None
        self.on_dial_failed: Callable[[PeerId, LinkError], None] = lambda _peer, _error: None
        self.clock = clock
        self.rng = rng
        self.duplicates = 0
        self.instance = rng.randbytes(INSTANCE_BYTES)
        self._membership = Membership(SimulatedKey(host.name))
        self._me = self._membership.signer.id
        self._host = host
        self._network = network
        self._knows = knows
        self._host_of = host_of
        self._counter = counter
        self._handlers: dict[int, Handler] = {}
        self._links: dict[PeerId, Link] = {}
        self.links: Mapping[PeerId, Link] = MappingProxyType(self._links)
        self._gone: dict[PeerId, bytes] = {}
        self._wires: dict[End, Wire] = {}
        self._dials: dict[PeerId, Dial] = {}
        self._pending: dict[PeerId, Pending] = {}
        self._kept: dict[PeerId, KeptLink] = {}
        self._gate = Gate(DEFAULTS.unproven_max, DEFAULTS.unproven_per_host_max, DEFAULTS.accepts_per_host_s)

    def on_message(self, channel: int, handler: Handler) -> None:
        """Sets who reads a channel. What a handler raises ends the run; `Link` itself would only log it."""
        self._handlers[channel] = self.guarded(handler)

    def guarded(self, handler: Callable[P, None]) -> Callable[P, None]:
        """The same, where whoever calls it only logs what it raises: that ends the run."""

        def call(*arguments: P.args, **named: P.kwargs) -> None:
            try:
                handler(*arguments, **named)
            except Exception as reason:
                self.clock.simulation.at(self.clock.simulation.now, _raise, reason)
                raise

        return call

    def keep(self, peer: PeerId) -> None:
        """Stays linked to a peer: dials whenever there is no link, with growing pauses, until `unkeep`."""
        if peer not in self._kept:
            self._kept[peer] = KeptLink(self, peer)

    def unkeep(self, peer: PeerId) -> None:
        """Dials no longer; a link that is up stays."""
        kept = self._kept.pop(peer, None)
        if kept is not None:
            kept.stopped = True

    def streams(self, peer: PeerId) -> list[End]:
        """The connections of a link."""
        link = self._links.get(peer)
        return [wire.stream for wire in self._wires.values() if link is not None and wire.owner is link]

    # --- what the network tells --------------------------------------------------------------------------------------

    def accepted(self, end: End) -> None:
        """Somebody dialled: he has to prove himself."""
        name = end.other.host.name
        if not end.open:
            return
        if not self._gate.enter(name, self.clock.now):
            end.close()
            return
        inside = [name]

        def leave() -> None:
            while inside:
                self._gate.leave(inside.pop())

        def closed(wire: Wire) -> None:
            leave()
            self._forget(wire)

        def proved(done: Proved) -> None:
            leave()
            self._established(wire, done)

        wire = self._wires[end] = Wire(end, False, closed)
        handshake = ServerHandshake(
            authority=self._membership, verify=verify, about=self._about(), certificate=_certificate(self._host),
            nonce=self.rng.randbytes(NONCE_BYTES),
        )  # fmt: skip
        Setup(wire, handshake, self.clock, DEFAULTS.handshake_s, proved, lambda _: None)

    def received(self, end: End, payload: bytes) -> None:
        """A stream brought something."""
        wire = self._wires.get(end)
        if wire is not None:
            wire.received(payload)

    def closed(self, end: End) -> None:
        """A stream has ended."""
        wire = self._wires.get(end)
        if wire is not None:
            wire.broken()

    def _forget(self, wire: Wire) -> None:
        self._wires.pop(wire.stream, None)

    # --- dialling ----------------------------------------------------------------------------------------------------

    async def connect(self, peer: PeerId, addresses: Sequence[Address]) -> Link:
        """The link to a peer, dialled unless there is one. Raises LinkError."""
        result: asyncio.Future[Link | LinkError] = asyncio.get_running_loop().create_future()
        self.dial(peer, lambda found: None if result.done() else result.set_result(found))
        found = await result
        if isinstance(found, LinkError):
            raise found
        return found

    def dial(self, peer: PeerId, told: Told) -> None:
        """The link to a peer, dialled unless there is one; `told` gets it, or why there is none."""
        link = self._links.get(peer)
        dial = self._dials.get(peer)
        if link is not None:
            self.clock.soon(told, link)
        elif dial is not None:
            dial.told.append(told)
        elif not self._knows(peer):
            self.clock.soon(told, LinkError("unreachable", "no address of the peer is known"))
        else:
            self._dials[peer] = self._begin(self._host_of(peer), lambda result: self._dialled(peer, told, result))

    def connect_host(self, host: Host, told: Told) -> None:
        """A link to whoever is there."""
        self._begin(host, told)

    def _dialled(self, peer: PeerId, told: Told, result: Link | LinkError) -> None:
        del self._dials[peer]
        told(result)

    def _begin(self, host: Host, told: Told) -> Dial:
        dial = Dial(told)
        self._attempt(host, dial)
        late = LinkError("timeout", "there was no link in time")
        self.clock.later(DEFAULTS.connect_s, self._over, dial, late)
        return dial

    def _attempt(self, host: Host, dial: Dial) -> None:
        if dial.over:
            return
        dial.tries += 1

        def answered(what: End | DialFailure) -> None:
            if isinstance(what, DialFailure):
                kind: Any = "refused" if what is DialFailure.REFUSED else "timeout"
                self._over(dial, LinkError(kind, "nobody listens there"))
            elif dial.over:
                what.close()
            elif not what.open:  # it ended while this process stood still
                self._again(host, dial, LinkError("unreachable", "the connection broke off"))
            else:
                self._to_link(host, what, dial)

        self._network.dial(self._host, host, answered, DEFAULTS.connect_s)

    def _to_link(self, host: Host, end: End, dial: Dial) -> None:
        """TLS tells who is there: a second connection gives way to a link, and to a handshake under way."""
        key = SimulatedKey(host.name)
        who = key.id
        link, pending = self._links.get(who), self._pending.get(who)
        if link is not None or pending is not None:
            end.close()
            if link is not None:
                self._over(dial, link)
            elif pending is not None:
                pending.dials.append(dial)
            return
        wire = self._wires[end] = Wire(end, True, self._forget)

        def proved(done: Proved) -> None:
            del self._pending[who]
            link = self._established(wire, done)
            for each in made.dials:
                self._over(each, link)

        def failed(error: LinkError) -> None:
            self._pending.pop(who, None)
            for each in made.dials:
                self._again(host, each, error)
            if who in self._links:
                self._links[who].none_came()

        def may_prove() -> bool:
            link = self._links.get(who)
            if link is None or link.info.instance != handshake.server_instance:
                return True
            for each in made.dials:
                self._over(each, link)
            made.setup.give_up(LinkError("unreachable", "there is a link already"))
            return False

        handshake = ClientHandshake(
            authority=self._membership, verify=verify, about=self._about(), certificate=_certificate(host),
            server_key=key.public_key, nonce=self.rng.randbytes(NONCE_BYTES), gone=self._gone.get(who, b""),
        )  # fmt: skip
        setup = Setup(wire, handshake, self.clock, DEFAULTS.handshake_s, proved, failed, may_prove)
        made = self._pending[who] = Pending(setup, dial)
        setup.start()

    def _again(self, host: Host, dial: Dial, error: LinkError) -> None:
        """What broke off is tried some times; all else is an answer."""
        if error.kind == "unreachable" and dial.tries < TRIES and not dial.over:
            pause_s = TRY_PAUSE_S * dial.tries * self.rng.uniform(0.5, 1.5)
            self.clock.later(pause_s, self._attempt, host, dial)
        else:
            self._over(dial, error)

    def _over(self, dial: Dial, result: Link | LinkError) -> None:
        """What came of a dial. Whoever waits no longer takes the handshake with it."""
        if dial.over:
            return
        dial.over = True
        for pending in list(self._pending.values()):
            if dial in pending.dials and all(each.over for each in pending.dials):
                pending.setup.wire.abort()
        for told in dial.told:
            told(result)

    # --- links -------------------------------------------------------------------------------------------------------

    def _established(self, wire: Wire, done: Proved) -> Link:
        """The link that a proved connection belongs to: a new one, or the one that is there."""
        info = done.info
        connection = cast(Connection, wire)
        wire.parser.only = None
        link = self._links.get(info.id)
        if link is not None:
            if link.info.instance == info.instance and link.connection_id != done.gone and link.takes(connection):
                self.duplicates += 1
                link.take(connection)
                return link
            link.replace()
        link = Link(connection, info, self._me < info.id, wire.remote, self._handlers, self)
        self._links[info.id] = link
        if info.id in self._kept:
            self._kept[info.id].up()
        self.on_up(link)
        return link

    def another_may_come(self, link: Link) -> bool:
        """For its links: whether a second connection, dialled here, may yet be proved."""
        pending = self._pending.get(link.peer)
        return pending is not None and pending.setup.proof_sent

    def link_ended(self, link: Link, end: LinkEnd) -> None:
        """For its links: one is over."""
        peer = link.peer
        if self._links.get(peer) is not link:
            return
        del self._links[peer]
        self._gone[peer] = link.connection_id
        if peer in self._kept:
            self._kept[peer].down()
        self.on_down(peer, end)

    def _about(self) -> PeerInfo:
        return PeerInfo(
            id=self._me, key=self._membership.signer.public_key, name=self._host.name,
            datagram_counter=self._counter(), instance=self.instance,
        )  # fmt: skip

    def counts(self) -> Counter[str]:
        """For tests: how many there are of what must not pile up."""
        return Counter(wires=len(self._wires), dials=len(self._dials), pending=len(self._pending))


def _certificate(host: Host) -> bytes:
    return b"certificate of " + host.name.encode()


def _raise(reason: Exception) -> None:
    raise reason
