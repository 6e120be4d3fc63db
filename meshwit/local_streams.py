"""A stream whose leader is a peer in this process.

Its outcomes are handed out by a thread of its own: what waits for them may take its time, and the loop may not.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from typing import Any

from meshwit.lang import program as ir
from meshwit.outcome import JobState
from meshwit.peer.engine import Engine
from meshwit.peer.job.steps import TaskFault
from meshwit.peer.job.stream import StreamLeader
from meshwit.peer.running_job import RunningJob
from meshwit.streams import Stream, StreamEndedError


class LocalStream(Stream):
    """Made in the loop of the peer.

    Args:
        peer: leads it.
        task: the call; slot 0 is the item.
        requires: of the peers, besides what the activity does.
        retries: of a failed task.

    Raises:
        ValueError: the requirement is none.
    """

    def __init__(self, peer: Engine, task: ir.Expression, requires: str, retries: int) -> None:
        super().__init__(peer.workers)
        self._peer = peer
        self._loop = asyncio.get_running_loop()
        self._outcomes: queue.SimpleQueue[list[tuple[int, Any | TaskFault]] | Exception | None] = queue.SimpleQueue()
        self._last_sent = False
        self._job: RunningJob = peer.open_stream(
            task, self._outcomes.put, requires=requires, retries=retries, any_function=True
        )
        threading.Thread(target=self._hand_out, name="meshwit outcomes", daemon=True).start()

    async def lead(self) -> None:
        """Until it ends."""
        try:
            await self._job.ended.wait()
        finally:
            leader = self._job.leader
            self._outcomes.put(None if leader.state is JobState.COMPLETED else _why(leader))

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._send)
        except RuntimeError:  # the loop is closed, and so the stream has ended
            return

    def _send(self) -> None:
        leading, job = self._peer.leading, self._job
        entries = self._take()
        if job.leader.state is not JobState.RUNNING:
            for entry in entries:
                self._reject(entry, _why(job.leader))
            return
        if self._cancelled:
            for entry in entries:
                self._reject(entry, StreamEndedError("the stream was cancelled"))
            leading.cancel(job)
            return
        self._launch(entries)
        last = self._all_left() and not self._last_sent
        if entries or last:
            self._last_sent = self._last_sent or last
            leading.append(job, [entry.item for entry in entries], last=last)

    def _hand_out(self) -> None:
        while isinstance(outcomes := self._outcomes.get(), list):
            self._came(outcomes)
        self._ended(outcomes)


def _why(leader: Any) -> Exception:
    assert leader is not None
    failure = leader.failure if isinstance(leader, StreamLeader) else None
    return StreamEndedError(failure.message if failure is not None else "the stream was cancelled")
