"""The job leader: a core that carries a job from its first statement to its outcome.

It runs the interpreter, answers wishes from the journal where it can, turns the others into steps, gives batches of
them to peers that have room, and tells what happened. It decides nothing about processes and reads no clock.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from meshwit import events
from meshwit.lang import program as ir
from meshwit.lang.arrows import activities_in
from meshwit.lang.control import Failure
from meshwit.lang.interpreter import Interpreter, State
from meshwit.lang.limits import DEFAULT_LIMITS, JobLimits
from meshwit.lang.offer import Activity
from meshwit.lang.text import short_text
from meshwit.lang.wishes import CallWish, Path, Request, SleepWish, StepWish, Tracing, Withdrawal
from meshwit.outcome import JobState
from meshwit.peer.job.capable import nobody_can
from meshwit.peer.job.effects import Assign, Effect, Emit, EndStep, JobEnded, PrepareStep, RunInline
from meshwit.peer.job.journal import Journal, Known
from meshwit.peer.job.partial import partial_results
from meshwit.peer.job.progress import StepProgress
from meshwit.peer.job.settings import call_settings, step_settings
from meshwit.peer.job.steps import StepRun, StepSettings, TaskFault

REPORT_INTERVAL_S = 0.1
"""Progress is told at most so often."""

WorkOf = Callable[[ir.Invoke, Any], float | None]


class JobLeader:
    """Leads one job.

    Args:
        program: checked.
        job: name of the job to run.
        arguments: values of its parameters, in order.
        slots: worker processes that may be used.
        numbers: gives step and batch numbers, unique within the peer.
        peer: name of this peer, for messages.
        defaults: settings of steps that the script does not set.
        work_of: estimates the work of an item, where the activity can.
        capabilities: of this peer; None where they are not known, so that every step may run on it.
    """

    def __init__(
        self,
        program: ir.Program,
        job: str,
        arguments: Sequence[Any],
        *,
        slots: int,
        numbers: itertools.count[int],
        peer: str = "",
        limits: JobLimits = DEFAULT_LIMITS,
        defaults: StepSettings = StepSettings(),  # noqa: B008 - frozen
        journal: Journal | None = None,
        work_of: WorkOf | None = None,
        capabilities: Mapping[str, object] | None = None,
    ) -> None:
        self.program = program
        self.state = JobState.RUNNING
        self.journal = journal or Journal()
        self.trace: list[str] = []
        self.failure: Failure | None = None
        self.paused = False
        self._interpreter = Interpreter(program, job, arguments, limits=limits)
        self._slots = max(1, slots)
        self._numbers = numbers
        self._peer = peer
        self._limits = limits
        self._defaults = defaults
        self._work_of = work_of
        self._capabilities = capabilities
        self._steps: dict[int, StepRun] = {}
        self._by_path: dict[Path, int] = {}
        self._batches: dict[int, int] = {}
        self._sleeping: list[tuple[float, int, Path]] = []
        self._slept: dict[Path, float] = {}
        self._withdrawn: set[Path] = set()
        self._step_count = itertools.count(1)
        self._progress: dict[int, StepProgress] = {}
        self._started = 0.0
        self._report_due: float | None = None
        self._statement_line = 0
        self._effects: list[Effect] = []

    # --- what the shell calls ----------------------------------------------------------------------------------

    def start(self, now: float) -> list[Effect]:
        """Begin."""
        self._started = now
        job = self._interpreter.job.name
        self._tell(events.JobStarted(at=0.0, job=job, workers=self._slots))
        return self._go_on(now)

    @property
    def wants_turn(self) -> bool:
        """Whether `turn` has something to do: the script ran long without a wish and let others go first."""
        return self.state is JobState.RUNNING and not self.paused and self._interpreter.ready

    def turn(self, now: float) -> list[Effect]:
        """Go on where the script let others go first."""
        return self._go_on(now)

    def assign(self, room: int, now: float, taken: frozenset[str] = frozenset()) -> list[Effect]:
        """Give out batches to a peer with room for so many; fewer come if there is nothing to do.

        `taken` are the exclusive activities that run there already.
        """
        if self.state is not JobState.RUNNING or self.paused:
            return []
        while room > 0:
            given = self._give(taken)
            if given is None:
                break
            taken |= given.settings.exclusive
            room -= 1
        return self._taken()

    def _give(self, taken: frozenset[str]) -> StepRun | None:
        """Give out one batch: of the step of highest priority, among equals of the one with the fewest out."""
        waiting = [step for step in self._steps.values() if step.pending and not step.settings.exclusive & taken]
        for step in sorted(waiting, key=lambda step: (-step.settings.priority, len(step.running))):
            batch = next(self._numbers)
            numbers = step.take(batch)
            if numbers:
                self._batches[batch] = step.number
                items = _picked(step.items, numbers)
                self._effects.append(Assign(step.number, batch, numbers, items, step.settings.exclusive))
                return step
        return None

    def batches(self) -> list[int]:
        """The batches that are out."""
        return list(self._batches)

    @property
    def has_work(self) -> bool:
        """Whether `assign` would give out something."""
        running = self.state is JobState.RUNNING and not self.paused
        return running and any(step.pending and step.fault is None for step in self._steps.values())

    def results(
        self,
        batch: int,
        numbers: Sequence[int],
        values: Sequence[Any],
        seconds: Sequence[float],
        faults: dict[int, TaskFault],
        outputs: dict[int, str],
        worker: int,
        now: float,
    ) -> list[Effect]:
        """Outcomes of some items of a batch arrived."""
        step = self._steps.get(self._batches.get(batch, -1))
        if step is None or self.state is not JobState.RUNNING:
            return []
        for number, text in outputs.items():
            item = None if step.single else number
            self._tell(
                events.Printed(at=now - self._started, activity=step.activity, item=item, worker=worker, text=text)
            )
        retried, final = step.record(batch, numbers, values, seconds, faults)
        if batch not in step.running:
            self._batches.pop(batch, None)
        if not step.single:
            good = [(n, v) for n, v in zip(numbers, values, strict=True) if n not in faults] if faults else None
            if good is None:
                self.journal.record_items(step.path, list(numbers), list(values))
            else:
                self.journal.record_items(step.path, [n for n, _ in good], [v for _, v in good])
        for number in (*retried, *final):
            failure = step.failure(number, faults[number], self._peer)
            if not step.single:
                self._tell(events.ItemFailed(at=now - self._started, failure=failure, retried=number in retried))
        if not step.single:
            self._report_soon(now)
        if step.ended:
            self._end_step(step, now)
            return self._go_on(now)
        return self._taken()

    def put_back(self, batch: int, numbers: Sequence[int]) -> None:
        """Items of a batch were not started and wait again."""
        step = self._steps.get(self._batches.get(batch, -1))
        if step is not None:
            step.put_back(batch, numbers)
            if batch not in step.running:
                del self._batches[batch]

    def inline_answered(self, path: Path, known: Known, now: float) -> list[Effect]:
        """An inline activity was called."""
        self._answer(path, known)
        return self._go_on(now)

    def worker_died(self, worker: int, cause: str, now: float) -> list[Effect]:
        """A worker process died; its tasks are seen to elsewhere."""
        self._tell(events.WorkerDied(at=now - self._started, worker=worker, cause=cause))
        return self._taken()

    def tick(self, now: float) -> list[Effect]:
        """Time has passed."""
        while self._sleeping and self._sleeping[0][0] <= now:
            _, _, path = heapq.heappop(self._sleeping)
            if path not in self._withdrawn:
                self._slept[path] = now
                self._answer(path, Known())
        if self._report_due is not None and self._report_due <= now:
            self._report(now)
        return self._go_on(now)

    def next_deadline(self) -> float | None:
        """When `tick` is due."""
        due = [self._report_due] if self._report_due is not None else []
        due += [self._sleeping[0][0]] if self._sleeping and not self.paused else []
        return min(due, default=None)

    def pause(self, now: float) -> list[Effect]:
        """Give out nothing more until `resume`; what runs ends."""
        if self.state is JobState.RUNNING and not self.paused:
            self.paused = True
            self._tell(events.Paused(at=now - self._started))
        return self._taken()

    def resume(self, now: float) -> list[Effect]:
        """Go on."""
        if self.state is JobState.RUNNING and self.paused:
            self.paused = False
            self._tell(events.Resumed(at=now - self._started))
        return self._go_on(now)

    def cancel(self, now: float) -> list[Effect]:
        """End now; what runs is killed."""
        if self.state is JobState.RUNNING:
            self._end(JobState.CANCELLED, events.Cancelled(at=now - self._started))
        return self._taken()

    def elapsed(self, now: float) -> float:
        """Seconds since the job started."""
        return now - self._started

    def activity_of(self, step: int) -> str:
        """The activity that a running step applies; empty if there is no such step."""
        return self._steps[step].activity if step in self._steps else ""

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
        for batch, number in self._batches.items():
            assert number not in self._steps or batch in self._steps[number].running
        if self.state is not JobState.RUNNING:
            assert not self._steps

    # --- the interpreter ---------------------------------------------------------------------------------------

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
            self._begin_call(wish)
            return
        calls = activities_in(wish.task)
        name = calls[0].activity.name if calls else ""
        if not wish.items:
            self._answer(wish.path, Known([]))
            return
        known = dict(self.journal.items(wish.path))
        settings = step_settings(calls, wish.options, self._defaults)
        if len(known) < len(wish.items) and self._refused(wish, [call.activity for call in calls], settings):
            return
        order = self._longest_first(wish)
        step = StepRun(
            next(self._numbers), wish.path, wish.task, wish.captured, wish.items, settings,
            activity=name, span=wish.span, slots=self._slots, single=False, order=order, known=known,
        )  # fmt: skip
        shown = next(self._step_count)
        self._progress[step.number] = StepProgress(shown, now, step.done)
        line = self.program.line_of(wish.span)
        at = now - self._started
        self._tell(events.StepStarted(at=at, step=shown, activity=name, line=line, total=len(wish.items)))
        self._open(step)
        if step.ended:
            self._end_step(step, now)

    def _longest_first(self, wish: StepWish) -> list[int] | None:
        """Item numbers by estimated work, where the activity estimates it: long tasks must not start last."""
        if self._work_of is None or not isinstance(wish.task, ir.Invoke):
            return None
        if not (len(wish.task.arguments) == 1 and isinstance(wish.task.arguments[0], ir.Load)):
            return None
        estimates: list[float] = []
        for item in wish.items:
            work = self._work_of(wish.task, item)
            if work is None:
                return None
            estimates.append(work)
        if min(estimates, default=0) == max(estimates, default=0):
            return None
        return sorted(range(len(estimates)), key=lambda number: (-estimates[number], number))

    def _begin_call(self, wish: CallWish) -> None:
        if wish.call.activity.inline:
            self._effects.append(RunInline(wish.path, wish.call, wish.arguments))
            return
        loads = tuple(
            ir.Load(0, 0, slot, argument.type, "", False, wish.span)
            for slot, argument in enumerate(wish.call.arguments, start=1)
        )
        task = msgspec.structs.replace(wish.call, arguments=loads)
        settings = call_settings(wish.call.activity, self._defaults)
        if self._refused(wish, [wish.call.activity], settings):
            return
        step = StepRun(
            next(self._numbers), wish.path, task, list(wish.arguments), [None], settings,
            activity=wish.call.activity.name, span=wish.span, slots=self._slots, single=True,
        )  # fmt: skip
        self._open(step)

    def _refused(self, wish: CallWish | StepWish, activities: Sequence[Activity], settings: StepSettings) -> bool:
        """Whether no peer can run it: then it has failed, whatever `OnError` says, since no item ever could run."""
        if self._capabilities is None:
            return False
        message = nobody_can(activities, settings.requires, {self._peer: self._capabilities})
        if message:
            activity = activities[0].name if activities else ""
            self._answer(wish.path, Known(failure=Failure(message, wish.span, activity, peer=self._peer)))
        return bool(message)

    def _open(self, step: StepRun) -> None:
        self._steps[step.number] = step
        self._by_path[step.path] = step.number
        self._effects.append(PrepareStep(step.number, step.task, step.captured, step.settings))

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
        del self._steps[step.number]
        del self._by_path[step.path]
        self._progress.pop(step.number, None)
        for batch in step.running:
            self._batches.pop(batch, None)
        self._effects.append(EndStep(step.number, cancel))

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
        self._tell(self._progress[step.number].event(step, now - self._started, now))

    def _tell(self, event: events.JobEvent) -> None:
        self._effects.append(Emit(event))

    def _taken(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects


def _picked(items: list[Any], numbers: Sequence[int]) -> list[Any]:
    if isinstance(numbers, range) and numbers.step == 1:
        return items[numbers.start : numbers.stop]
    return [items[number] for number in numbers]
