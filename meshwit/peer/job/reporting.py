"""What the leader of a job tells: which statement it has reached, that steps began, how far they are, who has no part
in them. Core."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Final

from meshwit import events
from meshwit.ids import PeerId
from meshwit.lang import program as ir
from meshwit.lang.tree import Span
from meshwit.peer.job.progress import StepProgress
from meshwit.peer.job.steps import StepRun

REPORT_INTERVAL_S: Final = 0.1
"""Progress is told at most so often."""
EXPLAINED_MAX: Final = 16
"""Grid steps of which is remembered why items ran where they did: their books take some ten bytes an item."""
LEFT_OUT_MAX: Final = 32
"""Peers named that were left out of a step."""


class Reporting:
    """See the module; of single calls nothing is told but their statement.

    Args:
        program: of the job.
        tell: takes events.
        elapsed: seconds since the job started.
        name_of: what a peer is called.

    Attributes:
        due: when progress is to be told.
        explanations: Grid steps by their place in the job: the latest ones, for whoever asks why.
    """

    def __init__(
        self,
        program: ir.Program,
        tell: Callable[[events.JobEvent], None],
        elapsed: Callable[[float], float],
        name_of: Callable[[PeerId], str],
    ) -> None:
        self.due: float | None = None
        self.explanations: dict[int, StepRun] = {}
        self._program = program
        self._line = 0
        self._tell = tell
        self._elapsed = elapsed
        self._name_of = name_of
        self._places = itertools.count(1)
        self._progress: dict[int, StepProgress] = {}

    def reached(self, span: Span, now: float) -> None:
        """A statement asks for something."""
        line = self._program.line_of(span)
        if line != self._line:
            self._line = line
            text = self._program.text[span[0] : span[1]].split("\n", 1)[0][:200]
            self._tell(events.StatementReached(at=self._elapsed(now), line=line, text=text))

    def release(self) -> None:
        """Of the steps that can be explained neither items nor results are needed any more."""
        for step in self.explanations.values():
            step.release()

    def passed(self) -> None:
        """The next Grid step of the job was over before."""
        next(self._places)

    def began(self, step: StepRun, line: int, now: float) -> None:
        """A Grid step begins."""
        place = next(self._places)
        self._progress[step.number] = StepProgress(place, now, step.done)
        self.explanations[place] = step
        if len(self.explanations) > EXPLAINED_MAX:
            del self.explanations[next(iter(self.explanations))]
        at = self._elapsed(now)
        self._tell(events.StepStarted(at=at, step=place, activity=step.activity, line=line, total=step.total))
        self.left_out(step, now)

    def left_out(self, step: StepRun, now: float) -> None:
        """Other peers may have no part in a step than before."""
        if step.left_out and not step.single:
            peers = dict(itertools.islice(step.left_out.items(), LEFT_OUT_MAX))
            self._tell(events.PeersLeftOut(at=self._elapsed(now), activity=step.activity, peers=peers))

    def soon(self, now: float) -> None:
        """There is progress to tell."""
        if self.due is None:
            self.due = now + REPORT_INTERVAL_S

    def tick(self, steps: Iterable[StepRun], now: float) -> None:
        """Time has passed."""
        if self.due is not None and self.due <= now:
            self.due = None
            for step in steps:
                self.progress(step, now)

    def progress(self, step: StepRun, now: float) -> None:
        """Tell how far a step is."""
        known = self._progress.get(step.number)
        if known is not None:
            done_by = {self._name_of(peer): count for peer, count in step.done_by.items()}
            self._tell(known.event(step, done_by, self._elapsed(now), now))

    def over(self, step: StepRun) -> None:
        """Nothing more is to be told of a step."""
        self._progress.pop(step.number, None)
