"""How simulated peers of jobs are in their mesh: what they believe of each other comes of the product's gossip and
links over the simulated network."""

from __future__ import annotations

import msgspec
import pytest

from meshwit.gossip.members import State
from meshwit.peer.wire.frames import Channel
from simulations.engine import Simulation
from simulations.jobs.faults import Faults
from simulations.jobs.mesh import JobsMesh
from simulations.scenario import Run


class Lab:
    """Some peers, one mesh."""

    def __init__(self, count, seed=0):
        self.run = Run(Simulation(seed), count, 0.0)
        self.mesh = JobsMesh(self.run)
        self.simulation = self.run.simulation
        for _ in range(count):
            self.mesh.add(2, 1.0)
        self.devices = self.mesh.devices
        for device in self.devices:
            self.mesh.start(device)
        self.pass_by(1.0)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.simulation.close()

    def pass_by(self, seconds):
        self.simulation.run(self.simulation.now + seconds)

    def peer(self, number):
        return self.mesh.running[self.devices[number].id]

    def state(self, observer, subject):
        return self.peer(observer).core.members[self.devices[subject].id].state

    def linked(self, one, other):
        return self.devices[other].id in self.peer(one).links

    def until(self, condition, seconds):
        return self.simulation.run_until(condition, self.simulation.now + seconds)


@pytest.fixture(params=range(5))
def lab(request):
    with Lab(4, seed=request.param) as made:
        assert made.mesh.whole()
        yield made
        assert made.run.faults == []


def test_peers_that_start_at_once_keep_one_connection_each_on_both_sides_the_same():
    given_up = 0
    for seed in range(10):
        with Lab(4, seed) as lab:
            lab.pass_by(10.0)
            for peer in lab.mesh.running.values():
                links = peer.parts.links
                assert links.counts() == {"wires": 3, "dials": 0, "pending": 0}
                given_up += links.duplicates
                for other, link in links.links.items():
                    theirs = lab.mesh.running[other].parts.links.links[peer.id]
                    assert link.connection_id == theirs.connection_id
                    assert link.outgoing != theirs.outgoing
            assert lab.run.faults == []
    assert given_up > 0, "nobody dialled while he was dialled: the rule of two connections was not played"


def test_a_killed_process_is_dead_to_all_at_once(lab):
    lab.mesh.kill(lab.devices[3])
    assert lab.until(lambda: all(lab.state(each, 3) is State.DEAD for each in range(3)), 0.5)


def test_a_pulled_cable_ends_links_when_gossip_holds_the_peer_for_dead(lab):
    lab.mesh.unplug(lab.devices[3])
    peer = lab.mesh.running.pop(lab.devices[3].id)
    lab.pass_by(0.5)
    assert lab.linked(0, 3)
    assert lab.until(lambda: not lab.linked(0, 3), 6.0)
    assert lab.state(0, 3) is State.DEAD
    assert lab.until(lambda: not peer.links, 60.0), "who is alone mistrusts himself, and takes longer"


def test_who_comes_back_is_alive_in_a_higher_incarnation_and_linked_again(lab):
    before = lab.peer(3).core.incarnation
    lab.mesh.kill(lab.devices[3])
    lab.pass_by(0.05)
    lab.mesh.start(lab.devices[3])
    assert lab.until(lab.mesh.whole, 5.0)
    assert lab.peer(3).core.incarnation > before
    assert lab.peer(0).core.members[lab.devices[3].id].incarnation == lab.peer(3).core.incarnation


@pytest.mark.parametrize("one_way", [False, True])
def test_halves_hold_each_other_for_dead_and_are_one_mesh_again(lab, one_way):
    cut = lab.mesh.cut(lab.devices[:2], lab.devices[2:], one_way=one_way)
    lab.pass_by(20.0)
    if not one_way:
        assert not lab.linked(0, 2)
        assert lab.state(0, 2) is State.DEAD
    lab.mesh.network.heal(cut)
    assert lab.until(lab.mesh.whole, 10.0)


def test_a_frozen_peer_is_alive_again_when_it_goes_on(lab):
    lab.mesh.gossip.all_disturbed(float("inf"))
    lab.mesh.freeze(lab.devices[3], 8.0)
    assert lab.until(lambda: lab.state(0, 3) is State.DEAD, 7.5)
    assert lab.until(lab.mesh.whole, 10.0)


def test_a_clock_that_leaps_accuses_nobody(lab):
    lab.peer(3).clock.leap(3600.0)
    lab.pass_by(10.0)
    assert lab.mesh.whole()
    assert lab.mesh.gossip.false_deaths == []


def test_what_is_no_frame_ends_the_link_and_it_is_made_anew(lab):
    lab.devices[3].garbled = True
    link = lab.peer(0).links[lab.devices[3].id]
    for end in lab.peer(3).parts.links.streams(lab.devices[0].id):
        end.send(b"\xff" * 40)
    lab.pass_by(5.0)
    assert link.ended.kind == "protocol"
    assert lab.mesh.whole()


@pytest.mark.parametrize("channel", [Channel.GOSSIP, Channel.JOB])
def test_what_is_no_message_leaves_the_link_as_it_is(lab, channel):
    lab.devices[3].garbled = True
    link = lab.peer(0).links[lab.devices[3].id]
    lab.peer(3).links[lab.devices[0].id].send(channel, b"\xff" * 40)
    lab.pass_by(1.0)
    assert link.ended is None
    assert lab.peer(0).misbehaved == (channel == Channel.JOB)


def test_datagrams_that_come_twice_or_are_none_are_not_heard(lab):
    network = lab.mesh.network
    network.conditions = msgspec.structs.replace(network.conditions, duplication=0.5, reordering=0.5)
    network.send(lab.devices[3].host, lab.devices[0].host, b"\x93\x01\x02")
    network.send(lab.devices[3].host, lab.devices[0].host, b"\x01" * 200)
    lab.pass_by(10.0)
    rejected = lab.peer(0).parts.datagrams.rejected
    assert rejected["replay"] > 0
    assert rejected["short"] >= 1
    assert rejected["secret"] >= 1
    assert lab.mesh.whole()


def test_speeds_and_loads_are_told_by_gossip(lab):
    device = lab.devices[3]
    device.believed = 7.0
    lab.peer(3).tell_speed()
    lab.pass_by(5.0)
    for number in range(3):
        known = lab.peer(number).parts.roster.known(device.id)
        assert known.scores == {"score": 14.0}
        assert known.load is not None and known.load.free_slots == 2
        worker = lab.peer(number).leading.workers[device.id]
        assert worker.speed_at("Lab.Square").per_s == 7.0


def test_garbage_is_sent_in_all_its_ways_and_the_mesh_is_whole_after_it():
    for seed in range(5):
        with Lab(5, seed) as lab:
            faults = Faults(lab.mesh)
            for device in lab.devices:
                faults.garbage(device)
                lab.pass_by(0.2)
            assert lab.until(lab.mesh.whole, 10.0)
            assert lab.run.faults == []
