"""A peer without a mesh behind it, served by the real control API on a real socket: what commands talk to in tests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType

import msgspec

from meshwit.peer.control.api import (
    Finding,
    InviteKind,
    InviteView,
    MeshEvent,
    MeshView,
    PeerError,
    PeerView,
    PendingView,
    RateView,
)
from meshwit.peer.control.client import ControlClient
from meshwit.peer.control.options import JoinPrompt, RunnablePeer, UpError, UpOptions
from meshwit.peer.control.runtime_file import read
from meshwit.peer.control.server import ControlLimits, ControlServer

DEN = PeerView(
    id="den4" + "a" * 28,
    name="den",
    me=True,
    score=850,
    share=0.5,
    cores=8,
    memory=32 * 2**30,
    gpus=["NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 4090"],
    slots=8,
    free_slots=6,
    busy_cores=2,
    address="192.168.1.5:7946",
    version="0.1.0",
    system="Linux 6.1, x86_64",
    capabilities={"os": "linux", "site": "berlin", "cpu.cores": 8},
    scores={"cpu.single": 120.0, "memory": 95.5},
    controllers={"Renderer": "0.1.0"},
    rates={"Renderer.RenderFrame": "9.8 frames/s"},
)
OTTER = PeerView(
    id="ott4" + "b" * 28,
    name="otter",
    score=340,
    share=0.2,
    cores=4,
    memory=8 * 2**30,
    busy_cores=4,
    battery=0.8,
    plugged_in=False,
    round_trip_s=0.0021,
    seen_s=0.4,
    note="on battery",
)
OTTO = PeerView(id="otc4" + "c" * 28, name="otto", state="dead", cores=2, memory=2**30, seen_s=125)


class FakePeer:
    """Implements PeerApi over plain lists; what it is asked for is noted in `asked`."""

    def __init__(self, *peers: PeerView, pending: tuple[PendingView, ...] = ()) -> None:
        self.known = list(peers or (DEN, OTTER, OTTO))
        self.pending = list(pending)
        self.asked: list[str] = []
        self.stopped = asyncio.Event()
        self.slowly = asyncio.Event()
        """While it is set, `doctor` does not answer."""
        self.loop: asyncio.AbstractEventLoop | None = None
        """Where it is served, by `ServedPeer`."""
        self.subscribers: list[asyncio.Queue[MeshEvent | None]] = []
        self.findings = [Finding(what="multicast: 2 devices answer"), Finding(state="warn", what="clock", do="set it")]

    def mesh(self) -> MeshView:
        return MeshView(
            name="anna@den",
            id="m" * 32,
            me=self.known[0],
            peers_alive=sum(peer.state == "alive" for peer in self.known),
            peers_known=len(self.known),
            pending=self.pending,
            up_s=61,
            port=7946,
        )

    def peers(self) -> list[PeerView]:
        return self.known

    async def subscribe(self) -> AsyncIterator[MeshEvent]:
        queue: asyncio.Queue[MeshEvent | None] = asyncio.Queue()
        self.subscribers.append(queue)
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self.subscribers.remove(queue)

    def happen(self, event: MeshEvent | None) -> None:
        """Tell all subscribers; None ends their streams."""
        for queue in self.subscribers:
            queue.put_nowait(event)

    async def invite(self, kind: InviteKind, hours: float) -> InviteView:
        self.asked.append(f"invite {kind} {hours:g}")
        text = "41-otter-violin" if kind == "code" else "meshwit1" + "x" * 300
        return InviteView(kind=kind, text=text, expires_in_s=600 if kind == "code" else hours * 3600, mesh="anna@den")

    async def approve(self, name: str) -> str:
        self.asked.append(f"approve {name}")
        return f"{name} is let in"

    async def expel(self, name: str) -> str:
        self.asked.append(f"expel {name}")
        if name == DEN.id:
            raise PeerError("a peer does not expel itself", "leave instead: meshwit leave")
        return f"{name} is expelled"

    async def forget(self, name: str) -> str:
        self.asked.append(f"forget {name}")
        return f"{name} is forgotten"

    async def leave(self) -> str:
        self.asked.append("leave")
        self.stopped.set()
        return "left anna@den"

    async def down(self) -> None:
        self.asked.append("down")
        self.stopped.set()

    async def bench(self) -> PeerView:
        raise ZeroDivisionError("as a bug would")

    async def rate(self, activity: str, refresh: bool) -> RateView:
        self.asked.append(f"rate {activity} {'now' if refresh else 'known'}")
        return RateView(activity=activity, per_s=520.5, unit="work/s", version="0.1.0", measured_at=1.7e9)

    async def need(self, activities: list[str]) -> None:
        self.asked.append(f"need {' '.join(activities)}")

    async def doctor(self) -> list[Finding]:
        while self.slowly.is_set():
            await asyncio.sleep(3600)
        return self.findings


class RunnableFake(FakePeer):
    """Runs as `meshwit up` runs a peer, in the first profile of the options' home.

    What it does before it is ready is told by the options' name: `fails`, `asks` for a code until that is right,
    `waits` for a member for ever, or any other name: nothing.
    """

    def __init__(self, options: UpOptions, prompt: JoinPrompt) -> None:
        super().__init__(msgspec.structs.replace(DEN, name=options.name or "den"))
        self.options = options
        self.prompt = prompt

    async def run(self, ready: Callable[[RunnablePeer], None]) -> None:
        assert self.options.home is not None
        match self.options.name:
            case "fails":
                raise UpError("the port 7946 is taken", "take another: --port 7947")
            case "breaks":
                raise ZeroDivisionError("as a bug would")
            case "asks":
                self.prompt.found(["anna@den"])
                while (code := await self.prompt.code()) != "41-otter-violin":
                    self.prompt.wrong_code(f"`{code}` opens nothing")
                self.prompt.say("joined anna@den")
            case "waits":
                self.prompt.found(["anna@den"])
                self.prompt.words("otter violin", "den")
                await self.prompt.code()
        server = ControlServer(self, self.options.home / "peers" / "1", ControlLimits(close_timeout_s=1))
        await server.start()
        try:
            ready(self)
            await self.stopped.wait()
        finally:
            await server.close()


class ServedPeer:
    """A fake peer in a thread of its own, in a profile of `home`, until the block ends or it is told to stop."""

    def __init__(self, home: Path, peer: FakePeer | None = None, profile: str = "1") -> None:
        self.peer = peer or FakePeer()
        self.folder = home / "peers" / profile
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._loop: asyncio.AbstractEventLoop | None = None

    async def _serve(self) -> None:
        self._loop = self.peer.loop = asyncio.get_running_loop()
        server = ControlServer(self.peer, self.folder, ControlLimits(close_timeout_s=1))
        await server.start()
        self._up.set()
        try:
            async with asyncio.timeout(60):
                await self.peer.stopped.wait()
        finally:
            await server.close()

    def __enter__(self) -> ServedPeer:
        self._thread.start()
        assert self._up.wait(20)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.call(self.peer.stopped.set)
        self._thread.join(30)
        assert not self._thread.is_alive()

    def call(self, function: Callable[[], None]) -> None:
        """In the peer's loop, unless that has ended."""
        if self._thread.is_alive() and self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(function)
            except RuntimeError:
                assert self._loop.is_closed()

    @property
    def client(self) -> ControlClient:
        """Of this peer."""
        runtime = read(self.folder)
        assert runtime is not None
        return ControlClient(self.folder, runtime)
