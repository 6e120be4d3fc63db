"""A simulated disk that keeps jobs, as `JobStore` does: it outlives the process, may be full, and may be cut short."""

from __future__ import annotations

import random
from collections.abc import Sequence

from meshwit.codec import Buffer
from meshwit.outcome import JobState
from meshwit.peer.succession.history import History
from meshwit.peer.succession.records import Began, JobSpec, LogId, Over, Record
from meshwit.peer.succession.store import StoreError


class SimulatedDisk:
    """See the module.

    Attributes:
        specs: the jobs that lie here, with the buffers of their arguments.
        full: it takes nothing.
        busy_until: virtual time until which it is at work.
    """

    def __init__(self) -> None:
        self.specs: dict[str, tuple[JobSpec, Sequence[Buffer]]] = {}
        self.full = False
        self.busy_until = 0.0
        self._logs: dict[str, dict[LogId, list[Record]]] = {}
        self._histories: dict[str, History] = {}
        self._written: list[tuple[str, LogId]] = []

    def put(self, spec: JobSpec, buffers: Sequence[Buffer]) -> None:
        """Keep a job."""
        self._there_is_room()
        self.specs.setdefault(spec.id, (spec, buffers))

    def append(self, job: str, log: LogId, first: int, records: Sequence[Record]) -> None:
        """Keep records of a log; those that are there are passed over."""
        self._there_is_room()
        if job not in self.specs:
            raise StoreError(f"nothing of the job {job} is kept on this device")
        held = self._logs.setdefault(job, {}).get(log, [])
        if first > len(held) or any(isinstance(each.body, Began) != (n == 0) for n, each in enumerate(records, first)):
            raise ValueError("the records do not continue their log")
        history = self.history(job)
        for number, record in enumerate(records, first):
            if number >= len(held):
                history.add(log, number, record.body)
                self._logs[job].setdefault(log, held).append(record)
                self._written.append((job, log))

    def read(self, job: str, log: LogId, first: int, stop: int, bytes_max: int) -> list[Record]:
        """Records of a log."""
        return self._logs.get(job, {}).get(log, [])[first:stop]

    def history(self, job: str) -> History:
        """What lies here of a job."""
        history = self._histories.get(job)
        if history is None:
            history = self._histories[job] = History()
            for log, records in self._logs.get(job, {}).items():
                for number, record in enumerate(records):
                    history.add(log, number, record.body)
        return history

    def over(self, job: str) -> JobState | None:
        """The outcome of a job, as the log of the highest term says."""
        head = self.history(job).head
        for record in reversed(self._logs[job][head] if head is not None else []):
            if isinstance(record.body, Over):
                return record.body.state
        return None

    def records(self, job: str) -> int:
        """How many lie here of a job."""
        return sum(map(len, self._logs.get(job, {}).values()))

    def tear(self, rng: random.Random) -> int:
        """The last writes before a power cut are lost; how many were."""
        count = min(len(self._written), rng.choice((1, 2, 5, 20)))
        for _ in range(count):
            job, log = self._written.pop()
            records = self._logs[job][log]
            records.pop()
            if not records:
                del self._logs[job][log]
            self._histories.pop(job, None)
        return count

    def _there_is_room(self) -> None:
        if self.full:
            raise StoreError("the disk is full")
