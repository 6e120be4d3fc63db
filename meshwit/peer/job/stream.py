"""The leader of a stream: one call over items that come one after another, until whoever gives them says that is all.

It is to its shell what a job's leader is, without a script: the step is there from the start, its scheduler is told of
items as they come, and every outcome is handed out at once and forgotten. A failed item is an outcome as any other and
ends nothing. Any number of items may be appended; at most `IN_FLIGHT_MAX` are with the scheduler at a time, so that
late items cost no planning, and the others wait in their order.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from meshwit import events
from meshwit.ids import PeerId
from meshwit.lang import program as ir
from meshwit.lang.arrows import activities_in
from meshwit.lang.control import Failure
from meshwit.lang.offer import Offer
from meshwit.outcome import JobState
from meshwit.peer.job.any_leader import Leader
from meshwit.peer.job.capable import required
from meshwit.peer.job.effects import Deliver, Effect, JobEnded
from meshwit.peer.job.journal import Known
from meshwit.peer.job.progress import StepProgress
from meshwit.peer.job.software import Owner
from meshwit.peer.job.steps import Recorded, StepRun, StepSettings, TaskFault
from meshwit.peer.job.workers import Worker, nobody_runs

IN_FLIGHT_MAX: Final = 8192
BATCH_ITEMS_MAX: Final = 1024
"""Nothing is known of the size of items that are still to come."""
REPORT_INTERVAL_S: Final = 0.1
_NOWHERE: Final = (0, 0)


def stream_settings(activities: Sequence[ir.Invoke], requires: str, retries: int, defaults: StepSettings) -> Any:
    """Settings of a stream whose task calls these activities. Raises ValueError for a requirement that is none."""
    called = [call.activity for call in activities]
    limits = [one.timeout_s for one in called if one.timeout_s is not None]
    sizes = [one.memory_max_bytes for one in called if one.memory_max_bytes is not None]
    return StepSettings(
        retries=retries,
        skip_failed=True,
        one_at_a_time=any(one.exclusive for one in called),
        exclusive=frozenset(one.name for one in called if one.exclusive),
        once=any(one.once for one in called),
        timeout_s=min(limits, default=defaults.timeout_s),
        memory_max_bytes=min(sizes, default=defaults.memory_max_bytes),
        requires=required(called, requires),
    )


class StreamLeader(Leader):
    """Leads one stream.

    Args:
        task: the call; slot 0 is the item.
        offer: the activities here.
        settings: of its step; a failed item never ends a stream, so `skip_failed` is set.
        workers: the peers that may work for it; more may join.
        numbers: gives step numbers, unique within the peer.
        peer: name of this peer, for messages.
        owners: the controller of each activity here.
        unconditional: this device runs it whatever it requires: the program that opened it could do the same itself.
    """

    def __init__(
        self,
        task: ir.Expression,
        offer: Offer,
        settings: StepSettings,
        *,
        workers: Iterable[Worker],
        numbers: itertools.count[int],
        peer: str = "",
        owners: Mapping[str, Owner] | None = None,
        unconditional: bool = False,
    ) -> None:
        self._unconditional = unconditional
        super().__init__(workers=[self._known(worker) for worker in workers], peer=peer, owners=owners)
        self._activities = [call.activity for call in activities_in(task)]
        name = self._activities[0].name if self._activities else ""
        self.program = ir.Program({}, [], "", name, offer)
        self.returned: list[Any] = []
        self._spreading.lost = lambda _step, faults: self._deliver(list(faults.items()))
        self._step = StepRun(
            next(numbers), (), task, [], [], msgspec.structs.replace(settings, skip_failed=True),
            activity=name, span=_NOWHERE, single=False, batch_items_max=BATCH_ITEMS_MAX, complete=False,
        )  # fmt: skip
        self.explanations = {1: self._step}
        self._queue: deque[Any] = deque()
        self._closed = False
        self._progress = StepProgress(1, 0.0, 0)
        self._report_due: float | None = None

    # --- items ---------------------------------------------------------------------------------------------------

    def start(self, now: float) -> list[Effect]:
        """Begin."""
        self._progress = StepProgress(1, now, 0)
        self._tell_started(self._step.activity, now)
        able = self._spreading.able(self._step, self._activities)
        if not able:
            self._fail(nobody_runs(self._spreading.workers.values(), self._activities, self._step), now)
        else:
            self._spreading.open(self._step, self._activities, able, now)
        return self._taken()

    def append(self, items: Iterable[Any], now: float) -> list[Effect]:
        """More items: numbered on from those before. Raises RuntimeError after `close`."""
        if self._closed:
            raise RuntimeError("the stream is closed")
        if self.state is not JobState.RUNNING:
            return []
        self._queue += items
        return self._after(now)

    def close(self, now: float) -> list[Effect]:
        """No more items will come; it ends when all have their outcome."""
        self._closed = True
        return self._after(now)

    @property
    def waiting(self) -> int:
        """Items that no peer has."""
        return len(self._queue) + self._step.scheduler.pending_count

    @property
    def in_flight(self) -> int:
        """Items that are known to the scheduler and have no outcome."""
        return self._step.total - self._step.done

    @property
    def slots(self) -> int:
        """Slots of all peers that may run it."""
        return self._step.slots

    # --- what the shell calls ------------------------------------------------------------------------------------

    wants_turn = False

    def turn(self, now: float) -> list[Effect]:
        """There is no script that could go on."""
        return self._after(now)

    def inline_answered(self, path: object, known: Known, now: float) -> list[Effect]:
        """A stream calls nothing in the leader's process."""
        raise AssertionError("a stream asks for no inline call")

    def worker_joined(self, worker: Worker, now: float) -> list[Effect]:
        """A peer offers to work, or what it can do has changed."""
        return super().worker_joined(self._known(worker), now)

    def refused(self, step: int, peer: PeerId, why: str, now: float) -> list[Effect]:
        """A peer does not run the step, for a reason of its own."""
        if self._spreading.refused(step, peer, why, now) and not (self._step.workers or self._step.away):
            self._fail(f"no peer runs `{self._step.activity}` any more: {why}", now)
        return self._after(now)

    def tick(self, now: float) -> list[Effect]:
        """Time has passed."""
        self._spreading.tick(now)
        if self._report_due is not None and self._report_due <= now:
            self._report(now)
        return self._after(now)

    def next_deadline(self) -> float | None:
        """When `tick` is due."""
        due = [each for each in (self._report_due, self._spreading.next_deadline()) if each is not None]
        return min(due, default=None)

    def variables(self) -> dict[str, Any]:
        """None: there is no script."""
        return {}

    def partial(self) -> dict[str, dict[int, Any]]:
        """None: outcomes are handed out as they come."""
        return {}

    def check(self) -> None:
        """Invariants; simulations call it after every event."""
        self._step.check()
        assert self.in_flight <= IN_FLIGHT_MAX
        assert bool(self._spreading.steps) == (self.state is JobState.RUNNING)

    # --- inside --------------------------------------------------------------------------------------------------

    def _known(self, worker: Worker) -> Worker:
        if worker.home and self._unconditional:
            return msgspec.structs.replace(worker, capabilities=None)
        return worker

    def _after(self, now: float) -> list[Effect]:
        if self.state is JobState.RUNNING:
            room = IN_FLIGHT_MAX - self.in_flight
            if self._queue and room > 0:
                items = [self._queue.popleft() for _ in range(min(room, len(self._queue)))]
                self._spreading.recorded(self._step, self._step.append(items, now), now)
            if self._closed and not self._queue and not self.in_flight:
                self._report(now)
                self._end(JobState.COMPLETED, events.Completed(at=now - self._started))
        return self._taken()

    def _recorded(
        self, step: StepRun, recorded: Recorded, faults: dict[int, TaskFault], peer: PeerId, now: float
    ) -> None:
        self._deliver([(item, step.values[item]) for item in recorded.fresh])
        self._deliver([(item, faults[item]) for item in recorded.final])
        self._spreading.recorded(step, recorded.effects, now)
        if self._report_due is None:
            self._report_due = now + REPORT_INTERVAL_S

    def _deliver(self, outcomes: list[tuple[int, Any | TaskFault]]) -> None:
        if outcomes:
            self._effects.append(Deliver(outcomes))
            self._step.forget(number for number, _ in outcomes)

    def _fail(self, message: str, now: float) -> None:
        """Nobody can run it: then no item ever could."""
        self.failure = Failure(message, _NOWHERE, self._step.activity, peer=self._peer)
        self._end(JobState.FAILED, events.JobFailed(at=now - self._started, failure=self.failure))

    def _end(self, state: JobState, event: events.JobEvent) -> None:
        self.state = state
        self._queue.clear()
        self._report_due = None
        if self._step.number in self._spreading.steps:
            self._spreading.drop(self._step, cancel=state is not JobState.COMPLETED)
        self._tell(event)
        self._effects.append(JobEnded())

    def _report(self, now: float) -> None:
        self._report_due = None
        done_by = {self._name_of(peer): count for peer, count in self._step.done_by.items()}
        self._tell(self._progress.event(self._step, done_by, now - self._started, now))
