"""Where a device keeps the jobs that it leads or stands by for: one SQLite file, `jobs.sqlite`. Adapter.

What is read is what was written, or nothing. A log ends before the first record that is missing or fails its checksum
(`rows`), so what is read of a log is always a prefix. A file that SQLite itself finds damaged is set aside, and what
can still be read of it goes into a fresh one. What is lost comes again from other holders, or is computed again.

A write that was committed outlives the process; a power cut may take the last ones of them, in order (WAL mode,
`synchronous=NORMAL`). One process holds the file and makes one call at a time, from any thread.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Sequence, Set
from pathlib import Path
from typing import Final, Protocol, TypeVar

import msgspec

from meshwit.codec import Buffer
from meshwit.lang.control import Failure
from meshwit.outcome import JobState
from meshwit.peer.home import JOBS_FILE
from meshwit.peer.succession import rows
from meshwit.peer.succession.history import History
from meshwit.peer.succession.records import (
    Began,
    JobSpec,
    LogId,
    Over,
    Record,
    Versions,
    decode_body,
    decode_spec,
    encode_body,
    encode_spec,
)
from meshwit.peer.trust.errors import TrustError
from meshwit.peer.trust.files import private_folder

FILE: Final = JOBS_FILE
BYTES_MAX: Final = 4 * 1024**3
"""Of all jobs; beyond it those that are over go, the oldest first."""
ASIDE_MAX: Final = 3
"""Damaged files that stay: the first ones and the last."""
_T = TypeVar("_T")


class StoreError(Exception):
    """Jobs cannot be kept or read on this device; the message is for people. What is there stays, and what failed
    can be tried again."""


class Kept(msgspec.Struct, frozen=True):
    """A job as it is kept here, without arguments and records.

    Attributes:
        roots: folders for activities; known where it was submitted.
        over: the outcome's state, once there is one, with when it came and why it failed.
        bytes: that it takes.
        versions: how many records lie here; `JobStore.history` knows how many of them are whole.
    """

    spec: JobSpec
    roots: tuple[str, ...] = ()
    over: JobState | None = None
    ended_at: float | None = None
    failure: Failure | None = None
    bytes: int = 0
    versions: Versions = {}


class Store(Protocol):
    """Keeps jobs, as `JobStore` does; its methods say what each is to do, and raise what each of them raises."""

    notice: str

    def close(self) -> None: ...
    def put(self, spec: JobSpec, buffers: Sequence[Buffer], roots: Sequence[str] = ()) -> None: ...
    def jobs(self) -> list[Kept]: ...
    def specification(self, job: str) -> tuple[JobSpec, list[Buffer]]: ...
    def roots(self, job: str) -> tuple[str, ...]: ...
    def expire(self, now: float, spared: Set[str] = frozenset()) -> list[str]: ...
    def append(self, job: str, log: LogId, first: int, records: Sequence[Record]) -> None: ...
    def read(self, job: str, log: LogId, first: int, stop: int, bytes_max: int) -> list[Record]: ...
    def history(self, job: str) -> History: ...
    def blobs(self, job: str) -> set[str]: ...


class JobStore:
    """See the module. Every method raises StoreError where the disk fails.

    Args:
        folder: where the file is; made if it is not there.
        bytes_max: what `expire` leaves, as far as that is of jobs that are over.
        pages_max: of the file: a full disk, for tests.

    Attributes:
        notice: what people should know of the last damage that was found; empty if there was none.
    """

    def __init__(self, folder: Path, bytes_max: int = BYTES_MAX, pages_max: int | None = None) -> None:
        self.path = folder / FILE
        self.bytes_max = bytes_max
        self.notice = ""
        self._pages_max = pages_max
        self._db: rows.Database | None = None
        self._cuts: set[tuple[str, LogId]] = set()
        self._closed = self._mending = False
        try:
            private_folder(folder)
        except TrustError as error:
            raise StoreError(str(error)) from error
        self._read(lambda db: None)

    def close(self) -> None:
        """Let the file go; closing twice is harmless."""
        self._closed = True
        self._let_go()

    # --- jobs --------------------------------------------------------------------------------------------------------

    def put(self, spec: JobSpec, buffers: Sequence[Buffer], roots: Sequence[str] = ()) -> None:
        """Keep a job; one that is kept already stays as it is, but what is damaged of it is mended."""

        def work(db: rows.Database) -> None:
            if rows.job_row(db, spec.id) is None:
                rows.delete(db, spec.id)  # what a lost row left
                rows.insert_job(db, spec.id, roots)
            elif rows.read_job(db, spec.id)[0] is not None:
                return
            rows.cut(db, spec.id, rows.SUBMITTED, 0)
            rows.grow(db, spec.id, rows.insert(db, spec.id, rows.SUBMITTED, 0, encode_spec(spec), buffers))

        self._write(work)

    def jobs(self) -> list[Kept]:
        """All jobs, those that began first before others."""
        kept, damaged = self._read(_listed)
        for job in damaged:
            self._drop(job)
        return sorted(kept, key=lambda each: (each.spec.started_at, each.spec.id))

    def specification(self, job: str) -> tuple[JobSpec, list[Buffer]]:
        """A job as it was submitted, and the buffers of its arguments. Raises LookupError if it is not kept, or not
        whole: then it is dropped."""
        found, damaged = self._read(lambda db: rows.read_job(db, job))
        if damaged:
            self._drop(job)
        if found is None:
            raise LookupError(_not_kept(job))
        return decode_spec(found[0]), list(found[1])

    def roots(self, job: str) -> tuple[str, ...]:
        """The folders that a job was given. Raises LookupError if it is not kept."""
        row = self._read(lambda db: rows.job_row(db, job))
        if row is None:
            raise LookupError(_not_kept(job))
        return row.roots

    def forget(self, job: str) -> None:
        """Keep a job no longer."""
        self._write(lambda db: rows.delete(db, job))

    def expire(self, now: float, spared: Set[str] = frozenset()) -> list[str]:
        """Remove jobs that have been over for longer than they are to be kept, and the oldest of those that are over
        while all take too much; `now` in seconds since 1970. Returns their ids. Jobs that are not over stay, and those
        that are `spared`."""
        kept = self.jobs()
        ended = ((each.ended_at, each) for each in kept if each.ended_at is not None and each.spec.id not in spared)
        over = sorted(ended, key=lambda pair: pair[0])
        excess = sum(each.bytes for each in kept) - self.bytes_max
        gone = []
        for ended_at, each in over:
            if excess > 0 or not now <= ended_at + each.spec.keep_s:
                self.forget(each.spec.id)
                gone.append(each.spec.id)
                excess -= each.bytes
        if gone:
            self._read(rows.shrink)
        return gone

    # --- records -----------------------------------------------------------------------------------------------------

    def append(self, job: str, log: LogId, first: int, records: Sequence[Record]) -> None:
        """Keep records of a log, numbered from `first` on, all of them or none; those that are there already are
        passed over. Raises ValueError if they do not continue it (any more: damage may have been found; `history`
        knows), and StoreError also if the job is not kept."""
        if not (0 <= log[0] <= rows.NUMBER_MAX and 0 <= first <= rows.NUMBER_MAX):
            raise ValueError(f"no log of epoch {log[0]} has a record {first}")
        if any(isinstance(record.body, Began) != (number == 0) for number, record in enumerate(records, first)):
            raise ValueError("a log begins with Began, and only there")

        def work(db: rows.Database) -> None:
            if not rows.is_kept(db, job):
                raise StoreError(_not_kept(job))
            start = rows.next_number(db, job, log, first, first + len(records))
            size = 0
            for number, record in enumerate(records[start - first :], start):
                body = encode_body(record.body)
                size += rows.insert(db, job, log, number, body, record.buffers)
                if isinstance(record.body, Over):
                    rows.end(db, job, log, body)
            rows.grow(db, job, size)

        self._write(work)

    def read(self, job: str, log: LogId, first: int, stop: int, bytes_max: int) -> list[Record]:
        """Records of a log from `first` on to before `stop`, as many as `bytes_max` allows, but one at least.

        Fewer, or none, if one of them turns out to be damaged: the log ends before it, so take `history` anew.
        """
        stop = min(stop, rows.NUMBER_MAX)
        if not (0 <= log[0] <= rows.NUMBER_MAX and 0 <= first < stop):
            return []
        found, bad = self._read(lambda db: rows.read(db, job, log, first, stop, bytes_max, decode_body))
        if bad is not None:
            self._cut(job, log, bad)
        return [Record(decode_body(body), buffers) for body, buffers in found]

    def history(self, job: str) -> History:
        """What is held of a job's records. Looks at all of them, though not at their buffers; a log that is damaged
        ends before that."""
        history, damaged = self._read(lambda db: rows.history(db, job))
        for log, number in damaged:
            self._cut(job, log, number)
        return history

    def blobs(self, job: str) -> set[str]:
        """The hashes of the blobs that a job's records refer to, as far as they can be read."""
        return self._read(lambda db: rows.blobs(db, job))

    # --- damage ------------------------------------------------------------------------------------------------------

    def _cut(self, job: str, log: LogId, number: int) -> None:
        """Once: a log that is damaged again shows that the file is. What the disk does not take now is found again."""
        with contextlib.suppress(StoreError):
            if (job, log) in self._cuts:
                self._start_anew(f"records of job {job}")
                return
            self._cuts.add((job, log))
            self.notice = (
                f"records of job {job} were damaged on the disk of this device and are removed: "
                "they come again from other devices, or are computed again"
            )
            self._write(lambda db: rows.cut(db, job, log, number))

    def _drop(self, job: str) -> None:
        with contextlib.suppress(StoreError):
            self.forget(job)
        self.notice = f"job {job} was damaged on the disk of this device and is kept here no longer"

    def _start_anew(self, why: str) -> None:
        """Sets the file aside, and takes over what can be read of it."""
        self._let_go()
        self._cuts.clear()
        aside = self._set_aside()
        self._mending = True
        try:
            self._read(lambda db: None)
            rescued = self._rescue(aside)
        finally:
            self._mending = False
        self.notice = (
            f"the journal of jobs on this device was damaged ({why}): it is set aside as {aside}, "
            f"and what could be read of {rescued} jobs was taken over"
        )

    def _set_aside(self) -> Path:
        names = [self.path.with_name(f"{FILE}.damaged-{number}") for number in range(1, ASIDE_MAX + 1)]
        aside = next((name for name in names if not name.exists()), names[-1])
        try:
            for end in ("", "-wal"):
                _with_end(aside, end).unlink(missing_ok=True)
                if _with_end(self.path, end).exists():
                    os.replace(_with_end(self.path, end), _with_end(aside, end))
            _with_end(self.path, "-shm").unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"the damaged journal {self.path} cannot be set aside: {error.strerror}") from error
        return aside

    def _rescue(self, aside: Path) -> int:
        """Takes over jobs as far as they can be read, and as there is room; returns how many."""
        jobs: list[str] = []
        rescued = 0
        with contextlib.suppress(sqlite3.Error, StoreError), contextlib.closing(rows.connect(aside)) as old:
            with contextlib.suppress(sqlite3.Error):
                jobs.extend(rows.job_ids(old))
            for job in jobs:
                with contextlib.suppress(sqlite3.Error):
                    rescued += self._rescue_job(old, job)
        return rescued

    def _rescue_job(self, old: rows.Database, job: str) -> bool:
        row = rows.job_row(old, job)
        found, _ = rows.read_job(old, job)
        if row is None or found is None:
            return False
        self.put(decode_spec(found[0]), found[1], row.roots)
        for log in rows.logs(old, job):
            number = 0
            with contextlib.suppress(sqlite3.Error, ValueError):
                # One by one: an error then costs no other.
                while records := rows.read(old, job, log, number, number + 1, 0, decode_body)[0]:
                    self.append(job, log, number, [Record(decode_body(body), data) for body, data in records])
                    number += 1
        return True

    # --- the file ----------------------------------------------------------------------------------------------------

    def _write(self, work: Callable[[rows.Database], None]) -> None:
        def whole(db: rows.Database) -> None:
            db.execute("BEGIN IMMEDIATE")
            work(db)
            db.execute("COMMIT")

        self._run(whole, "written")

    def _read(self, work: Callable[[rows.Database], _T]) -> _T:
        return self._run(work, "read")

    def _run(self, work: Callable[[rows.Database], _T], done: str) -> _T:
        """Does it, once more where the file turns out to be damaged."""
        if self._closed:
            raise StoreError("the journal of jobs on this device is closed")
        try:
            return self._tried(work)
        except sqlite3.Error as error:
            if self._mending or not rows.damaged(error):
                raise StoreError(f"the journal of jobs on this device cannot be {done}: {error}") from error
            why = str(error)
        self._start_anew(why)
        try:
            return self._tried(work)
        except sqlite3.Error as error:
            raise StoreError(f"the journal of jobs on this device cannot be {done}: {error}") from error

    def _tried(self, work: Callable[[rows.Database], _T]) -> _T:
        if self._db is None:
            self._db = self._opened()
        db = self._db
        try:
            return work(db)
        finally:
            if db.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    db.execute("ROLLBACK")

    def _opened(self) -> rows.Database:
        try:
            return rows.opened(self.path, self._pages_max)
        except OSError as error:
            raise StoreError(f"the journal of jobs {self.path} cannot be opened: {error.strerror}") from error
        except rows.NewerFormatError as error:
            raise StoreError(
                f"the journal of jobs {self.path} is of a newer meshwit ({error}): update this one, or move the file"
            ) from error

    def _let_go(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None


def _listed(db: rows.Database) -> tuple[list[Kept], list[str]]:
    """The jobs, and the ids of those that are damaged."""
    kept: list[Kept] = []
    damaged: list[str] = []
    for job in dict.fromkeys(rows.job_ids(db)):
        row, spec = rows.job_row(db, job), _spec(rows.read_spec(db, job))
        if row is None or spec is None:
            damaged.append(job)
            continue
        each = Kept(spec, row.roots, bytes=row.bytes, versions=rows.versions(db, job))
        if row.over is not None:
            state, ended_at, failure = row.over.state, row.over.ended_at, row.over.failure
            each = msgspec.structs.replace(each, over=state, ended_at=ended_at, failure=failure)
        kept.append(each)
    return kept, damaged


def _spec(data: bytes | None) -> JobSpec | None:
    try:
        return None if data is None else decode_spec(data)
    except ValueError:
        return None


def _not_kept(job: str) -> str:
    return f"nothing of the job {job} is kept on this device"


def _with_end(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)
