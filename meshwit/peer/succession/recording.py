"""The logs of the jobs that this peer leads: collected, closed, written, told to be durable. Shell.

A leader never waits for the disk, except before a task that must not run twice: what follows from a record being
durable follows when it is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final, Protocol

from meshwit.codec import Buffer
from meshwit.ids import PeerId
from meshwit.peer.job.effects import Keep, KeepIntent
from meshwit.peer.succession.disk import Disk
from meshwit.peer.succession.durability import Receipts
from meshwit.peer.succession.records import Body, JobSpec, LogId, Record
from meshwit.peer.succession.store import StoreError
from meshwit.peer.succession.writing import LogWriter, Report

FLUSH_S: Final = 0.05
"""What a leader learns is recorded so often; each time costs a message to each standby, and one write."""
RETRY_S: Final = 1.0
"""A disk that did not take records is asked again after that."""


class Listener(Protocol):
    """Hears of the logs; implemented by `Keeping`."""

    def written(self, job: str, count: int) -> None:
        """A log has so many records that are closed."""

    def refers_to(self, job: str, hashes: Iterable[str]) -> None:
        """What was recorded of a job refers to these blobs."""

    def stored(self, job: str, log: LogId, count: int) -> None:
        """So many lie on disk."""

    def unwritable(self, job: str) -> None:
        """The disk does not take them."""

    def tell_durable(self, peer: PeerId, step: int, upto: int) -> None:
        """So many reports of a peer on a step are durable."""

    def intended(self, job: str, intent: KeepIntent) -> None:
        """An intent is durable."""


class LedLog:
    """The log of one job that this peer leads, with what its standbys are sent besides.

    Attributes:
        timer: closes records; `retry`, if the disk did not take them, writes all again that it lacks.
        stored: records that lie on disk.
    """

    def __init__(
        self, spec: JobSpec, arguments: Sequence[Buffer], writer: LogWriter, roots: Sequence[str] = ()
    ) -> None:
        self.spec = spec
        self.arguments = arguments
        self.writer = writer
        self.roots = roots
        self.receipts = Receipts()
        self.timer: asyncio.TimerHandle | None = None
        self.stored = 0
        self.retry: asyncio.TimerHandle | None = None


class Recorder:
    """See the module. To be made on the running loop."""

    def __init__(self, disk: Disk, listener: Listener) -> None:
        self.logs: dict[str, LedLog] = {}
        self._disk = disk
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._closed = False

    def close(self) -> None:
        """Write what is to be written; nothing is told any more."""
        for job in list(self.logs):
            self.flush(job)
        self._closed = True

    def begin(self, job: str, log: LedLog) -> None:
        """A log begins; its first record has been added, and is written."""
        self.logs[job] = log
        self._write(job, log, 0, log.writer.close())

    def leave(self, job: str) -> None:
        """A job is led here no more."""
        log = self.logs.pop(job, None)
        for timer in (log.timer, log.retry) if log is not None else ():
            if timer is not None:
                timer.cancel()

    def add(self, job: str, bodies: Sequence[Body]) -> None:
        """Records as they are; written at once."""
        log = self.logs.get(job)
        if log is not None:
            for body in bodies:
                log.writer.add(body)
            self.flush(job)

    def keep(self, job: str, effect: Keep, report: Report | None) -> None:
        """Something to be recorded."""
        log = self.logs.get(job)
        if log is None:
            return
        log.writer.keep(effect, report)
        if isinstance(effect, KeepIntent):
            self.flush(job)
        elif log.timer is None:
            log.timer = self._loop.call_later(FLUSH_S, self.flush, job)

    def nothing_new(self, job: str, step: int, peer: PeerId, number: int) -> None:
        """A report brought nothing to be recorded: its peer need not keep it."""
        log = self.logs.get(job)
        if log is not None:
            upto = log.receipts.add(step, peer, number)
            if upto:
                self._listener.tell_durable(peer, step, upto)

    def flush(self, job: str) -> None:
        """Close records, have them sent and write them."""
        log = self.logs.get(job)
        if log is None:
            return
        if log.timer is not None:
            log.timer.cancel()
            log.timer = None
        first = log.writer.count
        records = log.writer.close()
        if records:
            self._listener.refers_to(job, (name for record in records for name, _ in record.blobs))
            self._listener.written(job, log.writer.count)
            self._write(job, log, first, records)

    def durable(self, job: str, upto: int) -> None:
        """So many records of a log lie on disk and at all standbys."""
        log = self.logs.get(job)
        if log is None:
            return
        reports, intents = log.writer.durable(upto)
        told: dict[tuple[int, PeerId], int] = {}
        for step, peer, number in reports:
            told[step, peer] = log.receipts.add(step, peer, number) or told.get((step, peer), 0)
        for (step, peer), number in told.items():
            if number:
                self._listener.tell_durable(peer, step, number)
        for intent in intents:
            self._listener.intended(job, intent)

    def recent(self, job: str, log: LogId, first: int, stop: int) -> list[Record] | None:
        """Records from memory; None if they are not there."""
        led = self.logs.get(job)
        return led.writer.recent_records(first, stop) if led is not None and led.writer.log == log else None

    def _write(self, job: str, log: LedLog, first: int, records: Sequence[Record]) -> None:
        try:
            store = self._disk.store
        except StoreError:
            self._loop.call_soon(self._listener.unwritable, job)
            return
        writing = self._disk.start(store.append, job, log.writer.log, first, records)
        writing.add_done_callback(partial(self._written, job, log, first + len(records)))

    def _write_again(self, job: str, log: LedLog) -> None:
        """What was not written since the disk was full is missing before all that came later."""
        log.retry = None
        records = log.writer.recent_records(log.stored, log.writer.count)
        if records and not self._closed and self.logs.get(job) is log:
            with contextlib.suppress(StoreError):
                self._disk.start(self._disk.store.put, log.spec, log.arguments, log.roots).add_done_callback(_seen)
            self._write(job, log, log.stored, records)

    def _written(self, job: str, log: LedLog, upto: int, writing: asyncio.Future[None]) -> None:
        problem = None if writing.cancelled() else writing.exception()
        if self._closed or writing.cancelled() or self.logs.get(job) is not log:
            return
        if problem is not None:
            self._disk.problem(problem)
            self._listener.unwritable(job)
            if log.retry is None:
                log.retry = self._loop.call_later(RETRY_S, self._write_again, job, log)
        else:
            log.stored = max(log.stored, upto)
            log.writer.stored(upto)
            self._listener.stored(job, log.writer.log, upto)


def _seen(done: asyncio.Future[None]) -> None:
    """A failure here is told by the write that follows."""
    if not done.cancelled():
        done.exception()
