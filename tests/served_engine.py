"""A whole peer without a mesh, in a thread of its own, behind the real control API: programs reach it from outside."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from meshwit.peer.control.client import ControlClient
from meshwit.peer.control.runtime_file import read
from meshwit.peer.control.server import ControlLimits, ControlServer
from meshwit.peer.engine import Engine, PeerSettings
from meshwit.peer.mesh.jobs import MeshJobs
from meshwit.plugins.registry import Registry
from tests.fake_peer import FakePeer


class ServedEngine:
    """Serves in a profile of `home` until the block ends."""

    def __init__(self, home: Path, registry: Registry, **settings: Any) -> None:
        self.folder = home / "peers" / "1"
        self._home = home
        self._registry = registry
        self._settings = PeerSettings(workers=2, **settings)
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with Engine(self._registry, self._settings) as self.engine:
            jobs = MeshJobs(self.engine, self._registry, self._home)
            server = ControlServer(FakePeer(), self.folder, ControlLimits(close_timeout_s=1), jobs)
            await server.start()
            self._up.set()
            try:
                async with asyncio.timeout(120):
                    await self._stop.wait()
            finally:
                await server.close()

    def __enter__(self) -> ServedEngine:
        self._thread.start()
        assert self._up.wait(30)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        assert not self._thread.is_alive()

    def ask(self, question: Callable[[Engine], Any]) -> Any:
        """An answer from inside the peer's loop."""

        async def answer() -> Any:
            return question(self.engine)

        return asyncio.run_coroutine_threadsafe(answer(), self._loop).result(30)

    @property
    def client(self) -> ControlClient:
        """Of this peer."""
        runtime = read(self.folder)
        assert runtime is not None
        return ControlClient(self.folder, runtime)
