"""Questions, tries, round trips, the shun list, rates."""

from __future__ import annotations

import asyncio

import pytest

from meshwit.dht.round_trips import Rates, RoundTrips, ShunList
from meshwit.dht.routing import Contact
from meshwit.dht.settings import DirectorySettings
from simulations.virtual_loop import run_virtually
from tests.dht.mesh import Mesh, play

NODE = Contact(b"n" * 20, ("10.0.0.1", 7000))


def tries(known: RoundTrips) -> list[float]:
    return [round(known.try_s(NODE.id, attempt), 3) for attempt in range(3)]


def test_the_wait_follows_the_round_trip():
    known = RoundTrips(DirectorySettings())
    assert tries(known) == [0.4, 0.4, 0.4]
    for _ in range(50):
        known.took(NODE.id, 0.001)
    assert tries(known) == [0.1, 0.2, 0.4]
    for _ in range(50):
        known.took(NODE.id, 0.3)
    assert tries(known)[0] == pytest.approx(0.6, abs=0.01)
    for _ in range(50):
        known.took(NODE.id, 9.0)
    assert tries(known) == [2.0, 2.0, 2.0]


def test_a_node_never_asked_is_waited_for_like_the_others():
    known = RoundTrips(DirectorySettings())
    for _ in range(50):
        known.took(b"o" * 20, 0.02)
    assert tries(known)[0] == pytest.approx(0.1)


def test_who_stays_silent_is_shunned_longer_and_forgiven_when_heard():
    shunned = ShunList(DirectorySettings())
    elsewhere = Contact(NODE.id, ("10.0.0.2", 7000))
    shunned.add(NODE, 0.0)
    assert shunned.holds(NODE, 59.9) and not shunned.holds(NODE, 60.1)
    assert not shunned.holds(elsewhere, 1.0)
    shunned.add(NODE, 100.0)
    assert shunned.holds(NODE, 219.0)
    for _ in range(10):
        shunned.add(NODE, 1000.0)
    assert shunned.holds(NODE, 1899.0) and not shunned.holds(NODE, 1901.0)
    shunned.heard(NODE)
    assert not shunned.holds(NODE, 1000.0)


def test_what_is_remembered_is_bounded():
    shunned, known, rates = ShunList(DirectorySettings()), RoundTrips(DirectorySettings()), Rates(1, 1)
    for number in range(5000):
        node = Contact(number.to_bytes(20), ("h", 1))
        shunned.add(node, 0.0)
        known.took(node.id, 1.0)
        rates.allows(str(number), 0.0)
    assert len(shunned) == len(known._of) == len(rates._left) == 4096


def test_a_sender_may_ask_a_burst_and_then_at_a_rate():
    rates = Rates(per_s=2, burst=3)
    assert [rates.allows("a", 0.0) for _ in range(4)] == [True, True, True, False]
    assert rates.allows("b", 0.0)
    assert [rates.allows("a", 1.0) for _ in range(3)] == [True, True, False]
    assert not rates.allows("a", 1.5, cost=4)


def test_a_dead_node_is_asked_once_and_then_not_again():
    async def story(mesh: Mesh):
        peers = await mesh.grow(4)
        mesh.kill(peers[3])
        sent = []
        mesh.network.note = None
        send = peers[0].directory.protocol.send
        peers[0].directory.protocol.send = lambda to, payload: (sent.append(to), send(to, payload))
        await peers[0].directory.find("job", "a")
        tried = sent.count(peers[3].address)
        sent.clear()
        began = asyncio.get_running_loop().time()
        await peers[0].directory.find("job", "b")
        assert tried == 3
        assert sent.count(peers[3].address) == 0
        assert asyncio.get_running_loop().time() - began < 0.4
        assert peers[3].address not in [address for _, address in peers[0].directory.neighbours(9)]

    play(story, Mesh())


def test_questions_in_flight_are_bounded_and_nobody_is_shunned_for_it():
    async def story(mesh: Mesh):
        one, two = mesh.add(), mesh.add()
        answers = await asyncio.gather(*(one.directory.protocol.ping(two.contact) for _ in range(20)))
        assert answers == [two.contact.id] * 5 + [None] * 15
        assert not one.directory.protocol.shunned.holds(two.contact, 0.0)

    play(story, Mesh(settings=DirectorySettings(calls_max=5)))


def test_a_missing_attribute_is_an_error_and_no_remote_call():
    """On the package's protocol every misspelt name is a function that sends a datagram."""

    async def story(mesh: Mesh):
        with pytest.raises(AttributeError):
            mesh.add().directory.protocol.misspelt  # noqa: B018

    play(story, Mesh())


def test_message_ids_come_from_the_given_randomness():
    """The package draws them from the system, and no run repeats."""

    def ids() -> list[bytes]:
        seen: list[bytes] = []

        async def story(mesh: Mesh):
            peers = await mesh.grow(3)
            seen.extend(each for peer in peers for each in peer.seen)

        play(story, Mesh(loss=0.1))
        return seen

    assert ids() == ids()


def test_a_directory_may_be_made_before_its_loop_runs():
    mesh = Mesh()
    one = mesh.add()

    async def used() -> int:
        try:
            return await one.directory.publish("job", "j", b"1")
        finally:
            await one.directory.close()

    assert run_virtually(used()) == 1
