"""A job or stream that a peer leads, with what belongs to it outside its leader. Shell."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from meshwit import events
from meshwit.ids import PeerId
from meshwit.peer.control.job_script import JobScript
from meshwit.peer.job.leader import JobLeader
from meshwit.peer.job.steps import TaskFault
from meshwit.peer.job.stream import StreamLeader

OnEvent = Callable[[events.JobEvent], None]
OnOutcomes = Callable[[list[tuple[int, Any | TaskFault]]], None]


class RunningJob:
    """A job or stream that this peer leads, or led.

    Attributes:
        on_outcomes: gets what a stream delivers; does not block and does not raise.
        any_function: its tasks may call what they like on this device, whatever its owner allows others.
        epoch: of this leadership, with its `rank`; 0 where the job ends with its leader.
        submitter: the peer that was asked to run it.
        released: its values are forgotten; what it came to is read from what was recorded.
        limits: results computed for leaders before count where the wish was not made later than that, by log.
    """

    def __init__(
        self, id: str, leader: JobLeader | StreamLeader, on_event: OnEvent | None, roots: tuple[Path, ...]
    ) -> None:
        self.id = id
        self.leader = leader
        self.roots = roots
        self.name = ""
        self.started = time.time()
        self.ended_at: float | None = None
        self.ended = asyncio.Event()
        self.timer: asyncio.TimerHandle | None = None
        self.turn_due = False
        self.on_outcomes: OnOutcomes = lambda _outcomes: None
        self.any_function = False
        self.progress: events.Progressed | None = None
        self.epoch = self.rank = 0
        self.released = False
        self.submitter: PeerId | None = None
        self.limits: dict[tuple[int, PeerId], int] = {}
        self._watchers: list[OnEvent] = [] if on_event is None else [on_event]
        self._begun: events.JobStarted | None = None
        self._steps: dict[int, events.StepStarted] = {}

    @property
    def is_kept(self) -> bool:
        """Whether it is to outlive this leader, so that what it came to can be read when its values are forgotten."""
        return self.epoch > 0

    @property
    def watched(self) -> bool:
        """Whether anybody is told of it."""
        return bool(self._watchers)

    @property
    def script(self) -> JobScript:
        """What it runs."""
        program = self.leader.program
        return JobScript(program.text, program.filename, self.name)

    def watch(self, on_event: OnEvent) -> None:
        """Tell somebody of it from now on; first what it is at."""
        self._watchers.append(on_event)
        for event in (self._begun, *self._steps.values(), self.progress):
            if event is not None:
                self._tell_one(on_event, event)

    def unwatch(self, on_event: OnEvent) -> None:
        """Tell somebody no more."""
        if on_event in self._watchers:
            self._watchers.remove(on_event)

    def tell(self, event: events.JobEvent) -> None:
        """Hand an event to those who watch. One that raises is told nothing more: its fault is not the job's."""
        match event:
            case events.Progressed():
                self.progress = event
                if event.done >= event.total:
                    self._steps.pop(event.step, None)
            case events.StepStarted():
                self._steps[event.step] = event
            case events.JobStarted():
                self._begun = event
        for on_event in list(self._watchers):
            self._tell_one(on_event, event)

    def _tell_one(self, on_event: OnEvent, event: events.JobEvent) -> None:
        try:
            on_event(event)
        except Exception as reason:
            self.unwatch(on_event)
            context = {"message": "a watcher of a job failed and is told nothing more", "exception": reason}
            asyncio.get_running_loop().call_exception_handler(context)
