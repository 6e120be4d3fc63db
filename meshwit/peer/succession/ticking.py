"""Wakes `Succession` when something is due, and tells it when this process or its device did not run. Shell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from meshwit.peer.succession.effects import Effect
from meshwit.peer.succession.settings import SILENCE_S
from meshwit.peer.succession.succession import Succession
from meshwit.peer.waking import Sleeps


class Ticker:
    """See the module. To be made on the running loop.

    Args:
        perform: performs what the core wants.
        wall: seconds since 1970.
    """

    def __init__(
        self, core: Succession, perform: Callable[[Sequence[Effect]], None], wall: Callable[[], float]
    ) -> None:
        self._core = core
        self._perform = perform
        self._loop = asyncio.get_running_loop()
        self._sleeps = Sleeps(wall)
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def arm(self) -> None:
        """What is due may have changed."""
        if self._sleeps.suspended():
            self._core.overslept(self._loop.time(), suspended=True)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._core.next_deadline()
        if deadline is not None and not self._closed:
            self._timer = self._loop.call_at(deadline, self._tick)

    def close(self) -> None:
        """Wake it no more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        assert self._timer is not None
        due, self._timer = self._timer.when(), None
        # On Windows the clock of the loop goes on while a device is suspended.
        suspended = self._sleeps.suspended() or self._loop.time() - due > SILENCE_S
        if suspended or self._sleeps.overslept(due):
            self._core.overslept(self._loop.time(), suspended=suspended)
        self._perform(self._core.tick(self._loop.time()))
