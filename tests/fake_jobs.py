"""Jobs without anything that computes: what they tell and come to is said by the test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from meshwit.codec import Codec
from meshwit.events import JobEvent
from meshwit.outcome import JobState, Outcome
from meshwit.peer.blobs.store import BlobStore
from meshwit.peer.control.api import JobView, PeerError, Submission
from meshwit.peer.control.client import ControlClient
from meshwit.peer.control.job_script import JobScript
from meshwit.peer.control.runtime_file import read
from meshwit.peer.control.server import ControlLimits, ControlServer
from tests.fake_peer import FakePeer

EMPTY = Outcome(JobState.COMPLETED, {}, [], [])


SCRIPT = JobScript("Job:Main(Int:limit = 3) { Int:n = limit * 7; Int:before = n; Return(n); }", "job.wit", "Main")


class FakeJob:
    """A job that runs until it is told to end, or cancelled; with `forbids` nobody may steer it."""

    def __init__(self, on_event: Callable[[JobEvent], None], id: str = "a1b2c3") -> None:
        self.id = id
        self.on_event = on_event
        self.script = SCRIPT
        self.forbids = False
        self.asked: list[str] = []
        self.left = threading.Event()
        """Set once nobody follows it."""
        self.ending: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    async def pause(self) -> None:
        self._do("pause")

    async def resume(self) -> None:
        self._do("resume")

    async def cancel(self) -> None:
        self._do("cancel")
        self.end(Outcome(JobState.CANCELLED, {"before": 1}, [], []))

    def detach(self) -> None:
        self.left.set()

    def _do(self, deed: str) -> None:
        if self.forbids:
            raise PeerError(f"only otter may {deed} this job", "ask there")
        self.asked.append(deed)

    def end(self, outcome: Outcome) -> None:
        if not self.ending.done():
            self.ending.set_result(outcome)

    async def outcome(self) -> Outcome:
        return await asyncio.shield(self.ending)


class FakeJobs:
    """Implements JobsApi. `on_submit` gets each new job, in the loop of the peer, and may refuse it by raising;
    `on_attach` each following of one that is `known`."""

    def __init__(self, folder: Path, on_submit: Callable[[FakeJob], None] = lambda job: None) -> None:
        self.codec = Codec([BlobStore(folder).wire_type()])
        self.on_submit = on_submit
        self.on_attach: Callable[[FakeJob], None] = lambda job: None
        self.submitted: list[Submission] = []
        self.led: list[FakeJob] = []
        self.attached: list[FakeJob] = []
        self.abandoned: list[str] = []
        self.resumed: list[tuple[str, bool | None]] = []
        self.is_led_again = False
        self.known = [
            JobView(id="a1b2c3", name="Main", file="job.wit", started=1.7e9, done=3, total=8, leader="den",
                    peers={"den": 2, "otter": 1}, elapsed_s=4.5),
            JobView(id="a1ff00", name="Other", state="completed", file="job.wit", started=1.6e9, leader="den",
                    elapsed_s=70),
        ]  # fmt: skip

    def submit(self, asked: Submission, on_event: Callable[[JobEvent], None]) -> FakeJob:
        self.submitted.append(asked)
        job = FakeJob(on_event)
        self.on_submit(job)
        self.led.append(job)
        return job

    def plan(self, asked: Submission) -> list[str]:
        self.submitted.append(asked)
        return [f"{asked.job}: den 60 %", "otter 40 %"]

    async def jobs(self, like: str = "") -> list[JobView]:
        return [job for job in self.known if job.id.startswith(like) or job.name.casefold() == like.casefold()]

    async def attach(self, job: str, on_event: Callable[[JobEvent], None]) -> FakeJob:
        self._check(job)
        found = FakeJob(on_event, job)
        self.on_attach(found)
        self.attached.append(found)
        return found

    async def resume(self, job: str, again: bool | None) -> str:
        self._check(job)
        self.resumed.append((job, again))
        return job

    async def abandon(self, job: str) -> bool:
        self._check(job)
        self.abandoned.append(job)
        return not self.is_led_again

    async def explain(self, job: str, item: int | None) -> list[str]:
        self._check(job)
        return [f"{job} item {item}", "on den, the fastest that is free"]

    def _check(self, job: str) -> None:
        if job not in [one.id for one in self.known]:
            raise PeerError(f"there is no job {job}", "see which there are: meshwit jobs")


class ServedJobs:
    """A control server with jobs, in a thread of its own, in a profile of `home`, until the block ends."""

    def __init__(
        self, home: Path, jobs: FakeJobs | None, limits: ControlLimits | None = None, profile: str = "1"
    ) -> None:
        self.folder = home / "peers" / profile
        self.jobs = jobs
        self.limits = limits or ControlLimits(close_timeout_s=1)
        self.peer = FakePeer()
        self.tasks_left = -1
        self.loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        server = ControlServer(self.peer, self.folder, self.limits, self.jobs)
        await server.start()
        self._up.set()
        try:
            async with asyncio.timeout(60):
                await self._stop.wait()
        finally:
            await server.close()
        self.tasks_left = len(asyncio.all_tasks()) - 1

    def __enter__(self) -> ServedJobs:
        self._thread.start()
        assert self._up.wait(20)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """As a peer stops; nothing stays behind."""
        if self._thread.is_alive():
            self.call(self._stop.set)
            self._thread.join(30)
        assert not self._thread.is_alive()
        assert self.tasks_left == 0

    def call(self, function: Callable[[], None]) -> None:
        """In the peer's loop."""
        assert self.loop is not None
        self.loop.call_soon_threadsafe(function)

    @property
    def client(self) -> ControlClient:
        """Of this peer."""
        runtime = read(self.folder)
        assert runtime is not None
        return ControlClient(self.folder, runtime)
