"""A simulated disk that keeps jobs, as `JobStore` does: it outlives the process, may be full, and may be cut short."""

from __future__ import annotations

import random
from collections.abc import Sequence, Set

import msgspec

from meshwit.codec import Buffer
from meshwit.outcome import JobState
from meshwit.peer.succession.history import History
from meshwit.peer.succession.records import Began, JobSpec, LogId, Over, Record
from meshwit.peer.succession.store import Kept, StoreError


class SimulatedDisk:
    """See the module.

    Attributes:
        specs: the jobs that lie here, with the buffers of their arguments.
        full: it takes nothing.
        busy_until: virtual time until which it is at work.
    """

    notice = ""

    def __init__(self) -> None:
        self.specs: dict[str, tuple[JobSpec, Sequence[Buffer]]] = {}
        self.full = False
        self.busy_until = 0.0
        self._logs: dict[str, dict[LogId, list[Record]]] = {}
        self._histories: dict[str, History] = {}
        self._written: list[tuple[str, LogId]] = []

    # --- as `succession.store.Store` ---------------------------------------------------------------------------------

    def close(self) -> None:
        """The file is let go."""

    def put(self, spec: JobSpec, buffers: Sequence[Buffer], roots: Sequence[str] = ()) -> None:
        """Keep a job."""
        self._there_is_room()
        self.specs.setdefault(spec.id, (spec, buffers))

    def jobs(self) -> list[Kept]:
        """All jobs."""
        return [self._kept(spec) for spec, _ in self.specs.values()]

    def specification(self, job: str) -> tuple[JobSpec, list[Buffer]]:
        """A job as it was submitted."""
        self._is_kept(job, LookupError)
        spec, buffers = self.specs[job]
        return spec, list(buffers)

    def roots(self, job: str) -> tuple[str, ...]:
        """Folders that a job was given: none."""
        self._is_kept(job, LookupError)
        return ()

    def expire(self, now: float, spared: Set[str] = frozenset()) -> list[str]:
        """Remove jobs that have been over for long."""
        kept = self.jobs()
        over = [each for each in kept if each.ended_at is not None and each.spec.id not in spared]
        gone = [each.spec.id for each in over if now > (each.ended_at or 0.0) + each.spec.keep_s]
        for job in gone:
            del self.specs[job]
            self._logs.pop(job, None)
            self._histories.pop(job, None)
            self._written = [each for each in self._written if each[0] != job]
        return gone

    def append(self, job: str, log: LogId, first: int, records: Sequence[Record]) -> None:
        """Keep records of a log; those that are there are passed over."""
        self._there_is_room()
        self._is_kept(job, StoreError)
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

    def blobs(self, job: str) -> set[str]:
        """What its records refer to: nothing."""
        return set()

    # --- for who looks from outside, and for what goes wrong ---------------------------------------------------------

    def over(self, job: str) -> JobState | None:
        """The outcome of a job, as the log of the highest term says."""
        head = self.history(job).head
        ends = self._ends(job, head) if head is not None else []
        return ends[-1].state if ends else None

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

    # --- inside ------------------------------------------------------------------------------------------------------

    def _kept(self, spec: JobSpec) -> Kept:
        """Of several ends that of the highest log counts, as on a real disk."""
        logs = self._logs.get(spec.id, {})
        ends = [end for log in sorted(logs) for end in self._ends(spec.id, log)]
        kept = Kept(spec, versions={log: len(records) for log, records in logs.items()})
        if not ends:
            return kept
        over = ends[-1]
        return msgspec.structs.replace(kept, over=over.state, ended_at=over.ended_at, failure=over.failure)

    def _ends(self, job: str, log: LogId) -> list[Over]:
        return [record.body for record in self._logs[job][log] if isinstance(record.body, Over)]

    def _is_kept(self, job: str, otherwise: type[Exception]) -> None:
        if job not in self.specs:
            raise otherwise(f"nothing of the job {job} is kept on this device")

    def _there_is_room(self) -> None:
        if self.full:
            raise StoreError("the disk is full")
