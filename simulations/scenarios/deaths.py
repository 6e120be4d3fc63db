"""How fast a death is known by all: a killed process, a pulled cable, a goodbye."""

from __future__ import annotations

from typing import Final

from simulations.gossip_mesh import GossipMesh
from simulations.gossip_peer import GossipPeer
from simulations.hosts import LAN, WIFI, Conditions
from simulations.scenario import Figure, Run, Scenario

LIMIT_S: Final = 30.0


def play_killed(run: Run) -> None:
    """One process is killed: the system closes its connections and refuses new ones."""
    mesh = GossipMesh(run)
    victim = settled(mesh)
    mesh.kill(victim)
    told(mesh, victim)


def play_pulled(run: Run) -> None:
    """One cable is pulled: nobody is told anything."""
    pull(run, LAN)


def play_pulled_wifi(run: Run) -> None:
    """The same where delays vary and some packets are lost."""
    pull(run, WIFI)


def play_goodbye(run: Run) -> None:
    """One leaves as it should."""
    mesh = GossipMesh(run)
    victim = settled(mesh)
    mesh.watch.gone(victim)
    victim.leave()
    told(mesh, victim)


def pull(run: Run, conditions: Conditions) -> None:
    """Pulls a cable under these conditions."""
    mesh = GossipMesh(run, conditions)
    victim = settled(mesh)
    mesh.watch.gone(victim)
    mesh.unplug(victim)
    told(mesh, victim)


def settled(mesh: GossipMesh) -> GossipPeer:
    """A mesh that knows itself, at an instant that falls anywhere in its rhythm; gives the one that is to go."""
    run = mesh.run
    rng = run.simulation.rng("victim")
    peers = mesh.gather(run.size, settle_s=20.0 + 5.0 * rng.random())
    run.expect(mesh.all_know(peers, peers), "not all know each other before it begins")
    return peers[rng.randrange(len(peers))]


def told(mesh: GossipMesh, victim: GossipPeer) -> None:
    """Waits until all others hold the victim for dead or gone, and samples when each did."""
    simulation = mesh.simulation
    began = simulation.now
    others = [peer for peer in mesh.peers.values() if peer is not victim]
    known = simulation.run_until(
        lambda: all((peer.id, victim.id) in mesh.watch.died_at for peer in others), began + LIMIT_S
    )
    mesh.run.expect(known, "not all know it")
    times = [mesh.watch.died_at.get((peer.id, victim.id), began + LIMIT_S) - began for peer in others]
    mesh.run.sample("known by all", max(times))
    for time in times:
        mesh.run.sample("known by one", time)
    simulation.run(simulation.now + 5.0)
    mesh.run.expect(not mesh.watch.false_deaths, "somebody else was declared dead")
    mesh.run.sample("false suspicions", mesh.watch.false_suspicions)


def figures(median_s: float | None, p99_s: float | None, max_s: float | None) -> tuple[Figure, ...]:
    """What is told of a death."""
    return (
        Figure("known by one", "median"),
        Figure("known by all", "median", limit=median_s),
        Figure("known by all", "p99", limit=p99_s),
        Figure("known by all", "max", limit=max_s),
        Figure("false suspicions", "sum", ""),
    )


KILLED: Final = Scenario(
    "killed", "a killed process is known dead by all", play_killed, figures(None, None, 0.5), seeds=60, long_seeds=200
)
PULLED: Final = Scenario(
    "pulled", "a pulled cable is known by all", play_pulled, figures(2.0, 5.0, None), seeds=100, long_seeds=400
)
PULLED_WIFI: Final = Scenario(
    "pulled-wifi",
    "a lost radio link is known by all",
    play_pulled_wifi,
    figures(2.0, 5.0, None),
    seeds=40,
    long_seeds=200,
)
GOODBYE: Final = Scenario("goodbye", "a goodbye is known by all", play_goodbye, figures(None, None, 0.5), seeds=20)
