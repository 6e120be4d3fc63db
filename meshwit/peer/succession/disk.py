"""The one thread that touches the journal on disk, in order. Shell."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from meshwit.peer.succession.store import Store, StoreError

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Disk:
    """See the module. To be made on the running loop; `store` from when it is open.

    Args:
        opened: opens it; raises StoreError where nothing can be kept on this device.

    Attributes:
        notice: what people should know about the journal, empty if nothing.
    """

    def __init__(self, opened: Callable[[], Store]) -> None:
        self.notice = ""
        self._opened = opened
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "journal")
        self._store: Store | None = None

    @property
    def store(self) -> Store:
        """Raises StoreError where nothing can be kept on this device."""
        if self._store is None:
            raise StoreError("this device keeps no jobs")
        return self._store

    async def open(self) -> None:
        """Open the file; where that cannot be, `notice` says why, and `store` that there is none."""
        try:
            self._store = await self.run(self._opened)
            self.notice = self._store.notice
        except StoreError as problem:
            self.problem(problem)

    async def close(self) -> None:
        """Do what waits, and close the file."""
        if self._store is not None:
            with contextlib.suppress(StoreError):
                await self.run(self._store.close)
            self._store = None
        self._thread.shutdown(wait=False)

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call something in the thread, after all that was to be done before."""
        return await self._loop.run_in_executor(self._thread, function, *arguments)

    def start(self, function: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        """The same, for who does not wait."""
        return self._loop.run_in_executor(self._thread, function, *arguments)

    def problem(self, problem: BaseException) -> None:
        """Something could not be kept."""
        if str(problem) != self.notice:
            _log.warning("%s", problem)
        self.notice = str(problem)
