"""This peer's jobs for the owners of others: they are listed, told of as they run, steered, and explained. Shell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec

from meshwit import events
from meshwit.codec import Codec
from meshwit.ids import PeerId
from meshwit.outcome import JobState, Outcome
from meshwit.peer.control.api import PeerError
from meshwit.peer.control.job_messages import encode
from meshwit.peer.control.job_script import JobScript
from meshwit.peer.running_job import RunningJob
from meshwit.peer.saying import Say
from meshwit.peer.watch.here import Here
from meshwit.peer.watch.messages import (
    EVENT_BYTES_MAX,
    EVENTS_BYTES,
    EVENTS_MAX,
    Answered,
    AskJobs,
    AskWhy,
    JobsTold,
    OutcomeTold,
    Steer,
    Told,
    Unwatch,
    Watch,
    Watched,
    WatchMessage,
)
from meshwit.peer.watch.outcomes import outcome_told

TELL_S: Final = 0.05
"""Events are told so often, many in one message."""
WATCHERS_MAX: Final = 1024
WAITING_MAX: Final = 20_000
"""Events of one watcher that wait; more would mean that its peer does not take them."""


class Serving:
    """See the module. To be made on the running loop.

    Args:
        spawn: does something beside.
    """

    def __init__(
        self, codec: Codec, say: Say[WatchMessage], here: Here, spawn: Callable[[Coroutine[Any, Any, None]], object]
    ) -> None:
        self._codec = codec
        self._say = say
        self._here = here
        self._spawn = spawn
        self._served: dict[tuple[PeerId, int], _Served] = {}

    def close(self) -> None:
        """Tell nobody anything more."""
        for served in list(self._served.values()):
            served.close()

    def unlinked(self, peer: PeerId) -> None:
        """A connection has ended."""
        for served in [each for key, each in self._served.items() if key[0] == peer]:
            served.close()

    def asked(self, peer: PeerId, message: AskJobs | Watch | Unwatch | Steer | AskWhy) -> None:
        """A peer wants something."""
        match message:
            case AskJobs(key=key, like=like):
                self._say(peer, JobsTold(key, msgspec.msgpack.encode(self._here.views(like))))
            case Watch():
                self._watched(peer, message)
            case Unwatch(key=key):
                served = self._served.get((peer, key))
                if served is not None:
                    served.close()
            case Steer(key=key, job=job, what=what):
                self._say(peer, _answered(key, lambda: self._here.steer(job, what, peer)))
            case AskWhy(key=key, job=job, item=item):
                self._say(peer, _answered(key, lambda: self._here.explain(job, item if item >= 0 else None)))

    def tell_outcome(self, peer: PeerId, key: int, script: JobScript, outcome: Outcome) -> None:
        """Send what a job came to."""
        told, buffers = outcome_told(key, script, outcome, self._codec)
        self._say(peer, told, buffers)

    def _watched(self, peer: PeerId, message: Watch) -> None:
        running = self._here.running(message.job)
        if running is None:
            self._spawn(self._tell_kept(peer, message))
        elif running.leader.state is not JobState.RUNNING:
            self.tell_outcome(peer, message.key, running.script, self._here.outcome(running))
        elif len(self._served) >= WATCHERS_MAX:
            self._say(peer, OutcomeTold(message.key, why=f"{WATCHERS_MAX} follow its jobs already"))
        else:
            script, key = running.script, (peer, message.key)
            self._say(peer, Watched(message.key, script.text, script.filename, script.job))
            self._served[key] = _Served(self._say, peer, message.key, running, lambda ended: self._over(key, ended))

    async def _tell_kept(self, peer: PeerId, message: Watch) -> None:
        try:
            script, outcome = await self._here.kept(message.job)
        except PeerError as reason:
            self._say(peer, OutcomeTold(message.key, why=reason.message))
        else:
            self.tell_outcome(peer, message.key, script, outcome)

    def _over(self, key: tuple[PeerId, int], ended: RunningJob | None) -> None:
        """Somebody is told nothing more, but of a job that has ended what it came to."""
        if ended is not None:
            self.tell_outcome(*key, ended.script, self._here.outcome(ended))
        self._served.pop(key, None)


class _Served:
    """A job that this peer leads, told to another one."""

    def __init__(
        self,
        say: Say[WatchMessage],
        peer: PeerId,
        key: int,
        running: RunningJob,
        on_over: Callable[[RunningJob | None], None],
    ) -> None:
        """`on_over` is called once, with the job if it has ended, without if only its being led or told has."""
        self._say = say
        self._peer = peer
        self._key = key
        self._running = running
        self._on_over = on_over
        self._waiting: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._ending = self._loop.create_task(self._end())
        running.watch(self._on_event)

    def close(self) -> None:
        """Tell nothing more."""
        self._running.unwatch(self._on_event)
        self._ending.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._on_over(None)

    def _on_event(self, event: events.JobEvent) -> None:
        if isinstance(event, events.LanesChanged):
            return  # of this device's worker processes
        encoded = encode(event)
        if len(self._waiting) < WAITING_MAX and len(encoded) <= EVENT_BYTES_MAX:
            self._waiting.append(encoded)
        if self._timer is None:
            self._timer = self._loop.call_later(TELL_S, self._tell)

    def _tell(self) -> None:
        self._timer = None
        waiting, self._waiting = self._waiting, []
        told: list[bytes] = []
        size = 0
        for event in waiting:
            if told and (len(told) >= EVENTS_MAX or size + len(event) > EVENTS_BYTES):
                self._say(self._peer, Told(self._key, told))
                told, size = [], 0
            told.append(event)
            size += len(event)
        if told:
            self._say(self._peer, Told(self._key, told))

    async def _end(self) -> None:
        await self._running.ended.wait()
        if self._timer is not None:
            self._timer.cancel()
        self._tell()
        self._running.unwatch(self._on_event)
        led_on = self._running.leader.state is JobState.RUNNING
        if led_on:  # by a peer that whoever is told may not know of
            self._say(self._peer, OutcomeTold(self._key, why="another peer leads it now"))
        self._on_over(None if led_on else self._running)


def _answered(key: int, ask: Callable[[], list[str] | None]) -> Answered:
    try:
        return Answered(key, ask() or [])
    except PeerError as reason:
        return Answered(key, [], reason.message, reason.hint)
