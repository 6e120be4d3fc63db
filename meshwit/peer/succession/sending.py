"""What a leader sends its standbys: specifications, and records from memory or from disk. Shell."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Protocol

from meshwit.codec import Buffer
from meshwit.ids import PeerId
from meshwit.peer.succession import effects as do
from meshwit.peer.succession.carrying import append_messages
from meshwit.peer.succession.disk import Disk
from meshwit.peer.succession.messages import StandBy, SuccessionMessage
from meshwit.peer.succession.recording import Recorder
from meshwit.peer.succession.records import Record, Term, encode_spec
from meshwit.peer.succession.settings import APPEND_BYTES_MAX
from meshwit.peer.succession.store import StoreError
from meshwit.peer.work.messages import JobMessage


class Say(Protocol):
    """Sends a message."""

    def __call__(
        self, peer: PeerId, message: JobMessage | SuccessionMessage, buffers: Sequence[Buffer] = ()
    ) -> None: ...


class Sender:
    """See the module."""

    def __init__(
        self,
        disk: Disk,
        recorder: Recorder,
        say: Say,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._disk = disk
        self._recorder = recorder
        self._say = say
        self._spawn = spawn

    def specification(self, peer: PeerId, job: str, term: Term) -> None:
        """Have a peer stand by for a job."""
        self._spawn(self._send_spec(peer, job, term))

    def records(self, effect: do.SendRecords) -> None:
        """Send records."""
        records = self._recorder.recent(effect.job, effect.log, effect.first, effect.stop)
        if records is not None:
            self._say_records(effect, effect.first, records)
        else:
            self._spawn(self._send_kept(effect))

    async def _send_spec(self, peer: PeerId, job: str, term: Term) -> None:
        log = self._recorder.logs.get(job)
        arguments = log.arguments if log is not None else []
        if log is not None and not arguments and log.spec.arguments.sizes:  # taken over a moment ago
            with contextlib.suppress(StoreError, KeyError):
                arguments = await self._disk.run(self._disk.store.arguments, job)
        if log is not None:
            self._say(peer, StandBy(job, term, encode_spec(log.spec)), arguments)

    async def _send_kept(self, effect: do.SendRecords) -> None:
        first = effect.first
        with contextlib.suppress(StoreError):
            while first < effect.stop:
                read = partial(self._disk.store.read, effect.job, effect.log, first, effect.stop, APPEND_BYTES_MAX)
                records = await self._disk.run(read)
                if not records:
                    return
                self._say_records(effect, first, records)
                first += len(records)

    def _say_records(self, effect: do.SendRecords, first: int, records: Sequence[Record]) -> None:
        for message, buffers in append_messages(effect.job, effect.log, first, records):
            self._say(effect.peer, message, buffers)
