"""Engines of one process, linked in memory; with real worker processes, one each. And a stranger who speaks for itself.

One loop for all: it runs only while a test runs something on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from meshwit import events
from meshwit.codec import Buffer
from meshwit.ids import PeerId, peer_id
from meshwit.lang.checker import compile_script
from meshwit.outcome import Outcome
from meshwit.peer.engine import Engine, PeerSettings
from meshwit.peer.job.workers import Worker
from meshwit.peer.wire.frames import Channel
from meshwit.peer.work.messages import JobMessage
from meshwit.peer.work.route import UNFINISHED_BYTES_MAX
from meshwit.peer.work.transfer import Packer, Parcel, Unpacker
from meshwit.plugins.discovery import installed
from meshwit.plugins.registry import Registry
from tests.peer.work.lab import Lab

PATIENCE_S = 30.0
QUEUED_BYTES_MAX = 1024 * 1024
"""Small: so that large messages meet a full queue."""


def registry() -> Registry:
    """Everything installed, and the controller of these tests."""
    return Registry([*installed().controllers.values(), Lab()])


class MemoryWay:
    """A link's one direction: what is sent comes out in the next turn of the loop."""

    def __init__(self, deliver: Callable[[int, bytes], None]) -> None:
        self.ended: str | None = None
        self._deliver = deliver
        self._queued = 0

    def send(self, channel: int, payload: bytes, rest: Buffer = b"") -> bool:
        payload = bytes(payload) + bytes(rest)
        if self.ended is not None or self._queued + len(payload) > QUEUED_BYTES_MAX:
            return False
        self._queued += len(payload)
        asyncio.get_running_loop().call_soon(self._come, channel, bytes(payload))
        return True

    def _come(self, channel: int, payload: bytes) -> None:
        self._queued -= len(payload)
        if self.ended is None:
            self._deliver(channel, payload)

    def fail(self, why: str) -> None:
        self.ended = why

    async def drain(self) -> None:
        while self.ended is None and self._queued > QUEUED_BYTES_MAX // 2:
            await asyncio.sleep(0)


def receiver(engine: Engine, sender: PeerId) -> Callable[[int, bytes], None]:
    """Brings an engine what somebody sends."""

    def deliver(channel: int, payload: bytes) -> None:
        if channel == Channel.JOB:
            engine.job_frame(sender, payload)
        elif channel == Channel.DEVICE:
            engine.device_frame(sender, payload)
        else:
            engine.blob_frame(sender, payload)

    return deliver


class SmallMesh:
    """Some engines, each linked to each.

    Attributes:
        accused: who broke the rules, and how.
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        self.engines = engines
        self.accused: list[tuple[PeerId, str]] = []
        self._ways: dict[tuple[PeerId, PeerId], MemoryWay] = {}
        for engine in engines:
            engine.misbehaved = lambda peer, why: self.accused.append((peer, why))

    def link(self, one: Engine, other: Engine) -> None:
        """They find each other, and each offers its slots."""
        for sender, target in ((one, other), (other, one)):
            way = self._ways[sender.me, target.me] = MemoryWay(receiver(target, sender.me))
            sender.linked(target.me, way)
        for leader, worker in ((one, other), (other, one)):
            speeds = leader.leading.speeds
            leader.worker_changed(
                Worker(
                    worker.me, worker.name, worker.workers, worker.capabilities,
                    speed_at=lambda activity, peer=worker.me, speeds=speeds: speeds.prior(peer, activity),
                )
            )  # fmt: skip

    def cut(self, one: Engine, other: Engine) -> None:
        """The link ends: at both ends, and nothing more arrives."""
        for sender, target in ((one, other), (other, one)):
            self._ways[sender.me, target.me].ended = "cut"
        one.unlinked(other.me)
        other.unlinked(one.me)


class Stranger:
    """A peer that says whatever it likes to an engine.

    Attributes:
        heard: what the engine said to it.
        way: by which it is reached.
    """

    def __init__(self, engine: Engine, name: str = "stranger") -> None:
        self.me = PeerId(name)
        self.heard: list[Parcel] = []
        self._engine = engine
        self._packer = Packer()
        self._unpacker = Unpacker(UNFINISHED_BYTES_MAX)
        self.way = MemoryWay(self._came)
        engine.linked(self.me, self.way)

    def _came(self, channel: int, payload: bytes) -> None:
        parcel = self._unpacker.receive(payload) if channel == Channel.JOB else None
        if parcel is not None:
            self.heard.append(parcel)

    def say(self, message: JobMessage, buffers: Sequence[Buffer] = ()) -> None:
        for frame in self._packer.frames(message, buffers):
            self._engine.job_frame(self.me, b"".join(frame))

    async def hears(self, kind: type) -> Any:
        """The next message of a kind; those before it are passed over."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                while self.heard:
                    parcel = self.heard.pop(0)
                    if isinstance(parcel.message, kind):
                        return parcel
                await asyncio.sleep(0.002)

    def leave(self) -> None:
        self._engine.unlinked(self.me)


class Watched:
    """A job, and what was told of it."""

    def __init__(self, engine: Engine, text: str, *arguments: object, roots: tuple[Path, ...] = ()) -> None:
        self.seen: list[events.JobEvent] = []
        self.engine = engine
        program = compile_script(text, engine.registry.offer)
        self.job = engine.start(program, next(iter(program.jobs)), arguments, self.seen.append, roots=roots)

    async def ends(self) -> Outcome:
        async with asyncio.timeout(PATIENCE_S):
            await self.job.ended.wait()
        return self.engine.leading.outcome(self.job)

    @property
    def peers(self) -> dict[str, int]:
        """How many items each peer has done of the last step."""
        told = [event.peers for event in self.seen if isinstance(event, events.Progressed)]
        return dict(told[-1]) if told else {}


async def until(true: Callable[[], Any], what: str) -> Any:
    """Waits until something is so, while the loop goes on."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not (found := true()):
                await asyncio.sleep(0.002)
            return found
    except TimeoutError:
        raise AssertionError(f"it never came to this: {what}") from None


@asynccontextmanager
async def small_mesh(count: int, folder: Path, *, kept: bool = False) -> AsyncIterator[SmallMesh]:
    """So many engines, called e0, e1, ..., all linked; with `kept` their jobs outlive them."""
    async with AsyncExitStack() as stack:
        engines = [
            await stack.enter_async_context(
                Engine(
                    registry(),
                    PeerSettings(
                        workers=1, blobs=folder / f"blobs{index}", journal=folder / f"kept{index}" if kept else None
                    ),
                    peer_id(bytes([index])), name=f"e{index}"
                )
            )
            for index in range(count)
        ]  # fmt: skip
        mesh = SmallMesh(engines)
        for index, one in enumerate(engines):
            for other in engines[:index]:
                mesh.link(one, other)
        yield mesh
