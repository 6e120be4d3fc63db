"""A few directories on a simulated network in virtual time, for tests that read like sentences."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

from meshwit.dht.directory import Directory
from meshwit.dht.routing import Address, Contact
from meshwit.dht.settings import DirectorySettings
from meshwit.ids import PeerId, id_bytes
from meshwit.records import Record, signed_record
from simulations.keys import SimulatedKey, verify
from simulations.virtual_loop import DatagramNetwork, run_virtually

STARTED_AT = 1_800_000_000.0


class Peer:
    """One of them; `skew_s` is how far its clock is ahead."""

    def __init__(self, mesh: Mesh, name: str, number: int) -> None:
        self.key = SimulatedKey(name)
        self.id: PeerId = self.key.id
        self.address: Address = (f"10.0.{number >> 8}.{number & 255}", 7000)
        self.skew_s = 0.0
        self.seen: list[bytes] = []
        self.mesh = mesh
        self.send = mesh.network.attach(self.id, self.address, self.received)
        self.directory = Directory(
            self.id, self.key, verify, mesh.admits, self.send, self.clock, random.Random(name), mesh.settings
        )

    @property
    def contact(self) -> Contact:
        return Contact(id_bytes(self.id), self.address)

    def clock(self) -> float:
        return STARTED_AT + asyncio.get_running_loop().time() + self.skew_s

    def received(self, sender: PeerId, address: Address, payload: bytes) -> None:
        self.seen.append(payload)
        self.directory.received(sender, address, payload)

    def record(self, topic: str, payload: bytes = b"x", version: int = 1, ttl_s: float = 3600) -> Record:
        return signed_record(self.key, topic, version, payload, int(STARTED_AT + ttl_s))


class Mesh:
    """All of them."""

    def __init__(self, loss: float = 0.0, settings: DirectorySettings | None = None, seed: int = 1) -> None:
        self.settings = settings or DirectorySettings()
        self.network = DatagramNetwork(random.Random(seed), loss)
        self.peers: list[Peer] = []
        self.outsiders: set[PeerId] = set()

    def admits(self, peer: PeerId) -> bool:
        return peer not in self.outsiders

    def add(self, name: str = "") -> Peer:
        number = len(self.peers)
        peer = Peer(self, name or f"peer {number}", number)
        self.peers.append(peer)
        return peer

    async def grow(self, count: int) -> list[Peer]:
        """So many peers that have joined."""
        for _ in range(count):
            peer = self.add()
            await peer.directory.join([(each.id, each.address) for each in self.peers[:1] if each is not peer])
        return self.peers

    def kill(self, peer: Peer) -> None:
        self.network.kill(peer.address)

    async def close(self) -> None:
        assert self.network.too_long == 0
        for peer in self.peers:
            peer.directory.storage.check()
            await peer.directory.close()


def play(story: Callable[[Mesh], Coroutine[Any, Any, None]], mesh: Mesh) -> None:
    """Runs a story in virtual time; its mesh is closed and checked."""

    async def told() -> None:
        async with asyncio.timeout(100_000):
            await story(mesh)
        await mesh.close()

    run_virtually(told())
