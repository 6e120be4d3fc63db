"""The job leader: a core that carries a job from its first statement to its outcome.

It runs the interpreter, answers wishes from the journal where it can, turns the others into steps, lets their
schedulers spread them over the peers that can run them (`spreading`), and tells what happened. It decides nothing about
processes and reads no clock.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from meshwit import events
from meshwit.ids import PeerId
from meshwit.lang import program as ir
from meshwit.lang.arrows import activities_in
from meshwit.lang.control import Failure
from meshwit.lang.interpreter import Interpreter, State
from meshwit.lang.limits import DEFAULT_LIMITS, JobLimits
from meshwit.lang.offer import Activity
from meshwit.lang.text import short_text
from meshwit.lang.wishes import CallWish, Path, Request, SleepWish, StepWish, Tracing, Withdrawal
from meshwit.outcome import JobState
from meshwit.peer.job.effects import Effect, Emit, JobEnded, RunInline
from meshwit.peer.job.guesses import Guesses, expected_works
from meshwit.peer.job.journal import Journal, Known
from meshwit.peer.job.partial import partial_results
from meshwit.peer.job.progress import StepProgress
from meshwit.peer.job.settings import call_settings, step_settings
from meshwit.peer.job.spreading import Spreading
from meshwit.peer.job.steps import StepRun, StepSettings, TaskFault
from meshwit.peer.job.workers import Owner, Worker, nobody_runs

REPORT_INTERVAL_S = 0.1
"""Progress is told at most so often."""
EXPLAINED_MAX = 16
"""Grid steps of which is remembered why items ran where they did: their books take some ten bytes an item."""
LEFT_OUT_MAX = 32
"""Peers named that were left out of a step."""


class JobLeader:
    """Leads one job.

    Args:
        program: checked.
        job: name of the job to run.
        arguments: values of its parameters, in order.
        workers: the peers that may work for it; more may join.
        numbers: gives step numbers, unique within the peer.
        peer: name of this peer, for messages.
        defaults: settings of steps that the script does not set.
        guesses: what is believed of items.
        owners: the controller of each activity here, by the activity's name.
    """

    def __init__(
        self,
        program: ir.Program,
        job: str,
        arguments: Sequence[Any],
        *,
        workers: Iterable[Worker],
        numbers: itertools.count[int],
        peer: str = "",
        limits: JobLimits = DEFAULT_LIMITS,
        defaults: StepSettings = StepSettings(),  # noqa: B008 - frozen
        journal: Journal | None = None,
        guesses: Guesses | None = None,
        owners: Mapping[str, Owner] | None = None,
    ) -> None:
        self.program = program
        self.state = JobState.RUNNING
        self.journal = journal or Journal()
        self.trace: list[str] = []
        self.failure: Failure | None = None
        self.paused = False
        self.explanations: dict[int, StepRun] = {}
        """Grid steps of the job by their place in it: the latest ones, for whoever asks why."""
        self._interpreter = Interpreter(program, job, arguments, limits=limits)
        self._numbers = numbers
        self._peer = peer
        self._limits = limits
        self._defaults = defaults
        self._guesses = guesses or Guesses()
        self._by_path: dict[Path, int] = {}
        self._sleeping: list[tuple[float, int, Path]] = []
        self._slept: dict[Path, float] = {}
        self._withdrawn: set[Path] = set()
        self._step_count = itertools.count(1)
        self._progress: dict[int, StepProgress] = {}
        self._started = 0.0
        self._report_due: float | None = None
        self._statement_line = 0
        self._effects: list[Effect] = []
        self._spreading = Spreading(self._effects, owners or {})
        for worker in workers:
            self._spreading.joined(worker, 0.0)
        self._spreading.lost = lambda step, faults: self._lost.append((step, faults))
        self._steps = self._spreading.steps
        self._lost: list[tuple[StepRun, dict[int, TaskFault]]] = []

    # --- what the shell calls ----------------------------------------------------------------------------------

    def start(self, now: float) -> list[Effect]:
        """Begin."""
        self._started = now
        job = self._interpreter.job.name
        slots = sum(worker.slots for worker in self._spreading.workers.values())
        self._tell(events.JobStarted(at=0.0, job=job, workers=slots))
        return self._go_on(now)

    @property
    def wants_turn(self) -> bool:
        """Whether `turn` has something to do: the script ran long without a wish and let others go first."""
        return self.state is JobState.RUNNING and not self.paused and self._interpreter.ready

    def turn(self, now: float) -> list[Effect]:
        """Go on where the script let others go first."""
        return self._go_on(now)

    def worker_joined(self, worker: Worker, now: float) -> list[Effect]:
        """A peer offers to work, or what it can do has changed."""
        self._spreading.joined(worker, now)
        return self._after(now)

    def worker_left(self, peer: PeerId, now: float) -> list[Effect]:
        """A peer is gone."""
        self._spreading.left(peer, now)
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
        self._spreading.given_back(step, peer, items, now)
        return self._after(now)

    def heard(self, peer: PeerId, now: float) -> list[Effect]:
        """A peer lives."""
        self._spreading.heard(peer, now)
        return self._after(now)

    def refused(self, step: int, peer: PeerId, why: str, now: float) -> list[Effect]:
        """A peer does not run a step, for a reason of its own."""
        running = self._steps.get(step)
        if running is not None and self._spreading.refused(step, peer, why, now):
            self._tell_left_out(running, now)
            if not running.workers and not running.ended:
                self._nobody_left(running, why, now)
                return self._go_on(now)
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
        step = self._steps.get(number)
        if step is None or self.state is not JobState.RUNNING or peer not in step.given_to:
            return []
        name = self._name_of(peer)
        for item, text in outputs.items():
            of = None if step.single else item
            at = now - self._started
            self._tell(events.Printed(at=at, activity=step.activity, item=of, worker=worker, text=text, peer=name))
        faults = {item: msgspec.structs.replace(fault, peer=fault.peer or name) for item, fault in faults.items()}
        recorded = step.record(peer, numbers, values, seconds, faults, now)
        if not step.single and recorded.fresh:
            fresh = list(recorded.fresh)
            self.journal.record_items(step.path, fresh, [step.values[item] for item in fresh])
        for item in (*recorded.retried, *recorded.final):
            self._item_failed(step, item, faults[item], name, now, retried=item in recorded.retried)
        if not step.single:
            self._report_soon(now)
        if not step.ended:
            self._spreading.recorded(step, recorded.effects, now)
        return self._after(now)

    def inline_answered(self, path: Path, known: Known, now: float) -> list[Effect]:
        """An inline activity was called."""
        self._answer(path, known)
        return self._go_on(now)

    def worker_died(self, peer: PeerId, worker: int, cause: str, now: float) -> list[Effect]:
        """A worker process died; its tasks are seen to elsewhere."""
        name = self._name_of(peer)
        self._tell(events.WorkerDied(at=now - self._started, worker=worker, cause=cause, peer=name))
        return self._taken()

    def tick(self, now: float) -> list[Effect]:
        """Time has passed."""
        while self._sleeping and self._sleeping[0][0] <= now:
            _, _, path = heapq.heappop(self._sleeping)
            if path not in self._withdrawn:
                self._slept[path] = now
                self._answer(path, Known())
        self._spreading.tick(now)
        if self._report_due is not None and self._report_due <= now:
            self._report(now)
        return self._after(now)

    def next_deadline(self) -> float | None:
        """When `tick` is due."""
        due = [self._report_due] if self._report_due is not None else []
        due += [self._sleeping[0][0]] if self._sleeping and not self.paused else []
        looked_at = self._spreading.next_deadline()
        due += [looked_at] if looked_at is not None else []
        return min(due, default=None)

    def pause(self, now: float) -> list[Effect]:
        """Give out nothing more until `resume`; what runs ends."""
        if self.state is JobState.RUNNING and not self.paused:
            self.paused = True
            self._spreading.pause(True, now)
            self._tell(events.Paused(at=now - self._started))
        return self._taken()

    def resume(self, now: float) -> list[Effect]:
        """Go on."""
        if self.state is JobState.RUNNING and self.paused:
            self.paused = False
            self._spreading.pause(False, now)
            self._tell(events.Resumed(at=now - self._started))
        return self._go_on(now)

    def cancel(self, now: float) -> list[Effect]:
        """End now; what runs is killed."""
        if self.state is JobState.RUNNING:
            self._end(JobState.CANCELLED, events.Cancelled(at=now - self._started))
        return self._taken()

    @property
    def names(self) -> Mapping[PeerId, str]:
        """Of all peers that ever offered to work."""
        return self._spreading.names

    def elapsed(self, now: float) -> float:
        """Seconds since the job started."""
        return now - self._started

    def variables(self) -> dict[str, Any]:
        """The variables of the outer block as they are."""
        return self._interpreter.variables()

    @property
    def returned(self) -> list[Any]:
        """What `Return` sent."""
        return list(self._interpreter.returned)

    def partial(self) -> dict[str, dict[int, Any]]:
        """Results of Grid steps that did not finish: by variable, or by line, then by item."""
        return partial_results(self.program, self._interpreter.job, self.journal)

    def check(self) -> None:
        """Invariants; simulations call it after every event."""
        for step in self._steps.values():
            step.check()
            assert self._by_path[step.path] == step.number
        if self.state is not JobState.RUNNING:
            assert not self._steps

    # --- the interpreter ---------------------------------------------------------------------------------------

    def _after(self, now: float) -> list[Effect]:
        """What follows when peers have said something: steps may have ended, and the script goes on."""
        while self._lost:
            step, faults = self._lost.pop()
            if step.number in self._steps:
                for item, fault in faults.items():
                    self._item_failed(step, item, fault, "", now, retried=False)
        for step in [step for step in self._steps.values() if step.ended]:
            self._end_step(step, now)
        return self._go_on(now)

    def _go_on(self, now: float) -> list[Effect]:
        while self.state is JobState.RUNNING and not self.paused and self._interpreter.ready:
            for request in self._interpreter.advance():
                self._request(request, now)
            if self._interpreter.state is not State.RUNNING:
                self._interpreter_ended(now)
            elif self._interpreter.out_of_breath:
                break
        return self._taken()

    def _request(self, request: Request, now: float) -> None:
        match request:
            case Tracing():
                self._traced(request, now)
            case Withdrawal(path=path):
                self._withdraw(path)
            case CallWish() | StepWish() | SleepWish():
                self._reached(request.span, now)
                known = self.journal.answer(request.path)
                if known is not None:
                    self._answer(request.path, known)
                elif isinstance(request, SleepWish):
                    self._sleep(request, now)
                else:
                    self._begin(request, now)

    def _answer(self, path: Path, known: Known) -> None:
        self.journal.record(path, known)
        if known.failure is not None:
            self._interpreter.fail(path, known.failure)
        else:
            self._interpreter.resolve(path, known.value)

    def _traced(self, request: Tracing, now: float) -> None:
        if len(self.trace) < self._limits.trace_texts:
            self.trace.append(request.text)
        line = self.program.line_of(request.span)
        self._tell(events.Traced(at=now - self._started, text=request.text, line=line))

    def _reached(self, span: tuple[int, int], now: float) -> None:
        line = self.program.line_of(span)
        if line != self._statement_line:
            self._statement_line = line
            text = self.program.text[span[0] : span[1]].split("\n", 1)[0][:200]
            self._tell(events.StatementReached(at=now - self._started, line=line, text=text))

    def _withdraw(self, path: Path) -> None:
        self._withdrawn.add(path)
        number = self._by_path.get(path)
        if number is not None:
            self._drop(self._steps[number], cancel=True)

    def _item_failed(self, step: StepRun, item: int, fault: TaskFault, peer: str, now: float, *, retried: bool) -> None:
        if not step.single:
            failure = step.failure(item, fault, peer)
            self._tell(events.ItemFailed(at=now - self._started, failure=failure, retried=retried))

    def _interpreter_ended(self, now: float) -> None:
        at = now - self._started
        if self._interpreter.state is State.FAILED:
            self.failure = self._interpreter.failure
            assert self.failure is not None
            self._end(JobState.FAILED, events.JobFailed(at=at, failure=self.failure))
            return
        if self._interpreter.returned:
            self._tell(events.Returned(at=at, values=tuple(short_text(value) for value in self._interpreter.returned)))
        self._end(JobState.COMPLETED, events.Completed(at=at))

    # --- wishes ------------------------------------------------------------------------------------------------

    def _sleep(self, wish: SleepWish, now: float) -> None:
        start = now if wish.since is None else self._slept.pop(wish.since, now)
        heapq.heappush(self._sleeping, (start + wish.duration_ms / 1000, next(self._numbers), wish.path))
        if wish.text or wish.duration_ms >= 1000:
            at = now - self._started
            self._tell(events.Waited(at=at, duration_ms=wish.duration_ms, text=wish.text))

    def _begin(self, wish: CallWish | StepWish, now: float) -> None:
        if isinstance(wish, CallWish):
            self._begin_call(wish, now)
            return
        calls = activities_in(wish.task)
        name = calls[0].activity.name if calls else ""
        if not wish.items:
            self._answer(wish.path, Known([]))
            return
        known = dict(self.journal.items(wish.path))
        settings = step_settings(calls, wish.options, self._defaults)
        activities = [call.activity for call in calls]
        step = StepRun(
            next(self._numbers), wish.path, wish.task, wish.captured, wish.items, settings,
            activity=name, span=wish.span, single=False, works=expected_works(self._guesses, name, wish), known=known,
            batch_items_max=self._guesses.batch_items_max(wish.items),
        )  # fmt: skip
        able = self._spreading.able(step, activities)
        if not able and not step.ended and self._refused(wish, activities, step):
            return
        shown = next(self._step_count)
        self._progress[step.number] = StepProgress(shown, now, step.done)
        self._explain(shown, step)
        line = self.program.line_of(wish.span)
        at = now - self._started
        self._tell(events.StepStarted(at=at, step=shown, activity=name, line=line, total=len(wish.items)))
        self._tell_left_out(step, now)
        self._open(step, activities, able, now)
        if step.ended:
            self._end_step(step, now)

    def _explain(self, shown: int, step: StepRun) -> None:
        self.explanations[shown] = step
        if len(self.explanations) > EXPLAINED_MAX:
            del self.explanations[next(iter(self.explanations))]

    def _begin_call(self, wish: CallWish, now: float) -> None:
        if wish.call.activity.inline:
            self._effects.append(RunInline(wish.path, wish.call, wish.arguments))
            return
        loads = tuple(
            ir.Load(0, 0, slot, argument.type, "", False, wish.span)
            for slot, argument in enumerate(wish.call.arguments, start=1)
        )
        task = msgspec.structs.replace(wish.call, arguments=loads)
        settings = call_settings(wish.call.activity, self._defaults)
        step = StepRun(
            next(self._numbers), wish.path, task, list(wish.arguments), [None], settings,
            activity=wish.call.activity.name, span=wish.span, single=True,
        )  # fmt: skip
        activities = [wish.call.activity]
        able = self._spreading.able(step, activities)
        if able or not self._refused(wish, activities, step):
            self._open(step, activities, able, now)

    def _refused(self, wish: CallWish | StepWish, activities: Sequence[Activity], step: StepRun) -> bool:
        """No peer can run it: then it has failed, whatever `OnError` says, since no item ever could run."""
        message = nobody_runs(self._spreading.workers.values(), activities, step)
        activity = activities[0].name if activities else ""
        self._answer(wish.path, Known(failure=Failure(message, wish.span, activity, peer=self._peer)))
        return True

    def _nobody_left(self, step: StepRun, why: str, now: float) -> None:
        """The last peer that could run a step refused it."""
        self._drop(step, cancel=True)
        message = f"no peer runs `{step.activity}` any more: {why}"
        self._answer(step.path, Known(failure=Failure(message, step.span, step.activity, peer=self._peer)))

    def _open(self, step: StepRun, activities: Sequence[Activity], able: Sequence[Worker], now: float) -> None:
        self._by_path[step.path] = step.number
        self._spreading.open(step, activities, able, now)

    def _end_step(self, step: StepRun, now: float) -> None:
        if not step.single:
            self._report_step(step, now)
        if step.fault is not None:
            number, fault = step.fault
            self._drop(step, cancel=True)
            self._answer(step.path, Known(failure=step.failure(number, fault, self._peer)))
            return
        self._drop(step, cancel=False)
        self._answer(step.path, Known(step.values[0] if step.single else step.values))

    def _drop(self, step: StepRun, *, cancel: bool) -> None:
        del self._by_path[step.path]
        self._progress.pop(step.number, None)
        self._spreading.drop(step, cancel=cancel)

    def _end(self, state: JobState, event: events.JobEvent) -> None:
        for step in list(self._steps.values()):
            self._drop(step, cancel=True)
        self._sleeping.clear()
        self._report_due = None
        self.state = state
        self._tell(event)
        self._effects.append(JobEnded())

    # --- telling -----------------------------------------------------------------------------------------------

    def _report_soon(self, now: float) -> None:
        if self._report_due is None:
            self._report_due = now + REPORT_INTERVAL_S

    def _report(self, now: float) -> None:
        self._report_due = None
        for step in self._steps.values():
            if not step.single:
                self._report_step(step, now)

    def _report_step(self, step: StepRun, now: float) -> None:
        done_by = {self._name_of(peer): count for peer, count in step.done_by.items()}
        self._tell(self._progress[step.number].event(step, done_by, now - self._started, now))

    def _tell(self, event: events.JobEvent) -> None:
        self._effects.append(Emit(event))

    def _tell_left_out(self, step: StepRun, now: float) -> None:
        if step.left_out and not step.single:
            peers = dict(itertools.islice(step.left_out.items(), LEFT_OUT_MAX))
            self._tell(events.PeersLeftOut(at=now - self._started, activity=step.activity, peers=peers))

    def _name_of(self, peer: PeerId) -> str:
        return self.names.get(peer, peer)

    def _taken(self) -> list[Effect]:
        effects = self._effects[:]
        self._effects.clear()
        return effects
