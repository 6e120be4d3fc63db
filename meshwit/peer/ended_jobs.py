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
        self._jobs: deque[RunningJob] = deque(maxlen=ENDED_MAX)

    def __iter__(self) -> Iterator[RunningJob]:
        return iter(self._jobs)

    def __reversed__(self) -> Iterator[RunningJob]:
        return reversed(self._jobs)

    def add(self, job: RunningJob) -> None:
        """One has ended; the oldest go where they are too many. The last one stays, however large it is."""
        if not job.is_kept:
            return
        self._jobs.append(job)
        while len(self._jobs) > 1 and sum(map(_items, self._jobs)) > ITEMS_MAX:
            self._jobs.popleft()


def _items(job: RunningJob) -> int:
    assert isinstance(job.leader, JobLeader)
    return sum(step.total for step in job.leader.explanations.values())
