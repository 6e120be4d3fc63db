"""How fast a mesh forms, what it costs when nothing happens, and whether a very wide one holds."""

from __future__ import annotations

from typing import Final

import psutil

from meshwit.gossip.config import GossipConfig
from simulations.gossip_mesh import GossipMesh
from simulations.gossip_peer import GossipPeer
from simulations.hosts import WIFI
from simulations.scenario import Figure, Run, Scenario
from simulations.scenarios.convergence import TOPIC, holders, traffic_for

STORM: Final = 10
WIDE_VIEW: Final = 32
QUIET_S: Final = 10.0
LOAD_PERIOD_S: Final = 10.0


def play_join_storm(run: Run) -> None:
    """Ten start at once and find one member of the mesh, the same one."""
    mesh = GossipMesh(run, WIFI)
    old = mesh.gather(run.size)
    new = mesh.add(STORM)
    began = run.simulation.now
    for peer in new:
        peer.join(old[0].id)
    everybody = old + new
    known = run.simulation.run_until(lambda: mesh.all_know(everybody, everybody), began + 60.0)
    run.expect(known, "not all know each other")
    run.sample("all know all", run.simulation.now - began)
    run.simulation.run(run.simulation.now + 20.0)
    run.expect(mesh.all_know(everybody, everybody), "they fell apart again")
    run.sample("false deaths", len(mesh.watch.false_deaths))


def play_traffic(run: Run) -> None:
    """A settled mesh in which nothing happens."""
    mesh = GossipMesh(run, steps_per_check=max(1, run.size))
    peers = mesh.formed(run.size, settle_s=60.0)
    before = [peer.host.traffic.bytes_out for peer in peers]
    datagrams = sum(peer.host.traffic.datagrams_out for peer in peers)
    events = run.simulation.events
    run.simulation.run(run.simulation.now + run.duration_s)
    spent = [peer.host.traffic.bytes_out - was for peer, was in zip(peers, before, strict=True)]
    datagrams = sum(peer.host.traffic.datagrams_out for peer in peers) - datagrams
    run.sample("sent by a peer", sum(spent) / len(spent) / run.duration_s)
    run.sample("sent by the busiest peer", max(spent) / run.duration_s)
    run.sample("datagrams of a peer", datagrams / len(peers) / run.duration_s)
    run.sample("links of a peer", sum(len(peer.links) for peer in peers) / len(peers))
    run.sample("events", (run.simulation.events - events) / run.duration_s)
    run.sample("false deaths", len(mesh.watch.false_deaths))


def play_busy(run: Run) -> None:
    """A settled mesh in which everybody tells a new load every ten seconds."""
    mesh = GossipMesh(run, steps_per_check=max(1, run.size))
    peers = mesh.formed(run.size)

    def tell(peer: GossipPeer) -> None:
        peer.publish("load", b"%d" % run.simulation.events)
        run.simulation.after(LOAD_PERIOD_S, tell, peer)

    for place, peer in enumerate(peers):
        run.simulation.after(LOAD_PERIOD_S * place / run.size, tell, peer)
    run.simulation.run(run.simulation.now + 2 * LOAD_PERIOD_S)
    before = [peer.host.traffic.bytes_out for peer in peers]
    run.simulation.run(run.simulation.now + run.duration_s)
    spent = [peer.host.traffic.bytes_out - was for peer, was in zip(peers, before, strict=True)]
    run.sample("sent by a peer", sum(spent) / len(spent) / run.duration_s)
    run.sample("sent by the busiest peer", max(spent) / run.duration_s)
    run.sample("false deaths", len(mesh.watch.false_deaths))


def play_wide(run: Run) -> None:
    """Thousands of peers, each with a small view; one record for all, and some deaths."""
    config = GossipConfig(view_max=WIDE_VIEW)
    mesh = GossipMesh(run, config=config, steps_per_check=run.size)
    peers = mesh.formed(run.size, settle_s=15.0)
    run.sample("memory", psutil.Process().memory_info().rss / 2**20)
    run.sample("members in view", sum(len(peer.core.members) for peer in peers) / len(peers))
    before = [peer.host.traffic.bytes_out for peer in peers]
    run.sample("sent by a peer", traffic_for(mesh, QUIET_S))
    spent = [peer.host.traffic.bytes_out - was for peer, was in zip(peers, before, strict=True)]
    run.sample("sent by the busiest peer", max(spent) / QUIET_S)
    author = peers[run.simulation.rng("author").randrange(len(peers))]
    author.publish(TOPIC, b"news".ljust(200, b"."))
    began = run.simulation.now
    if run.simulation.run_until(lambda: holders(peers, author) >= 0.99 * len(peers), began + 60.0, 0.25):
        run.sample("known by 99%", run.simulation.now - began)
    if run.simulation.run_until(lambda: holders(peers, author) == len(peers), began + 60.0, 0.25):
        run.sample("known by 100%", run.simulation.now - began)
    victims = peers[:: len(peers) // 20][:20]
    for victim in victims:
        mesh.kill(victim)
    began = run.simulation.now
    running = mesh.running()
    victims_of = {peer.id: [each.id for each in victims if each.id in peer.core.members] for peer in running}
    knew = sum(map(len, victims_of.values()))

    def fooled() -> int:
        return sum(mesh.holds_alive(peer, victim) for peer in running for victim in victims_of[peer.id])

    run.simulation.run(began + 10.0)
    run.sample("held alive 10 s after death", 100 * fooled() / knew)
    run.expect(run.simulation.run_until(lambda: not fooled(), began + 90.0, 1.0), "some of the dead are held alive")
    run.sample("deaths known by all", run.simulation.now - began)
    run.sample("false deaths", len(mesh.watch.false_deaths))
    sizes = sorted(peer.core.known_count for peer in running)
    run.sample("estimated size, share", sizes[len(sizes) // 2] / len(running))


JOIN_STORM: Final = Scenario(
    "join-storm",
    "ten peers join at once through one",
    play_join_storm,
    (
        Figure("all know all", "median"),
        Figure("all know all", "max", limit=5.0),
        Figure("false deaths", "sum", "", limit=0),
    ),
    sizes=(1, 20),
    seeds=10,
    long_seeds=40,
)
TRAFFIC: Final = Scenario(
    "traffic",
    "what a mesh costs in which nothing happens",
    play_traffic,
    (
        Figure("sent by a peer", "mean", "B/s", limit=1024.0),
        Figure("sent by the busiest peer", "max", "B/s", limit=2048.0),
        Figure("datagrams of a peer", "mean", "1/s"),
        Figure("links of a peer", "mean", ""),
        Figure("false deaths", "sum", "", limit=0),
    ),
    sizes=(10, 100, 300, 1000),
    duration_s=60.0,
)
BUSY: Final = Scenario(
    "busy",
    "what a mesh costs in which everybody's load changes all the time",
    play_busy,
    (
        Figure("sent by a peer", "mean", "B/s", limit=3072.0),
        Figure("sent by the busiest peer", "max", "B/s", limit=4096.0),
        Figure("false deaths", "sum", "", limit=0),
    ),
    sizes=(10, 100),
    long_sizes=(10, 100, 300, 1000),
    duration_s=30.0,
)
WIDE: Final = Scenario(
    "wide",
    "thousands of peers run, each of which knows a few",
    play_wide,
    (
        Figure("known by 99%", "max"),
        Figure("known by 100%", "max", limit=10.0),
        Figure("held alive 10 s after death", "mean", "%", limit=5.0),
        Figure("deaths known by all", "max", limit=30.0),
        Figure("members in view", "mean", ""),
        Figure("estimated size, share", "mean", ""),
        Figure("sent by a peer", "mean", "B/s", limit=1024.0),
        Figure("sent by the busiest peer", "max", "B/s", limit=2048.0),
        Figure("false deaths", "sum", "", limit=0),
        Figure("memory", "max", "MiB"),
    ),
    sizes=(2000,),
    long_sizes=(10_000,),
)
