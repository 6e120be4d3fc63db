"""Stays linked to a peer: dials again whenever there is no link. Shell."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

from meshwit.peer.wire.addresses import Address
from meshwit.peer.wire.endings import LinkError
from meshwit.peer.wire.settings import LinkSettings

Dial = Callable[[Sequence[Address], Address | None], Awaitable[object]]
"""Dials these addresses; the second argument is where the peer was last. Raises LinkError."""


class KeptLink:
    """One kept peer.

    The first dial after a link broke comes at once; the pause before the next doubles from `redial_first_s` to
    `redial_longest_s`, each drawn from its upper half (`jitter`), and begins anew after a link that
    lasted.
    """

    def __init__(
        self,
        dial: Dial,
        failed: Callable[[LinkError], None],
        addresses: Sequence[Address],
        settings: LinkSettings,
        jitter: Callable[[], float],
    ) -> None:
        self.linked = False
        self._dial = dial
        self._failed = failed
        self._addresses = list(addresses)
        self._settings = settings
        self._jitter = jitter
        self._last: Address | None = None
        self._pause_s = 0.0
        self._up_at = 0.0
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._keep())

    def at(self, addresses: Sequence[Address]) -> None:
        """Where to dial from now on; new ones are tried at once."""
        if list(addresses) != self._addresses:
            self._addresses = list(addresses)
            self._pause_s = 0.0
            self._changed.set()

    def up(self, address: Address) -> None:
        """A link came up, whoever dialled it; the peer can be dialled there."""
        self.linked = True
        self._last = address
        self._up_at = self._loop.time()
        self._changed.set()

    def down(self) -> None:
        """The link ended."""
        self.linked = False
        if self._loop.time() - self._up_at >= self._settings.redial_longest_s:
            self._pause_s = 0.0
        self._changed.set()

    def stop(self) -> asyncio.Task[None]:
        """No longer dials; the task that ends now."""
        self._task.cancel()
        return self._task

    async def _keep(self) -> None:
        while True:
            self._changed.clear()
            if self.linked:
                await self._changed.wait()
                continue
            try:
                await self._dial(self._order(), self._last)
            except LinkError as error:
                self._failed(error)
            if self.linked:
                self._pause_s = 0.0
                continue
            settings = self._settings
            self._pause_s = min(settings.redial_longest_s, max(settings.redial_first_s, 2 * self._pause_s))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s * self._jitter()):
                    await self._changed.wait()

    def _order(self) -> list[Address]:
        """The last good address first."""
        return list(dict.fromkeys([*([self._last] if self._last else []), *self._addresses]))
