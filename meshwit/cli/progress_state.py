"""What a watcher knows about a job, folded from its events; and the words for it. Nothing is printed here."""

from __future__ import annotations

from dataclasses import dataclass, field

from meshwit import events
from meshwit.cli.terminal import duration_text, harmless, one_line
from meshwit.lang.control import Failure

_NOTE_CHARS = 2000
_NAME_CHARS = 80
_STEPS_KEPT = 200


@dataclass
class Step:
    """A Grid step; `failed` of the `done` items were skipped.

    `started_at` and `ended_at` are seconds since the job started; `ended_at` is None while it runs.
    """

    activity: str
    line: int
    total: int
    started_at: float
    done: int = 0
    failed: int = 0
    rate: float = 0.0
    estimate: str = ""
    ended_at: float | None = None

    @property
    def took_s(self) -> float:
        """How long it ran; 0 while it runs."""
        return 0.0 if self.ended_at is None else max(0.0, self.ended_at - self.started_at)


@dataclass
class ProgressState:
    """The job as far as its events tell.

    Attributes:
        job: its name, empty before it starts.
        steps: by number, in the order they began.
        lanes: what each worker process does.
        now_doing: the statement reached last, or what the script waits for.
        paused: whether tasks are held back.
    """

    job: str = ""
    steps: dict[int, Step] = field(default_factory=dict)
    lanes: tuple[events.Lane, ...] = ()
    now_doing: str = ""
    paused: bool = False

    def fold(self, event: events.JobEvent) -> str:
        """Take an event in; gives what is worth a line of its own, or an empty text."""
        match event:
            case events.JobStarted():
                self.job = one_line(event.job, _NAME_CHARS)
            case events.StatementReached():
                self.now_doing = f"line {event.line}: {one_line(event.text, 80)}"
            case events.Waited():
                said = one_line(event.text, 60)
                self.now_doing = f"waiting {duration_text(event.duration_ms / 1000)}" + (f": {said}" if said else "")
            case events.StepStarted():
                self._begin(event)
            case events.Progressed():
                self._progressed(event)
            case events.LanesChanged():
                self.lanes = event.lanes
            case events.LeaderChanged():
                self._lead_on()
                return f"{one_line(event.leader, _NAME_CHARS)} leads the job now"
            case events.Paused() | events.Resumed():
                self.paused = isinstance(event, events.Paused)
                return "paused" if self.paused else "resumed"
            case events.Traced():
                return shortened(event.text)
            case events.Printed():
                return "\n".join(f"[{_source(event)}] {line}" for line in shortened(event.text).splitlines())
            case events.ItemFailed():
                return f"{failure_text(event.failure)}; {'it runs again' if event.retried else 'given up'}"
            case events.WorkerDied():
                return f"worker {event.worker} died ({harmless(event.cause)}) and is replaced"
            case _:
                pass
        return ""

    def _lead_on(self) -> None:
        """What has not ended is told anew, perhaps under other numbers."""
        self.steps = {number: step for number, step in self.steps.items() if step.ended_at is not None}
        self.lanes = ()

    def _begin(self, event: events.StepStarted) -> None:
        self.steps.pop(event.step, None)  # it may be told again, and stands last then
        self.steps[event.step] = Step(one_line(event.activity, _NAME_CHARS), event.line, event.total, event.at)
        if len(self.steps) > _STEPS_KEPT:
            ended = (number for number, step in self.steps.items() if step.ended_at is not None)
            self.steps.pop(next(ended, event.step))

    def _progressed(self, event: events.Progressed) -> None:
        step = self.steps.get(event.step)
        if step is None:
            return
        step.done, step.failed, step.total, step.rate = event.done, event.failed, event.total, event.rate
        step.estimate = estimate_text(event.remaining_s, event.remaining_low_s, event.remaining_high_s)
        if event.done >= event.total and step.ended_at is None:
            step.ended_at = event.at
            step.estimate = ""


def step_text(step: Step) -> str:
    """A step in words: `120 of 240 Renderer.RenderFrame, 9.8/s, about 12 s (11 to 15 s)`."""
    parts = [f"{step.done} of {step.total} {step.activity}"]
    if step.failed:
        parts.append(f"{step.failed} failed")
    if step.ended_at is not None:
        parts.append(f"took {duration_text(step.took_s)}")
    elif step.rate:
        parts.append(rate_text(step.rate))
    if step.estimate:
        parts.append(step.estimate)
    return ", ".join(parts)


def rate_text(rate: float) -> str:
    """Items per second, or per minute or hour where that says more: `9.8/s`, `4.5/min`."""
    for scale, unit in ((1, "s"), (60, "min")):
        if rate * scale >= 1:
            return f"{rate * scale:,.0f}/{unit}" if rate * scale >= 100 else f"{rate * scale:.1f}/{unit}"
    return f"{rate * 3600:.1f}/h"


def estimate_text(remaining_s: float | None, low_s: float | None, high_s: float | None) -> str:
    """What is left: `about 40 s (35 to 50 s)`; empty where nobody knows."""
    if remaining_s is None:
        return ""
    about = duration_text(remaining_s)
    if low_s is None or high_s is None:
        return f"about {about}"
    low, high = duration_text(low_s), duration_text(high_s)
    if low == high:
        return f"about {about}"
    (low_number, _, low_unit), (_, _, high_unit) = low.partition(" "), high.partition(" ")
    return f"about {about} ({low_number if low_unit == high_unit else low} to {high})"


def failure_text(failure: Failure) -> str:
    """A failure in one line: which item of which activity, and why."""
    where = one_line(failure.activity, _NAME_CHARS) or "the job"
    if failure.item is not None:
        where += f", item {failure.item}"
    if failure.item_text:
        where += f" ({one_line(failure.item_text, 60)})"
    return f"{where}: {one_line(failure.message, 300)}"


def lane_text(lane: events.Lane) -> str:
    """What a worker process does, in words."""
    if lane.state != "running":
        return one_line(lane.state, _NAME_CHARS)
    activity = one_line(lane.activity, _NAME_CHARS)
    return activity if lane.item is None else f"{activity}, item {lane.item}"


def shortened(text: str) -> str:
    """A text from a script or an activity, harmless and not endless."""
    text = text.rstrip("\n")
    return harmless(text) if len(text) <= _NOTE_CHARS else f"{harmless(text[:_NOTE_CHARS])}… ({len(text):,} characters)"


def _source(event: events.Printed) -> str:
    activity = one_line(event.activity, _NAME_CHARS)
    return activity if event.item is None else f"{activity}, item {event.item}"
