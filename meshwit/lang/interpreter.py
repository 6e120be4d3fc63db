"""The interpreter: a core that runs a checked job, yields wishes and is resumed with their answers.

It does no I/O and reads no clock. It can be left at any wish; a new interpreter given the same parameters and the
answers recorded so far, by path, comes to the same point. The order in which answers arrive does not matter for what
the job computes (`frames.Group`).
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Sequence
from typing import Any

from meshwit.lang import program as ir
from meshwit.lang.control import Failed, Failure, Signal
from meshwit.lang.flow import FlowCompiler
from meshwit.lang.frames import AwaitTurn, Branch, Breathe, Fork, Group, Push, Strand, Waiting, job_frame
from meshwit.lang.limits import DEFAULT_LIMITS, JobLimits
from meshwit.lang.meter import Meter
from meshwit.lang.offer import Offer
from meshwit.lang.wishes import CallWish, Exceeded, Leaving, Path, Request, SleepWish, StepWish, Tracing, Withdrawal


class State(enum.Enum):
    """Where a job stands."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


class Interpreter:
    """Runs one job.

    Attributes:
        state: running, completed or failed.
        returned: the values that `Return` sent.
        failure: why it failed.
    """

    def __init__(
        self,
        program: ir.Program,
        job: str,
        arguments: Sequence[Any],
        offer: Offer | None = None,
        limits: JobLimits = DEFAULT_LIMITS,
    ) -> None:
        self.job = program.jobs[job]
        self.state = State.RUNNING
        self.returned: tuple[Any, ...] = ()
        self.failure: Failure | None = None
        self._limits = limits
        self._meter = Meter(limits)
        compiler = FlowCompiler(program, offer or program.offer, self._meter)
        self._frame = job_frame(self.job, list(arguments), (), None, 0)
        self._requests: list[Request] = []
        self._waiting: dict[Path, Strand] = {}
        code = compiler.job(job)
        root = code.run(self._frame) if code.waits else _run_plain(code.run, self._frame)
        self._root = Strand(root, None)
        self._ready: deque[tuple[Strand, Any, BaseException | None]] = deque([(self._root, None, None)])

    # --- driving -----------------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether `advance` has something to do."""
        return self.state is State.RUNNING and bool(self._ready)

    @property
    def out_of_breath(self) -> bool:
        """Whether the last `advance` stopped only to let others have a turn."""
        return self._meter.steps >= self._meter.breath

    def advance(self) -> list[Request]:
        """Run until everything waits, or until others should have a turn; returns what is asked for, in order."""
        self._meter.breath = self._meter.steps + self._limits.steps_per_turn
        while self._ready and self.state is State.RUNNING and self._meter.steps < self._meter.breath:
            strand, value, error = self._ready.popleft()
            self._resume(strand, value, error)
        requests, self._requests = self._requests, []
        return requests

    def resolve(self, path: Path, value: Any) -> None:
        """Answer a wish. Answers to wishes that were withdrawn are ignored."""
        strand = self._waiting.pop(path, None)
        if strand is not None:
            strand.waits_for = None
            self._ready.append((strand, value, None))

    def fail(self, path: Path, failure: Failure) -> None:
        """Answer a wish with its failure, which a `Try` of the script may hold."""
        strand = self._waiting.pop(path, None)
        if strand is not None:
            strand.waits_for = None
            self._ready.append((strand, None, Failed(failure)))

    def waiting(self) -> list[Path]:
        """The paths of the wishes not yet answered."""
        return list(self._waiting)

    def variables(self) -> dict[str, Any]:
        """The variables of the job's outer block; None for those without a value."""
        slots = self._frame.slots
        return {name: None if slots[slot] is ir.UNSET else slots[slot] for name, slot, _ in self.job.results}

    def release(self) -> None:
        """The job has ended: forget its values."""
        self._frame.slots[:] = [ir.UNSET] * len(self._frame.slots)
        self.returned = ()

    def check(self) -> None:
        """Invariants: a running job has something ready, or waits for a wish."""
        if self.state is State.RUNNING:
            assert self._ready or self._waiting, "the job waits for nothing"
        for path, strand in self._waiting.items():
            assert strand.waits_for == path

    # --- strands -----------------------------------------------------------------------------------------------

    def _resume(self, strand: Strand, value: Any, error: BaseException | None) -> None:
        while True:
            generator = strand.stack[-1]
            try:
                asked = generator.send(value) if error is None else generator.throw(error)
            except StopIteration as stop:
                strand.stack.pop()
                value, error = stop.value, None
            except Exceeded as exceeded:
                self._end(State.FAILED, failure=exceeded.failure)
                return
            except (Failed, Leaving) as reason:
                strand.stack.pop()
                value, error = None, reason
            except RecursionError:
                strand.stack.pop()
                value, error = None, Failed(Failure("the script is nested too deeply to run"))
            else:
                value, error = None, None
                match asked:
                    case CallWish() | StepWish() | SleepWish():
                        strand.waits_for = asked.path
                        self._waiting[asked.path] = strand
                        self._requests.append(asked)
                        return
                    case Tracing():
                        self._requests.append(asked)
                    case Push():
                        strand.stack.append(asked.generator)
                    case Breathe():
                        self._ready.append((strand, None, None))
                        return
                    case AwaitTurn(branch=branch):
                        if branch.index > branch.group.turn:
                            branch.group.waiting.setdefault(branch.index, []).append(strand)
                            return
                    case Fork(group=group):
                        self._fork(strand, group)
                        return
                continue
            if not strand.stack:
                self._strand_ended(strand, value, error)
                return

    def _fork(self, strand: Strand, group: Group) -> None:
        strand.group = group
        group.strand = strand
        if group.limit == 0:
            self._join(group)
            return
        self._start_branches(group)

    def _start_branches(self, group: Group) -> None:
        while group.started < group.limit and len(group.strands) < self._limits.branches:
            index = group.started
            group.started += 1
            assert group.strand is not None
            child = Strand(group.start(index), Branch(group, index, group.strand.branch))
            group.strands[index] = child
            self._ready.append((child, None, None))

    def _strand_ended(self, strand: Strand, value: Any, error: BaseException | None) -> None:
        if strand is self._root:
            self._root_ended(error)
            return
        assert strand.branch is not None
        group, index = strand.branch.group, strand.branch.index
        if group.strands.pop(index, None) is None:
            return
        group.outcomes[index] = value if error is None else error
        group.ended += 1
        if group.is_exit(group.outcomes[index]):
            self._cut(group, index + 1)
        self._pass_turn(group)
        self._start_branches(group)
        if group.turn >= group.limit:
            self._join(group)

    def _pass_turn(self, group: Group) -> None:
        while group.turn < group.limit and group.outcomes[group.turn] is not ir.UNSET:
            group.turn += 1
        # Several strands of one branch may wait: parallel blocks inside it have strands of their own.
        for strand in group.waiting.pop(group.turn, []):
            if strand.stack:  # else it was stopped while it waited
                self._ready.append((strand, None, None))

    def _cut(self, group: Group, limit: int) -> None:
        """The branches from `limit` on never were."""
        group.limit = min(group.limit, limit)
        for index in [index for index in group.strands if index >= group.limit]:
            self._stop(group.strands.pop(index))
        for index in [index for index in group.waiting if index >= group.limit]:
            del group.waiting[index]
        for index, slots, slot, value in group.saved:
            if index >= group.limit:
                slots[slot] = value

    def _stop(self, strand: Strand) -> None:
        if strand.waits_for is not None:
            self._waiting.pop(strand.waits_for, None)
            self._requests.append(Withdrawal(strand.waits_for))
        if strand.group is not None:
            self._cut(strand.group, 0)
        self._ready = deque(entry for entry in self._ready if entry[0] is not strand)
        for generator in reversed(strand.stack):
            generator.close()
        strand.stack.clear()

    def _join(self, group: Group) -> None:
        strand = group.strand
        assert strand is not None
        strand.group = None
        outcomes = group.outcomes[: group.limit]
        last = outcomes[-1] if outcomes else None
        if isinstance(last, BaseException):
            self._ready.append((strand, None, last))
        else:
            self._ready.append((strand, outcomes, None))

    # --- the end -----------------------------------------------------------------------------------------------

    def _root_ended(self, error: BaseException | None) -> None:
        match error:
            case None:
                self._end(State.COMPLETED)
            case Leaving(values=values):
                self.returned = values
                self._end(State.COMPLETED)
            case Failed(failure=failure):
                self._end(State.FAILED, failure=failure)
            case _:
                raise error

    def _end(self, state: State, failure: Failure | None = None) -> None:
        self.state = state
        self.failure = failure
        self._requests += [Withdrawal(path) for path in self._waiting]
        self._waiting.clear()
        self._ready.clear()


def _run_plain(run: Any, frame: Any) -> Waiting:
    signal: Signal | None = run(frame)
    return signal
    yield
