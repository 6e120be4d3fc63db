"""Who follows a job that another peer leads: real engines, linked in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from meshwit import events
from meshwit.outcome import JobState
from meshwit.peer.engine import Engine
from meshwit.peer.mesh.known_jobs import KnownJobs
from meshwit.peer.watch import serving
from meshwit.peer.watch.afar import Afar
from meshwit.peer.watch.messages import EVENTS_MAX, OutcomeTold, Told, Watch
from tests.peer.work.small_engines import PATIENCE_S, Watched, small_mesh, until

TALKS = """
Job:Main(String:folder, String:gate, Int:count, String:text)
{
    Int:y = Lab.NoteAndWait(1, folder, gate);
    ForEach(x in Int.Range(0, count))
    {
        Trace(text + x);
    }
    Return(count);
}
"""
WAITS = """
Job:Main(String:folder, String:gate, String:text = "")
{
    Int:y = Lab.NoteAndWait(1, folder, gate);
    Trace(text);
}
"""
COUNT = 30_000


class Pair:
    """Two peers: the first leads, the owner of the second follows."""

    def __init__(self, leader: Engine, other: Engine) -> None:
        self.leader, self.other = leader, other
        self.heard: list[Any] = []
        self.seen: list[events.JobEvent] = []
        self._afars = [self._afar(engine) for engine in (leader, other)]
        received = other.letters.on_watch

        def noted(peer: Any, message: Any, buffers: Any) -> None:
            self.heard.append(message)
            received(peer, message, buffers)

        other.letters.on_watch = noted

    def _afar(self, engine: Engine) -> Afar:
        afar = Afar(
            engine.me, engine.codec, engine.say, engine.linked_peers, engine.fetch, KnownJobs(engine, str)
        )  # fmt: skip
        engine.letters.on_watch = afar.received
        return afar

    def follow(self, job: str) -> Any:
        return self._afars[1].follow(job, self.seen.append)

    def close(self) -> None:
        for afar in self._afars:
            afar.close()


def play(folder: Path, scene: Any) -> None:
    async def main() -> None:
        async with small_mesh(2, folder) as mesh:
            pair = Pair(*mesh.engines)
            try:
                async with asyncio.timeout(PATIENCE_S):
                    work: Coroutine[Any, Any, None] = scene(pair)
                    await work
            finally:
                pair.close()

    asyncio.run(main())


def test_what_is_longer_than_a_frame_is_told_too(tmp_path: Path):
    """Traces by the megabyte, while the job runs and with its outcome."""

    async def scene(pair: Pair) -> None:
        text = "what there is to say of the item with the number "
        job = Watched(pair.leader, TALKS, str(tmp_path), str(tmp_path / "gate"), COUNT, text)
        followed = pair.follow(job.job.id)
        await followed.found()
        (tmp_path / "gate").touch()
        outcome = await followed.outcome()
        assert outcome.state is JobState.COMPLETED
        assert outcome.trace == [f"{text}{x}" for x in range(COUNT)]
        told = [event.text for event in pair.seen if isinstance(event, events.Traced)]
        assert told == outcome.trace[: len(told)] and len(told) > 15_000
        assert max(len(each.events) for each in pair.heard if isinstance(each, Told)) <= EVENTS_MAX
        followed.detach()

    play(tmp_path, scene)


def test_a_text_as_long_as_a_frame_is_in_the_outcome(tmp_path: Path):
    async def scene(pair: Pair) -> None:
        job = Watched(pair.leader, WAITS, str(tmp_path), str(tmp_path / "gate"), "x" * 3_000_000)
        followed = pair.follow(job.job.id)
        await followed.found()
        (tmp_path / "gate").touch()
        outcome = await followed.outcome()
        assert [len(text) for text in outcome.trace] == [3_000_000]
        assert not any(isinstance(event, events.Traced) for event in pair.seen)
        followed.detach()

    play(tmp_path, scene)


def test_who_is_told_by_a_leader_that_steps_down_looks_for_the_next_one(tmp_path: Path):
    """It may not know that there is one: the successor was linked to the leader alone."""

    async def scene(pair: Pair) -> None:
        job = Watched(pair.leader, WAITS, str(tmp_path), str(tmp_path / "gate"), "")
        followed = pair.follow(job.job.id)
        await followed.found()
        await until(lambda: list(tmp_path.glob("1 *")), "it runs")
        pair.leader.leading.step_down(job.job)
        (tmp_path / "gate").touch()
        told = await until(lambda: [each for each in pair.heard if isinstance(each, OutcomeTold)], "it is told")
        assert "another peer leads it" in told[0].why
        followed.detach()

    play(tmp_path, scene)


def test_a_peer_that_cannot_tell_more_says_so(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(serving, "WATCHERS_MAX", 0)

    async def scene(pair: Pair) -> None:
        job = Watched(pair.leader, WAITS, str(tmp_path), str(tmp_path / "gate"), "")
        pair.other.say(pair.leader.me, Watch(9, job.job.id))
        told = await until(lambda: [each for each in pair.heard if isinstance(each, OutcomeTold)], "it is told")
        assert "follow its jobs already" in told[0].why
        (tmp_path / "gate").touch()
        await job.ends()

    play(tmp_path, scene)
