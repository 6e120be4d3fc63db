"""Blobs between services on one loop, with real stores; and what the store keeps."""

from __future__ import annotations

import asyncio
import os
import random
import time
from pathlib import Path

import pytest
from blob_swarm import peer

from meshwit.peer.blobs import BlobStore
from meshwit.peer.blobs.effects import Kept
from meshwit.peer.blobs.part import PartFile, manifest_of_file
from meshwit.peer.blobs.service import BlobError, BlobService

CHUNK = 256 * 1024


class Net:
    """Services with links between all of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.services = {}
        self.sent = {}
        self.accused = []
        self.full = 0

    def add(self, number: int, bytes_max: int | None = None, dial=None, beside=lambda _: None) -> BlobService:
        me = peer(number)

        def send(to, payload):
            if self.full > 0 and len(payload) > CHUNK:
                self.full -= 1
                return False
            self.sent[me] = self.sent.get(me, 0) + len(payload)
            asyncio.get_running_loop().call_soon(self.arrive, me, to, bytes(payload))
            return True

        store = BlobStore(self.folder / str(number), bytes_max)
        service = BlobService(
            store, send, lambda to: to in self.services, lambda who, why: self.accused.append((who, why)),
            chance=random.Random(number), dial=dial, beside=beside,
        )  # fmt: skip
        self.services[me] = service
        return service

    def arrive(self, sender, to, payload):
        if to in self.services:
            self.services[to].received(sender, payload)

    def close(self):
        for service in self.services.values():
            service.close()


def play(tmp_path, story):
    async def run():
        net = Net(tmp_path)
        try:
            async with asyncio.timeout(30):
                await story(net)
        finally:
            net.close()
            await asyncio.sleep(0)

    asyncio.run(run())


DATA = random.Random(5).randbytes(9 * CHUNK + 77)


def test_several_fetch_one_blob_and_spare_the_holder(tmp_path):
    async def story(net):
        blob = net.add(0).store.put(DATA)
        others = [net.add(number) for number in range(1, 6)]
        paths = await asyncio.gather(*(each.fetch(blob.hash, blob.size, [peer(0)]) for each in others))
        assert all(path.read_bytes() == DATA for path in paths)
        assert net.sent[peer(0)] < 2.5 * len(DATA)
        assert net.accused == []
        assert not list(tmp_path.glob("[1-5]/??/.*"))

    play(tmp_path, story)


@pytest.mark.parametrize("size", [0, 10, CHUNK, CHUNK + 1])
def test_blobs_of_all_sizes(tmp_path, size):
    async def story(net):
        blob = net.add(0).store.put(DATA[:size])
        path = await net.add(1).fetch(blob.hash, size, [peer(0)])
        assert path.read_bytes() == DATA[:size]

    play(tmp_path, story)


def test_calls_for_one_blob_share_a_fetch_and_one_may_go(tmp_path):
    async def story(net):
        blob = net.add(0).store.put(DATA)
        other = net.add(1)
        first = asyncio.create_task(other.fetch(blob.hash, blob.size, [peer(0)]))
        second = asyncio.create_task(other.fetch(blob.hash, blob.size, []))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).read_bytes() == DATA
        assert net.sent[peer(0)] < 1.2 * len(DATA)

    play(tmp_path, story)


def test_what_is_here_is_not_fetched(tmp_path):
    async def story(net):
        service = net.add(1)
        blob = service.store.put(DATA)
        assert await service.fetch(blob.hash, blob.size, []) == blob.path

    play(tmp_path, story)


def test_a_blob_that_nobody_has_is_an_error_for_people(tmp_path):
    async def story(net):
        net.add(0)
        with pytest.raises(BlobError, match="does not have it"):
            await net.add(1).fetch("ab" * 32, 10, [peer(0)])
        with pytest.raises(BlobError, match="no peer was named"):
            await net.services[peer(1)].fetch("ab" * 32, 10, [])
        with pytest.raises(BlobError, match="no hash"):
            await net.services[peer(1)].fetch("../../etc", 10, [peer(0)])

    play(tmp_path, story)


def test_a_full_link_is_tried_again(tmp_path):
    async def story(net):
        blob = net.add(0).store.put(DATA)
        net.full = 5
        assert (await net.add(1).fetch(blob.hash, blob.size, [peer(0)])).read_bytes() == DATA

    play(tmp_path, story)


def test_closing_ends_fetches(tmp_path):
    async def story(net):
        service = net.add(1)
        waiting = asyncio.create_task(service.fetch("ab" * 32, 10, [peer(7)]))
        await asyncio.sleep(0)
        service.close()
        with pytest.raises(BlobError, match="closing"):
            await waiting

    play(tmp_path, story)


def begun(store: BlobStore, tmp_path: Path, chunks: list[int]) -> tuple[str, PartFile]:
    whole = tmp_path / "whole"
    whole.write_bytes(DATA)
    manifest = manifest_of_file(whole)
    hash = BlobStore(tmp_path / "elsewhere").put(DATA).hash
    part = PartFile(store, hash)
    part.begin(manifest)
    for index in chunks:
        assert part.keep(index, DATA[index * CHUNK : (index + 1) * CHUNK], manifest.hash_of(index)) is Kept.KEPT
    return hash, part


def test_a_fetch_goes_on_after_a_restart(tmp_path):
    async def story(net):
        blob = net.add(0).store.put(DATA)
        begun(BlobStore(tmp_path / "1"), tmp_path, [0, 1, 2, 3, 4, 5, 9])
        path = await net.add(1).fetch(blob.hash, blob.size, [peer(0)])
        assert path.read_bytes() == DATA
        assert net.sent[peer(0)] < 3.5 * CHUNK

    play(tmp_path, story)


def test_chunks_that_did_not_reach_the_disk_are_found_out(tmp_path):
    store = BlobStore(tmp_path / "store")
    hash, part = begun(store, tmp_path, [0, 3, 5])
    with store.part_path(hash).open("r+b") as file:
        file.seek(3 * CHUNK)
        file.write(b"torn")
    with store.part_path(hash).with_suffix(".known").open("ab") as file:
        file.write(b"\x01")
    loaded = part.load()
    assert loaded is not None and loaded[1] == [0, 5]


def test_a_chunk_that_is_not_right_is_not_written(tmp_path):
    store = BlobStore(tmp_path / "store")
    _, part = begun(store, tmp_path, [])
    assert part.keep(0, b"false", b"x" * 32) is Kept.CORRUPT
    loaded = part.load()
    assert loaded is not None and loaded[1] == []


def age(store: BlobStore) -> None:
    for number, path in enumerate(sorted(store.folder.glob("??/*"))):
        os.utime(path, (time.time() - 9000 + number,) * 2)


def test_eviction_leaves_what_is_pinned_and_parts_in_use(tmp_path):
    store = BlobStore(tmp_path / "store", bytes_max=0)
    blobs = [store.put(bytes([number]) * 1000) for number in range(3)]
    part, _ = begun(store, tmp_path, [1])
    store.pin(blobs[1].hash)
    store.pin(blobs[1].hash)
    store.unpin(blobs[1].hash)
    store.pin(part)
    age(store)
    store.evict()
    assert [store.find(each.hash) is not None for each in blobs] == [False, True, False]
    assert store.part_path(part).exists()
    store.unpin(blobs[1].hash)
    store.unpin(part)
    age(store)
    store.evict()
    assert not list(store.folder.glob("??/*"))


def test_a_store_over_its_limit_is_evicted_at_the_start(tmp_path):
    async def story(net):
        store = BlobStore(tmp_path / "7")
        old = store.put(b"old" * 1000)
        age(store)
        net.add(7, bytes_max=1000)
        while store._place(old.hash).exists():
            await asyncio.sleep(0.01)

    play(tmp_path, story)


def test_holders_without_a_link_are_dialled_a_few_at_a_time_and_give_once_linked(tmp_path):
    """Until then the blob comes from whoever is linked; here nobody is."""

    async def story(net):
        blob = net.add(9).store.put(DATA)
        holder = net.services.pop(peer(9))
        asked, most, now = [], 0, 0

        async def dial(to):
            nonlocal most, now
            asked.append(to)
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.01)
            now -= 1
            if to == peer(9):
                net.services[to] = holder
                needer.link_up(to)

        needer = net.add(0, dial=dial)
        path = await needer.fetch(blob.hash, blob.size, [peer(9), *map(peer, range(1, 9))])
        assert path.read_bytes() == DATA
        assert peer(9) in asked and most <= 3

    play(tmp_path, story)


def test_nobody_is_dialled_for_what_is_here(tmp_path):
    async def story(net):
        async def dial(to):
            raise AssertionError(to)

        needer = net.add(0, dial=dial)
        blob = needer.store.put(DATA)
        await needer.fetch(blob.hash, blob.size, [peer(5)])

    play(tmp_path, story)


def test_a_store_over_its_limit_is_evicted_after_a_fetch(tmp_path):
    async def story(net):
        blob = net.add(0).store.put(DATA)
        other = net.add(1, bytes_max=1000)
        old, kept = other.store.put(b"old" * 1000), other.store.put(b"kept" * 1000)
        age(other.store)
        other.pin(kept.hash)
        await other.fetch(blob.hash, blob.size, [peer(0)])
        while other.store._place(old.hash).exists():
            await asyncio.sleep(0.01)
        assert other.store.find(kept.hash) and other.store.find(blob.hash)

    play(tmp_path, story)


def test_a_blob_in_a_store_beside_is_taken_over_without_a_transfer(tmp_path):
    async def story(net):
        holder = net.add(1)
        blob = holder.store.put(os.urandom(3 * CHUNK + 7))
        fetcher = net.add(2, beside=lambda who: holder.store.folder if who == peer(1) else None)
        path = await fetcher.fetch(blob.hash, blob.size, [peer(1)])
        assert path.read_bytes() == holder.store.path(blob).read_bytes()
        assert not net.sent
        assert path.stat().st_ino == holder.store.path(blob).stat().st_ino, "stores on one file system share the file"
        holder.store.path(blob).unlink()
        assert path.stat().st_size == blob.size
        assert [each.name for each in path.parent.iterdir()] == [path.name]

    play(tmp_path, story)


@pytest.mark.parametrize("harm", ["damaged", "short", "gone"])
def test_a_blob_beside_that_is_not_what_it_should_be_comes_over_the_link(tmp_path, harm):
    async def story(net):
        holder, other = net.add(1), net.add(3)
        data = os.urandom(2 * CHUNK)
        blob = holder.store.put(data)
        beside = BlobStore(tmp_path / "beside")
        beside.put(data)
        if harm == "gone":
            beside.path(blob).unlink()
        else:
            beside.path(blob).write_bytes(data[:-1] + (b"" if harm == "short" else bytes([data[-1] ^ 1])))
        fetcher = net.add(2, beside=lambda who: beside.folder)
        path = await fetcher.fetch(blob.hash, blob.size, [peer(1)])
        assert path.read_bytes() == data
        assert net.sent[peer(1)] > len(data)
        assert other is not fetcher and not net.accused

    play(tmp_path, story)
