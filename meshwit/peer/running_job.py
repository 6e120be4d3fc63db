"""A job or stream that a peer leads, with what belongs to it outside its leader. Shell."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from meshwit import events
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
    """

    def __init__(
        self, id: str, leader: JobLeader | StreamLeader, on_event: OnEvent | None, roots: tuple[Path, ...]
    ) -> None:
        self.id = id
        self.leader = leader
        self.on_event = on_event
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

    def tell(self, event: events.JobEvent) -> None:
        """Hand an event to the watcher. One that raises is told nothing more: its fault is not the job's."""
        if isinstance(event, events.Progressed):
            self.progress = event
        if self.on_event is None:
            return
        try:
            self.on_event(event)
        except Exception as reason:
            self.on_event = None
            context = {"message": "a watcher of a job failed and is told nothing more", "exception": reason}
            asyncio.get_running_loop().call_exception_handler(context)
