"""What the history of a job means: which records count for whoever leads it now, and which others would fit. Core.

Theory of operation. Records are a grow-only set, keyed by log and number; copies of it merge by union, so what is read
here depends on what is held, never on the order in which it came. The log of the highest term is the **head**. A leader
began with what it had of the others (`Began.basis`) and answered the script from the **lineage** of its log: its
parent, the log of the highest term that it had, and that one's parent, and so on, each up to the count that its child
named. These are the **view**; a successor that runs the script over the view meets the same wishes.

What lies outside (an old leader that went on alone; what a dead one wrote beyond the copy that its successor began
with) was computed in a world that may have parted from this one. It is **consistent** if the wish that it belongs to
was made before they parted: a wish follows from the answers before it, so it is the same as long as all of those are
in the view. The leader at work may write what is consistent into its own log, and so into the view; the rest is
computed again. Bodies are not kept here, only what these questions need.

Others' nonsense does no harm: a basis counts only as far as it names logs of lower epochs, so there are no cycles, and
whatever names more than is held counts as far as that is held.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import pairwise
from typing import Final, TypeAlias

from meshwit.peer.succession.records import (
    Answered,
    Began,
    Body,
    Concluded,
    Intended,
    LogId,
    Over,
    Results,
    Slept,
    Term,
    Versions,
)

Stretch: TypeAlias = tuple[LogId, int, int]
"""Of a log, the records from a first one on to before another."""
_NEVER: Final = -1


class _Log:
    """One log: when its wishes were made, and which of its records are answers.

    Attributes:
        basis: records of other logs that its leader had, where that can be meant.
        since: for each record, how many answers the log had when its wish was made; -1: it belongs to no wish.
        answers: the numbers of its answers, ascending.
        over: it has the job's outcome.
    """

    __slots__ = ("answers", "basis", "over", "since", "term")

    def __init__(self, term: Term, basis: Versions) -> None:
        self.term = term
        self.basis = basis
        self.since: list[int] = []
        self.answers: list[int] = []
        self.over = False

    def answered(self, stop: int) -> int:
        """How many of the records before `stop` are answers."""
        return bisect_left(self.answers, stop)

    def append(self, body: Body) -> None:
        match body:
            case Answered(since=since) | Results(since=since) | Concluded(since=since):
                pass
            case Intended(since=since) | Slept(since=since):
                pass
            case _:
                since = _NEVER
        self.since.append(since if 0 <= since <= len(self.answers) else _NEVER)
        self.over |= isinstance(body, Over)
        if isinstance(body, Answered | Concluded):
            self.answers.append(len(self.since) - 1)

    def extend(self, other: _Log) -> None:
        have = len(self.since)
        self.answers += other.answers[other.answered(have) :]
        self.since += other.since[have:]
        self.over |= other.over


class History:
    """All that is held of one job's records, by log; see the module.

    Attributes:
        head: the log of the highest term, None as long as there is none.
    """

    def __init__(self) -> None:
        self.head: LogId | None = None
        self._logs: dict[LogId, _Log] = {}
        self._line: list[LogId] | None = None
        self._before_parting: dict[LogId, bool] = {}

    def add(self, log: LogId, number: int, body: Body) -> bool:
        """Take a record; False if it is there already. Raises ValueError if it does not continue its log, or if
        `Began` is missing at the log's beginning or stands elsewhere."""
        count = self.count(log)
        if 0 <= number < count:
            return False
        if number != count:
            raise ValueError(f"record {number} does not continue a log of {count}")
        if isinstance(body, Began) != (number == 0):
            raise ValueError("a log begins with Began, and only there")
        if isinstance(body, Began):
            self._begin(log, Term(log[0], body.rank, log[1]), _meant(log, body))
        self._logs[log].append(body)
        self._before_parting.clear()
        return True

    def merge(self, other: History) -> None:
        """Take all that another copy holds."""
        for log, theirs in other._logs.items():
            if log not in self._logs:
                self._begin(log, theirs.term, theirs.basis)
            self._logs[log].extend(theirs)
        self._before_parting.clear()

    @property
    def versions(self) -> Versions:
        """How many records of each log are held."""
        return {log: len(held.since) for log, held in self._logs.items()}

    @property
    def over(self) -> bool:
        """Whether the leader of the highest term has come to an outcome; others' are overruled."""
        return self.head is not None and self._logs[self.head].over

    def count(self, log: LogId) -> int:
        """How many records of a log are held."""
        held = self._logs.get(log)
        return 0 if held is None else len(held.since)

    def answers(self, log: LogId) -> int:
        """How many answers a log has: the `since` of a wish that its leader makes now."""
        held = self._logs.get(log)
        return 0 if held is None else len(held.answers)

    def term(self, log: LogId) -> Term:
        """The term of a log that is held. Raises KeyError."""
        return self._logs[log].term

    def missing(self, theirs: Versions) -> list[Stretch]:
        """What someone with `theirs` lacks of this, the oldest logs first."""
        stretches = [(log, max(0, theirs.get(log, 0)), count) for log, count in sorted(self.versions.items())]
        return [(log, first, stop) for log, first, stop in stretches if first < stop]

    # --- what counts -------------------------------------------------------------------------------------------------

    def lineage(self) -> list[tuple[LogId, int]]:
        """The logs that count, the oldest first, and how many records of each.

        Where a leader began with more than is held here, its parent is cut to what is held, and the line begins with
        the first log whose parent is not held at all: results are missing then, and the wishes that they answered are
        made again, perhaps with another answer than the later records go by. `lacking` says what to ask others for.
        """
        return [(log, min(named, self.count(log))) for log, named in self._named()]

    def view(self) -> Iterator[Stretch]:
        """The records that count, in their order."""
        for log, cut in self.lineage():
            yield log, 0, cut

    def lacking(self) -> list[Stretch]:
        """What the leaders of the lineage had and is not held here, the oldest first. Empty when all is as it was."""
        named = self._named()
        first = self._parent(named[0][0]) if named else None
        known = [*([first] if first is not None else []), *named]
        return [(log, self.count(log), count) for log, count in known if self.count(log) < count]

    # --- what would fit ----------------------------------------------------------------------------------------------

    def consistent(self, log: LogId, number: int) -> bool:
        """Whether a record that is held belongs to a wish that the lineage makes too; see the module.

        Records that belong to no wish (`Began`, `Decided`, `Paused`, `Over`) are never: who leads decides about them
        anew.
        """
        return self._fits(log, number, dict(self.lineage()))

    def limits(self) -> dict[LogId, int]:
        """Of each log, how late a wish of its leader may have been made (`since`) to be one that the lineage makes too;
        -1 where none is. Results of such wishes that were never recorded count as well."""
        cuts = dict(self.lineage())
        found: dict[LogId, int] = {}
        for log, held in self._logs.items():
            if log in cuts:
                found[log] = held.answered(cuts[log])
            else:
                found[log] = 0 if self._begun_before_parting(log, cuts) else -1
        return found

    def extras(self) -> list[tuple[LogId, int]]:
        """The records outside the view that are consistent, in the order of their logs."""
        cuts = dict(self.lineage())
        return [
            (log, number)
            for log in sorted(self._logs)
            for number in range(cuts.get(log, 0), self.count(log))
            if self._fits(log, number, cuts)
        ]

    # --- inside ------------------------------------------------------------------------------------------------------

    def _begin(self, log: LogId, term: Term, basis: Versions) -> None:
        self._logs[log] = _Log(term, basis)
        if self.head is None or self._logs[self.head].term < term:
            self.head = log
        self._line = None

    def _parent(self, log: LogId) -> tuple[LogId, int] | None:
        """The log of the highest term in the basis, held or not, and how much of it there was.

        The rank of one that is not held is not known. It counts as the highest of its epoch: to take another for the
        parent could bring in what the leader never saw.
        """
        basis = self._logs[log].basis
        if not basis:
            return None
        parent = max(basis, key=self._order)
        return parent, basis[parent]

    def _order(self, log: LogId) -> tuple[int, float, str]:
        held = self._logs.get(log)
        return log[0], float("inf") if held is None else held.term.rank, log[1]

    def _named(self) -> list[tuple[LogId, int]]:
        """The lineage with the counts that the children name."""
        if self._line is None:
            self._line = [] if self.head is None else [self.head]
            while self._line:
                parent = self._parent(self._line[-1])
                if parent is None or parent[0] not in self._logs:
                    break
                self._line.append(parent[0])
            self._line.reverse()
        named = [(log, self._logs[child].basis[log]) for log, child in pairwise(self._line)]
        return named + [(log, self.count(log)) for log in self._line[-1:]]

    def _fits(self, log: LogId, number: int, cuts: Versions) -> bool:
        held = self._logs.get(log)
        if held is None or not 0 <= number < len(held.since) or held.since[number] == _NEVER:
            return False
        if log in cuts:
            return held.since[number] <= held.answered(cuts[log])
        return held.since[number] == 0 and self._begun_before_parting(log, cuts)

    def _begun_before_parting(self, log: LogId, cuts: Versions) -> bool:
        """Whether all answers that the leader of a log outside the lineage began with are in the view.

        Up its parents until one is of the lineage; all of them have had the same answers, or none.
        """
        way: list[LogId] = []
        fits: bool | None = None
        while fits is None:
            fits = self._before_parting.get(log)
            if fits is None:
                way.append(log)
                parent = self._parent(log)
                if parent is None or not self._knows_no_answers_outside(log, cuts):
                    fits = False
                elif parent[0] in cuts:
                    fits = self._no_more_answers(*parent, cuts[parent[0]])
                else:
                    log = parent[0]
        self._before_parting |= dict.fromkeys(way, fits)
        return fits

    def _knows_no_answers_outside(self, log: LogId, cuts: Versions) -> bool:
        basis = self._logs[log].basis
        return all(other in cuts or self._no_more_answers(other, count, 0) for other, count in basis.items())

    def _no_more_answers(self, log: LogId, count: int, cut: int) -> bool:
        """Whether the first `count` records have no more answers than the first `cut`; not if some are not held."""
        held = self._logs.get(log)
        return held is not None and count <= len(held.since) and held.answered(count) <= held.answered(cut)


def _meant(log: LogId, began: Began) -> Versions:
    """The basis of a log, without what cannot be meant: whoever begins takes a higher epoch than all that it knows."""
    basis: Versions = {}
    for epoch, leader, count in began.basis:
        if count > 0 and epoch < log[0]:
            basis[epoch, leader] = max(count, basis.get((epoch, leader), 0))
    return basis
