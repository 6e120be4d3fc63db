"""The exchange of blobs in virtual time: how little the first holder uploads, and what goes wrong."""

from __future__ import annotations

import random

import msgspec
import pytest
from blob_swarm import CHUNK_BYTES, SETTINGS, Swarm, blob_bytes, copies, have_all, manifest_of, peer
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwit.peer.blobs import effects
from meshwit.peer.blobs.exchange import Exchange
from meshwit.peer.blobs.manifest import Manifest, content_hash
from meshwit.peer.blobs.messages import Ask, AskHashes, Chunk, Got, Has, Hashes, Refuse, Want, decode, encode

HASH = content_hash(b"some blob")


@pytest.mark.parametrize("chunks", [1, 4, 16, 128])
def test_twenty_fetchers_take_few_copies_from_the_first_holder(chunks):
    swarm = Swarm()
    holder = swarm.add(0)
    data = blob_bytes(chunks)
    hash = holder.hold(data)
    fetchers = [swarm.add(number) for number in range(1, 21)]
    for each in fetchers:
        each.fetch(hash, len(data), holder)
    swarm.run(have_all(hash, fetchers))
    assert copies(hash, holder) <= 2.5
    assert all(each.blobs[hash] == data for each in fetchers)
    assert swarm.now < 2 * chunks / 40 + 3
    assert not any(each.accused for each in swarm.peers.values())


def test_fetchers_that_come_one_by_one_take_from_each_other():
    swarm = Swarm()
    holder = swarm.add(0)
    data = blob_bytes(64)
    hash = holder.hold(data)
    fetchers = [swarm.add(number) for number in range(1, 9)]
    for number, each in enumerate(fetchers):
        swarm.at(number * 0.4, lambda each=each: each.fetch(hash, len(data), holder))
    swarm.run(have_all(hash, fetchers))
    assert copies(hash, holder) <= 2.5


def test_slow_uplinks_are_no_offence():
    """At 4 chunks a second for all, chunks come later than the patience: some come twice."""
    swarm = Swarm()
    holder = swarm.add(0, 4)
    data = blob_bytes(32)
    hash = holder.hold(data)
    fetchers = [swarm.add(number, 4) for number in range(1, 11)]
    for each in fetchers:
        each.fetch(hash, len(data), holder)
    swarm.run(have_all(hash, fetchers))
    assert copies(hash, holder) <= 2.5
    assert not any(each.accused for each in swarm.peers.values())


def test_the_same_seeds_give_the_same_run():
    def run():
        swarm = Swarm()
        holder = swarm.add(0)
        data = blob_bytes(32)
        hash = holder.hold(data)
        fetchers = [swarm.add(number) for number in range(1, 6)]
        for each in fetchers:
            each.fetch(hash, len(data), holder)
        swarm.run(have_all(hash, fetchers))
        return swarm.now, swarm.messages, [each.uploaded for each in fetchers]

    assert run() == run()


def test_a_corrupt_chunk_is_had_from_another_and_its_giver_accused():
    swarm = Swarm()
    good, bad, fetcher = swarm.add(0), swarm.add(1), swarm.add(2)
    data = blob_bytes(32)
    hash = good.hold(data)
    bad.hold(data)
    bad.spoil = lambda chunk: msgspec.structs.replace(chunk, data=bytes(len(chunk.data)))
    fetcher.fetch(hash, len(data), bad, good)
    swarm.run(have_all(hash, [fetcher]))
    assert {who for who, _ in fetcher.accused} == {bad.id}
    assert fetcher.blobs[hash] == data


def test_a_lying_manifest_costs_its_giver_and_not_the_blob():
    swarm = Swarm()
    liar, good, fetcher = swarm.add(0), swarm.add(1), swarm.add(2)
    data = blob_bytes(16)
    hash = good.hold(data)
    false = bytes(reversed(data))
    liar.blobs[hash], liar.manifests[hash] = false, manifest_of(false)
    fetcher.fetch(hash, len(data), liar)
    swarm.at(0.1, lambda: fetcher.perform(fetcher.core.add_sources(hash, [good.id], swarm.now)))
    swarm.run(have_all(hash, [fetcher]))
    assert {who for who, _ in fetcher.accused} == {liar.id}
    assert fetcher.blobs[hash] == data


def test_a_lying_manifest_alone_ends_in_failure():
    swarm = Swarm()
    liar, fetcher = swarm.add(0), swarm.add(1)
    data = blob_bytes(16)
    hash = content_hash(data)
    false = bytes(reversed(data))
    liar.blobs[hash], liar.manifests[hash] = false, manifest_of(false)
    fetcher.fetch(hash, len(data), liar)
    swarm.run(lambda: hash in fetcher.failed)
    assert "not to be had" in fetcher.failed[hash]
    assert hash not in fetcher.parts


@pytest.mark.parametrize("noticed", [True, False])
def test_a_source_that_dies_in_the_middle_is_replaced(noticed):
    swarm = Swarm()
    first, second, fetcher = swarm.add(0), swarm.add(1), swarm.add(2)
    data = blob_bytes(64)
    hash = first.hold(data)
    second.hold(data)
    fetcher.fetch(hash, len(data), first, second)
    swarm.at(0.5, lambda: swarm.die(first, noticed))
    swarm.run(have_all(hash, [fetcher]))
    assert second.uploaded[hash] >= 32
    assert fetcher.accused == []


def test_the_first_holder_may_go_when_together_the_fetchers_have_everything():
    swarm = Swarm()
    holder = swarm.add(0)
    data = blob_bytes(64)
    hash = holder.hold(data)
    fetchers = [swarm.add(number) for number in range(1, 6)]
    for each in fetchers:
        each.fetch(hash, len(data), holder)
    swarm.run(lambda: len({i for each in fetchers for i in each.parts.get(hash, (0, {}))[1]}) == 64)
    swarm.die(holder)
    swarm.run(have_all(hash, fetchers))


def test_a_fetch_goes_on_where_it_stopped():
    swarm = Swarm()
    holder, fetcher = swarm.add(0), swarm.add(1)
    data = blob_bytes(64)
    hash = holder.hold(data)
    fetcher.fetch(hash, len(data), holder)
    swarm.run(lambda: len(fetcher.parts.get(hash, (0, ()))[1]) >= 40)
    fetcher.core = Exchange(random.Random(9), lambda other: swarm.linked(fetcher.id, other), SETTINGS)
    before = holder.uploaded[hash]
    fetcher.fetch(hash, len(data), holder)
    swarm.run(have_all(hash, [fetcher]))
    in_flight = 2
    assert holder.uploaded[hash] - before <= 24 + in_flight


def test_who_does_not_have_it_is_named():
    swarm = Swarm()
    other, fetcher = swarm.add(0), swarm.add(1)
    fetcher.fetch(HASH, 5000, other)
    swarm.run(lambda: HASH in fetcher.failed, limit_s=1)
    assert "does not have it" in fetcher.failed[HASH]


def test_silence_of_all_sources_ends_in_failure():
    swarm = Swarm()
    other, fetcher = swarm.add(0), swarm.add(1)
    other.alive = False
    fetcher.fetch(HASH, 5000, other)
    swarm.run(lambda: HASH in fetcher.failed, limit_s=60)
    assert "answers" in fetcher.failed[HASH]


def test_an_empty_blob_is_fetched():
    swarm = Swarm()
    holder, fetcher = swarm.add(0), swarm.add(1)
    hash = holder.hold(b"")
    fetcher.fetch(hash, 0, holder)
    swarm.run(have_all(hash, [fetcher]))


def test_an_unasked_chunk_is_an_offence():
    core = Exchange(random.Random(1), lambda _: True, SETTINGS)
    told = core.receive(peer(1), encode(Chunk(HASH, 0, b"x")), 0.0)
    assert [type(each) for each in told] == [effects.Misbehaved]


HASHES = st.sampled_from([HASH, content_hash(b"other")])
RAW = st.binary(min_size=20, max_size=20)
MESSAGES = st.one_of(
    st.builds(Ask, HASHES, st.integers(0, 6000)),
    st.builds(
        Has, HASHES, st.sampled_from([5000, 1]), st.booleans(), st.binary(max_size=32), st.binary(max_size=3),
        st.lists(RAW, max_size=3),
    ),
    st.builds(AskHashes, HASHES, st.integers(0, 9)),
    st.builds(Hashes, HASHES, st.integers(0, 9), st.binary(max_size=200)),
    st.builds(Want, HASHES, st.lists(st.integers(0, 9), max_size=5), st.booleans()),
    st.builds(Chunk, HASHES, st.integers(0, 9), st.binary(max_size=CHUNK_BYTES)),
    st.builds(
        Refuse, HASHES, st.lists(st.integers(0, 9), max_size=5), st.integers(0, 9), st.one_of(st.just(b""), RAW),
        st.integers(0, 9),
    ),
    st.builds(Got, HASHES, st.lists(st.integers(0, 9), max_size=5)),
)  # fmt: skip


@given(st.binary(max_size=300))
def test_random_bytes_never_raise(raw):
    core = Exchange(random.Random(1), lambda _: True, SETTINGS)
    core.fetch(HASH, 5000, [peer(1)], 0.0)
    core.receive(peer(1), raw, 0.1)
    assert decode(raw) is None or isinstance(decode(raw), msgspec.Struct)


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(1, 3), MESSAGES), max_size=25))
def test_no_order_of_messages_raises(dialogue):
    """Also none that an honest peer would send: 1 holds both blobs' names, 2 and 3 are anybody."""
    data = bytes(5000)
    true = manifest_of(data)
    core = Exchange(random.Random(1), lambda _: True, SETTINGS)
    core.fetch(HASH, 5000, [peer(1), peer(2)], 0.0, (true, [0]))
    core.receive(peer(1), encode(Has(HASH, 5000, True, true.digest)), 0.0)
    now = 0.0
    for number, message in dialogue:
        now += 0.7
        pending = core.receive(peer(number), encode(message), now) + core.tick(now)
        while pending:
            match pending.pop():
                case effects.KeepChunk(hash, index):
                    pending += core.chunk_kept(hash, index, effects.Kept.CORRUPT, now)
                case effects.GiveChunk(to, hash, index):
                    pending += core.chunk_given(to, hash, index, effects.Given.GIVEN, now)
                case effects.LookUp(hash):
                    pending += core.looked_up(hash, Manifest(5000, true.hashes, CHUNK_BYTES), now)
                case effects.CheckWhole(hash):
                    pending += core.whole_checked(hash, False, now)
                case _:
                    pass
