"""A peer of the benchmark's own process that leads and does not work: it gives values and takes them, as clients do.

So what is measured is the way of the values from the leader to the peers at work and back, and no other program's.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from meshwit.cli.up_join import PlainPrompt
from meshwit.lang.item_calls import item_call
from meshwit.local_streams import LocalStream
from meshwit.peer.control.options import UpOptions
from meshwit.peer.engine import Engine
from meshwit.peer.mesh.node import MeshPeer

PATIENCE_S = 60.0


class LeadingPeer:
    """On a thread of its own, until `close`.

    Args:
        environment: that of the other peers; this process takes it on.
        others: so many have to be linked before it is ready.
    """

    def __init__(self, environment: Mapping[str, str], others: int) -> None:
        os.environ.update(environment)
        sys.path[:0] = environment["PYTHONPATH"].split(os.pathsep)
        self._ready: Future[Engine] = Future()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._thread.start()
        self.engine = self._ready.result(PATIENCE_S)
        self._loop.call_soon_threadsafe(self.engine.worker_left, self.engine.me)
        until = time.monotonic() + PATIENCE_S
        while len(set(self.engine.leading.workers) - {self.engine.me}) < others:
            if time.monotonic() > until:
                raise RuntimeError(f"of {others} peers some are not linked")
            time.sleep(0.05)

    def map(self, activity: str, items: Sequence[Any]) -> list[Any]:
        """What the activity makes of each. Raises what it raised."""
        made: Future[LocalStream] = Future()
        leading = asyncio.run_coroutine_threadsafe(self._lead(activity, made), self._loop)
        with made.result(PATIENCE_S) as stream:
            results = [future.result() for future in stream.submit_many(items)]
        leading.result(PATIENCE_S)
        return results

    def close(self) -> None:
        """Stop; leaves the mesh as a peer that is stopped does."""
        self._loop.call_soon_threadsafe(self._run.cancel)
        self._thread.join(PATIENCE_S)

    async def _lead(self, activity: str, made: Future[LocalStream]) -> None:
        try:
            stream = LocalStream(self.engine, item_call(self.engine.registry.offer, activity), "", 0)
        except BaseException as reason:
            made.set_exception(reason)
            return
        made.set_result(stream)
        await stream.lead()

    def _main(self) -> None:
        asyncio.set_event_loop(self._loop)
        peer = MeshPeer(UpOptions(name="client", slots=1), PlainPrompt())
        self._run = self._loop.create_task(peer.run(lambda _: self._ready.set_result(peer.parts.jobs.engine)))
        try:
            self._loop.run_until_complete(self._run)
        except asyncio.CancelledError:
            return
        except BaseException as reason:
            if not self._ready.done():
                self._ready.set_exception(reason)
