"""Scenarios of the directory: sudden death, and finding capable peers in a mesh too wide to gossip about.

They play real `Directory` objects over simulated datagrams in virtual time; only signatures are simulated ones.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Final

from meshwit.dht.directory import Directory
from meshwit.dht.routing import Address
from meshwit.dht.settings import DirectorySettings
from meshwit.ids import PeerId
from meshwit.records import Record
from simulations.keys import SimulatedKey, verify
from simulations.scenario import Figure, Run, Scenario
from simulations.virtual_loop import DatagramNetwork, run_virtually

STARTED_AT: Final = 1_800_000_000.0
"""Seconds since 1970 when virtual time begins."""
LOSS: Final = 0.02
DEATHS: Final = 0.3
READS: Final = 60
JOIN_EVERY_S: Final = 0.02
SETTLE_S: Final = 30.0


class Node:
    """One peer of the simulated mesh."""

    def __init__(self, mesh: Mesh, number: int) -> None:
        self.key = SimulatedKey(f"{mesh.run.simulation.seed}/{number}")
        self.id: PeerId = self.key.id
        self.address: Address = (f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 7000)
        self.alive = True
        send = mesh.network.attach(self.id, self.address, self._received)
        rng = mesh.run.simulation.rng(f"node {number}")
        clock = asyncio.get_running_loop().time
        self.directory = Directory(
            self.id, self.key, verify, mesh.admits, send, lambda: STARTED_AT + clock(), rng, mesh.settings
        )

    def _received(self, sender: PeerId, address: Address, payload: bytes) -> None:
        self.directory.received(sender, address, payload)


class Mesh:
    """All nodes of a run and the network between them."""

    def __init__(self, run: Run, loss: float = LOSS, settings: DirectorySettings | None = None) -> None:
        self.run = run
        self.settings = settings or DirectorySettings()
        self.rng: random.Random = run.simulation.rng("mesh")
        self.network = DatagramNetwork(run.simulation.rng("network"), loss, note=self._note)
        self.nodes: list[Node] = []
        self._ids: set[PeerId] = set()

    @property
    def alive(self) -> list[Node]:
        """Those that did not die."""
        return [each for each in self.nodes if each.alive]

    def admits(self, peer: PeerId) -> bool:
        """Whether it belongs to the mesh."""
        return peer in self._ids

    async def form(self) -> None:
        """All join, one after the other but not waiting for each other, each by two that are there."""
        joins = []
        loop = asyncio.get_running_loop()
        for number in range(self.run.size):
            node = Node(self, number)
            some = self.rng.sample(self.nodes, min(2, len(self.nodes)))
            self.nodes.append(node)
            self._ids.add(node.id)
            joins.append(loop.create_task(node.directory.join([(each.id, each.address) for each in some])))
            await asyncio.sleep(JOIN_EVERY_S)
        for known in await asyncio.gather(*joins):
            self.run.sample("nodes known after joining", known)
        await asyncio.sleep(SETTLE_S)

    def kill(self, share: float) -> None:
        """So many die at once, without a word."""
        for node in self.rng.sample(self.nodes, round(share * len(self.nodes))):
            node.alive = False
            self.network.kill(node.address)

    async def close(self) -> None:
        """Check what always holds, and end."""
        self.run.expect(not self.network.too_long, f"{self.network.too_long} datagrams are too long")
        for node in self.nodes:
            node.directory.storage.check()
        for node in self.nodes:
            self.network.kill(node.address)
            await node.directory.close()

    def _note(self, text: str) -> None:
        self.run.simulation.now = asyncio.get_running_loop().time()
        self.run.simulation.events += 1
        self.run.simulation.note(text)


def play_directory(run: Run) -> None:
    """Records are published, three in ten die at once, and all records are read."""
    run_virtually(_directory(run))


async def _directory(run: Run) -> None:
    mesh = Mesh(run)
    await mesh.form()
    loop = asyncio.get_running_loop()
    said: dict[tuple[str, str], tuple[PeerId, bytes]] = {}
    owners = mesh.rng.sample(mesh.nodes, min(READS, len(mesh.nodes)))
    for number, owner in enumerate(owners):
        topic = ("peer", owner.id) if number % 2 else ("job", f"job {number}")
        for version in ("old", "new"):
            payload = f"{version} {number} ".encode() * 8
            before_s = loop.time()
            stored = await owner.directory.publish(*topic, payload)
            run.sample("store", (loop.time() - before_s) / mesh.network.round_trip_s)
            run.sample("stored on", stored)
        said[topic] = (owner.id, payload)
    await asyncio.sleep(SETTLE_S)
    await _measure_idle(run, mesh)
    mesh.kill(DEATHS)
    reads = []
    for topic, (owner_id, payload) in said.items():
        reader = mesh.rng.choice(mesh.alive)
        reads.append(loop.create_task(_read(run, mesh, reader, topic, owner_id, payload)))
        await asyncio.sleep(mesh.rng.uniform(0.0, 0.2))
    await asyncio.gather(*reads)
    await mesh.close()


async def _read(run: Run, mesh: Mesh, reader: Node, topic: tuple[str, str], owner: PeerId, payload: bytes) -> None:
    began = asyncio.get_running_loop().time()
    found = await reader.directory.find(*topic)
    run.sample("read", (asyncio.get_running_loop().time() - began) / mesh.network.round_trip_s)
    right = [(each.owner, each.payload) for each in found] == [(owner, payload)]
    run.sample("reads that succeeded", float(right))


async def _measure_idle(run: Run, mesh: Mesh) -> None:
    """What the directory costs while nobody asks anything."""
    minutes = 30
    _, before = mesh.network.total()
    await asyncio.sleep(60.0 * minutes)
    _, after = mesh.network.total()
    run.sample("idle traffic of a peer", (after - before) / (60.0 * minutes) / len(mesh.nodes))


def play_capable(run: Run) -> None:
    """Nine in ten offer one thing, three in ten another, five a rare one; some peers look for each."""
    run_virtually(_capable(run))


async def _capable(run: Run) -> None:
    mesh = Mesh(run)
    await mesh.form()
    offered: Mapping[str, list[Node]] = {
        "text.count": mesh.rng.sample(mesh.nodes, len(mesh.nodes) * 9 // 10),
        "gpu.cuda": mesh.rng.sample(mesh.nodes, len(mesh.nodes) * 3 // 10),
        "score:8": mesh.rng.sample(mesh.nodes, 5),
    }
    for capability, nodes in offered.items():
        for start in range(0, len(nodes), 20):
            some = nodes[start : start + 20]
            await asyncio.gather(*(each.directory.publish("capability", capability, b"1") for each in some))
    await asyncio.sleep(SETTLE_S)
    chosen: dict[PeerId, int] = {}
    for _ in range(20):
        reader = mesh.rng.choice(mesh.nodes)
        for capability, nodes in offered.items():
            began = asyncio.get_running_loop().time()
            found = await reader.directory.find_capable(capability, 16)
            took = (asyncio.get_running_loop().time() - began) / mesh.network.round_trip_s
            _check_capable(run, found, nodes)
            run.sample("search for 16", took)
            run.sample("searches that succeeded", float(len(found) == min(16, len(nodes))))
            if capability == "text.count":
                for record in found:
                    chosen[record.owner] = chosen.get(record.owner, 0) + 1
    run.sample("times that one peer was chosen", max(chosen.values()))
    run.sample("peers chosen", len(chosen))
    for capability, nodes in offered.items():
        began = asyncio.get_running_loop().time()
        found = await mesh.rng.choice(mesh.nodes).directory.find_capable(capability, len(mesh.nodes))
        run.sample("search for all", (asyncio.get_running_loop().time() - began) / mesh.network.round_trip_s)
        _check_capable(run, found, nodes)
        run.sample("share found of all", len(found) / len(nodes))
    await mesh.close()


def _check_capable(run: Run, found: list[Record], nodes: list[Node]) -> None:
    capable = {each.id for each in nodes}
    owners = [each.owner for each in found]
    run.expect(len(set(owners)) == len(owners), "an owner is told twice")
    run.expect(set(owners) <= capable, "somebody is told who does not offer it")


SCENARIOS: Final[dict[str, Scenario]] = {
    "directory": Scenario(
        name="directory",
        summary="60 records are read while 2 % of datagrams are lost and 30 % of the peers just died",
        play=play_directory,
        figures=(
            Figure("reads that succeeded", "min", "", 1.0, at_least=True),
            Figure("reads that succeeded", "sum", "reads"),
            Figure("read", "median", "round trips", 3.0),
            Figure("read", "p99", "round trips"),
            Figure("store", "median", "round trips"),
            Figure("stored on", "min", "nodes"),
            Figure("nodes known after joining", "min", "nodes"),
            Figure("idle traffic of a peer", "mean", "bytes/s"),
        ),
        sizes=(300,),
        long_sizes=(300, 1000),
    ),
    "directory-capable": Scenario(
        name="directory-capable",
        summary="capable peers are found where hundreds offer the same",
        play=play_capable,
        figures=(
            Figure("searches that succeeded", "min", "", 1.0, at_least=True),
            Figure("search for 16", "median", "round trips"),
            Figure("search for 16", "max", "round trips"),
            Figure("peers chosen", "mean", "peers"),
            Figure("times that one peer was chosen", "max", "of 20"),
            Figure("share found of all", "min", "", 0.95, at_least=True),
            Figure("search for all", "max", "round trips"),
        ),
        sizes=(300,),
        long_sizes=(300, 1000),
    ),
}
"""By name, for the registry of all scenarios."""
