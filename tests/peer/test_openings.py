"""Steps are opened in order, what they capture is encoded and stored once, and nothing stays when they are over."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from meshwit.codec import Codec
from meshwit.ids import PeerId
from meshwit.lang import program as ir
from meshwit.peer.blobs.store import BlobStore
from meshwit.peer.job.effects import PrepareStep
from meshwit.peer.job.steps import StepSettings
from meshwit.peer.openings import Openings
from meshwit.peer.running_job import RunningJob
from meshwit.peer.work.messages import Assigned, Close, Open, Span

ME = PeerId("me")
PEERS = [PeerId(f"peer{number}") for number in range(9)]
TASK = ir.Load(0, 0, 1, "Object", "x", False, (0, 0))
LARGE = np.arange(200_000, dtype=np.float64)
MIDDLE = np.arange(20_000, dtype=np.float64)


class Leader:
    """Whoever opens steps, and what it said."""

    def __init__(self, folder: Path) -> None:
        self.store = BlobStore(folder)
        self.codec = Codec([self.store.wire_type()])
        self.said: list[tuple[PeerId, Any, list[bytes]]] = []
        self.heard: list[PeerId] = []
        self.stored = 0
        self.job = RunningJob("job", None, None, ())  # type: ignore[arg-type]
        self.openings = Openings(
            ME, self.codec, self.store, self.say, lambda _blobs: [], self.heard.append, self.count, {}
        )

    def say(self, peer: PeerId, message: Any, buffers: Sequence[Any] = ()) -> None:
        self.said.append((peer, message, [bytes(each) for each in buffers]))

    def count(self) -> None:
        self.stored += 1

    def open(self, peer: PeerId, *captured: object, step: int = 1) -> None:
        self.openings.open(self.job, PrepareStep(peer, step, TASK, list(captured), StepSettings()))

    def assign(self, peer: PeerId, batch: int, step: int = 1) -> None:
        self.openings.say(peer, Assigned(step, batch, Span(batch, 1), b""))

    def kinds(self, peer: PeerId) -> list[type]:
        return [type(message) for to, message, _ in self.said if to == peer]

    def opened(self, peer: PeerId) -> tuple[Open, list[bytes]]:
        return next((message, buffers) for to, message, buffers in self.said if to == peer)

    async def until_said(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.said) < count:
                await asyncio.sleep(0.001)


def play(tmp_path: Path, story: Any) -> None:
    asyncio.run(story(Leader(tmp_path / "blobs")))


def test_large_buffers_are_named_and_others_come_along(tmp_path):
    async def story(leader):
        leader.open(PEERS[0], LARGE, MIDDLE)
        await leader.until_said(1)
        opened, buffers = leader.opened(PEERS[0])
        assert buffers == [MIDDLE.tobytes()]
        ((place, (name, size)),) = opened.shared.items()
        assert place == 0 and size == LARGE.nbytes
        assert bytes(leader.store.view(name)) == LARGE.tobytes()
        told = leader.codec.decode(opened.header, [leader.store.view(name), *buffers])
        assert np.array_equal(told["captured"][0], LARGE) and np.array_equal(told["captured"][1], MIDDLE)
        leader.openings.close()

    play(tmp_path, story)


def test_what_follows_waits_behind_and_all_comes_in_order(tmp_path):
    """For each peer `Open` before its batches, though several come while the disk is busy."""

    async def story(leader):
        for peer in PEERS[:3]:
            leader.open(peer, LARGE)
            leader.assign(peer, 1)
            leader.assign(peer, 2)
        assert leader.said == []
        await leader.until_said(9)
        leader.assign(PEERS[0], 3)
        assert leader.kinds(PEERS[0]) == [Open, Assigned, Assigned, Assigned]
        batches = [message.batch for to, message, _ in leader.said if to == PEERS[0] and isinstance(message, Assigned)]
        assert batches == [1, 2, 3]
        assert leader.kinds(PEERS[2]) == [Open, Assigned, Assigned]
        assert leader.stored == 1
        leader.openings.close()

    play(tmp_path, story)


def test_later_peers_are_told_who_was_told_before(tmp_path):
    async def story(leader):
        for peer in PEERS:
            leader.open(peer, LARGE)
        await leader.until_said(len(PEERS))
        assert leader.opened(PEERS[0])[0].holders == []
        assert leader.opened(PEERS[1])[0].holders == ["peer0"]
        assert leader.opened(PEERS[8])[0].holders == ["peer0", "peer1", "peer6", "peer7"]
        leader.openings.close()

    play(tmp_path, story)


def test_own_worker_processes_get_them_at_once(tmp_path):
    async def story(leader):
        leader.open(PEERS[0], LARGE)
        leader.open(ME, LARGE)
        leader.assign(ME, 1)
        assert leader.kinds(ME) == [Open, Assigned]
        opened, buffers = leader.opened(ME)
        assert buffers == [LARGE.tobytes()] and not opened.shared
        leader.openings.close()

    play(tmp_path, story)


def test_a_step_for_this_peer_alone_writes_nothing(tmp_path):
    async def story(leader):
        leader.open(ME, LARGE)
        await asyncio.sleep(0)
        assert not list(leader.store.folder.iterdir())
        leader.openings.close()

    play(tmp_path, story)


def test_nothing_waits_where_nothing_is_large(tmp_path):
    async def story(leader):
        leader.open(PEERS[0], MIDDLE)
        leader.assign(PEERS[0], 1)
        assert leader.kinds(PEERS[0]) == [Open, Assigned]
        assert not leader.opened(PEERS[0])[0].shared

    play(tmp_path, story)


def test_of_a_step_that_is_over_while_it_is_written_nothing_is_said(tmp_path):
    async def story(leader):
        leader.open(PEERS[0], LARGE)
        leader.assign(PEERS[0], 1)
        leader.openings.say(PEERS[0], Close(1))
        leader.openings.over(1)
        leader.open(PEERS[1], LARGE, step=2)
        await leader.until_said(1)
        assert {to for to, _, _ in leader.said} == {PEERS[1]}
        leader.openings.close()

    play(tmp_path, story)


def test_what_was_shared_is_kept_while_the_step_runs_and_may_go_afterwards(tmp_path):
    async def story(leader):
        leader.open(PEERS[0], LARGE)
        await leader.until_said(1)
        name, _ = leader.opened(PEERS[0])[0].shared[0]
        path = leader.store.find(name)

        def evict() -> None:
            os.utime(path, (time.time() - 9000,) * 2)
            leader.store.evict(0)

        evict()
        assert path.exists()
        leader.openings.over(1)
        evict()
        assert not path.exists()

    play(tmp_path, story)


def test_what_the_disk_does_not_take_comes_along(tmp_path):
    async def story(leader):
        shutil.rmtree(leader.store.folder)
        leader.open(PEERS[0], LARGE)
        await leader.until_said(1)
        opened, buffers = leader.opened(PEERS[0])
        assert not opened.shared and buffers == [LARGE.tobytes()]

    play(tmp_path, story)


def test_what_cannot_cross_is_said_and_stays_so(tmp_path):
    async def story(leader):
        leader.open(PEERS[0], object())
        leader.open(PEERS[1], object())
        assert "object" in leader.openings.unsendable(1)
        assert leader.said == []
        leader.openings.over(1)
        assert leader.openings.unsendable(1) == ""

    play(tmp_path, story)
