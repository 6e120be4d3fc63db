"""What the leaders of jobs and of streams share: they hear peers, spread steps over them, and tell what happened. Core.

All that a peer reports passes here on its way to `spreading`. What it reports of tasks counts only if it was ever given
some of that step; of the rest, `spreading` and its schedulers ignore whoever is no worker of the step.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from meshwit import events
from meshwit.ids import PeerId
from meshwit.lang.control import Failure
from meshwit.lang.wishes import Path
from meshwit.outcome import JobState
from meshwit.peer.job.effects import Effect, Emit
from meshwit.peer.job.software import Owner
from meshwit.peer.job.spreading import Spreading
from meshwit.peer.job.steps import Recorded, StepRun, TaskFault
from meshwit.peer.job.workers import Worker


class Leader(abc.ABC):
    """Leads one job or stream.

    Args:
        workers: the peers that may work for it; more may join.
        peer: name of this peer, for messages.
        owners: the controller of each activity here, by the activity's name.

    Attributes:
        state: RUNNING until it has its outcome.
        failure: why it failed.
        paused: nothing more is given out.
        trace: what `Trace` wrote.
        stepped_down: another peer leads it now: there are no effects any more.
    """

    def __init__(self, *, workers: Iterable[Worker], peer: str, owners: Mapping[str, Owner] | None) -> None:
        self.state = JobState.RUNNING
        self.failure: Failure | None = None
        self.paused = False
        self.trace: list[str] = []
        self.stepped_down = False
        self._peer = peer
        self._started = 0.0
        self._effects: list[Effect] = []
        self._spreading = Spreading(self._effects, owners or {})
        for worker in workers:
            self._spreading.joined(worker, 0.0)

    # --- what peers report -------------------------------------------------------------------------------------

    def worker_joined(self, worker: Worker, now: float) -> list[Effect]:
        """A peer offers to work, or what it can do has changed."""
        self._spreading.joined(worker, now)
        return self._after(now)

    def worker_left(self, peer: PeerId, now: float) -> list[Effect]:
        """A peer is gone."""
        self._spreading.left(peer, now)
        return self._after(now)

    def heard(self, peer: PeerId, now: float) -> list[Effect]:
        """A peer lives."""
        self._spreading.heard(peer, now)
        return self._after(now)

    def granted(self, step: int, peer: PeerId, slots: int, now: float) -> list[Effect]:
        """A peer says how many slots a step has there."""
        self._spreading.granted(step, peer, slots, now)
        return self._after(now)

    def begun(self, step: int, peer: PeerId, batches: Iterable[int], now: float) -> list[Effect]:
        """A peer began with batches."""
        self._spreading.begun(step, peer, batches, now)
        return self._after(now)

    def given_back(self, step: int, peer: PeerId, items: Sequence[int], now: float) -> list[Effect]:
        """A peer gave items back that it had not begun."""
        if self._given(step, peer) is None:
            return []
        self._spreading.given_back(step, peer, items, now)
        return self._after(now)

    def results(
        self,
        number: int,
        peer: PeerId,
        numbers: Sequence[int],
        values: Sequence[Any],
        seconds: Sequence[float],
        faults: dict[int, TaskFault],
        outputs: dict[int, str],
        worker: int,
        now: float,
    ) -> list[Effect]:
        """Outcomes of some items of a step arrived: of each number a value, None where it failed, and a time."""
        step = self._given(number, peer)
        if step is None:
            return []
        name = self._name_of(peer)
        at = self.elapsed(now)
        for item, text in outputs.items():
            of = None if step.single else item
            self._tell(events.Printed(at=at, activity=step.activity, item=of, worker=worker, text=text, peer=name))
        faults = {item: msgspec.structs.replace(fault, peer=fault.peer or name) for item, fault in faults.items()}
        self._recorded(step, step.record(peer, numbers, values, seconds, faults, now), faults, peer, now)
        return self._after(now)

    def worker_died(self, step: int, peer: PeerId, worker: int, cause: str, now: float) -> list[Effect]:
        """A worker process died that ran tasks of a step; they are seen to elsewhere."""
        if self._given(step, peer) is not None:
            name = self._name_of(peer)
            self._tell(events.WorkerDied(at=self.elapsed(now), worker=worker, cause=cause, peer=name))
        return self._taken()

    def given(self, path: Path, peer: PeerId) -> bool:
        """Whether a peer was ever given items of the step at a path, which runs."""
        return any(step.path == path and peer in step.given_to for step in self._spreading.steps.values())

    def _given(self, step: int, peer: PeerId) -> StepRun | None:
        """The step, if it runs and the peer was ever given tasks of it."""
        running = self._spreading.steps.get(step)
        return running if running is not None and peer in running.given_to else None

    # --- what its owner wants ----------------------------------------------------------------------------------

    def pause(self, now: float) -> list[Effect]:
        """Give out nothing more until `resume`; what runs ends."""
        if self.leads and not self.paused:
            self.paused = True
            self._spreading.pause(True, now)
            self._tell(events.Paused(at=self.elapsed(now)))
        return self._taken()

    def begin_paused(self, now: float) -> None:
        """Before it begins with a job that was paused: no task is given out until `pause` and then `resume`, while the
        script comes to where it stood."""
        self._spreading.pause(True, now)

    def resume(self, now: float) -> list[Effect]:
        """Go on."""
        if self.leads and self.paused:
            self.paused = False
            self._spreading.pause(False, now)
            self._tell(events.Resumed(at=self.elapsed(now)))
        return self._after(now)

    def cancel(self, now: float) -> list[Effect]:
        """End now; what runs is killed, and no further outcome is handed out."""
        if self.leads:
            self._end(JobState.CANCELLED, events.Cancelled(at=self.elapsed(now)))
        return self._taken()

    @property
    def leads(self) -> bool:
        """Whether there is anything left to lead, here."""
        return self.state is JobState.RUNNING and not self.stepped_down

    @property
    def names(self) -> Mapping[PeerId, str]:
        """Of all peers that ever offered to work."""
        return self._spreading.names

    def elapsed(self, now: float) -> float:
        """Seconds since it started."""
        return now - self._started

    # --- what each kind does in its own way --------------------------------------------------------------------

    @abc.abstractmethod
    def _after(self, now: float) -> list[Effect]:
        """What follows when peers have said something."""

    @abc.abstractmethod
    def _recorded(
        self, step: StepRun, recorded: Recorded, faults: dict[int, TaskFault], peer: PeerId, now: float
    ) -> None:
        """A step has taken outcomes from a peer; `faults` by item."""

    @abc.abstractmethod
    def _end(self, state: JobState, event: events.JobEvent) -> None:
        """Be done with all; the event says how it ended."""

    # --- telling -----------------------------------------------------------------------------------------------

    def _tell_started(self, job: str, now: float, elapsed: float = 0.0) -> None:
        self._started = now - elapsed
        slots = sum(worker.slots for worker in self._spreading.workers.values())
        self._tell(events.JobStarted(at=self.elapsed(now), job=job, workers=slots))

    def _tell(self, event: events.JobEvent) -> None:
        self._effects.append(Emit(event))

    def _name_of(self, peer: PeerId) -> str:
        return self.names.get(peer, peer)

    def _taken(self) -> list[Effect]:
        effects = [] if self.stepped_down else self._effects[:]
        self._effects.clear()
        return effects
