"""How fast a mesh is one again after its network was in parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from simulations.gossip_mesh import GossipMesh
from simulations.gossip_peer import GossipPeer
from simulations.scenario import Figure, Run, Scenario

TOPIC: Final = "score"
LIMIT_S: Final = 120.0


def play_halves(run: Run) -> None:
    """Two halves for five minutes."""
    split(run, run.size // 2, one_way=False)


def play_single(run: Run) -> None:
    """One peer alone for five minutes, as a laptop that was carried away."""
    split(run, 1, one_way=False)


def play_one_way(run: Run) -> None:
    """One half hears the other, and is not heard: whatever they make of it, they are one afterwards."""
    split(run, run.size // 2, one_way=True)


def split(run: Run, part: int, one_way: bool) -> None:
    """Cuts so many peers off for `run.duration_s`, lets both sides say something, heals, and waits."""
    mesh = GossipMesh(run)
    peers = mesh.gather(run.size)
    run.expect(mesh.all_know(peers, peers), "not all know each other before it begins")
    simulation = run.simulation
    left, right = peers[:part], peers[part:]
    mesh.watch.all_disturbed(run.duration_s)
    cut = mesh.network.cut([each.host for each in left], [each.host for each in right], one_way)
    simulation.run(simulation.now + run.duration_s / 2)
    for peer in (left[0], right[0]):
        peer.publish(TOPIC, b"said during the partition")
    simulation.run(simulation.now + run.duration_s / 2)
    if not one_way:
        run.expect(whole(mesh, left) and whole(mesh, right), "a side is not whole in itself")
        run.expect(not any(mesh.holds_alive(one, other.id) for one in left for other in right), "the cut is not seen")
    mesh.network.heal(cut)
    healed = simulation.now
    run.expect(
        simulation.run_until(lambda: mesh.all_know(peers, peers), healed + LIMIT_S, 0.05),
        "not all know each other again",
    )
    run.sample("all know all", simulation.now - healed)
    said = (left[0], right[0])
    told = simulation.run_until(lambda: all(heard(peer, said) for peer in peers), healed + LIMIT_S, 0.05)
    run.expect(told, "what was said during the partition is not known by all")
    run.sample("what was said is known", simulation.now - healed)
    simulation.run(healed + 60.0)
    run.expect(mesh.all_know(peers, peers), "they fell apart once more")
    run.sample("false deaths", len(mesh.watch.false_deaths))


def whole(mesh: GossipMesh, side: Sequence[GossipPeer]) -> bool:
    """Whether all of a side know each other."""
    return mesh.all_know(side, side)


def heard(peer: GossipPeer, said: Sequence[GossipPeer]) -> bool:
    """Whether it has what each of these said."""
    return all(other is peer or TOPIC in peer.core.members[other.id].records for other in said)


FIGURES: Final = (
    Figure("all know all", "median"),
    Figure("all know all", "max", limit=10.0),
    Figure("what was said is known", "max", limit=10.0),
    Figure("false deaths", "sum", "", limit=0),
)
HALVES: Final = Scenario(
    "partition", "two halves for five minutes are one within ten seconds", play_halves, FIGURES,
    sizes=(8, 50), seeds=4, long_seeds=20, duration_s=300.0,
)  # fmt: skip
SINGLE: Final = Scenario(
    "cut-off", "one peer alone for five minutes is back within ten seconds", play_single, FIGURES,
    sizes=(8, 50), seeds=4, long_seeds=20, duration_s=300.0,
)  # fmt: skip
ONE_WAY: Final = Scenario(
    "one-way", "one half unheard for five minutes", play_one_way, FIGURES,
    sizes=(8,), seeds=4, long_seeds=20, duration_s=300.0,
)  # fmt: skip
