"""Whole meshes on the table: what they must reach, and the situations that have fooled failure detectors before."""

from __future__ import annotations

import itertools
from statistics import median

import pytest

from meshwit.gossip import Evidence, GossipConfig, MemberDied, MemberJoined, MemberSuspected, RecordChanged, State

from .small_mesh import Mesh


def all_alive(mesh: Mesh) -> bool:
    return all(mesh.state(other, at) is State.ALIVE for at, other in itertools.permutations(mesh.cores, 2))


def test_a_killed_process_is_known_dead_by_all_within_half_a_second():
    mesh = Mesh(seed=1).settled(8)
    killed_at = mesh.now
    victim = mesh.kill("p3")
    mesh.run(2.0)
    times = [when - killed_at for when, _ in mesh.deaths(victim)]
    assert len(times) == 7 and max(times) < 0.5
    assert len(mesh.deaths()) == 7


def test_a_killed_process_without_links_to_all_is_known_dead_by_all_within_half_a_second():
    """One linked peer sees the end, the others believe it."""
    mesh = Mesh(seed=1).settled(8, linked=False)
    killed_at = mesh.now
    victim = mesh.kill("p3")
    mesh.run(2.0)
    times = [when - killed_at for when, _ in mesh.deaths(victim)]
    assert len(times) == 7 and max(times) < 0.5


def test_a_pulled_cable_is_known_within_2_s_median_and_5_s_p99():
    times = []
    for seed in range(12):
        mesh = Mesh(seed=seed).settled(8)
        pulled_at = mesh.now
        victim = mesh.pull("p3")
        mesh.run(6.0)
        deaths = [when - pulled_at for when, who in mesh.deaths(victim) if who != victim]
        assert len(deaths) == 7
        times.append(max(deaths))
    assert median(times) < 2.0 and max(times) < 5.0


@pytest.mark.parametrize("loss", [0.05, 0.2])
def test_loss_kills_nobody(loss):
    """A short run; the simulation makes the thousand hours."""
    mesh = Mesh(seed=4, loss=loss).settled(8)
    mesh.run(900.0)
    assert mesh.deaths() == []


def test_loss_kills_nobody_in_a_mesh_of_two():
    mesh = Mesh(seed=4, loss=0.2).settled(2)
    mesh.run(1800.0)
    assert mesh.deaths() == []
    assert any(isinstance(effect, MemberSuspected) for _, _, effect in mesh.told)


def test_a_mesh_of_two_sees_the_other_go():
    mesh = Mesh(seed=1).settled(2)
    pulled_at = mesh.now
    mesh.pull("p1")
    mesh.run(6.0)
    assert [when - pulled_at < 5.0 for when, _ in mesh.deaths()] == [True, True]


def test_a_partition_of_five_minutes_heals_within_10_s_and_kills_nobody_on_the_way():
    mesh = Mesh(seed=2).settled(8)
    half = {mesh.names[f"p{number}"] for number in range(4)}
    mesh.cut = lambda one, other: (one in half) != (other in half)
    mesh.run(300.0)
    assert sum(mesh.state(other, at) is State.DEAD for at, other in itertools.permutations(mesh.cores, 2)) == 32
    mesh.cut = lambda one, other: False
    mesh.told.clear()
    mesh.run(10.0)
    assert all_alive(mesh) and mesh.deaths() == []


def test_a_partition_heals_though_all_links_are_gone():
    mesh = Mesh(seed=2).settled(8)
    half = {mesh.names[f"p{number}"] for number in range(4)}
    mesh.cut = lambda one, other: (one in half) != (other in half)
    mesh.run(300.0)
    mesh.links.clear()
    for member in (each for gossip in mesh.cores.values() for each in gossip.members.values()):
        member.linked = False
    mesh.cut = lambda one, other: False
    mesh.told.clear()
    mesh.run(10.0)
    assert all_alive(mesh) and mesh.deaths() == []


def test_who_was_cut_off_soon_knows_what_all_said_meanwhile():
    """Not only who is back: of the dead, all but the member record is dropped, and nobody pushes it again."""
    mesh = Mesh(seed=2).settled(30, linked=False)
    alone = mesh.names["p4"]
    mesh.cut = lambda one, other: (one == alone) != (other == alone)
    mesh.run(100.0)
    for number in range(30):
        me = mesh.names[f"p{number}"]
        mesh.perform(me, mesh.cores[me].publish("score", b"meanwhile", mesh.now))
    mesh.run(30.0)
    mesh.cut = lambda one, other: False
    mesh.run(8.0)
    assert all_alive(mesh)
    for at, gossip in mesh.cores.items():
        assert all("score" in gossip.members[other].records for other in mesh.cores if other != at), at


def test_a_short_partition_leaves_no_scars():
    mesh = Mesh(seed=3).settled(8)
    half = {mesh.names[f"p{number}"] for number in range(3)}
    mesh.cut = lambda one, other: (one in half) != (other in half)
    mesh.run(2.5)
    mesh.cut = lambda one, other: False
    mesh.run(10.0)
    assert all_alive(mesh)


def test_a_frozen_peer_dies_though_its_links_stay_open_and_is_back_when_it_thaws():
    mesh = Mesh(seed=1).settled(8)
    frozen_at = mesh.now
    victim = mesh.freeze("p2")
    mesh.run(600.0)
    times = [when - frozen_at for when, _ in mesh.deaths()]
    assert len(times) == 7 and max(times) < 5.0
    mesh.told.clear()
    mesh.thaw("p2")
    mesh.run(5.0)
    assert all_alive(mesh) and mesh.deaths() == []
    assert victim in mesh.running


def test_a_device_that_slept_for_an_hour_declares_nobody_dead():
    """Its messages are lost, its links are closed when it wakes."""
    mesh = Mesh(seed=1).settled(8)
    sleeper = mesh.freeze("p2")
    mesh.run(3600.0)
    mesh.frozen[sleeper].clear()
    mesh.links = {link for link in mesh.links if sleeper not in link}
    mesh.told.clear()
    mesh.thaw("p2")
    for other in mesh.cores:
        if other != sleeper:
            mesh.end_link(sleeper, other, Evidence.CLOSED)
    mesh.run(10.0)
    assert all_alive(mesh) and mesh.deaths() == []


def test_a_stutter_of_a_second_kills_nobody():
    mesh = Mesh(seed=1).settled(8)
    for _ in range(20):
        mesh.freeze("p2")
        mesh.run(1.0)
        mesh.thaw("p2")
        mesh.run(3.0)
    assert mesh.deaths() == []


def test_a_peer_that_restarts_is_the_same_with_a_higher_incarnation():
    mesh = Mesh(seed=1).settled(8)
    victim = mesh.kill("p2")
    mesh.run(0.05)
    assert all(mesh.state(victim, at) is State.DEAD for at in mesh.cores if at != victim)
    mesh.add("p2", "p0")
    mesh.run(5.0)
    assert all_alive(mesh)
    assert all(gossip.members[victim].incarnation >= mesh.cores[victim].incarnation - 1
               for at, gossip in mesh.cores.items() if at != victim)  # fmt: skip


def test_a_peer_that_hears_nothing_is_dead_to_the_others_and_kills_few():
    """A one-way partition: its own fault, it suspects, so it takes its time (Lifeguard)."""
    mesh = Mesh(seed=1).settled(8)
    deaf = mesh.names["p2"]
    mesh.cut = lambda one, other: other == deaf
    mesh.run(10.0)
    assert all(mesh.state(deaf, at) is State.DEAD for at in mesh.cores if at != deaf)
    assert [who for _, who in mesh.deaths() if who == deaf] == []
    mesh.cut = lambda one, other: False
    mesh.run(10.0)
    assert all_alive(mesh)


def test_one_direction_of_one_pair_that_is_cut_kills_nobody():
    mesh = Mesh(seed=1).settled(8)
    one, other = mesh.names["p2"], mesh.names["p5"]
    mesh.cut = lambda a, b: (a, b) == (one, other)
    mesh.run(120.0)
    assert mesh.deaths() == []


def test_without_datagrams_links_carry_everything():
    mesh = Mesh(seed=1).settled(8)
    mesh.no_datagrams = lambda one, other: True
    mesh.run(120.0)
    assert mesh.deaths() == []
    pulled_at = mesh.now
    victim = mesh.pull("p3")
    mesh.run(6.0)
    times = [when - pulled_at for when, who in mesh.deaths(victim) if who != victim]
    assert len(times) == 7 and max(times) < 5.0


def test_datagrams_are_used_again_when_they_arrive_again():
    mesh = Mesh(seed=1).settled(4)
    mesh.no_datagrams = lambda one, other: True
    mesh.run(60.0)
    assert all(each.datagrams_lost == 3 for gossip in mesh.cores.values() for each in gossip.alive())
    mesh.no_datagrams = lambda one, other: False
    mesh.run(120.0)
    assert all(each.datagrams_lost == 0 for gossip in mesh.cores.values() for each in gossip.alive())


def test_ten_that_start_at_once_know_each_other_within_5_s():
    mesh = Mesh(seed=6)
    mesh.add("p0")
    for number in range(1, 10):
        mesh.add(f"p{number}", f"p{number - 1}")
    mesh.run(5.0)
    assert all(len(gossip.alive()) == 9 for gossip in mesh.cores.values())


def test_an_idle_mesh_of_ten_costs_each_at_most_2_kb_per_second():
    """In and out, with Ethernet, IP, UDP and the seal."""
    mesh = Mesh(seed=1).settled(10)
    mesh.run(120.0)
    assert max(mesh.bytes.values()) / 120 < 1100


def test_load_of_all_changing_every_ten_seconds_stays_within_2_kb_per_second():
    mesh = Mesh(seed=1).settled(10)
    for second in range(120):
        for number in range(10):
            if (second + number) % 10 == 0:
                me = mesh.names[f"p{number}"]
                mesh.perform(me, mesh.cores[me].publish("load", b"x" * 60, mesh.now))
        mesh.run(1.0)
    assert max(mesh.bytes.values()) / 120 < 2048
    heard = [effect for _, _, effect in mesh.told if isinstance(effect, RecordChanged)]
    assert len(heard) > 0.95 * 120 * 9


def test_goodbye_is_known_to_all_and_is_no_death():
    mesh = Mesh(seed=1).settled(8)
    leaver = mesh.names["p2"]
    mesh.perform(leaver, mesh.cores[leaver].leave(mesh.now))
    mesh.running.discard(leaver)
    mesh.run(5.0)
    assert all(mesh.state(leaver, at) is State.LEFT for at in mesh.cores if at != leaver)
    assert mesh.deaths() == []
    assert mesh.cores[leaver].next_deadline() is None


def test_a_large_record_reaches_all():
    mesh = Mesh(seed=1).settled(12)
    me = mesh.names["p4"]
    for size in (10, 500, 900, 5000, 16_000):
        mesh.told.clear()
        mesh.perform(me, mesh.cores[me].publish("score", b"s" * size, mesh.now))
        mesh.run(3.0)
        assert all(len(gossip.members[me].records["score"].payload) == size
                   for at, gossip in mesh.cores.items() if at != me)  # fmt: skip


def test_a_record_that_concerns_all_outlives_its_owner_and_reaches_newcomers():
    mesh = Mesh(seed=1).settled(6)
    me = mesh.names["p4"]
    mesh.perform(me, mesh.cores[me].publish("expel:x", b"why", mesh.now))
    mesh.run(2.0)
    mesh.kill("p4")
    mesh.run(2.0)
    newcomer = mesh.add("p9", "p0")
    mesh.run(10.0)
    assert mesh.cores[newcomer].shared_records[me, "expel:x"].payload == b"why"


def test_a_lost_record_is_repaired_by_anti_entropy():
    mesh = Mesh(seed=1, config=GossipConfig(retransmit=0.01, fanout=1)).settled(8)
    for number in range(8):
        me = mesh.names[f"p{number}"]
        mesh.perform(me, mesh.cores[me].publish("mesh:name", f"{number}".encode(), mesh.now))
    mesh.run(120.0)
    assert all(len(gossip.shared_records) == 8 for gossip in mesh.cores.values())


@pytest.fixture(scope="module")
def large() -> Mesh:
    """A hundred peers of which each knows 24."""
    mesh = Mesh(seed=1, delay_s=0.005, config=GossipConfig(view_max=24))
    mesh.add("p0")
    for number in range(1, 100):
        mesh.add(f"p{number}", f"p{mesh.rng.randrange(number)}")
        mesh.run(0.05)
    mesh.run(60.0)
    return mesh


def test_in_a_large_mesh_views_are_full_and_bounded(large):
    sizes = [len(gossip.alive()) for gossip in large.cores.values()]
    assert min(sizes) >= 20 and max(sizes) <= 24 + 20
    assert 50 < median(gossip.known_count for gossip in large.cores.values()) < 200


def test_in_a_large_mesh_what_concerns_all_reaches_all_within_10_s(large):
    me = large.names["p5"]
    large.told.clear()
    large.perform(me, large.cores[me].publish("mesh:motto", b"x" * 60, large.now))
    large.run(10.0)
    assert all(large.cores[at].shared_records.get((me, "mesh:motto")) for at in large.cores)


def test_in_a_large_mesh_a_killed_process_is_known_dead_by_those_who_know_it(large):
    victim = large.kill("p7")
    large.run(1.0)
    states = [large.state(victim, at) for at in large.cores if at != victim]
    assert states.count(State.DEAD) > 10 and State.ALIVE not in states
    assert {effect.peer for _, _, effect in large.told if isinstance(effect, MemberDied)} == {victim}


def test_the_same_seed_gives_the_same_run():
    def story() -> list:
        mesh = Mesh(seed=9, loss=0.1)
        for number in range(6):
            mesh.add(f"p{number}", "p0" if number else None)
        mesh.run(20.0)
        mesh.kill("p2")
        mesh.run(20.0)
        assert any(isinstance(effect, MemberJoined) for _, _, effect in mesh.told)
        return [(when, who, repr(effect)) for when, who, effect in mesh.told]

    assert story() == story()
