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

from meshwit import events
from meshwit.ids import PeerId
from meshwit.lang import program as ir
from meshwit.lang.control import Failure
from meshwit.lang.interpreter import Interpreter, State
from meshwit.lang.limits import DEFAULT_LIMITS, JobLimits
from meshwit.lang.offer import Activity
from meshwit.lang.text import short_text
from meshwit.lang.wishes import CallWish, Path, Request, SleepWish, StepWish, Tracing, Wish, Withdrawal
from meshwit.outcome import JobState
from meshwit.peer.job.any_leader import Leader
from meshwit.peer.job.early import HeldBatch
from meshwit.peer.job.effects import Effect, JobEnded, RunInline
from meshwit.peer.job.guesses import Guesses
from meshwit.peer.job.journal import Journal, Known
from meshwit.peer.job.keeping import Keeping
from meshwit.peer.job.making import activities_of, call_step, grid_step
from meshwit.peer.job.partial import partial_results
from meshwit.peer.job.questions import SKIPPED, Question, asked_of, held_by, kept_away
from meshwit.peer.job.reporting import Reporting
from meshwit.peer.job.software import Owner
from meshwit.peer.job.steps import Recorded, StepRun, StepSettings, TaskFault
from meshwit.peer.job.workers import Worker, nobody_runs


class JobLeader(Leader):
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
        kept: what becomes known is handed out for recording, since the job is to outlive this leader.
        id: what people call the job by.
        away: where the files are that it may work on, if not on this device.

    Attributes:
        keeping: what is handed out for recording.
        questions: about items, that a person has to answer; where the job ended as HELD.
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
        kept: bool = False,
        id: str = "JOB",
        away: str = "",
    ) -> None:
        super().__init__(workers=workers, peer=peer, owners=owners)
        self.program = program
        self.journal = journal or Journal()
        self._interpreter = Interpreter(program, job, arguments, limits=limits)
        self._numbers = numbers
        self._limits = limits
        self._defaults = defaults
        self._guesses = guesses or Guesses()
        self._by_path: dict[Path, int] = {}
        self._sleeping: list[tuple[float, int, Path]] = []
        self._asleep: set[Path] = set()
        self._made: dict[Path, tuple[Wish, int]] = {}
        self._withdrawn: set[Path] = set()
        self._reporting = Reporting(program, self._tell, self.elapsed, self._name_of)
        self._spreading.lost = lambda step, faults: self._lost.append((step, faults))
        self._steps = self._spreading.steps
        self._lost: list[tuple[StepRun, dict[int, TaskFault]]] = []
        self.keeping = self._spreading.keeping = Keeping(self._effects, on=kept)
        self.questions: list[Question] = []
        self._early = self._spreading.early
        self._id, self._away = id, away
        self._begun = self._only_replays = False

    # --- what the shell calls ----------------------------------------------------------------------------------

    def start(self, now: float, elapsed: float = 0.0) -> list[Effect]:
        """Begin; or go on, after so many seconds under other leaders."""
        self._begun = True
        self._tell_started(self._interpreter.job.name, now, elapsed)
        return self._go_on(now)

    def replay(self, now: float) -> None:
        """Run the script as far as the journal knows the answers, and do nothing else."""
        self._only_replays = True
        self.start(now)
        while self.wants_turn:
            self.turn(now)

    def step_down(self, now: float) -> None:
        """Another peer leads the job: nothing is asked for, told or recorded any more, and its state stays."""
        self.stepped_down = True
        self._steps.clear()
        self._by_path.clear()
        self._forget()
        self._taken()

    @property
    def wants_turn(self) -> bool:
        """Whether `turn` has something to do: the script ran long without a wish and let others go first."""
        return self._runs and self._interpreter.ready

    def turn(self, now: float) -> list[Effect]:
        """Go on where the script let others go first."""
        return self._go_on(now)

    def refused(self, step: int, peer: PeerId, why: str, now: float) -> list[Effect]:
        """A peer does not run a step, for a reason of its own."""
        running = self._steps.get(step)
        if running is not None and self._spreading.refused(step, peer, why, now):
            self._reporting.left_out(running, now)
            if not (running.workers or running.away or running.ended):
                self._nobody_left(running, why, now)
                return self._go_on(now)
        return self._after(now)

    def learned(self, path: Path, numbers: Sequence[int], values: Sequence[Any], now: float) -> list[Effect]:
        """Results came from elsewhere, of a call as those of item 0: a worker kept, or another leader recorded them."""
        step = self._steps.get(self._by_path.get(path, 0))
        if step is None:
            if self._may_come(path):
                self._early.learned(path, numbers, values)
        elif step.single:
            return self.answer_learned(path, Known(values[0]), now) if list(numbers) == [0] else self._after(now)
        else:
            fresh, effects = step.learned(numbers, values, now)
            self._keep_results(step, fresh, PeerId(""))
            self._spreading.recorded(step, effects, now)
            self._reporting.soon(now)
        return self._after(now)

    def answer_learned(self, path: Path, known: Known, now: float) -> list[Effect]:
        """The answer to a call, or that a wait is over, came from elsewhere."""
        step = self._steps.get(self._by_path.get(path, 0))
        if self.keeping.waits(path) and (step is None or step.single):
            if step is not None:
                self._drop(step, cancel=True)
            self._asleep.discard(path)
            self._answer(path, known)
        elif self._may_come(path):
            self._early.answered(path, known)
        return self._after(now)

    def held(self, peer: PeerId, path: Path, batches: Sequence[HeldBatch], now: float) -> list[Effect]:
        """A peer says which batches of a step it still has for a leader before."""
        step = self._steps.get(self._by_path.get(path, 0))
        if step is not None or self._may_come(path):
            self._early.held(peer, path, batches)
        if step is not None:
            self._spreading.held(step, peer, now)
        return self._after(now)

    def _may_come(self, path: Path) -> bool:
        """Whether a wish may still be made."""
        over = path in self._withdrawn or self.keeping.waits(path) or self.journal.settled(path)
        return self.leads and not over

    def intended(self, step: int, peer: PeerId, numbers: Sequence[int], now: float) -> list[Effect]:
        """It is recorded, so that it outlives this leader, that items go to a peer (`KeepIntent`)."""
        self._spreading.intended(step, peer, numbers)
        return self._after(now)

    def inline_answered(self, path: Path, known: Known, now: float) -> list[Effect]:
        """An inline activity was called."""
        self._answer(path, known)
        return self._go_on(now)

    def tick(self, now: float) -> list[Effect]:
        """Time has passed."""
        while self._sleeping and self._sleeping[0][0] <= now:
            _, _, path = heapq.heappop(self._sleeping)
            if path in self._asleep:
                self._asleep.discard(path)
                self._answer(path, Known())
        self._spreading.tick(now)
        self._reporting.tick(self._steps.values(), now)
        return self._after(now)

    def next_deadline(self) -> float | None:
        """When `tick` is due."""
        wakes = self._sleeping[0][0] if self._sleeping and not self.paused else None
        due = (self._reporting.due, wakes, self._spreading.next_deadline())
        return min((each for each in due if each is not None), default=None)

    def variables(self) -> dict[str, Any]:
        """The variables of the outer block as they are."""
        return self._interpreter.variables()

    @property
    def returned(self) -> list[Any]:
        """What `Return` sent."""
        return list(self._interpreter.returned)

    @property
    def explanations(self) -> Mapping[int, StepRun]:
        """Grid steps of the job by their place in it: the latest ones, for whoever asks why."""
        return self._reporting.explanations

    def partial(self) -> dict[str, dict[int, Any]]:
        """Results of Grid steps that did not finish: by variable, or by line, then by item."""
        return partial_results(self.program, self._interpreter.job, self.journal)

    def release(self) -> None:
        """It has ended, and whoever asks what it came to reads what was recorded: forget all values."""
        self._interpreter.release()
        self._reporting.release()
        self.journal = Journal()

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
                self._gave_up(step, list(faults), PeerId(""))
                for item, fault in faults.items():
                    self._item_failed(step, item, fault, "", now, retried=False)
        for step in [step for step in self._steps.values() if step.ended]:
            self._end_step(step, now)
        return self._go_on(now)

    def _go_on(self, now: float) -> list[Effect]:
        """Let the script run until all of it waits; what it wishes begins when it has made all its wishes."""
        while self._runs and (self._interpreter.ready or self._made):
            if self._interpreter.ready:
                since = self.keeping.answers
                for request in self._interpreter.advance():
                    self._request(request, since, now)
                if self._interpreter.state is not State.RUNNING:
                    self._interpreter_ended(now)
                    break
                if self._interpreter.ready and not self._interpreter.out_of_breath:
                    continue
            if not self._ask(now):
                break
            for wish, since in self._taken_wishes():
                self.keeping.wished(wish.path, since)
                self._begin(wish, now)
            if self._interpreter.out_of_breath:
                break
        return self._taken()

    @property
    def _runs(self) -> bool:
        return self._begun and self.leads and not self.paused

    def _request(self, request: Request, since: int, now: float) -> None:
        match request:
            case Tracing():
                self._traced(request, now)
            case Withdrawal(path=path):
                self._withdraw(path)
            case CallWish() | StepWish() | SleepWish():
                self._reporting.reached(request.span, now)
                known = self._known(request)
                if known is not None:
                    self._answer(request.path, known)
                else:
                    self._made[request.path] = request, since

    def _known(self, wish: Wish) -> Known | None:
        """The answer to a wish that nobody need be asked for."""
        if not isinstance(wish, StepWish):
            return self.journal.answer(wish.path)
        if not wish.items:
            return Known([])
        if (known := self.journal.answer(wish.path) or self.journal.conclusion(wish.path, len(wish.items))) is not None:
            self._reporting.passed()
        return known

    def _taken_wishes(self) -> list[tuple[Wish, int]]:
        made = [] if self._only_replays else list(self._made.values())
        self._made.clear()
        return made

    def _ask(self, now: float) -> bool:
        """Stop with a question if wishes made cannot be fulfilled without an answer; whether there is none."""
        wishes = [wish for wish, _ in self._made.values()]
        asked = asked_of(wishes, self.journal, self._spreading, self._defaults)
        self.questions = [question for _, question in asked]
        held = held_by(asked, self._id) if asked else kept_away(wishes, self._away, self._id) if self._away else None
        if held is not None:
            self.failure = held
            self._end(JobState.HELD, events.JobHeld(at=self.elapsed(now), failure=held))
        return held is None

    def _answer(self, path: Path, known: Known, *, concludes: bool = False) -> None:
        self.journal.record(path, known)
        self._early.over(path)
        self.keeping.answered(path, known, concludes=concludes)
        if known.failure is not None:
            self._interpreter.fail(path, known.failure)
        else:
            self._interpreter.resolve(path, known.value)

    def _traced(self, request: Tracing, now: float) -> None:
        if len(self.trace) < self._limits.trace_texts:
            self.trace.append(request.text)
        self._tell(events.Traced(at=self.elapsed(now), text=request.text, line=self.program.line_of(request.span)))

    def _withdraw(self, path: Path) -> None:
        self._withdrawn.add(path)
        self._made.pop(path, None)
        self._asleep.discard(path)
        self._early.over(path)
        self.keeping.withdrawn(path)
        number = self._by_path.get(path)
        if number is not None:
            self._drop(self._steps[number], cancel=True)

    def _item_failed(self, step: StepRun, item: int, fault: TaskFault, peer: str, now: float, *, retried: bool) -> None:
        if not step.single:
            failure = step.failure(item, fault, peer)
            self._tell(events.ItemFailed(at=self.elapsed(now), failure=failure, retried=retried))

    def _interpreter_ended(self, now: float) -> None:
        at = self.elapsed(now)
        if self._interpreter.state is State.FAILED:
            self.failure = self._interpreter.failure
            assert self.failure is not None
            self._end(JobState.FAILED, events.JobFailed(at=at, failure=self.failure))
            return
        if self._interpreter.returned:
            self._tell(events.Returned(at=at, values=tuple(short_text(value) for value in self._interpreter.returned)))
        self._end(JobState.COMPLETED, events.Completed(at=at))

    # --- wishes ------------------------------------------------------------------------------------------------

    def _begin(self, wish: Wish, now: float) -> None:
        early = None if isinstance(wish, StepWish) else self._early.taken_answer(wish.path)
        match wish:
            case _ if early is not None:
                self._answer(wish.path, early)
            case SleepWish():
                self._sleep(wish, now)
            case CallWish():
                self._begin_call(wish, now)
            case StepWish():
                self._begin_step(wish, now)

    def _sleep(self, wish: SleepWish, now: float) -> None:
        """Wait; reckoned from the ends of waits, not from when they were noticed: the same for whoever leads on."""
        at = self.elapsed(now)
        since = None if wish.since is None else self.journal.until(wish.since)
        latest = max(at, (at if since is None else since) + wish.duration_ms / 1000)
        until = self.journal.until(wish.path)
        if until is None:
            until = latest
            self.journal.sleep(wish.path, until)
            self.keeping.slept(wish.path, until)
        self._asleep.add(wish.path)
        heapq.heappush(self._sleeping, (self._started + min(latest, until), next(self._numbers), wish.path))
        if wish.text or wish.duration_ms >= 1000:
            self._tell(events.Waited(at=at, duration_ms=wish.duration_ms, text=wish.text))

    def _begin_step(self, wish: StepWish, now: float) -> None:
        path, count = wish.path, len(wish.items)
        known = {item: value for item, value in self.journal.items(path).items() if 0 <= item < count}
        early = self._early.taken_results(path).items()
        fresh = {item: value for item, value in early if 0 <= item < count and item not in known}
        step = grid_step(wish, next(self._numbers), self._defaults, self._guesses, known | fresh)
        step.since = self.keeping.since(wish.path)
        self._keep_results(step, list(fresh), PeerId(""))
        activities = activities_of(wish)
        self._skip(step, now)
        able = self._spreading.able(step, activities)
        if not able and not step.ended and self._refused(activities, step):
            return
        self._reporting.began(step, self.program.line_of(wish.span), now)
        self._open(step, activities, able, now)

    def _skip(self, step: StepRun, now: float) -> None:
        """A person decided that these items count as failed."""
        skipped = [item for item in self.journal.skipped(step.path) if 0 <= item < step.total]
        if skipped and step.settings.once:
            step.fail(skipped, SKIPPED, now)
            for item in skipped:
                self._item_failed(step, item, SKIPPED, "", now, retried=False)

    def _begin_call(self, wish: CallWish, now: float) -> None:
        if wish.call.activity.inline:
            self._effects.append(RunInline(wish.path, wish.call, wish.arguments))
            return
        step = call_step(wish, next(self._numbers), self._defaults)
        step.since = self.keeping.since(wish.path)
        activities = activities_of(wish)
        self._skip(step, now)
        able = self._spreading.able(step, activities)
        if able or step.ended or not self._refused(activities, step):
            self._open(step, activities, able, now)

    def _refused(self, activities: Sequence[Activity], step: StepRun) -> bool:
        """No peer can run it: then it has failed, whatever `OnError` says, since no item ever could run."""
        self._failed_everywhere(step, nobody_runs(self._spreading.workers.values(), activities, step))
        return True

    def _nobody_left(self, step: StepRun, why: str, now: float) -> None:
        """The last peer that could run a step refused it."""
        self._drop(step, cancel=True)
        self._failed_everywhere(step, f"no peer runs `{step.activity}` any more: {why}")

    def _failed_everywhere(self, step: StepRun, message: str) -> None:
        self._answer(step.path, Known(failure=Failure(message, step.span, step.activity, peer=self._peer)))

    def _open(self, step: StepRun, activities: Sequence[Activity], able: Sequence[Worker], now: float) -> None:
        self._by_path[step.path] = step.number
        self._spreading.open(step, activities, able, now)
        if step.ended:
            self._end_step(step, now)

    def _end_step(self, step: StepRun, now: float) -> None:
        self._reporting.progress(step, now)
        if step.fault is not None:
            number, fault = step.fault
            known = Known(failure=step.failure(number, fault, self._peer))
        else:
            known = Known(step.values[0] if step.single else step.values)
        self._drop(step, cancel=step.fault is not None)
        self._answer(step.path, known, concludes=not step.single)

    def _drop(self, step: StepRun, *, cancel: bool) -> None:
        del self._by_path[step.path]
        self._reporting.over(step)
        self._spreading.drop(step, cancel=cancel)

    def _end(self, state: JobState, event: events.JobEvent) -> None:
        for step in list(self._steps.values()):
            self._drop(step, cancel=True)
        self._forget()
        self.state = state
        self._tell(event)
        self._effects.append(JobEnded())

    def _forget(self) -> None:
        self._sleeping.clear()
        self._asleep.clear()
        self._made.clear()
        self._reporting.due = None

    def _recorded(
        self, step: StepRun, recorded: Recorded, faults: dict[int, TaskFault], peer: PeerId, now: float
    ) -> None:
        if not step.single:
            self._keep_results(step, recorded.fresh, peer)
            self._gave_up(step, recorded.final, peer)
        for item in (*recorded.retried, *recorded.final):
            self._item_failed(step, item, faults[item], self._name_of(peer), now, retried=item in recorded.retried)
        if not step.single:
            self._reporting.soon(now)
        if not step.ended:
            self._spreading.recorded(step, recorded.effects, now)

    def _keep_results(self, step: StepRun, items: Sequence[int], peer: PeerId) -> None:
        if items:
            values = [step.values[item] for item in items]
            self.journal.record_items(step.path, items, values)
            self.keeping.results(step.path, step.number, peer, items, values)

    def _gave_up(self, step: StepRun, items: Sequence[int], peer: PeerId) -> None:
        """Items that failed are not run by whoever leads on either, where the step goes on without them."""
        if step.settings.skip_failed and not step.single:
            self.keeping.results(step.path, step.number, peer, items, [None] * len(items))
