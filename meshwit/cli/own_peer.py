"""A peer inside the process of a command, for a device that is a member of a mesh but where none runs.

The same peer as that of `meshwit up`, on a thread of its own and without a word: it takes part in the mesh, works for
all, and answers its control API, so that the command asks it as it would ask any other. It is started on first need
within `own_peer()` and has said goodbye when that block is left. Of whoever is in no mesh nothing is touched.

What a peer is made of is imported on its thread, once it is known that there will be one. Shell.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from meshwit.cli.terminal import harmless
from meshwit.lazy import lazy_module
from meshwit.peer.control import runtime_file
from meshwit.peer.control.api import MeshView, PeerError
from meshwit.peer.control.options import UpError, UpOptions
from meshwit.peer.home import MEMBERSHIP_FILE

if TYPE_CHECKING:
    from meshwit.peer.control import client as control_client
    from meshwit.peer.control.client import ControlClient
    from meshwit.peer.mesh.node import MeshPeer
else:
    control_client = lazy_module("meshwit.peer.control.client")

START_WITHIN_S: Final = 20.0
"""Of a device that is busy; mostly it takes one."""
MEET_WITHIN_S: Final = 2.0
"""A job that is shared out before the others are there begins alone, and a short one stays so. Members on the same
network are linked within a quarter of a second; who takes longer than this comes while the job runs, as the others do
once there is one, and whoever has nobody to wait for does not wait."""
LOOK_WITHIN_S: Final = 1.0
STOP_WITHIN_S: Final = 8.0
"""The same as Ctrl-C takes at `meshwit up`: some tenths, more where a client or an activity does not let go."""
WAIT_SLICE_S: Final = 0.2
"""On Windows a wait without an end cannot be interrupted from the keyboard."""
LOOK_AT_JOBS_EVERY_S: Final = 0.2
TOLD_AT_LOOK: Final = 3
"""A job that has just ended, or just has a standby, is not worth a word."""
LOGGERS: Final = ("meshwit.peer.mesh", "meshwit.peer.wire", "meshwit.peer.control.server", "zeroconf", "asyncio")
"""Whose warnings would stand between the lines of a command."""


class NobodyAsks:
    """The owner of a peer that is a member already, and so has no question."""

    def found(self, mesh_names: list[str]) -> None:
        """Nothing is joined."""

    def words(self, words: str, name: str) -> None:
        """Nobody is asked to let it in."""

    async def code(self) -> str:
        """Never."""
        never: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        return await never

    def wrong_code(self, message: str) -> None:
        """None was typed."""

    async def confirm(self, words: str, name: str) -> bool:
        """Nobody could be asked."""
        return False

    def say(self, text: str) -> None:
        """It is quiet."""


class OwnPeer:
    """One peer, from `start` to `stop`.

    Args:
        folder: of a profile that is a member's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ready: Future[MeshView] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._peer: MeshPeer | None = None
        self._run: asyncio.Task[None] | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._main, name="meshwit own peer", daemon=True)

    @property
    def runs(self) -> bool:
        """Whether it is there."""
        return self._thread.is_alive()

    @property
    def client(self) -> ControlClient | None:
        """How it is asked; None if it does not answer any more."""
        content = runtime_file.read(self.folder) if self.runs else None
        return control_client.ControlClient(self.folder, content) if content is not None else None

    @property
    def irreplaceable(self) -> bool:
        """Whether it leads a stream, or a job that nobody stands by to lead on."""
        found: Future[bool] = Future()

        def look() -> None:
            try:
                found.set_result(self._peer is not None and bool(self._peer.irreplaceable_for()))
            except PeerError:  # it stops
                found.set_result(False)

        self._in_loop(look)
        wait([found], LOOK_WITHIN_S)
        return found.result() if found.done() else self.runs  # one that is busy answers later

    def start(self) -> MeshView:
        """Its mesh, once it answers and others had the time to come. Raises UpError and PeerError."""
        self._thread.start()
        until = time.monotonic() + START_WITHIN_S
        while not wait([self._ready], WAIT_SLICE_S).done:
            if time.monotonic() > until:
                raise UpError(f"it has not started within {START_WITHIN_S:g} s")
        try:
            return self._ready.result()
        except asyncio.CancelledError:
            raise UpError("it was stopped while it started") from None
        except OSError as error:
            raise UpError(str(error)) from None

    def stop(self) -> None:
        """Say goodbye, end the worker processes, and be gone; returns in any case."""
        self._stopping = True
        self._in_loop(self._end)
        self._thread.join(STOP_WITHIN_S)
        if self.runs:
            self._in_loop(self._cancel)
            self._thread.join(WAIT_SLICE_S)

    def _in_loop(self, call: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended
            if self._loop is not None:
                self._loop.call_soon_threadsafe(call)

    # --- its thread ----------------------------------------------------------------------------------------------

    def _main(self) -> None:
        try:
            with _silenced():
                asyncio.run(self._live())
        except BaseException as reason:
            if not self._ready.done():
                self._ready.set_exception(reason)

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        node: Any = importlib.import_module("meshwit.peer.mesh.node")
        if self._stopping:
            raise UpError("it was stopped while it started")
        # Not `open`: nobody is to be let into the mesh by a peer that is gone in a moment.
        peer: MeshPeer = node.MeshPeer(UpOptions(), NobodyAsks(), profile=self.folder.name)
        up = asyncio.Event()
        self._run = asyncio.create_task(peer.run(lambda _: up.set()))
        self._peer = peer
        answers = asyncio.create_task(up.wait())
        await asyncio.wait((self._run, answers), return_when=asyncio.FIRST_COMPLETED)
        answers.cancel()
        if not self._run.done():
            with contextlib.suppress(PeerError):  # it stops meanwhile
                await peer.meet(MEET_WITHIN_S)
                self._ready.set_result(peer.mesh())
        await self._run
        if not self._ready.done():
            self._ready.set_exception(UpError("it was stopped while it started"))

    def _end(self) -> None:
        if self._peer is None or self._run is None:
            return
        if self._ready.done():
            self._peer.end()
        else:
            self._run.cancel()

    def _cancel(self) -> None:
        if self._run is not None:
            self._run.cancel()


class Block:
    """What happens within one `own_peer()`.

    Attributes:
        patient: whether the end of the block waits for what others of this device had the peer lead.
    """

    def __init__(self) -> None:
        self.patient = True
        self._peer: OwnPeer | None = None

    @property
    def client(self) -> ControlClient | None:
        """The peer that was started in it, while it is there."""
        return self._peer.client if self._peer is not None else None

    def ensure(self, say: Callable[[str], None]) -> ControlClient | None:
        """See `ensure_peer`."""
        self.end()
        folder = member_folder()
        if folder is None:
            return None
        self._peer = OwnPeer(folder)
        try:
            mesh = self._peer.start()
        except (UpError, PeerError) as error:
            hint = f" ({error.hint})" if error.hint else ""
            say(harmless(f"this command cannot take part in the mesh: {error.message}{hint}"))
            self.end()
            return None
        say(harmless(f"no peer runs here: this command takes part in {mesh.name} by itself"))
        return self._peer.client

    def wait_for_others(self) -> None:
        """Until nothing is led for other programs of this device that would end with the peer."""
        looks = 0
        while self.patient and self._peer is not None and self._peer.irreplaceable:
            looks += 1
            if looks == TOLD_AT_LOOK:
                to_stderr("the peer of this command still leads what would end with it (Ctrl-C ends it)")
            time.sleep(LOOK_AT_JOBS_EVERY_S)

    def end(self) -> None:
        """Without a peer."""
        peer, self._peer = self._peer, None
        if peer is not None:
            peer.stop()


_blocks: list[Block] = []
"""One per process and command; a stack only because a block may stand within another."""


@contextlib.contextmanager
def own_peer() -> Iterator[Block]:
    """The block in which `ensure_peer` may start a peer: it has left the mesh when the block is left, however."""
    block = Block()
    _blocks.append(block)
    try:
        yield block
        block.wait_for_others()
    finally:
        _blocks.remove(block)
        block.end()


def ensure_peer(say: Callable[[str], None] = lambda _text: None) -> ControlClient | None:
    """The peer of this process, started if need be; None if this device is in no mesh, or it cannot be started.

    For when no peer of the device answers. A peer that was killed is no hindrance, whatever it left behind: its lock is
    free, and the new one writes its own `control.json`.

    Args:
        say: is told what a person should know, a line.
    """
    there = (block.client for block in reversed(_blocks))
    client = next((each for each in there if each is not None), None)
    return client or (_blocks[-1].ensure(say) if _blocks else None)


def member_folder() -> Path | None:
    """The first profile of this user that is a member's."""
    try:
        home = runtime_file.home_folder()
        return next((each for each in runtime_file.profile_folders(home) if (each / MEMBERSHIP_FILE).exists()), None)
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        return None


def to_stderr(text: str) -> None:
    """For `ensure_peer`: a line on stderr."""
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """A logger without a handler writes to stderr."""
    handlers = [(logging.getLogger(name), logging.NullHandler()) for name in LOGGERS]
    for logger, handler in handlers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger, handler in handlers:
            logger.removeHandler(handler)
