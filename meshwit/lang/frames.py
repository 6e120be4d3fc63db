"""Where a running job keeps its values, and how strands of it wait for each other.

A strand is a stack of generators: one for the job or branch, one more for every job call it is in. It yields wishes,
which others answer, and the requests below, which the machine answers itself.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeAlias

from meshwit.lang.control import Signal
from meshwit.lang.program import UNSET, CheckedJob
from meshwit.lang.wishes import Path

Waiting: TypeAlias = Generator[Any, Any, Any]


class Frame:
    """The variables of a space, and where in the job they are looked at from."""

    __slots__ = ("branch", "depth", "parent", "path", "slots", "temporaries")

    def __init__(self, slots: list[Any], parent: Frame | None, path: Path, branch: Branch | None, depth: int) -> None:
        self.slots = slots
        self.parent = parent
        self.path = path
        self.branch = branch
        self.depth = depth
        self.temporaries: list[Any] = []

    def above(self, hops: int) -> Frame:
        """The space so many spaces further out."""
        frame = self
        for _ in range(hops):
            assert frame.parent is not None
            frame = frame.parent
        return frame

    def below(self, size: int, path: Path, branch: Branch | None, first: Any = UNSET) -> Frame:
        """A new space below this one; `first` is the value of its slot 0."""
        slots: list[Any] = [UNSET] * max(size, 1)
        slots[0] = first
        return Frame(slots, self, path, branch, self.depth)


def job_frame(job: CheckedJob, values: list[Any], path: Path, branch: Branch | None, depth: int) -> Frame:
    """A fresh space for a job, its parameters set."""
    slots = [*values, *[UNSET] * (job.space_size - len(values))]
    return Frame(slots, None, path, branch, depth)


class Group:
    """Branches that run at once and end as if they had run in order.

    Branch k may touch what branches share once all before it have ended (`turn` reached k). A branch that ends by
    failing or leaving makes the branches after it never have been (`limit`): what such a branch wrote to variables
    that no other touches gets its value from before again (`saved`: branch, slots, slot, value).
    """

    __slots__ = (
        "ended",
        "limit",
        "many",
        "outcomes",
        "saved",
        "start",
        "started",
        "strand",
        "strands",
        "turn",
        "waiting",
    )

    def __init__(
        self,
        count: int,
        start: Callable[[int], Waiting],
        *,
        many: bool,
        saved: Sequence[tuple[int, list[Any], int, Any]] = (),
    ) -> None:
        self.saved = saved
        self.start = start
        self.many = many
        self.limit = count
        self.outcomes: list[Any] = [UNSET] * count
        self.started = 0
        self.ended = 0
        self.turn = 0
        self.strand: Strand | None = None
        self.strands: dict[int, Strand] = {}
        self.waiting: dict[int, list[Strand]] = {}

    def is_exit(self, outcome: object) -> bool:
        """Whether an outcome means that later branches would not have run."""
        if isinstance(outcome, BaseException) or outcome is Signal.BREAK:
            return True
        return outcome is Signal.CONTINUE and not self.many


class Branch:
    """One branch of a group; `outer` is the branch that the group stands in."""

    __slots__ = ("group", "index", "outer")

    def __init__(self, group: Group, index: int, outer: Branch | None) -> None:
        self.group = group
        self.index = index
        self.outer = outer


class Strand:
    """One line of execution."""

    __slots__ = ("branch", "group", "stack", "waits_for")

    def __init__(self, generator: Waiting, branch: Branch | None) -> None:
        self.stack: list[Waiting] = [generator]
        self.branch = branch
        self.group: Group | None = None
        """The group it waits for, while it has branches."""
        self.waits_for: Path | None = None
        """The wish it waits for."""


class Fork:
    """Run the branches of a group; answered with the list of their outcomes."""

    __slots__ = ("group",)

    def __init__(self, group: Group) -> None:
        self.group = group


class AwaitTurn:
    """Wait until all branches before this one have ended."""

    __slots__ = ("branch",)

    def __init__(self, branch: Branch) -> None:
        self.branch = branch


class Push:
    """Run a generator on top of the strand's stack; answered with its value."""

    __slots__ = ("generator",)

    def __init__(self, generator: Waiting) -> None:
        self.generator = generator


class Breathe:
    """Let others have a turn: sent by loops that ran long without a wish."""


BREATHE = Breathe()
