"""How fast one new record reaches everybody, and what it costs each peer."""

from __future__ import annotations

from typing import Final

from simulations.gossip_mesh import GossipMesh
from simulations.gossip_peer import GossipPeer
from simulations.scenario import Figure, Run, Scenario

TOPIC: Final = "mesh:news"
LIMIT_S: Final = 60.0
SPREAD_S: Final = 10.0
"""After which all is quiet again."""


def play(run: Run) -> None:
    """A mesh that has long been formed; one peer says something that concerns all."""
    mesh = GossipMesh(run, steps_per_check=max(1, run.size // 10))
    peers = mesh.formed(run.size, settle_s=15.0)
    idle = traffic_for(mesh, 10.0)
    author = peers[run.simulation.rng("author").randrange(len(peers))]
    began = run.simulation.now
    author.publish(TOPIC, b"news".ljust(200, b"."))
    before = [peer.host.traffic.bytes_out for peer in peers]
    for share in (0.5, 0.99, 1.0):
        wanted = share * (len(peers) - 1)
        if run.simulation.run_until(lambda: holders(peers, author) - 1 >= wanted, began + LIMIT_S, 0.05):  # noqa: B023
            run.sample(f"known by {share:.0%}", run.simulation.now - began)
    run.expect(holders(peers, author) == len(peers), f"{holders(peers, author)} of {len(peers)} know the record")
    run.simulation.run(max(run.simulation.now, began + SPREAD_S))
    took = run.simulation.now - began
    spent = [peer.host.traffic.bytes_out - was - idle * took for peer, was in zip(peers, before, strict=True)]
    run.sample("sent by a peer, idle", idle)
    run.sample("sent by a peer for it", sum(spent) / len(spent))
    run.sample("sent by the busiest peer for it", max(spent))


def holders(peers: list[GossipPeer], author: GossipPeer) -> int:
    """How many have the record, the author included."""
    return 1 + sum(knows(peer, author) for peer in peers if peer is not author)


def knows(peer: GossipPeer, author: GossipPeer) -> bool:
    """Whether it has the record."""
    return (author.id, TOPIC) in peer.core.shared_records


def traffic_for(mesh: GossipMesh, duration_s: float) -> float:
    """Bytes per second that a peer sends on average, over so long from now."""
    before = mesh.bytes_out()
    mesh.simulation.run(mesh.simulation.now + duration_s)
    return (mesh.bytes_out() - before) / duration_s / len(mesh.running())


CONVERGENCE: Final = Scenario(
    "convergence",
    "one new record reaches everybody",
    play,
    (
        Figure("known by 50%", "max"),
        Figure("known by 99%", "max"),
        Figure("known by 100%", "max", limit=10.0),
        Figure("sent by a peer, idle", "mean", "B/s", limit=1024.0),
        Figure("sent by a peer for it", "mean", "B"),
        Figure("sent by the busiest peer for it", "max", "B"),
    ),
    sizes=(10, 100, 1000),
)
