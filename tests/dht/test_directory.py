"""What a peer gets from the directory: publishing, finding, withdrawing, joining, among peers that die and lose."""

from __future__ import annotations

import asyncio
import random

import pytest

from meshwit.dht.keys import key_of
from meshwit.dht.settings import DirectorySettings
from tests.dht.mesh import Mesh, play


def test_what_one_publishes_another_finds():
    async def story(mesh: Mesh):
        peers = await mesh.grow(12)
        assert await peers[3].directory.publish("peer", peers[3].id, b"10.0.0.3:7000") > 6
        found = await peers[9].directory.find_peer(peers[3].id)
        assert found is not None and found.owner == peers[3].id and found.payload == b"10.0.0.3:7000"
        assert await peers[9].directory.find_peer(peers[4].id) is None

    play(story, Mesh())


def test_several_owners_under_one_capability():
    async def story(mesh: Mesh):
        peers = await mesh.grow(12)
        for each in peers[:5]:
            await each.directory.publish("capability", "gpu.cuda", b"8 GiB")
        found = await peers[11].directory.find_capable("gpu.cuda", 16)
        assert {each.owner for each in found} == {each.id for each in peers[:5]}
        assert len(await peers[11].directory.find_capable("gpu.cuda", 2)) == 2

    play(story, Mesh())


def test_a_peer_alone_finds_what_it_says_itself():
    """The package fails on the largest of no distances when nobody is known."""

    async def story(mesh: Mesh):
        alone = mesh.add()
        assert await alone.directory.publish("capability", "gpu.cuda", b"1") == 1
        assert len(await alone.directory.find_capable("gpu.cuda")) == 1
        assert await alone.directory.find("job", "j1") == []
        assert await alone.directory.join([]) == 0

    play(story, Mesh())


def test_the_highest_version_wins_over_the_most_frequent():
    """The package takes the value that most holders tell; here most were out of reach when the new one came."""

    async def story(mesh: Mesh):
        peers = await mesh.grow(8)
        old, new = (peers[0].record("job:j", payload, version) for payload, version in ((b"old", 1), (b"new", 2)))
        key = key_of("job:j")
        for each in peers[1:]:
            each.directory.storage.keep(key, old, 0)
        peers[7].directory.storage.keep(key, new, 0)
        for reader in peers[1:7]:
            found = await reader.directory.find("job", "j")
            if found[0].payload == b"new":
                break
        else:
            pytest.fail("the new version was never found")

    settings = DirectorySettings(read_quorum=8)
    play(story, Mesh(settings=settings))


def test_a_read_mends_nodes_that_have_an_older_version():
    async def story(mesh: Mesh):
        peers = await mesh.grow(6)
        key = key_of("job:j")
        for each in peers[1:]:
            each.directory.storage.keep(key, peers[0].record("job:j", b"old", 1), 0)
        peers[2].directory.storage.keep(key, peers[0].record("job:j", b"new", 2), 0)
        for _ in range(4):
            await peers[5].directory.find("job", "j")
            await asyncio.sleep(1)
        stores = [each.directory.storage.entries(key) for each in peers]
        assert sum(entries[0].record.payload == b"new" for entries in stores if entries) >= 5

    play(story, Mesh(settings=DirectorySettings(read_quorum=6)))


def test_publishing_again_replaces_and_withdrawing_removes():
    async def story(mesh: Mesh):
        peers = await mesh.grow(8)
        await peers[0].directory.publish("job", "j", b"epoch 1")
        await peers[0].directory.publish("job", "j", b"epoch 2")
        assert [each.payload for each in await peers[5].directory.find("job", "j")] == [b"epoch 2"]
        await peers[0].directory.withdraw("job", "j")
        assert await peers[5].directory.find("job", "j") == []
        await peers[0].directory.withdraw("job", "j")
        await peers[0].directory.publish("job", "j", b"epoch 3")
        assert [each.payload for each in await peers[5].directory.find("job", "j")] == [b"epoch 3"]

    play(story, Mesh())


def test_a_record_is_published_again_by_its_owner_until_it_is_withdrawn():
    async def story(mesh: Mesh):
        peers = await mesh.grow(6)
        await peers[0].directory.publish("job", "j", b"led by 0", ttl_s=600)
        await asyncio.sleep(5 * 3600)
        assert len(await peers[3].directory.find("job", "j")) == 1
        await peers[0].directory.withdraw("job", "j")
        await asyncio.sleep(2 * 3600)
        assert all(each.directory.storage.records == 0 for each in peers)

    play(story, Mesh())


def test_the_records_of_a_dead_owner_expire():
    """The package keeps them for a week, and its nodes go on storing them for each other."""

    async def story(mesh: Mesh):
        peers = await mesh.grow(6)
        await peers[0].directory.publish("job", "j", b"led by 0", ttl_s=600)
        mesh.kill(peers[0])
        await asyncio.sleep(3600)
        assert await peers[3].directory.find("job", "j") == []
        assert all(each.directory.storage.records == 0 for each in peers[1:])

    play(story, Mesh())


def test_publishing_returns_once_a_majority_has_it():
    """The package waits for the slowest; four of these twelve die when the first store arrives."""

    async def story(mesh: Mesh):
        peers = await mesh.grow(12)

        def kill_at_first_store(note: str) -> None:
            if b"store".hex() in note:
                for each in peers[1:5]:
                    mesh.kill(each)

        mesh.network.note = kill_at_first_store
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await peers[0].directory.publish("job", "j", b"1") == 7
        assert loop.time() - began < peers[0].directory.settings.try_s

    play(story, Mesh())


def test_publishing_without_a_majority_is_tried_again_soon():
    async def story(mesh: Mesh):
        peers = await mesh.grow(9)
        for each in peers[1:]:
            mesh.network.block(each.address)
        await peers[0].directory.publish("job", "j", b"1")
        assert len(peers[0].directory.storage.keys()) == 1
        for each in peers[1:]:
            mesh.network.block(each.address, False)
        await asyncio.sleep(900)
        assert len(await peers[4].directory.find("job", "j")) == 1

    play(story, Mesh())


def test_joining_is_tried_again_when_the_contact_is_silent():
    """The package asks once: one lost datagram and it stays alone for ever."""

    async def story(mesh: Mesh):
        first, second = mesh.add(), mesh.add()
        mesh.network.block(first.address)
        joining = asyncio.create_task(second.directory.join([(first.id, first.address)]))
        await asyncio.sleep(2)
        mesh.network.block(first.address, False)
        assert await joining == 1
        assert first.directory.neighbours(4) == [(second.id, second.address)]

    play(story, Mesh())


def test_who_lost_everybody_comes_back_when_the_network_does():
    async def story(mesh: Mesh):
        peers = await mesh.grow(6)
        mesh.network.block(peers[5].address)
        for _ in range(3):
            await peers[5].directory.find("job", "j")
        assert peers[5].directory.neighbours(9) == []
        mesh.network.block(peers[5].address, False)
        await asyncio.sleep(300)
        assert len(peers[5].directory.neighbours(9)) == 5

    play(story, Mesh())


def test_a_third_dead_at_once_and_every_read_succeeds():
    async def story(mesh: Mesh):
        peers = await mesh.grow(60)
        for number, each in enumerate(peers[:20]):
            await each.directory.publish("job", f"j{number}", b"1")
        dead = random.Random(5).sample(peers, 20)
        for each in dead:
            mesh.kill(each)
        reader = next(each for each in peers if each not in dead)
        found = [len(await reader.directory.find("job", f"j{number}")) for number in range(20)]
        assert found == [1] * 20

    play(story, Mesh(loss=0.02))


def test_a_peer_whose_clock_went_back_is_heard_again():
    """Its versions are times; those it said before are higher than those it would say now."""

    async def story(mesh: Mesh):
        peers = await mesh.grow(6)
        peers[0].skew_s = 300
        await peers[0].directory.publish("job", "j", b"before")
        await peers[0].directory.close()
        peers[0].skew_s = 0
        again = mesh.add("peer 0")
        await again.directory.join([(peers[1].id, peers[1].address)])
        assert await again.directory.publish("job", "j", b"after") >= 4
        assert [each.payload for each in await peers[3].directory.find("job", "j")] == [b"after"]

    play(story, Mesh())


def test_what_was_said_alone_is_said_again_in_company():
    """A peer may publish before it has joined; who is closest to the key is then somebody else."""

    async def story(mesh: Mesh):
        newcomer = mesh.add("newcomer")
        await newcomer.directory.publish("job", "j", b"1")
        peers = [mesh.add() for _ in range(40)]
        for each in peers:
            await each.directory.join([(peers[0].id, peers[0].address)] if each is not peers[0] else [])
        await newcomer.directory.join([(peers[0].id, peers[0].address)])
        await asyncio.sleep(2)
        assert [len(await each.directory.find("job", "j")) for each in peers] == [1] * 40
        mesh.kill(newcomer)
        assert len(await peers[30].directory.find("job", "j")) == 1

    play(story, Mesh(settings=DirectorySettings(k=8)))


def test_of_what_is_said_at_once_the_last_holds():
    async def story(mesh: Mesh):
        peers = await mesh.grow(6)
        said = [peers[0].directory.publish("job", "j", f"epoch {number}".encode()) for number in range(20)]
        await asyncio.gather(*said)
        assert [each.payload for each in await peers[4].directory.find("job", "j")] == [b"epoch 19"]
        await asyncio.sleep(3 * 3600)
        assert [each.payload for each in await peers[2].directory.find("job", "j")] == [b"epoch 19"]

    play(story, Mesh())


def test_many_records_at_once_are_not_too_many_for_those_asked():
    """A peer with a hundred activities in a mesh of three: nobody is made to drop its requests."""

    async def story(mesh: Mesh):
        peers = await mesh.grow(3)
        stores = (peers[0].directory.publish("capability", f"activity.{number}", b"1") for number in range(100))
        assert min(await asyncio.gather(*stores)) >= 2
        await asyncio.sleep(5)
        assert all(each.directory.protocol.dropped["too many"] == 0 for each in peers)
        assert all(each.directory.storage.records == 100 for each in peers)

    play(story, Mesh())


def test_a_crowded_capability_is_found_through_deeper_keys():
    """At most 4 owners fit under a key here; all forty are found, and whoever wants few gets fair choices."""

    async def story(mesh: Mesh):
        peers = await mesh.grow(40)
        for each in peers:
            await each.directory.publish("capability", "text.count", b"1")
        everyone = await peers[0].directory.find_capable("text.count", 100)
        assert len(everyone) >= 38
        few = [await each.directory.find_capable("text.count", 3) for each in peers]
        assert all(len(each) == 3 for each in few)
        assert len({record.owner for each in few for record in each}) > 8

    play(story, Mesh(settings=DirectorySettings(k=4, owners_max=4, read_quorum=2)))


def test_gossip_tells_who_is_there_and_who_died():
    async def story(mesh: Mesh):
        one, two = mesh.add(), mesh.add()
        one.directory.add_contact(two.id, two.address)
        one.directory.add_contact(one.id, one.address)
        assert one.directory.neighbours(5) == [(two.id, two.address)]
        one.directory.forget(two.id)
        assert one.directory.neighbours(5) == []
        one.directory.forget(two.id)
        one.directory.add_contact(two.id, ("10.9.9.9", 7))
        assert one.directory.neighbours(5) == [(two.id, ("10.9.9.9", 7))]

    play(story, Mesh())


def test_neighbours_are_the_closest_and_some_of_the_rest():
    async def story(mesh: Mesh):
        peers = await mesh.grow(30)
        told = peers[0].directory.neighbours(10)
        known = peers[0].directory.protocol.router.find_neighbors(peers[0].contact, 5)
        assert [peer for peer, _ in told[:5]] == [each.peer for each in known]
        assert len(set(told)) == 10
        assert peers[0].directory.neighbours(0) == []

    play(story, Mesh())


@pytest.mark.parametrize(
    ("kind", "name", "payload", "ttl_s"),
    [
        ("mood", "x", b"1", 600),
        ("job", "", b"1", 600),
        ("job", "x" * 80, b"1", 600),
        ("job", "x", b"", 600),
        ("job", "x", b"x" * 1200, 600),
        ("job", "x", b"1", 1),
        ("job", "x", b"1", 10**6),
        ("peer", "a" * 32, b"1", 600),
    ],
)
def test_what_cannot_be_published_is_said(kind, name, payload, ttl_s):
    async def story(mesh: Mesh):
        with pytest.raises(ValueError, match=r"kind|name|payload|bytes|says"):
            await mesh.add().directory.publish(kind, name, payload, ttl_s)

    play(story, Mesh())


def test_closing_ends_whoever_waits():
    async def story(mesh: Mesh):
        peers = await mesh.grow(4)
        for each in peers[1:]:
            mesh.kill(each)
        waiting = [
            asyncio.create_task(peers[0].directory.find("job", "j")),
            asyncio.create_task(peers[0].directory.publish("job", "j", b"1")),
        ]
        await asyncio.sleep(0.05)
        await peers[0].directory.close()
        assert (await waiting[0], await waiting[1]) == ([], 1)
        assert await peers[0].directory.find("job", "other") == []
        peers[0].directory.received(peers[1].id, peers[1].address, b"\x00" * 40)

    play(story, Mesh())
