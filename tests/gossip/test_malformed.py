"""Whatever a member sends, the core neither raises nor breaks its invariants, and stays within its limits."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwit.gossip import Gossip, GossipConfig, Misbehaved, RecordChanged
from meshwit.gossip.asking import QUESTIONS_MAX
from meshwit.gossip.messages import ITEMS_MAX, NUMBER_MAX, Claim, Digest, Entry, News, Note, Ping, Want, encode, to_wire
from meshwit.gossip.rumors import ITEMS_MAX as RUMORS_MAX
from meshwit.gossip.verdicts import UNBORN_MAX
from meshwit.ids import id_bytes
from meshwit.records import signed_record

from .small_mesh import EPOCH_MS, FakeSigner, core

BEN = core("ben").me
RAW = {name: id_bytes(core(name).me) for name in ("anna", "ben", "cleo")}


def introduced(config: GossipConfig | None = None) -> Gossip:
    """Anna, who knows ben and cleo."""
    anna = core("anna", config=config)
    anna.start(0.0, b"member anna")
    for name in ("ben", "cleo"):
        record = signed_record(FakeSigner(name), "member", EPOCH_MS, b"member")
        anna.receive(encode(News([Claim(RAW[name], 1, EPOCH_MS)], [to_wire(record)])), BEN, 0.0, True)
    return anna


def run(anna: Gossip, until: float) -> None:
    while (due := anna.next_deadline()) is not None and due <= until:
        anna.tick(due)
    anna.check()


scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.binary() | st.text()
raw_ids = st.sampled_from(list(RAW.values())) | st.binary(min_size=20, max_size=20)
anything = st.recursive(scalars | raw_ids, lambda inner: st.lists(inner, max_size=6), max_leaves=30)
numbers = st.sampled_from([0, 1, EPOCH_MS, EPOCH_MS + 1, NUMBER_MAX]) | st.integers(0, NUMBER_MAX)
states = st.integers(1, 4)
topics = st.sampled_from(["member", "load", "mesh:name", "expel:x", ""]) | st.text(max_size=64)
claims = st.lists(st.builds(Claim, raw_ids, states, numbers, st.binary(max_size=20) | raw_ids, st.integers(0, 2)))
notes = st.lists(st.builds(Note, raw_ids, topics, numbers))
entries = st.lists(st.builds(Entry, raw_ids, states, numbers, st.binary(max_size=8)))
well_formed = st.one_of(
    st.builds(Ping, numbers, st.binary(max_size=8), st.binary(max_size=8), claims, st.just([]), notes),
    st.builds(News, claims, st.just([]), notes, st.booleans()),
    st.builds(Digest, raw_ids, raw_ids, entries, st.binary(max_size=8), st.booleans()),
    st.builds(Want, st.lists(st.tuples(raw_ids, topics))),
)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=8), st.booleans())
def test_random_bytes(datagrams, reliable):
    anna = introduced()
    for raw in datagrams:
        anna.receive(raw, BEN, 0.1, reliable)
    run(anna, 3.0)


@settings(deadline=None)
@given(st.integers(0, 9), st.lists(anything, max_size=6), st.booleans())
def test_messages_of_any_shape(tag, fields, reliable):
    anna = introduced()
    effects = anna.receive(msgspec.msgpack.encode([tag, *fields]), BEN, 0.1, reliable)
    assert all(not isinstance(each, RecordChanged) for each in effects)
    run(anna, 3.0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(well_formed, st.sampled_from(["ben", "cleo", "dora"]), st.booleans()), max_size=8))
def test_well_formed_messages_with_any_content(messages):
    anna = introduced()
    now = 0.0
    for message, sender, reliable in messages:
        now += 0.3
        anna.receive(encode(message), core(sender).me, now, reliable)
        run(anna, now)
    run(anna, now + 20.0)


def test_what_is_no_message_is_misbehaviour():
    (effect,) = introduced().receive(b"\xc1", BEN, 0.0, False)
    assert isinstance(effect, Misbehaved) and effect.peer == BEN


def test_an_incarnation_out_of_this_world_neither_kills_nor_exhausts():
    anna = introduced()
    for subject in ("anna", "cleo"):
        effects = anna.receive(encode(News([Claim(RAW[subject], 3, NUMBER_MAX)])), BEN, 0.1, True)
        assert [type(each) for each in effects] == [Misbehaved]
    assert anna.incarnation == EPOCH_MS


def test_claims_on_strangers_fill_nothing():
    """A member may name as many strangers as it likes: what is remembered and passed on of them is bounded."""
    anna = introduced()
    for first in range(0, 100_000, ITEMS_MAX):
        dead = [Claim(number.to_bytes(20, "big"), 3, 5) for number in range(first, first + ITEMS_MAX)]
        anna.receive(encode(News(dead)), BEN, 0.1, True)
    assert len(anna._verdicts.unborn) <= UNBORN_MAX
    assert len(anna._ground.rumors) < 50 < RUMORS_MAX
    assert len(anna.members) == 2


def test_notes_of_strangers_fill_nothing():
    anna = introduced()
    for first in range(0, 40_000, ITEMS_MAX):
        notes = [Note(number.to_bytes(20, "big"), "member", 5) for number in range(first, first + ITEMS_MAX)]
        anna.receive(encode(News(notes=notes)), BEN, 0.1, True)
        assert len(anna._asker.questions) <= QUESTIONS_MAX
    assert len(anna._asker._batches) <= QUESTIONS_MAX


def test_members_and_tombstones_are_bounded():
    """Even a hostile member that can make members: the view and the tombstones stay as large as they may be."""
    anna = introduced(GossipConfig(view_max=20, tombstones_max=30))
    for number in range(300):
        signer = FakeSigner(f"crowd {number}")
        record = signed_record(signer, "member", EPOCH_MS, b"member")
        raw = id_bytes(record.owner)
        anna.receive(encode(News([Claim(raw, 1, 1)], [to_wire(record)])), BEN, 0.1, True)
        if number % 2:
            anna.receive(encode(News([Claim(raw, 3, 1)])), BEN, 0.1, True)
        anna.check()
    assert len(anna.alive()) <= 20
    assert len(anna.members) - len(anna.alive()) <= 30


def test_topics_and_bytes_of_one_owner_are_bounded():
    anna = introduced()
    cleo = FakeSigner("cleo")
    why = []
    for number in range(40):
        record = signed_record(cleo, f"topic {number}", EPOCH_MS + number, b"x" * 8000)
        effects = anna.receive(encode(News(records=[to_wire(record)])), BEN, 0.1, True)
        why += [each.why for each in effects if isinstance(each, Misbehaved)]
    member = anna.members[core("cleo").me]
    assert sum(len(each.payload) for each in member.records.values()) <= 64 * 1024
    assert why and "bytes" in why[0]


def test_shared_topics_of_one_owner_are_bounded():
    anna = introduced()
    cleo = FakeSigner("cleo")
    for number in range(100):
        record = signed_record(cleo, f"mesh:{number}", EPOCH_MS + number, b"x")
        anna.receive(encode(News(records=[to_wire(record)])), BEN, 0.1, True)
    assert len(anna.shared_records) == 32
