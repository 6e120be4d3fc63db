"""Who follows a job of another peer gives it up only when all there is has been asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import msgspec
import pytest

from meshwit.codec import Codec
from meshwit.ids import PeerId
from meshwit.outcome import JobState, Outcome
from meshwit.peer.control.api import JobView, PeerError
from meshwit.peer.control.job_script import JobScript
from meshwit.peer.watch.afar import LOST_LATELY_S, LOST_S, Afar
from meshwit.peer.watch.messages import AskJobs, JobsTold, OutcomeTold, Watch, Watched, WatchMessage
from meshwit.peer.watch.outcomes import outcome_told
from simulations.virtual_loop import run_virtually

ME, LEADER, OTHER, SILENT = PeerId("me"), PeerId("leader"), PeerId("other"), PeerId("silent")
ENDED = Outcome(JobState.CANCELLED, {}, [], [])
RUNNING = JobView(id="job", state="running")


class Here:
    """A peer that has no jobs itself; it notes whether it was asked after it was said to lead."""

    leads = asked_since = has_outcome = False
    own: tuple[JobView, ...] = ()
    led_by: PeerId | None = None

    def running(self, _job: str) -> None:
        self.asked_since |= self.leads

    def views(self, _like: str = "") -> list[JobView]:
        return self.own

    def leader(self, _job: str) -> PeerId | None:
        return ME if self.has_outcome else self.led_by

    async def kept(self, _job: str) -> tuple[JobScript, Outcome]:
        return JobScript("text", "job.wit", "Main"), ENDED

    def __getattr__(self, name: str):
        return lambda *_: None


class Mesh:
    """The peer that follows, and others that answer it at once, or never."""

    def __init__(self) -> None:
        self.linked = [LEADER, OTHER]
        self.jobs: dict[PeerId, list[JobView]] = {LEADER: [RUNNING], OTHER: []}
        self.silent: set[PeerId] = set()
        self.refuses = False
        self.afar = Afar(ME, Codec([]), self.say, lambda: self.linked, None, Here())

    def say(self, peer: PeerId, message: WatchMessage, buffers: object = ()) -> None:
        if peer not in self.linked or peer in self.silent:
            return
        if isinstance(message, AskJobs):
            told = JobsTold(message.key, msgspec.msgpack.encode(self.jobs[peer]))
            asyncio.get_running_loop().call_soon(self.afar.received, peer, told, ())
        elif isinstance(message, Watch) and self.refuses:
            refused = OutcomeTold(message.key, why="it has not ended, as far as this device knows")
            asyncio.get_running_loop().call_soon(self.afar.received, peer, refused, ())
        elif isinstance(message, Watch):
            watched = Watched(message.key, "text", "job.wit", "Main")
            asyncio.get_running_loop().call_soon(self.afar.received, peer, watched, ())

    def lose(self, peer: PeerId) -> None:
        self.linked.remove(peer)
        self.afar.unlinked(peer)

    async def found_after(self) -> float:
        """Seconds until the job is found, or given up."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        followed = self.afar.follow("job", lambda _event: None)
        try:
            await followed.found()
        finally:
            followed.detach()
            self.taken_s = loop.time() - began
        return self.taken_s


def play(scene: Callable[[Mesh], Coroutine[object, object, None]]) -> None:
    async def whole() -> None:
        mesh = Mesh()
        await scene(mesh)
        mesh.afar.close()

    run_virtually(whole())


def test_a_job_that_nobody_knows_is_given_up_at_once():
    async def scene(mesh: Mesh) -> None:
        mesh.jobs[LEADER] = []
        with pytest.raises(PeerError, match="nobody in the mesh leads"):
            await mesh.found_after()
        assert mesh.taken_s < 0.1

    play(scene)


def test_a_job_whose_leader_was_lost_a_moment_ago_is_found_when_it_is_back():
    async def scene(mesh: Mesh) -> None:
        mesh.lose(LEADER)
        asyncio.get_running_loop().call_later(1.0, mesh.linked.append, LEADER)
        assert 1.0 <= await mesh.found_after() < 2.0

    play(scene)


def test_a_job_that_only_who_was_lost_may_know_is_given_up_after_a_while():
    async def scene(mesh: Mesh) -> None:
        mesh.lose(LEADER)
        with pytest.raises(PeerError, match="nobody in the mesh leads"):
            await mesh.found_after()
        assert LOST_LATELY_S <= mesh.taken_s < LOST_LATELY_S + 2.0

    play(scene)


def test_a_peer_that_does_not_answer_may_know_the_job():
    async def scene(mesh: Mesh) -> None:
        mesh.silent.add(LEADER)
        asyncio.get_running_loop().call_later(3.0, mesh.silent.clear)
        assert 3.0 <= await mesh.found_after() < 5.0

    play(scene)


def test_nothing_is_looked_for_for_ever():
    async def scene(mesh: Mesh) -> None:
        mesh.silent.add(LEADER)
        with pytest.raises(PeerError, match="nobody in the mesh leads"):
            await mesh.found_after()
        assert LOST_S <= mesh.taken_s < LOST_S + 2.0

    play(scene)


def test_a_job_that_its_holders_say_nobody_leads_is_given_up_unless_somebody_is_missing():
    async def scene(mesh: Mesh) -> None:
        mesh.jobs = {LEADER: [], OTHER: [JobView(id="job", state="interrupted")]}
        with pytest.raises(PeerError, match="nobody in the mesh leads"):
            await mesh.found_after()
        assert mesh.taken_s < 0.1
        mesh.jobs[LEADER] = [RUNNING]
        mesh.lose(LEADER)
        asyncio.get_running_loop().call_later(1.0, mesh.linked.append, LEADER)
        assert await mesh.found_after() < 2.0

    play(scene)


def test_who_hears_of_the_end_of_a_job_is_counted_until_it_has_heard_all():
    """A peer that is to end waits for those: else their client would be cut off in the middle of the outcome."""

    async def scene(mesh: Mesh) -> None:
        first, second = (mesh.afar.follow("job", lambda _event: None) for _ in range(2))
        await asyncio.gather(first.found(), second.found())
        assert mesh.afar.untold == 0
        first.known(JobScript("text", "job.wit", "Main"), Outcome(JobState.COMPLETED, {}, [], []))
        assert mesh.afar.untold == 1
        first.detach()
        assert mesh.afar.untold == 0
        second.detach()

    play(scene)


def test_who_tells_of_a_job_and_is_gone_before_it_is_asked_is_not_waited_for():
    """All but this peer die at once: one still says that the job runs, and while another keeps silent this one takes
    the job over."""

    async def scene(mesh: Mesh) -> None:
        followed = mesh.afar.follow("job", lambda _event: None)
        await followed.found()
        mesh.jobs = {OTHER: [RUNNING], SILENT: []}
        mesh.linked.append(SILENT)
        mesh.silent.add(SILENT)
        mesh.lose(LEADER)
        await asyncio.sleep(0.1)
        mesh.lose(OTHER)
        mesh.afar.here.leads = True
        mesh.afar.led_by("job", ME)
        await asyncio.sleep(2.0)
        assert mesh.afar.here.asked_since, "it looks again at what this peer leads"
        followed.detach()

    play(scene)


def test_a_job_that_was_found_once_and_that_nobody_tells_of_any_more_is_given_up():
    """Its leader began anew, say: it is asked again and again, and does not lead."""

    async def scene(mesh: Mesh) -> None:
        loop = asyncio.get_running_loop()
        followed = mesh.afar.follow("job", lambda _event: None)
        await followed.found()
        began = loop.time()
        mesh.refuses = True
        mesh.lose(LEADER)
        mesh.linked.append(LEADER)
        with pytest.raises(PeerError, match="nobody in the mesh leads"):
            await followed.outcome()
        assert LOST_S <= loop.time() - began < LOST_S + 5.0
        followed.detach()

    play(scene)


def test_who_is_not_linked_to_the_next_leader_seeks_it():
    async def scene(mesh: Mesh) -> None:
        sought: list[str] = []

        async def find(job: str) -> None:
            sought.append(job)
            mesh.linked.append(OTHER)
            mesh.jobs[OTHER] = [RUNNING]

        followed = mesh.afar.follow("job", lambda _event: None)
        await followed.found()
        mesh.afar.find = find
        mesh.jobs = {LEADER: []}
        mesh.lose(LEADER)
        mesh.linked.clear()
        await asyncio.sleep(8.0)
        assert sought == ["job"]
        assert followed._peer == OTHER
        followed.detach()

    play(scene)


def test_a_job_that_this_peer_took_over_only_to_end_it_has_ended():
    async def scene(mesh: Mesh) -> None:
        followed = mesh.afar.follow("job", lambda _event: None)
        await followed.found()
        mesh.jobs = {OTHER: []}
        mesh.afar.here.has_outcome = True
        mesh.lose(LEADER)
        assert await followed.outcome() == ENDED
        followed.detach()

    play(scene)


def test_a_job_that_only_this_peer_has_and_nobody_leads_is_given_up_at_once():
    """Who waits for it is told to resume it, rather than after a minute."""

    async def scene(mesh: Mesh) -> None:
        mesh.jobs = {LEADER: [], OTHER: []}
        mesh.afar.here.own = (JobView(id="job", state="interrupted"),)
        mesh.afar.here.led_by = PeerId("gone")
        await asyncio.sleep(2 * LOST_LATELY_S)
        with pytest.raises(PeerError, match="nobody in the mesh leads"):
            await mesh.found_after()
        assert mesh.taken_s < 0.1

    play(scene)


def test_results_that_one_peer_cannot_give_are_had_of_another():
    async def scene(mesh: Mesh) -> None:
        codec = Codec([])
        asked: list[PeerId] = []

        async def fetch(_blobs: object, sources: list[PeerId]) -> str:
            asked.extend(sources)
            return "it is not there" if sources == [LEADER] else ""

        def say(peer: PeerId, message: WatchMessage, buffers: object = ()) -> None:
            if not isinstance(message, Watch):
                mesh.say(peer, message, buffers)
                return
            told, beside = outcome_told(message.key, JobScript("", "", ""), ENDED, codec)
            beside[-1] = msgspec.msgpack.encode([("ab" * 32, 5)])
            asyncio.get_running_loop().call_soon(mesh.afar.received, peer, told, beside)

        mesh.jobs = {peer: [JobView(id="job", state="cancelled")] for peer in (LEADER, OTHER)}
        mesh.afar.say, mesh.afar.fetch = say, fetch
        followed = mesh.afar.follow("job", lambda _event: None)
        assert await followed.outcome() == ENDED
        assert asked == [LEADER, OTHER]
        followed.detach()

    play(scene)
