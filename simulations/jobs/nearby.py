"""Multicast of a simulated peer, in place of mDNS: who starts announces itself three times to all that can hear it, and
each answers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Final

from meshwit.ids import MeshId
from meshwit.peer.mesh.sightings import Sighting, Sightings, mesh_hash
from simulations.hosts import Host
from simulations.jobs.links import MESH
from simulations.jobs.wire import PORT, address_of
from simulations.network import Network

MESH_HASH: Final = mesh_hash(MeshId(MESH.decode()))
ANNOUNCED: Final = b"\0 announced "
ANSWERED: Final = b"\0 answered "
"""What is multicast, before a name for the start; no sealed datagram begins so."""
ANNOUNCEMENTS: Final = 3
ANNOUNCE_EVERY_S: Final = 0.225
ANSWER_S: Final = (0.02, 0.12)
"""RFC 6762, section 6."""


class SimulatedNearby:
    """What `peer.mesh.discovery` is for a real peer. To be made on the running loop of the device.

    Args:
        found: told of those that are seen anew.
    """

    def __init__(self, host: Host, network: Network, rng: random.Random, found: Callable[[Sighting], None]) -> None:
        self._host = host
        self._network = network
        self._rng = rng
        self._found = found
        self._instance = rng.randbytes(16).hex()
        self._sightings = Sightings()
        self._loop = asyncio.get_running_loop()

    @property
    def sightings(self) -> list[Sighting]:
        """Who was seen."""
        return list(self._sightings)

    async def start(self) -> None:
        """There is nothing to open."""

    async def announce(self, mesh_hash: str, port: int) -> None:
        """Tells all that it is there; all are of one mesh and have one port."""
        for number in range(ANNOUNCEMENTS):
            self._loop.call_later(number * ANNOUNCE_EVERY_S, self._announce)

    async def close(self) -> None:
        """Processes are killed."""

    def heard(self, source: Host, payload: bytes) -> bool:
        """Whether a datagram was a multicast."""
        said = next((each for each in (ANNOUNCED, ANSWERED) if payload.startswith(each)), None)
        if said is None:
            return False
        if said == ANNOUNCED:
            self._loop.call_later(self._rng.uniform(*ANSWER_S), self._say, ANSWERED, source)
        instance = payload.removeprefix(said).decode("ascii", "replace")
        sighting = Sighting(MESH_HASH, (address_of(source),), PORT, instance)
        news = self._sightings.seen(sighting, "4", self._loop.time())
        if news is not None:
            self._found(news)
        return True

    def _announce(self) -> None:
        for host in self._network.hosts:
            if host is not self._host:
                self._say(ANNOUNCED, host)

    def _say(self, what: bytes, host: Host) -> None:
        self._network.send(self._host, host, what + self._instance.encode())
