"""What comes to a standby, and to a leader from others: checked, its blobs fetched, stored, in its order. Shell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeAlias

from meshwit.codec import Buffer, CodecError
from meshwit.ids import PeerId
from meshwit.peer.succession.disk import Disk
from meshwit.peer.succession.handing_over import CannotLeadError
from meshwit.peer.succession.messages import StandBy
from meshwit.peer.succession.records import JobSpec, LogId, Over, Record, Versions, decode_spec
from meshwit.peer.succession.store import StoreError

Fetch: TypeAlias = Callable[[Sequence[tuple[str, int]], Sequence[PeerId]], Coroutine[Any, Any, str]]
"""Brings blobs here from those who have them; why that failed, empty if it did not."""


class RefusedError(Exception):
    """What came cannot be kept here, and why."""


class Arrivals:
    """See the module.

    Args:
        check: raises CannotLeadError where a job cannot be led here.
        fetch: brings blobs here.
        spawn: runs something beside.
    """

    def __init__(
        self,
        disk: Disk,
        check: Callable[[JobSpec], object],
        fetch: Fetch,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._disk = disk
        self._check = check
        self._fetch = fetch
        self._spawn = spawn
        self._last: dict[str, asyncio.Task[None]] = {}

    def in_order(self, job: str, work: Coroutine[Any, Any, None]) -> None:
        """Do something that came for a job after all that came for it before."""
        before = self._last.get(job)

        async def after() -> None:
            if before is not None:
                await asyncio.wait([before])
            await work

        task = self._last[job] = self._spawn(after())

        def over(_: object) -> None:
            work.close()
            if self._last.get(job) is task:
                del self._last[job]

        task.add_done_callback(over)

    async def specification(
        self, peer: PeerId, message: StandBy, buffers: Sequence[Buffer]
    ) -> tuple[JobSpec, Versions]:
        """Keep a job, with what its arguments refer to; how much of its history is here. Raises RefusedError."""
        try:
            spec = decode_spec(message.header)
            if spec.id != message.job:
                raise ValueError("the job is another one")
            self._check(spec)
            await self._bring(spec.arguments.blobs, peer)
            store = self._disk.store
            await self._disk.run(store.put, spec, buffers)
            return spec, (await self._disk.run(store.history, spec.id)).versions
        except (ValueError, CannotLeadError, StoreError, CodecError) as reason:
            raise RefusedError(str(reason)) from None

    async def records(self, peer: PeerId, job: str, log: LogId, first: int, records: Sequence[Record]) -> Over | None:
        """Keep records, with the blobs that they refer to; the job's end, if it is among them. Raises RefusedError."""
        await self._bring(list(dict.fromkeys(blob for record in records for blob in record.blobs)), peer)
        try:
            await self._disk.run(self._disk.store.append, job, log, first, records)
        except (StoreError, ValueError, KeyError) as reason:
            raise RefusedError(str(reason)) from None
        return next((each.body for each in records if isinstance(each.body, Over)), None)

    async def _bring(self, blobs: Sequence[tuple[str, int]], peer: PeerId) -> None:
        why = await self._fetch(blobs, [peer]) if blobs else ""
        if why:
            raise RefusedError(why)
