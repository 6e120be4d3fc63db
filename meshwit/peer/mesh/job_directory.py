"""Who leads a job, told in the directory, for members that are not linked to its leader. Shell.

Where every member is linked to every other nothing is told: a leader says it to all that it is linked to, and a record
in the directory costs some eighty datagrams.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import msgspec

from meshwit.dht.directory import Directory
from meshwit.ids import PeerId

TTL_S: Final = 3600
FIND_S: Final = 3.0
_log = logging.getLogger(__name__)


class JobDirectory:
    """See the module.

    Args:
        spawn: runs something beside.
        reach: seeks a link to a member.
        needed: whether there are members that this peer is not linked to.
    """

    def __init__(
        self,
        me: PeerId,
        directory: Directory,
        spawn: Callable[[Coroutine[Any, Any, object]], None],
        reach: Callable[[PeerId], Awaitable[None]],
        needed: Callable[[], bool],
    ) -> None:
        self._me = me
        self._directory = directory
        self._spawn = spawn
        self._reach = reach
        self._needed = needed
        self._told: set[str] = set()

    def led_by(self, job: str, leader: PeerId, epoch: int) -> None:
        """Somebody leads a job now."""
        if leader == self._me and self._needed():
            self._told.add(job)
            self._spawn(self._tell(job, epoch))
        else:
            self.over(job)

    def over(self, job: str) -> None:
        """This peer leads a job no more."""
        if job in self._told:
            self._told.discard(job)
            self._spawn(self._directory.withdraw("job", job))

    async def find(self, job: str) -> None:
        """Seek a link to whoever leads a job; raises nothing."""
        if not self._needed():
            return
        try:
            async with asyncio.timeout(FIND_S):
                records = await self._directory.find("job", job)
                records.sort(key=lambda record: _epoch(record.payload))
                if records:
                    await self._reach(records[-1].owner)
        except (TimeoutError, ValueError) as reason:
            _log.info("who leads the job %s is not to be found: %s", job[:40], reason)

    async def _tell(self, job: str, epoch: int) -> None:
        try:
            await self._directory.publish("job", job, msgspec.msgpack.encode(epoch), TTL_S)
        except ValueError as reason:
            _log.warning("the directory does not take the job %s: %s", job, reason)


def _epoch(payload: bytes) -> int:
    try:
        return msgspec.msgpack.decode(payload, type=int)
    except (msgspec.DecodeError, RecursionError):
        return 0
