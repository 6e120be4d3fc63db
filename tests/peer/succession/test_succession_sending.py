"""What a peer is sent of a job comes in order and in measure, whether it is read from memory or from disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path

from meshwit.codec import Codec
from meshwit.ids import PeerId
from meshwit.peer.succession import effects as do
from meshwit.peer.succession import writing
from meshwit.peer.succession.carrying import records_of
from meshwit.peer.succession.disk import Disk
from meshwit.peer.succession.messages import Append, Have
from meshwit.peer.succession.recording import LedLog, Recorder
from meshwit.peer.succession.records import Answered, Began, Content
from meshwit.peer.succession.sending import UNDER_WAY_BYTES_MAX, Sender
from meshwit.peer.succession.settings import APPEND_BYTES_MAX
from meshwit.peer.succession.store import JobStore
from meshwit.peer.succession.writing import LogWriter
from tests.peer.succession.test_succession_recording import ME, Listener, spec

PEER = PeerId("peer")
LOG = (1, ME)
RECORD_BYTES = 1024 * 1024
FITTING = UNDER_WAY_BYTES_MAX // RECORD_BYTES
MOST = FITTING + APPEND_BYTES_MAX // RECORD_BYTES
"""The last message may be one that goes beyond."""


class Standby:
    """Takes what it is sent, and fails at a gap."""

    def __init__(self) -> None:
        self.has = 0
        self.unsaid = 0

    def __call__(self, peer: PeerId, message: object, buffers: object = ()) -> None:
        assert isinstance(message, Append)
        assert message.first == self.has, "a gap, or a record twice"
        count = len(records_of(message, buffers))
        self.has += count
        self.unsaid += count

    def say(self, *, ask: bool = False) -> Have:
        self.unsaid = 0
        return Have("job", [(*LOG, self.has)], ask=ask)


class Leader:
    """A log on disk and in memory, and what sends it."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.listener = Listener()
        self.recorder = Recorder(disk, self.listener)
        self.standby = Standby()
        self.tasks: set[asyncio.Task[None]] = set()
        self.sender = Sender(disk, self.recorder, self.standby, self.spawn)
        writer = LogWriter(LOG, Codec([]))
        writer.add(Began())
        self.recorder.begin("job", LedLog(spec("job"), [], writer))
        self.count = 1

    def spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def write(self, count: int) -> None:
        for number in range(self.count, self.count + count):
            self.recorder.add("job", [Answered((number,), 0, Content(bytes(RECORD_BYTES)))])
        self.count += count

    async def until_stored(self) -> None:
        while self.listener.on_disk < self.count:
            self.listener.news.clear()
            await self.listener.news.wait()

    def send(self, first: int) -> None:
        self.sender.records(do.SendRecords(PEER, "job", LOG, first, self.count))

    async def until_nothing_moves(self) -> None:
        while self.tasks:
            await asyncio.wait(self.tasks)


def play(folder: Path, scene: Callable[[Leader], Coroutine[object, object, None]]) -> None:
    async def whole() -> None:
        disk = Disk(partial(JobStore, folder))
        await disk.open()
        await disk.run(disk.store.put, spec("job"), [])
        leader = Leader(disk)
        await scene(leader)
        await leader.until_nothing_moves()
        leader.recorder.close()
        await disk.close()

    asyncio.run(whole())


async def all_comes(leader: Leader) -> None:
    """By what the standby says from time to time, never more under way than is allowed."""
    while leader.standby.has < leader.count:
        await leader.until_nothing_moves()
        assert 0 < leader.standby.unsaid <= MOST
        leader.sender.has(PEER, leader.standby.say())


def test_no_more_is_under_way_than_a_peer_takes_in(tmp_path):
    async def scene(leader: Leader) -> None:
        leader.write(3 * FITTING)
        leader.send(0)
        assert leader.standby.unsaid <= MOST
        leader.write(FITTING)
        leader.send(3 * FITTING + 1)
        assert leader.standby.unsaid <= MOST
        await all_comes(leader)

    play(tmp_path, scene)


def test_what_is_read_from_disk_and_what_is_in_memory_come_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "RECENT_BYTES_MAX", 2 * RECORD_BYTES)

    async def scene(leader: Leader) -> None:
        leader.write(8)
        await leader.until_stored()
        assert leader.recorder.recent("job", LOG, 0, 9) is None
        leader.send(0)
        leader.write(2)
        leader.send(9)
        await all_comes(leader)

    play(tmp_path, scene)


def test_a_peer_that_asks_is_sent_what_it_lacks_from_there_on(tmp_path):
    async def scene(leader: Leader) -> None:
        leader.write(2 * FITTING)
        leader.send(0)
        leader.standby.has = 5  # what it was sent beyond is lost
        leader.sender.has(PEER, leader.standby.say(ask=True))
        leader.send(5)
        await all_comes(leader)

    play(tmp_path, scene)


def test_a_peer_that_left_is_sent_nothing_more_until_it_is_back(tmp_path):
    async def scene(leader: Leader) -> None:
        leader.write(2 * FITTING)
        leader.send(0)
        leader.sender.unlinked(PEER)
        before = leader.standby.has
        leader.sender.has(PEER, leader.standby.say())
        assert leader.standby.has == before
        leader.send(before)
        await all_comes(leader)

    play(tmp_path, scene)
