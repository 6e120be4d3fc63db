"""Whether this process, or its device, did not run for a while: then the silence of others says nothing. Shell."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

OVERSLEPT_S: Final = 0.5
"""A loop that comes so late to its own timer did not run."""


class Sleeps:
    """See the module.

    The clock of a loop stands still while a device is suspended (on Linux and macOS; on Windows it goes on), that of
    the wall does not. One that is set forward looks the same, and costs some patience.

    Args:
        wall: seconds since 1970.
    """

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._loop = asyncio.get_running_loop()
        self._wall = wall
        self._ahead = wall() - self._loop.time()

    def overslept(self, due: float) -> bool:
        """Whether a timer that was due at a time of the loop comes much too late."""
        return self._loop.time() - due > OVERSLEPT_S

    def suspended(self) -> bool:
        """Whether the device was suspended since this was asked last."""
        before, self._ahead = self._ahead, self._wall() - self._loop.time()
        return self._ahead - before > OVERSLEPT_S
