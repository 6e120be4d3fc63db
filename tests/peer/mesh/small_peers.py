"""Whole peers for tests, several in one process: real sockets on loopback, real keys, homes in a folder of the test.

Nothing is multicast: whatever else runs on the machine is not seen and does not see them.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from meshwit.bench.cache import History, default_folder
from meshwit.bench.fingerprint import hardware
from meshwit.bench.scores import Measured
from meshwit.peer.control.api import MeshEvent, PeerError
from meshwit.peer.control.options import UpError, UpOptions
from meshwit.peer.mesh.keeper import MembershipKeeper
from meshwit.peer.mesh.node import MeshPeer
from meshwit.peer.trust.certificates import issue
from meshwit.peer.trust.membership import found_mesh
from meshwit.peer.trust.store import Home
from meshwit.peer.wire.handshake import PeerInfo
from meshwit.peer.wire.links import Links
from meshwit.peer.wire.streams import TlsStreams
from meshwit.peer.wire.tls import self_signed

PATIENCE_S = 15.0
"""For what takes tenths of a second on a free machine."""
LIMIT_S = 20.0
"""For a whole test."""


def alone_on_this_device(monkeypatch, folder: Path) -> None:
    """Peers use loopback only and multicast nothing; the scores are known, so that nothing is measured."""
    monkeypatch.setenv("MESHWIT_INTERFACES", "127.0.0.1")
    monkeypatch.setenv("MESHWIT_MULTICAST", "off")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.setenv("HOME", str(folder / "user"))
    for variable in ("MESHWIT_HOME", "MESHWIT_INVITE"):
        monkeypatch.delenv(variable, raising=False)
    cache = default_folder()
    cache.mkdir(parents=True, exist_ok=True)
    measured = Measured(350.0, 700.0, 20.0, 1000.0, 0.0, 2, time.time(), 1.0)
    history: History = {hardware().fingerprint: [measured]}
    (cache / "scores.json").write_bytes(msgspec.json.encode(history))


class Owner:
    """Somebody in front of a device, who types what the test says."""

    def __init__(self) -> None:
        self.typed: asyncio.Queue[str] = asyncio.Queue()
        self.said: list[str] = []
        self.shown: list[tuple[str, str]] = []
        self.wrong: list[str] = []
        self.meshes: list[str] = []
        self.asked = 0
        self.confirmed: list[tuple[str, str]] = []
        self.agrees = True

    def found(self, mesh_names: list[str]) -> None:
        self.meshes += mesh_names

    def words(self, words: str, name: str) -> None:
        self.shown.append((words, name))

    async def code(self) -> str:
        self.asked += 1
        return await self.typed.get()

    async def confirm(self, words: str, name: str) -> bool:
        self.confirmed.append((words, name))
        return self.agrees

    def wrong_code(self, message: str) -> None:
        self.wrong.append(message)

    def say(self, text: str) -> None:
        self.said.append(text)


class Device:
    """A device with a home. Its peer is started with `up`, again and again if need be."""

    def __init__(self, lab: Lab, name: str, home: Path) -> None:
        self.lab = lab
        self.name = name
        self.home = home
        self.owner = Owner()
        self.events: list[MeshEvent] = []
        self._running: tuple[MeshPeer, asyncio.Task[None], asyncio.Event] | None = None
        self._watching: asyncio.Task[None] | None = None

    def start(self, *contacts: Device, **options) -> Device:
        """Begins to start its peer; the contacts are told with `--peer`."""
        assert self._running is None
        peers = tuple(("127.0.0.1", each.port) for each in contacts)
        peer = MeshPeer(UpOptions(home=self.home, name=self.name, peers=peers, **options), self.owner)
        ready = asyncio.Event()
        task = asyncio.create_task(peer.run(lambda _: ready.set()))
        self._running = peer, task, ready
        return self

    async def up(self, *contacts: Device, **options) -> Device:
        """Starts its peer and waits until it is a member."""
        self.start(*contacts, **options)
        await self.until_up()
        return self

    async def until_up(self) -> None:
        """Until its peer is a member. Raises what ends it before that."""
        assert self._running is not None
        _, task, ready = self._running
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if task.done():
            self._running = None
            await task
            raise AssertionError(f"{self.name} ended before it was up; {self.owner.said}")
        self._watching = asyncio.create_task(self._watch())
        await asyncio.sleep(0)

    async def _watch(self) -> None:
        async for event in self.peer.subscribe():
            self.events.append(event)

    @property
    def peer(self) -> MeshPeer:
        assert self._running is not None, f"{self.name} does not run"
        return self._running[0]

    @property
    def port(self) -> int:
        return self.peer.parts.port

    @property
    def id(self) -> str:
        return self.peer.parts.me

    @property
    def runs(self) -> bool:
        return self._running is not None and not self._running[1].done()

    def states(self) -> dict[str, str]:
        """What it thinks of the others, by name."""
        return {each.name: each.state for each in self.peer.peers() if not each.me}

    def alive(self) -> set[str]:
        """Whom it holds for alive, itself included; nobody while it goes from one mesh to another."""
        with contextlib.suppress(PeerError):
            return {each.name for each in self.peer.peers() if each.state == "alive"}
        return set()

    def linked(self) -> set[str]:
        """The ids of those to whom it has a link."""
        return set(self.peer.parts.links.links)

    def happened(self, kind: str) -> list[str]:
        """The texts of events of one kind."""
        return [each.text for each in self.events if each.kind == kind]

    async def ended(self) -> UpError | None:
        """Waits until its peer has stopped by itself; with what."""
        assert self._running is not None
        _, task, _ = self._running
        self._running = None
        try:
            await task
        except UpError as error:
            return error
        finally:
            await self._watched()
        return None

    async def down(self) -> None:
        """Stops it, as the command does."""
        await self.peer.down()
        assert await self.ended() is None

    async def cancel(self) -> None:
        """Stops it as Ctrl-C does."""
        if self._running is not None:
            _, task, _ = self._running
            self._running = None
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, UpError):
                await task
            await self._watched()

    async def _watched(self) -> None:
        """What watches ends with the peer."""
        if self._watching is not None:
            await self._watching
            self._watching = None


class Lab:
    """The devices of one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.devices: list[Device] = []

    def device(self, name: str, home: Path | None = None) -> Device:
        made = Device(self, name, home or self.folder / name)
        self.devices.append(made)
        return made

    async def until(self, condition: Callable[[], object], what: str = "") -> None:
        """Waits until something is so; fails with what the devices know if it never is."""
        limit = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > limit:
                raise AssertionError(f"it never came to this: {what}\n{self._told()}")
            await asyncio.sleep(0.01)

    async def until_all_know(self, *devices: Device) -> None:
        """Until each of them holds all of them, and nobody else, for alive."""
        names = {each.name for each in devices}
        for each in devices:
            await self.until(lambda each=each: each.alive() == names, f"{each.name} knows {sorted(names)}")

    def _told(self) -> str:
        lines = []
        for each in self.devices:
            if each.runs:
                with contextlib.suppress(Exception):
                    lines.append(f"{each.name}: {each.states()}")
                lines += [f"    {event.kind}: {event.text}" for event in each.events[-20:]]
            lines += [f"    {text}" for text in (*each.owner.said, *each.owner.wrong)]
        return "\n".join(lines)


class Wired:
    """A profile with its keeper and its links on loopback: what the parts of a peer stand on.

    Args:
        by: the member that let it in; None for a device in no mesh, itself for the founder.
    """

    def __init__(self, folder: Path, name: str, by: Wired | None = None, *, founds: bool = False) -> None:
        self.name = name
        self.home = Home(folder / name)
        self.profile = self.home.profile()
        self.key = self.profile.key
        self.id = self.key.id
        membership = None
        if founds:
            membership = found_mesh(self.key, "home", time.time(), os.urandom, device_name=name)
        elif by is not None:
            other = by.keeper.membership
            certificate = issue(by.key, other.mesh, self.key.public_key, name, time.time())
            membership = msgspec.structs.replace(other, chain=(*other.chain, certificate))
        if membership is not None:
            self.profile.save_membership(membership)
        self.profile.certificate_file.write_bytes(self_signed(self.key.private_pem()))
        self.keeper = MembershipKeeper(self.profile, membership)
        self.port = 0
        self.to_close: list[Callable[[], None]] = []
        streams = TlsStreams(self.profile.certificate_file, self.profile.key_file)
        self.links = Links(self.key, streams, self.keeper, self._info)

    def _info(self) -> PeerInfo:
        addresses = (("127.0.0.1", self.port),) if self.port else ()
        return PeerInfo(id=self.id, key=self.key.public_key, name=self.name, version="1", addresses=addresses)

    async def start(self) -> Wired:
        self.port = await self.links.start(["127.0.0.1"])
        return self

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    async def close(self) -> None:
        for each in self.to_close:
            each()
        await self.links.close()
        self.profile.release()


def in_a_mesh(folder: Path, names: str, test) -> None:
    """Runs `test(*members)`: wired ones, the first of which let the others in."""

    async def main() -> None:
        async with asyncio.timeout(LIMIT_S):
            first, *others = names.split()
            made = [Wired(folder, first, founds=True)]
            made += [Wired(folder, each, made[0]) for each in others]
            try:
                for each in made:
                    await each.start()
                await test(*made)
            finally:
                await asyncio.gather(*(each.close() for each in made))
            await _nothing_is_left()

    asyncio.run(main())
    gc.collect()


async def until(condition: Callable[[], object], what: str = "") -> None:
    """Waits until something is so; fails if it never is."""
    limit = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < limit, f"it never came to this: {what}"
        await asyncio.sleep(0.005)


def in_a_lab(folder: Path, test) -> None:
    """Runs `test(lab)`; then everything is stopped, and nothing may be left: no task, no timer, no open socket."""

    async def main() -> None:
        async with asyncio.timeout(LIMIT_S):
            lab = Lab(folder)
            try:
                await test(lab)
            finally:
                await asyncio.gather(*(each.cancel() for each in lab.devices))
            await _nothing_is_left()

    asyncio.run(main())
    gc.collect()


async def _nothing_is_left() -> None:
    for _ in range(20):  # transports close in the next turns of the loop
        await asyncio.sleep(0)
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    assert not tasks, f"still running: {tasks}"
    scheduled = getattr(asyncio.get_running_loop(), "_scheduled", ())
    timers = [each for each in scheduled if not each.cancelled() and "Timeout._on_timeout" not in repr(each)]
    assert not timers, f"still to come: {timers}"


def founded(lab: Lab, name: str, **options):
    """A first device that has made a mesh; to be awaited."""
    return lab.device(name).up(**options)
