"""Work that must be finished though whoever waits for it is cancelled, as ending processes is.

anyio's shield would do, but its backend takes 25 ms to import, and that in every `meshwit run`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def shielded(work: Coroutine[Any, Any, None]) -> None:
    """Wait to its end; a cancellation meanwhile is raised then."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as reason:
            cancelled = reason
    if cancelled is not None:
        raise cancelled
