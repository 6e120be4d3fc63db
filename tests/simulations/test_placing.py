"""Peers put into each other's views know just those whom they would have come to know by themselves."""

from __future__ import annotations

from meshwit.gossip.config import GossipConfig
from meshwit.ids import id_bytes
from simulations.engine import Simulation
from simulations.gossip_mesh import GossipMesh
from simulations.scenario import Run


def mesh_of(size: int, view_max: int) -> GossipMesh:
    return GossipMesh(Run(Simulation(1), size, 0.0), config=GossipConfig(view_max=view_max))


def test_a_small_mesh_knows_itself_whole_and_is_calm():
    mesh = mesh_of(12, 256)
    peers = mesh.formed(12)
    assert mesh.all_know(peers, peers)
    before = mesh.simulation.events
    mesh.simulation.run(mesh.simulation.now + 60.0)
    assert mesh.simulation.events - before < 12 * 60 * 12
    assert mesh.run.faults == [] and mesh.watch.false_suspicions == 0


def test_in_a_large_mesh_the_views_are_those_that_the_peers_choose():
    mesh = mesh_of(200, 16)
    peers = mesh.formed(200, settle_s=0.0)
    for peer in peers:
        table = peer.core._ground.table
        assert len(table) == 16 and table.crowded_out() == []
        peer.core.check()
        strangers = [each for each in peers if each is not peer and each.id not in table.members]
        assert not any(table.wants(id_bytes(each.id)) for each in strangers)


def test_what_concerns_all_reaches_a_large_mesh():
    mesh = mesh_of(200, 16)
    author, *others = mesh.formed(200)
    author.publish("mesh:news", b"news")
    mesh.simulation.run(mesh.simulation.now + 10.0)
    assert all((author.id, "mesh:news") in each.core.shared_records for each in others)
    assert mesh.run.faults == []
