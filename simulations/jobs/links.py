"""The links of a simulated peer: `peer.wire.links` as it is, over connections of a simulated network.

TLS and the rules of the mesh's certificates are taken for granted: `Membership` knows one mesh.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable
from typing import Final, ParamSpec

from meshwit.ids import PeerId
from meshwit.peer.wire.handshake import PeerInfo
from meshwit.peer.wire.link import Handler
from meshwit.peer.wire.links import Links
from simulations.hosts import End, Host
from simulations.jobs.clock import Clock
from simulations.jobs.wire import SimulatedStreams, address_of
from simulations.keys import SimulatedKey, verify
from simulations.network import Network

MESH: Final = b"the mesh of simulated jobs"
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


class SimulatedLinks(Links):
    """See the module. To be made on the running loop of the device; it listens at once.

    Attributes:
        carried: the connections.
    """

    def __init__(
        self, host: Host, clock: Clock, network: Network, rng: random.Random, counter: Callable[[], int]
    ) -> None:
        key = SimulatedKey(host.name)

        def about() -> PeerInfo:
            return PeerInfo(
                id=key.id, key=key.public_key, name=host.name, addresses=(address_of(host),), datagram_counter=counter()
            )  # fmt: skip

        self.carried = SimulatedStreams(host, clock, network)
        super().__init__(
            key, self.carried, Membership(key), about, verify=verify, rng=rng, entropy=rng.randbytes
        )  # fmt: skip
        self._clock = clock
        self._listener = self.carried.listener(self._settings, self._incoming)
        self._listener.start((), 0)

    def on_message(self, channel: int, handler: Handler) -> None:
        """Sets who reads a channel. What a handler raises ends the run; `Link` itself would only log it."""
        super().on_message(channel, self.guarded(handler))

    def guarded(self, handler: Callable[P, None]) -> Callable[P, None]:
        """The same, where whoever calls it only logs what it raises: that ends the run."""

        def call(*arguments: P.args, **named: P.kwargs) -> None:
            try:
                handler(*arguments, **named)
            except Exception as reason:
                self._clock.simulation.at(self._clock.simulation.now, _raise, reason)
                raise

        return call

    def streams(self, peer: PeerId) -> list[End]:
        """The connections of a link."""
        link = self.links.get(peer)
        transports = self.carried.transports.values()
        return [each.end for each in transports if link is not None and each.connection.owner is link]

    def counts(self) -> Counter[str]:
        """For tests: how many there are of what must not pile up."""
        return Counter(
            wires=self.connection_count, dials=len(self._dials), pending=len(self._outgoing._pending)
        )  # fmt: skip


def _raise(reason: Exception) -> None:
    raise reason
