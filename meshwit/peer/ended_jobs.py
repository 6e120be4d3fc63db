"""Jobs that a peer led and that have ended lately: they are listed, and it can be asked why they ran where they did.

Only those that are kept: what others came to is known to whoever started them, and held by nobody else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from meshwit.peer.job.leader import JobLeader
from meshwit.peer.running_job import RunningJob

ENDED_MAX: Final = 32
ITEMS_MAX: Final = 1_000_000
"""Of the Grid steps of all of them: their books take some ten bytes an item."""


class EndedJobs:
    """See the module; in the order of their ends."""

    def __init__(self) -> None:
        self._jobs: deque[tuple[RunningJob, int]] = deque()  # each with its items: it has ended, they stay as many
        self._items = 0

    def __iter__(self) -> Iterator[RunningJob]:
        return (job for job, _ in self._jobs)

    def __reversed__(self) -> Iterator[RunningJob]:
        return (job for job, _ in reversed(self._jobs))

    def add(self, job: RunningJob) -> None:
        """One has ended; the oldest go where they are too many. The last one stays, however large it is."""
        if not job.is_kept:
            return
        items = _items(job)
        self._jobs.append((job, items))
        self._items += items
        while len(self._jobs) > 1 and (len(self._jobs) > ENDED_MAX or self._items > ITEMS_MAX):
            self._items -= self._jobs.popleft()[1]


def _items(job: RunningJob) -> int:
    assert isinstance(job.leader, JobLeader)
    return sum(step.total for step in job.leader.explanations.values())
