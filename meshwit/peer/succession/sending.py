"""What a leader sends its standbys: specifications, and records from memory or from disk. Shell.

Records of one job go to a peer in order, wherever they are read, and no more are under way than it takes in: what it
says it has makes room for more.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

import msgspec

from meshwit.ids import PeerId
from meshwit.peer.saying import Say
from meshwit.peer.succession import effects as do
from meshwit.peer.succession.carrying import append_messages
from meshwit.peer.succession.disk import Disk
from meshwit.peer.succession.messages import RECORDS_MAX, Have, StandBy, SuccessionMessage
from meshwit.peer.succession.recording import Recorder
from meshwit.peer.succession.records import LogId, Record, Term, encode_spec
from meshwit.peer.succession.settings import APPEND_BYTES_MAX
from meshwit.peer.succession.store import StoreError
from meshwit.peer.work.messages import JobMessage

UNDER_WAY_BYTES_MAX: Final = 32 * 1024 * 1024
"""Of the records of one job on their way to one peer, where they are not longer singly."""
UNHEARD_S: Final = 30.0
"""A peer that has said nothing of what it was sent for so long is sent more all the same, or forgotten: it asks for
what it lacks, and may have no use for any of it."""
_Key: TypeAlias = tuple[PeerId, str]


class _Way:
    """Records of one job for one peer.

    Attributes:
        wanted: what is to be sent, in order; `reading`, whether its first is being read from disk.
        out: what is under way: log, how many records the peer has of it when that has come, bytes. `bytes` of all.
    """

    __slots__ = ("bytes", "heard_at", "out", "reading", "wanted")

    def __init__(self, now: float) -> None:
        self.wanted: deque[do.SendRecords] = deque()
        self.out: deque[tuple[LogId, int, int]] = deque()
        self.bytes = 0
        self.reading = False
        self.heard_at = now

    @property
    def is_open(self) -> bool:
        return bool(self.wanted) and not self.reading and self.bytes < UNDER_WAY_BYTES_MAX

    def want(self, effect: do.SendRecords) -> None:
        last = self.wanted[-1] if self.wanted else None
        if last is not None and last.log == effect.log and last.stop == effect.first:
            self.wanted[-1] = msgspec.structs.replace(last, stop=effect.stop)
        else:
            self.wanted.append(effect)

    def sent(self, log: LogId, stop: int, size: int) -> None:
        first = self.wanted[0]
        if stop < first.stop:
            self.wanted[0] = msgspec.structs.replace(first, first=stop)
        else:
            self.wanted.popleft()
        self.out.append((log, stop, size))
        self.bytes += size

    def unheard(self, now: float) -> None:
        self.out.clear()
        self.bytes = 0
        self.heard_at = now

    def has(self, versions: dict[LogId, int]) -> None:
        while self.out and self.out[0][1] <= versions.get(self.out[0][0], 0):
            self.bytes -= self.out.popleft()[2]


class Sender:
    """See the module. To be made on the running loop."""

    def __init__(
        self,
        disk: Disk,
        recorder: Recorder,
        say: Say[JobMessage | SuccessionMessage],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._disk = disk
        self._recorder = recorder
        self._say = say
        self._spawn = spawn
        self._loop = asyncio.get_running_loop()
        self._ways: dict[_Key, _Way] = {}
        self._timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Send nothing more."""
        self._ways.clear()
        if self._timer is not None:
            self._timer.cancel()

    def specification(self, peer: PeerId, job: str, term: Term) -> None:
        """Have a peer stand by for a job."""
        self._spawn(self._send_spec(peer, job, term))

    def records(self, effect: do.SendRecords) -> None:
        """Send records, after all that their peer is still to be sent of the job."""
        key = (effect.peer, effect.job)
        way = self._ways.get(key)
        if way is None:
            way = self._ways[key] = _Way(self._loop.time())
            self._look_later()
        way.want(effect)
        self._send(key, way)

    def has(self, peer: PeerId, said: Have) -> None:
        """A peer says what it has. Where it asks for the rest, that is to be wanted anew."""
        key = (peer, said.job)
        way = self._ways.get(key)
        if said.ask:
            self._ways.pop(key, None)
        elif way is not None:
            way.heard_at = self._loop.time()
            way.has(said.versions)
            self._send(key, way)

    def unlinked(self, peer: PeerId) -> None:
        """There is no connection to a peer any more."""
        for key in [key for key in self._ways if key[0] == peer]:
            del self._ways[key]

    def _look_later(self) -> None:
        if self._timer is None and self._ways:
            self._timer = self._loop.call_later(UNHEARD_S, self._look)

    def _look(self) -> None:
        """Who has said nothing for long?"""
        self._timer = None
        now = self._loop.time()
        for key, way in list(self._ways.items()):
            if now >= way.heard_at + UNHEARD_S and not way.reading:
                way.unheard(now)
                self._send(key, way)
        self._look_later()

    async def _send_spec(self, peer: PeerId, job: str, term: Term) -> None:
        log = self._recorder.logs.get(job)
        if log is None:
            return
        spec, arguments = log.spec, log.arguments
        if not spec.text or (spec.arguments.sizes and not arguments):  # taken over a moment ago
            with contextlib.suppress(StoreError, LookupError):
                spec, arguments = await self._disk.run(self._disk.store.specification, job)
        if spec.text:
            self._say(peer, StandBy(job, term, encode_spec(spec)), arguments)

    def _send(self, key: _Key, way: _Way) -> None:
        while way.is_open:
            effect = way.wanted[0]
            stop = min(effect.stop, effect.first + RECORDS_MAX)
            records = self._recorder.recent(effect.job, effect.log, effect.first, stop)
            if records is None:
                way.reading = True
                self._spawn(self._read(key, way, effect))
            elif records:
                self._say_records(way, effect, records)
            else:
                way.wanted.popleft()
        if not way.wanted and not way.out:
            self._ways.pop(key, None)

    async def _read(self, key: _Key, way: _Way, effect: do.SendRecords) -> None:
        records: list[Record] = []
        with contextlib.suppress(StoreError):
            read = partial(
                self._disk.store.read, effect.job, effect.log, effect.first, effect.stop, APPEND_BYTES_MAX
            )  # fmt: skip
            records = await self._disk.run(read)
        if self._ways.get(key) is not way:
            return
        way.reading = False
        if records:
            self._say_records(way, effect, records)
        else:
            way.wanted.popleft()
        self._send(key, way)

    def _say_records(self, way: _Way, effect: do.SendRecords, records: Sequence[Record]) -> None:
        """As many as may be under way."""
        messages = list(append_messages(effect.job, effect.log, effect.first, records))
        stops = [message.first for message, _ in messages[1:]] + [effect.first + len(records)]
        for (message, buffers), stop in zip(messages, stops, strict=True):
            self._say(effect.peer, message, buffers)
            size = len(message.header) + sum(memoryview(each).nbytes for each in buffers)
            way.sent(effect.log, stop, size)
            if way.bytes >= UNDER_WAY_BYTES_MAX:
                return
