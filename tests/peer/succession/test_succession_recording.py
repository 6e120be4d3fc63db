"""A leader's log is whole on its disk again when a disk that was full has room."""

from __future__ import annotations

import asyncio
from functools import partial

from meshwit.codec import Codec
from meshwit.ids import PeerId
from meshwit.peer.succession import recording
from meshwit.peer.succession.disk import Disk
from meshwit.peer.succession.recording import LedLog, Recorder
from meshwit.peer.succession.records import Answered, Began, Content, JobSpec
from meshwit.peer.succession.store import JobStore
from meshwit.peer.succession.writing import LogWriter

ME = PeerId("me")


class Listener:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.on_disk = 0
        self.refused = 0
        self.news = asyncio.Event()

    def written(self, job, count):
        pass

    def stored(self, job, log, count):
        self.on_disk = count
        self.news.set()

    def unwritable(self, job):
        self.refused += 1
        self.news.set()

    def tell_durable(self, peer, step, upto):
        pass

    def intended(self, job, intent):
        pass

    def refers_to(self, job, names):
        pass


def spec(job: str) -> JobSpec:
    return JobSpec(
        id=job, text="", filename="", name="Main", arguments=Content(b""), submitter=ME, submitter_name="me",
        started_at=0.0,
    )  # fmt: skip


def test_what_a_full_disk_did_not_take_is_written_when_there_is_room(tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "RETRY_S", 0.01)

    async def play() -> None:
        disk, listener = Disk(partial(JobStore, tmp_path, pages_max=100)), Listener()
        await disk.open()
        recorder = Recorder(disk, listener)
        writer = LogWriter((1, ME), Codec([]))
        writer.add(Began())
        await disk.run(disk.store.put, spec("other"), [bytes(200_000)])
        await disk.run(disk.store.put, spec("job"), [])
        recorder.begin("job", LedLog(spec("job"), [], writer))
        recorder.add("job", [Answered((1,), 0, Content(bytes(300_000)))])
        while not listener.refused:
            listener.news.clear()
            await listener.news.wait()
        recorder.add("job", [Answered((2,), 1)])
        await disk.run(disk.store.forget, "other")
        while listener.on_disk < 3:
            listener.news.clear()
            await listener.news.wait()
        records = await disk.run(disk.store.read, "job", (1, ME), 0, 10, 2**30)
        assert [type(record.body) for record in records] == [Began, Answered, Answered]
        recorder.close()
        await disk.close()

    asyncio.run(asyncio.wait_for(play(), 30))
