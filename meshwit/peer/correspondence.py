"""Who gets what leaders, workers and keepers of jobs say to each other: of this peer, and of others. Shell.

What this peer says to itself goes the same way as what others say, without the wire. While there is anything to do
here, leaders are told four times a second that this peer lives.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from meshwit.codec import Buffer
from meshwit.ids import PeerId
from meshwit.peer.kept_jobs import KeptJobs
from meshwit.peer.leading import Leading
from meshwit.peer.letters import Letter
from meshwit.peer.succession.messages import (
    Append,
    AskJob,
    CannotStandBy,
    Have,
    LeaderBeat,
    Leads,
    StandBy,
)
from meshwit.peer.succession.records import Term
from meshwit.peer.waking import Sleeps
from meshwit.peer.watch.messages import WatchMessage
from meshwit.peer.work.messages import (
    AskBack,
    Assigned,
    Beat,
    Begun,
    Close,
    Died,
    Done,
    Durable,
    GivenBack,
    Granted,
    Held,
    Open,
    Ready,
    Redone,
    Refused,
    Unwanted,
)
from meshwit.peer.work.working import Working

BEAT_S: Final = 0.25


class Correspondence:
    """See the module. To be made on the running loop; letters may come from when `working` and `leading` are set.

    Args:
        me: this peer.
        send: sends a letter to another peer, if there is a way to it.

    Attributes:
        working: does what leaders ask; `leading`, hears what workers report.
        kept: keeps jobs; None where none outlive this peer.
        on_watch: gets what peers say of jobs that they, or this one's owner, ask about; `on_led`, who leads a job now.
    """

    working: Working
    leading: Leading

    def __init__(
        self,
        me: PeerId,
        send: Callable[[PeerId, Letter, Sequence[Buffer]], None],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.kept: KeptJobs | None = None
        self.on_watch: Callable[[PeerId, WatchMessage, Sequence[Buffer]], None] = lambda _peer, _message, _buffers: None
        self.on_led: Callable[[str, PeerId, int], None] = lambda _job, _leader, _epoch: None
        self._me = me
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._letters: deque[tuple[Letter, Sequence[Buffer]]] = deque()
        self._sleeps = Sleeps(wall)
        self._beat_timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Beat no more."""
        if self._beat_timer is not None:
            self._beat_timer.cancel()

    def say(self, peer: PeerId, message: Letter, buffers: Sequence[Buffer] = ()) -> None:
        """Say something to a peer, or to this one."""
        if peer != self._me:
            self._send(peer, message, buffers)
            return
        self._letters.append((message, buffers))
        if len(self._letters) == 1:
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        """What this peer said to itself; what follows from it waits for the next turn, so that others get theirs."""
        letters = list(self._letters)
        self._letters.clear()
        for message, buffers in letters:
            self.received(self._me, message, buffers)

    def received(self, peer: PeerId, message: Letter, buffers: Sequence[Buffer]) -> None:
        """A peer said something."""
        match message:
            case Open() if self._is_overruled(peer, message):
                # It woke after another had taken over: what it opens, nobody would ever close.
                self.say(peer, Refused(message.step, "another peer leads this job now"))
            case Open() | Assigned() | AskBack() | Unwanted() | Close() | Durable():
                self.beat_soon()
                self.working.received(peer, message, buffers)
            case Refused() | Granted() | Begun() | Done() | GivenBack() | Beat() | Died():
                self.leading.reported(peer, message, buffers)
            case Held() | Redone() | Ready():
                if self.kept is not None:
                    self.kept.keeping.told(peer, message, buffers)
            case Leads() | StandBy() | CannotStandBy() | Have() | Append() | LeaderBeat() | AskJob():
                if self.kept is not None:
                    self.kept.keeping.received(peer, message, buffers)
                    if isinstance(message, Leads):
                        self._leader_spoke(self.kept, peer, message)
            case _:
                self.on_watch(peer, message, buffers)

    def _is_overruled(self, peer: PeerId, opened: Open) -> bool:
        """Whether a leader opens a step of a job that another one is known to lead since, be it to the end."""
        term = self.kept.keeping.term(opened.job) if self.kept is not None and opened.epoch else None
        return term is not None and term > Term(opened.epoch, opened.rank, peer)

    def _leader_spoke(self, kept: KeptJobs, peer: PeerId, message: Leads) -> None:
        """A leader that is linked again hears what is held for it; one that has ended its job needs nothing of it."""
        if peer == message.term.leader and kept.keeping.term(message.job) == message.term:
            if message.over is not None:
                self.working.job_over(message.job)
            elif not message.took_over and not message.left:
                self.working.resend(message.job, peer, message.term.epoch)

    def led_by(self, job: str, term: Term, took_over: bool) -> None:
        """A new term of a job is known: workers tell a leader that took over what they hold."""
        if took_over:
            self.beat_soon()
            self.working.took_over(job, term.epoch, term.rank, term.leader)
        else:
            self._ask_about(term.leader, job)
        self.on_led(job, term.leader, term.epoch)

    def linked(self, peer: PeerId) -> None:
        """There is a way to a peer."""
        if self.kept is not None:
            self.kept.keeping.linked(peer)
            self._ask_about(peer)

    def _ask_about(self, peer: PeerId, only: str = "") -> None:
        """A leader may have missed this worker when it took a job over, and when that ended: it is asked about the
        jobs, or the one, that this peer still works for under somebody else."""
        for leader, job in sorted(self.working.host.jobs()):
            term = self.kept.keeping.term(job) if self.kept is not None and only in ("", job) else None
            if term is not None and term.leader == peer != leader:
                self.say(peer, AskJob(job))

    # --- time --------------------------------------------------------------------------------------------------------

    def beat_soon(self) -> None:
        """There may be something to beat for."""
        if self._beat_timer is None:
            self._beat_timer = self._loop.call_at(self._loop.time() + BEAT_S, self._beat)

    def _beat(self) -> None:
        assert self._beat_timer is not None
        due, self._beat_timer = self._beat_timer.when(), None
        if self._sleeps.suspended() or self._sleeps.overslept(due):
            for peer in list(self.leading.workers):
                self.leading.heard(peer)
        self.working.beat()
        host = self.working.host
        if self.leading.jobs or host.leaders() or host.unserved:
            self.beat_soon()
