"""The package beside ours: each correction with what happens without it."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random

import pytest
from kademlia.node import Node
from kademlia.routing import RoutingTable
from kademlia.utils import digest
from rpcudp.exceptions import MalformedMessage

from meshwit.dht.keys import Key, key_of
from meshwit.dht.routing import Contact, ExactRoutingTable
from simulations.virtual_loop import DatagramNetwork, run_virtually
from tests.dht.mesh import Mesh, play
from tests.dht.plain import PlainPeer

logging.getLogger("rpcudp.protocol").setLevel(logging.CRITICAL)
logging.getLogger("kademlia").setLevel(logging.CRITICAL)


def ids(count: int, seed: str) -> list[bytes]:
    return [hashlib.sha1(f"{seed} {number}".encode()).digest() for number in range(count)]


def xor(key: bytes, mask: int) -> bytes:
    return (int.from_bytes(key) ^ mask).to_bytes(20)


# --- neighbours --------------------------------------------------------------------------------------------------


def test_the_package_returns_wrong_neighbours_and_ours_the_closest():
    """It takes the first k met on its way through the buckets."""
    me, *others = ids(300, "neighbours")
    targets = ids(50, "targets")

    async def asked() -> tuple[int, int]:
        theirs = RoutingTable(None, 8, Node(me))
        theirs.protocol = type("Silent", (), {"call_ping": staticmethod(lambda node: asyncio.sleep(0))})()
        ours = ExactRoutingTable(8, Contact(me), lambda: 0.0, lambda node: None, 3600)
        for each in others:
            theirs.add_contact(Node(each, "h", 1))
            ours.add_contact(Contact(each))
        await asyncio.sleep(0)
        wrong = [0, 0]
        for target in map(Node, targets):
            for index, table in enumerate((theirs, ours)):
                known = [node for bucket in table.buckets for node in bucket.get_nodes()]
                closest = sorted(known, key=target.distance_to)[:8]
                told = table.find_neighbors(target)
                wrong[index] += [each.id for each in told] != [each.id for each in closest]
        return wrong[0], wrong[1]

    theirs, ours = asyncio.run(asked())
    assert theirs > 0
    assert ours == 0


def test_the_package_looks_for_a_boundary_id_in_the_wrong_bucket():
    """Its ranges are one too long: the id at a middle is put on one side and looked for on the other."""
    boundary = 2**159
    theirs = RoutingTable(None, 2, Node(bytes(20)))
    theirs.add_contact(Node(boundary.to_bytes(20), "h", 1))
    theirs.split_bucket(0)
    assert theirs.is_new_node(Node(boundary.to_bytes(20)))
    ours = ExactRoutingTable(2, Contact(bytes(20)), lambda: 0.0, lambda node: None, 3600)
    for number in (boundary, boundary - 1):
        ours.add_contact(Contact(number.to_bytes(20)))
    ours.split_bucket(0)
    assert not any(ours.is_new_node(Contact(number.to_bytes(20))) for number in (boundary, boundary - 1))


# --- handover ----------------------------------------------------------------------------------------------------


def test_the_package_hands_nothing_to_the_closest_newcomer():
    """It hashes the key once more, and judges closeness by that."""

    async def handed() -> bool:
        network = DatagramNetwork(random.Random(1))
        for number in range(100):
            key = hashlib.sha1(f"key {number}".encode()).digest()
            holder_id, other_id = xor(key, 2), xor(key, 1 << 150)
            hashed = Node(digest(key))
            if Node(other_id).distance_to(hashed) < Node(holder_id).distance_to(hashed):
                break
        holder = PlainPeer(network, 1, holder_id)
        newcomer = PlainPeer(network, 2, xor(key, 1))
        holder.server.storage[key] = "value"
        holder.protocol.router.add_contact(Node(other_id, "10.1.0.3", 7000))
        await newcomer.protocol.ping(holder.address, newcomer.server.node.id)
        await asyncio.sleep(20)
        return newcomer.server.storage.get(key) is not None

    assert not run_virtually(handed())


def test_ours_hands_over_to_the_closest_newcomer():
    async def story(mesh: Mesh):
        holder, owner = mesh.add("holder"), mesh.add("owner")
        number = next(each for each in range(1000) if closest_is(mesh, holder, f"job:{each}", owner))
        key = key_of(f"job:{number}")
        holder.directory.storage.keep(key, owner.record(f"job:{number}"), 0)
        newcomer = mesh.add("newcomer")
        await newcomer.directory.join([(holder.id, holder.address)])
        await asyncio.sleep(1)
        assert newcomer.directory.storage.owners(key) == 1

    def closest_is(mesh: Mesh, holder, topic: str, other) -> bool:
        target = Node(key_of(topic))
        return holder.contact.distance_to(target) < other.contact.distance_to(target)

    play(story, Mesh())


def test_only_the_closest_hands_over_and_only_once():
    """Otherwise each of k holders stores everything at everybody it meets, again at every message."""

    async def story(mesh: Mesh):
        peers = await mesh.grow(10)
        topic = "job:j"
        key = Key(key_of(topic))
        for each in peers:
            each.directory.storage.keep(key, peers[0].record(topic), 0)
        newcomer = mesh.add()
        await newcomer.directory.join([(peers[0].id, peers[0].address)])
        for each in peers:
            await each.directory.protocol.ping(newcomer.contact)
        await asyncio.sleep(1)
        assert sum(b"store" in each[:40] for each in newcomer.seen) <= 1
        assert newcomer.directory.storage.owners(key) == 1

    play(story, Mesh())


# --- the dead and the lossy ----------------------------------------------------------------------------------------


def test_the_package_waits_five_seconds_for_a_dead_node_and_ours_three_tries():
    async def theirs() -> float:
        network = DatagramNetwork(random.Random(1))
        peer = PlainPeer(network, 1, ids(1, "a")[0])
        await peer.protocol.call_ping(Node(ids(1, "b")[0], "10.1.0.9", 7000))
        return asyncio.get_running_loop().time()

    async def ours(mesh: Mesh):
        one, dead = mesh.add(), mesh.add()
        mesh.kill(dead)
        assert await one.directory.protocol.ping(dead.contact) is None
        assert asyncio.get_running_loop().time() == pytest.approx(1.2)
        assert one.directory.protocol.shunned.holds(dead.contact, 1.3)

    assert run_virtually(theirs()) == pytest.approx(5)
    play(ours, Mesh())


def test_the_package_gives_up_at_the_first_lost_datagram_and_ours_does_not():
    def bound(answered: list[bool]) -> float:
        return sum(answered) / len(answered)

    async def theirs() -> list[bool]:
        network = DatagramNetwork(random.Random(1), loss=0.2)
        one, two = (PlainPeer(network, number, each) for number, each in enumerate(ids(2, "c")))
        return [(await one.protocol.call_ping(Node(two.server.node.id, *two.address)))[0] for _ in range(100)]

    async def ours(mesh: Mesh):
        one, two = mesh.add(), mesh.add()
        answers = [await one.directory.protocol.ping(two.contact) is not None for _ in range(100)]
        assert bound(answers) > 0.9

    assert bound(run_virtually(theirs())) < 0.8
    play(ours, Mesh(loss=0.2))


def test_the_package_says_stored_whatever_happened_and_ours_counts():
    async def theirs() -> object:
        network = DatagramNetwork(random.Random(1))
        one, two = (PlainPeer(network, number, each) for number, each in enumerate(ids(2, "d")))
        one.protocol.router.add_contact(Node(two.server.node.id, *two.address))
        delivered: list[str] = []

        def kill_at_store(note: str) -> None:
            delivered.append(note)
            if len(delivered) == 2:
                network.kill(two.address)

        network.note = kill_at_store
        return await one.server.set("key", "value")

    async def ours(mesh: Mesh):
        peers = await mesh.grow(2)

        def refuse(note: str) -> None:
            if b"find_node".hex() in note:
                mesh.outsiders.add(peers[0].id)

        mesh.network.note = refuse
        assert await peers[0].directory.publish("job", "j", b"1") == 0

    assert run_virtually(theirs()) is True
    play(ours, Mesh())


def test_the_package_fails_where_all_it_knows_are_dead_and_ours_goes_on():
    async def theirs() -> None:
        peer = PlainPeer(DatagramNetwork(random.Random(1)), 1, ids(1, "e")[0])
        peer.protocol.router.add_contact(Node(ids(1, "f")[0], "10.1.0.9", 7000))
        await peer.server.set("key", "value")

    async def ours(mesh: Mesh):
        peers = await mesh.grow(2)
        mesh.kill(peers[0])
        assert await peers[1].directory.publish("job", "j", b"1") == 1

    with pytest.raises(ValueError, match="max"):
        run_virtually(theirs())
    play(ours, Mesh())


def test_the_package_stays_alone_after_one_lost_ping():
    async def theirs() -> int:
        network = DatagramNetwork(random.Random(1))
        one, two = (PlainPeer(network, number, each) for number, each in enumerate(ids(2, "g")))
        network.block(two.address)
        joining = asyncio.create_task(one.server.bootstrap([two.address]))
        await asyncio.sleep(1)
        network.block(two.address, False)
        await joining
        await asyncio.sleep(3600)
        return len(one.server.bootstrappable_neighbors())

    assert run_virtually(theirs()) == 0


# --- what others send ------------------------------------------------------------------------------------------------


def test_the_package_believes_any_sender_and_ours_who_sealed_it():
    async def theirs() -> object:
        network = DatagramNetwork(random.Random(1))
        one = PlainPeer(network, 1, ids(1, "h")[0])
        one.protocol.datagram_received(bytes(21) + b"\x92\xa4ping\x91\xc4\x14" + ids(1, "victim")[0], ("10.6.6.6", 6))
        await asyncio.sleep(1)
        return [each.ip for each in one.protocol.router.find_neighbors(Node(bytes(20)))]

    async def ours(mesh: Mesh):
        one, victim, liar = mesh.add(), mesh.add("victim"), mesh.add("liar")
        liar.send(one.address, bytes(21) + b"\x92\xa4ping\x91\xc4\x14" + victim.contact.id)
        await asyncio.sleep(1)
        assert one.directory.protocol.dropped["false id"] == 1
        assert one.directory.neighbours(5) == []

    assert run_virtually(theirs()) == ["10.6.6.6"]
    play(ours, Mesh())


def test_the_package_raises_at_malformed_datagrams():
    async def theirs() -> None:
        one = PlainPeer(DatagramNetwork(random.Random(1)), 1, ids(1, "i")[0])
        await one.protocol._accept_request(bytes(20), "nonsense", ("10.6.6.6", 6))

    with pytest.raises(MalformedMessage):
        run_virtually(theirs())


def test_the_package_stores_anything_and_ours_checks():
    async def theirs() -> object:
        one = PlainPeer(DatagramNetwork(random.Random(1)), 1, ids(1, "j")[0])
        one.protocol.rpc_store(("10.6.6.6", 6), ids(1, "k")[0], bytes(20), "x" * 100_000)
        value = one.server.storage.get(bytes(20))
        await asyncio.sleep(10)
        return value

    assert run_virtually(theirs()) == "x" * 100_000
