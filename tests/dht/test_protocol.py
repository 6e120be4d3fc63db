"""What a node answers to friends, strangers and fuzz."""

from __future__ import annotations

import asyncio
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwit.dht.keys import key_of
from meshwit.dht.messages import (
    FindNode,
    FindValue,
    Kept,
    Ping,
    Store,
    Stored,
    Told,
    Value,
    WireRecord,
    encode_record,
    encode_request,
)
from meshwit.dht.settings import DirectorySettings
from meshwit.dht.storage import Keeping
from meshwit.records import Record
from tests.dht.mesh import Mesh, Peer, play


async def stored(asker: Peer, at: Peer, *records: Record, level: int = 0) -> list[Keeping]:
    entries = [Stored(level, msgspec.Raw(encode_record(each))) for each in records]
    answer = await asker.directory.protocol.ask(at.contact, Store(asker.contact.id, entries))
    return [Keeping(each.keeping) for each in answer]


ATTACKS = {
    "expired": lambda owner, other: owner.record("job:j", ttl_s=-601),
    "living too long": lambda owner, other: owner.record("job:j", ttl_s=86_400 + 660),
    "for ever": lambda owner, other: msgspec.structs.replace(owner.record("job:j"), expires_at=0),
    "tampered": lambda owner, other: msgspec.structs.replace(owner.record("job:j"), payload=b"mine"),
    "another's key": lambda owner, other: msgspec.structs.replace(owner.record("job:j"), key=other.key.public_key),
    "short key": lambda owner, other: msgspec.structs.replace(owner.record("job:j"), key=b"x"),
    "another peer's place": lambda owner, other: owner.record(f"peer:{other.id}"),
    "unknown kind": lambda owner, other: owner.record("mood:bad"),
    "no name": lambda owner, other: owner.record("job:"),
    "too long": lambda owner, other: owner.record("job:j", b"x" * 985),
    "negative version": lambda owner, other: owner.record("job:j", version=-1),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_false_record_is_not_stored(attack):
    async def story(mesh: Mesh):
        keeper, owner, other = mesh.add(), mesh.add("owner"), mesh.add("other")
        assert await stored(owner, keeper, ATTACKS[attack](owner, other)) == [Keeping.REFUSED]
        assert keeper.directory.storage.records == 0

    play(story, Mesh())


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_false_record_is_not_read(attack):
    """A member that answers with it is as if it had nothing."""

    async def story(mesh: Mesh):
        reader, owner, other = mesh.add(), mesh.add("owner"), mesh.add("other")
        record = ATTACKS[attack](owner, other)
        wire = msgspec.msgpack.decode(encode_record(record), type=WireRecord)
        other.directory.protocol._value = lambda *_: Value([wire], [], 1, 0)
        reader.directory.add_contact(other.id, other.address)
        assert await reader.directory.find("job", "j") == []

    play(story, Mesh())


def test_a_record_under_another_topic_is_not_read():
    async def story(mesh: Mesh):
        reader, owner = mesh.add(), mesh.add("owner")
        wire = msgspec.msgpack.decode(encode_record(owner.record("job:other")), type=WireRecord)
        owner.directory.protocol._value = lambda *_: Value([wire], [], 1, 0)
        reader.directory.add_contact(owner.id, owner.address)
        assert await reader.directory.find("job", "j") == []

    play(story, Mesh())


def test_an_expelled_owners_record_is_neither_kept_nor_told():
    async def story(mesh: Mesh):
        keeper, owner, reader = mesh.add(), mesh.add("owner"), mesh.add()
        record = owner.record("job:j")
        mesh.outsiders.add(owner.id)
        assert await stored(reader, keeper, record) == [Keeping.REFUSED]
        keeper.directory.storage.keep(key_of("job:j"), record, 0)
        reader.directory.add_contact(keeper.id, keeper.address)
        assert await reader.directory.find("job", "j") == []

    play(story, Mesh())


def test_a_stranger_is_not_served():
    async def story(mesh: Mesh):
        keeper, stranger = mesh.add(), mesh.add("stranger")
        mesh.outsiders.add(stranger.id)
        assert await stranger.directory.protocol.ping(keeper.contact) is None
        assert keeper.directory.protocol.dropped["no member"] == 3
        assert keeper.directory.neighbours(3) == []

    play(story, Mesh())


def test_clocks_may_differ_by_ten_minutes():
    async def story(mesh: Mesh):
        keeper, owner = mesh.add(), mesh.add("owner")
        keeper.skew_s = 595
        assert await stored(owner, keeper, owner.record("job:j", ttl_s=0)) == [Keeping.KEPT]
        keeper.skew_s = -595
        assert await stored(owner, keeper, owner.record("job:k", ttl_s=86_400)) == [Keeping.KEPT]

    play(story, Mesh())


def test_an_older_version_does_not_come_back():
    """A replayed store of what was replaced, or withdrawn, changes nothing."""

    async def story(mesh: Mesh):
        keeper, owner = mesh.add(), mesh.add("owner")
        old, new = owner.record("job:j", b"old", 1), owner.record("job:j", b"", 2)
        assert await stored(owner, keeper, old, new, old, new) == [
            Keeping.KEPT,
            Keeping.KEPT,
            Keeping.STALE,
            Keeping.KEPT,
        ]

    play(story, Mesh())


def test_only_capabilities_have_deeper_keys():
    async def story(mesh: Mesh):
        keeper, owner = mesh.add(), mesh.add("owner")
        assert await stored(owner, keeper, owner.record("job:j"), level=1) == [Keeping.REFUSED]
        assert await stored(owner, keeper, owner.record("capability:c"), level=3) == [Keeping.REFUSED]
        assert await stored(owner, keeper, owner.record("capability:c"), level=-1) == [Keeping.REFUSED]
        assert await stored(owner, keeper, owner.record("capability:c"), level=10**9) == [Keeping.REFUSED]
        assert await stored(owner, keeper, owner.record("capability:c"), level=2) == [Keeping.KEPT]
        assert keeper.directory.storage.keys() == [key_of("capability:c", owner.id[:2])]

    play(story, Mesh())


def test_a_sender_that_asks_too_much_is_not_answered_and_others_are():
    async def story(mesh: Mesh):
        keeper, flood, other = mesh.add(), mesh.add("flood"), mesh.add("other")
        for number in range(100):
            flood.send(keeper.address, encode_request(number.to_bytes(20), Ping(flood.contact.id)))
        await asyncio.sleep(0.2)
        assert sum(each[0] == 1 for each in flood.seen) == 10
        assert keeper.directory.protocol.dropped["too many"] == 90
        assert await other.directory.protocol.ping(keeper.contact) == keeper.contact.id

    play(story, Mesh(settings=DirectorySettings(requests_per_s=0.001, requests_burst=10)))


def test_answers_fit_a_datagram_however_much_there_is_to_tell():
    """Twenty neighbours with IPv6 addresses, sixty-four owners, records of the largest size."""

    async def story(mesh: Mesh):
        keeper, asker = mesh.add(), mesh.add()
        for number in range(200):
            peer = Peer(mesh, f"v6 {number}", 1000 + number)
            keeper.directory.add_contact(peer.id, (f"2001:db8::{number:x}:ffff", 65000))
            payload = b"x" * (900 if number % 3 == 0 else 60)
            keeper.directory.storage.keep(key_of("capability:c"), peer.record("capability:c", payload), 0)
        assert keeper.directory.storage.owners(key_of("capability:c")) == 64
        offset, told = 0, set()
        while True:
            request = FindValue(asker.contact.id, key_of("capability:c"), 7, offset)
            answer = await asker.directory.protocol.ask(keeper.contact, request)
            told |= {each.key for each in answer.records}
            assert answer.owners == 64
            if not answer.next:
                break
            offset = answer.next
        assert len(told) == 64
        nodes = await asker.directory.protocol.ask(keeper.contact, FindNode(asker.contact.id, bytes(20)))
        assert len(nodes) == 20
        assert max(map(len, asker.seen)) <= 1200

    play(story, Mesh(settings=DirectorySettings(requests_burst=1000)))


def test_an_answer_counts_only_from_the_node_that_was_asked():
    """The package takes it from whoever knows the message id."""

    async def story(mesh: Mesh):
        asker, asked, liar = mesh.add(), mesh.add(), mesh.add("liar")
        mesh.kill(asked)
        waiting = asker.directory.protocol.ping(asked.contact)
        message_id = next(iter(asker.directory.protocol._outstanding))
        liar.send(asker.address, b"\x01" + message_id + msgspec.msgpack.encode(asked.contact.id))
        assert await waiting is None
        assert asker.directory.protocol.dropped["unasked"] == 1

    play(story, Mesh())


def test_nodes_told_of_are_believed_only_where_they_could_be():
    async def story(mesh: Mesh):
        one, two = mesh.add(), mesh.add()
        one.directory.add_contact(two.id, two.address)
        mesh.outsiders.add("a" * 32)
        told = [
            Told(b"short", bytes(4), 7),
            Told(one.contact.id, b"\x0a\x00\x00\x09", 7),
            Told(b"n" * 20, b"\x0a\x00\x00\x09", 0),
            Told(b"n" * 20, b"\x0a\x00\x00\x09", 70_000),
            Told(b"n" * 20, b"na", 7),
            Told(b"n" * 20, bytes(4), 7),
            Told(b"n" * 20, b"\xe0\x00\x00\x01", 7),
            Told(bytes(20), b"\x0a\x00\x00\x09", 7),
            Told(two.contact.id, b"\x0a\x09\x09\x09", 7),
            Told(b"m" * 20, b"\x0a\x00\x00\x09", 7),
        ]
        learned = one.directory.protocol.learned(told)
        assert [(each.id, each.address) for each in learned] == [
            (two.contact.id, two.address),
            (b"m" * 20, ("10.0.0.9", 7)),
        ]

    play(story, Mesh())


def test_a_false_address_does_not_get_a_living_peer_shunned_elsewhere():
    async def story(mesh: Mesh):
        one, two = mesh.add(), mesh.add()
        wrong = type(two.contact)(two.contact.id, ("10.9.9.9", 9))
        assert await one.directory.protocol.ping(wrong) is None
        assert one.directory.protocol.shunned.holds(wrong, 2.0)
        assert await one.directory.protocol.ping(two.contact) == two.contact.id
        assert one.directory.neighbours(2) == [(two.id, two.address)]

    play(story, Mesh())


@given(st.lists(st.binary(max_size=200), max_size=20), st.integers(0, 255))
def test_random_bytes_never_raise(bodies, kind):
    async def story(mesh: Mesh):
        one, two = mesh.add(), mesh.add()
        for body in bodies:
            for first in (kind, 0, 1):
                one.directory.received(two.id, two.address, bytes([first]) + bytes(20) + body)
                one.directory.received(two.id, two.address, body)

    play(story, Mesh())


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=40) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@given(st.sampled_from(["ping", "store", "find_node", "find_value", "stun", "__init__"]), JSON_LIKE, st.booleans())
def test_well_formed_nonsense_never_raises(method, arguments, own_id):
    async def story(mesh: Mesh):
        one, two = mesh.add(), mesh.add()
        if own_id and isinstance(arguments, list):
            arguments.insert(0, two.contact.id)
        body = msgspec.msgpack.encode([method, arguments])
        one.directory.received(two.id, two.address, bytes(21) + body)
        for request in (Ping(one.contact.id), FindValue(one.contact.id, bytes(20)), Store(one.contact.id, [])):
            one.directory.protocol.ask(two.contact, request)
            message_id = list(one.directory.protocol._outstanding)[-1]
            one.directory.received(two.id, two.address, b"\x01" + message_id + msgspec.msgpack.encode(arguments))
        await asyncio.sleep(0)

    play(story, Mesh())


def test_deep_nesting_does_not_raise():
    async def story(mesh: Mesh):
        one, two = mesh.add(), mesh.add()
        one.directory.received(two.id, two.address, bytes(21) + b"\x92\xa4ping" + b"\x91" * 1100)
        assert one.directory.protocol.dropped["malformed"] == 1

    play(story, Mesh())


def test_a_node_that_answers_nonsense_is_as_good_as_dead():
    async def story(mesh: Mesh):
        one, mad = mesh.add(), mesh.add()
        mad.directory.protocol._value = lambda *_: "nonsense"
        mad.directory.protocol._told = lambda *_: [1, 2, 3]
        mad.directory.protocol._keep = lambda *_: Kept(99)
        one.directory.add_contact(mad.id, mad.address)
        assert await one.directory.find("job", "j") == []
        assert await one.directory.publish("job", "j", b"1") == 1

    play(story, Mesh())


def test_a_holder_that_pages_for_ever_is_left():
    async def story(mesh: Mesh):
        one, mad = mesh.add(), mesh.add()
        wire = msgspec.msgpack.decode(encode_record(mad.record("capability:c")), type=WireRecord)
        pages = []

        def page(key, sender, request):
            pages.append(request.offset)
            return Value([wire], [], 10**9, random.getrandbits(20))

        mad.directory.protocol._value = page
        one.directory.add_contact(mad.id, mad.address)
        assert len(await one.directory.find_capable("c")) == 1
        assert len(pages) < 2000

    play(story, Mesh(settings=DirectorySettings(requests_burst=10**6)))
