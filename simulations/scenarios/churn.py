"""Everything at once: kills, restarts, pulled cables, freezes, partitions and loss, and then agreement."""

from __future__ import annotations

from random import Random
from typing import Final

from simulations.gossip_mesh import GossipMesh
from simulations.gossip_peer import GossipPeer
from simulations.hosts import Conditions
from simulations.scenario import Figure, Run, Scenario

CONDITIONS: Final = Conditions(
    delay_s=0.001, jitter_s=0.003, loss=0.02, duplication=0.02, reordering=0.05, reordering_s=0.05
)
CALM_S: Final = 90.0


def play(run: Run) -> None:
    """Faults at random for `run.duration_s`; then quiet, after which all must hold the same."""
    mesh = GossipMesh(run, CONDITIONS)
    mesh.gather(run.size)
    mesh.watch.all_disturbed(run.duration_s + CALM_S)
    simulation = run.simulation
    rng = simulation.rng("churn")
    end = simulation.now + run.duration_s
    while simulation.now < end:
        simulation.run(simulation.now + rng.expovariate(0.5))
        trouble(mesh, rng)
    for peer in list(mesh.peers.values()):
        mesh.network.plug(peer.host)
        if not peer.running and rng.random() < 0.5:
            restart(mesh, peer, rng)
    calm = simulation.now
    simulation.run(calm + 60.0)  # the longest of the troubles is over then, and its traces are gone
    agreed = simulation.run_until(lambda: agree(mesh), calm + CALM_S, 0.25)
    if not agreed:
        for text in disagreements(mesh)[:10]:
            run.fault(text)
    run.sample("agreed after", simulation.now - calm)


def trouble(mesh: GossipMesh, rng: Random) -> None:
    """One fault, somewhere."""
    peer = list(mesh.peers.values())[rng.randrange(len(mesh.peers))]
    network, simulation = mesh.network, mesh.simulation
    match rng.randrange(7):
        case 0 if len(mesh.running()) > len(mesh.peers) // 2:
            mesh.kill(peer)
        case 1 if not peer.running:
            restart(mesh, peer, rng)
        case 2:
            network.unplug(peer.host)
            simulation.after(20.0 * rng.random(), network.plug, peer.host)
        case 3:
            network.freeze(peer.host, 10.0 * rng.random())
        case 4:
            hosts = [each.host for each in mesh.peers.values()]
            rng.shuffle(hosts)
            part = rng.randrange(1, len(hosts))
            cut = network.cut(hosts[:part], hosts[part:], one_way=rng.random() < 0.5)
            simulation.after(30.0 * rng.random(), network.heal, cut)
        case 5 if peer.running:
            peer.publish("load", b"%d" % rng.randrange(1000))
        case 6 if peer.running and rng.random() < 0.2:
            mesh.watch.gone(peer)
            peer.leave()
        case _:
            pass


def restart(mesh: GossipMesh, peer: GossipPeer, rng: Random) -> None:
    """A new process with the old key, which knows the addresses of some others."""
    mesh.network.plug(peer.host)
    mesh.watch.back(peer.id)
    again = mesh.start(peer.host)
    others = [each.id for each in mesh.running() if each is not again]
    for contact in rng.sample(others, min(3, len(others))):
        again.join(contact)


def agree(mesh: GossipMesh) -> bool:
    """Whether all who run hold the same: who runs, and the latest of what each says."""
    return not disagreements(mesh)


def disagreements(mesh: GossipMesh) -> list[str]:
    """What they do not agree on, as text."""
    running = mesh.running()
    found = []
    for observer in running:
        for subject in mesh.peers.values():
            if subject is observer:
                continue
            alive = mesh.holds_alive(observer, subject.id)
            if alive != subject.running:
                state = mesh.state(observer, subject.id)
                held = "unknown" if state is None else state.name
                found.append(f"{observer.name} holds {subject.name} for {held}, and it is {subject.running = }")
            elif alive:
                theirs = {topic: record.version for topic, record in observer.core.members[subject.id].records.items()}
                ours = {topic: record.version for topic, record in subject.core.own_records.items()}
                if theirs != ours:
                    found.append(f"{observer.name} has {theirs} of {subject.name}, which says {ours}")
    return found


CHURN: Final = Scenario(
    "churn",
    "faults of all kinds at random, then agreement",
    play,
    (Figure("agreed after", "median"), Figure("agreed after", "max", limit=CALM_S)),
    sizes=(12,),
    seeds=8,
    long_seeds=40,
    duration_s=300.0,
)
