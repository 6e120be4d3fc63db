"""Talks with the person in front of a device that is to join a mesh: on a terminal, or where nobody types."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable

from meshwit.cli.peer_names import shown
from meshwit.cli.terminal import harmless, painted

LINE_BYTES_MAX = 1000


class PlainPrompt:
    """Says what goes on, and asks nothing: nobody could answer."""

    def found(self, mesh_names: list[str]) -> None:
        """Which meshes there are."""
        self.say(f"found {meshes_text(mesh_names)}")

    def words(self, words: str, name: str) -> None:
        """What a member has to do."""
        for line in approval_lines(words, name):
            self.say(line)

    async def code(self) -> str:
        """Never answers: only `meshwit approve` or an invitation help."""
        never: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        return await never

    def wrong_code(self, message: str) -> None:
        """What was wrong."""
        self.say(message)

    def say(self, text: str) -> None:
        """A line on stderr."""
        print(harmless(text), file=sys.stderr, flush=True)


class TerminalPrompt(PlainPrompt):
    """Asks for the code on a terminal, while a member may approve just as well.

    Args:
        descriptor: where lines are read.
    """

    def __init__(self, descriptor: int = 0) -> None:
        self._lines = LineReader(descriptor)
        self._asking = False

    def found(self, mesh_names: list[str]) -> None:
        """Which meshes there are, and where the code is."""
        super().found(mesh_names)
        self.say("type the code that `meshwit invite` shows on one of its members")

    def words(self, words: str, name: str) -> None:
        """The other way, without a code."""
        self._break_line()
        super().words(words, name)
        self._show_question()

    async def code(self) -> str:
        """The next line that is not empty."""
        self._asking = True
        try:
            self._show_question()
            while not (line := (await self._lines.next_line()).strip()):
                self._show_question()
            return line
        finally:
            self._asking = False

    def wrong_code(self, message: str) -> None:
        """What was wrong."""
        self.say(f"{painted('wrong code', 'red', sys.stderr)}: {harmless(message)}")

    def say(self, text: str) -> None:
        """A line on stderr, of its own even while the question stands there."""
        self._break_line()
        print(text, file=sys.stderr, flush=True)
        self._show_question()

    def _break_line(self) -> None:
        if self._asking:
            print(file=sys.stderr)

    def _show_question(self) -> None:
        if self._asking:
            print("code: ", end="", file=sys.stderr, flush=True)


def meshes_text(names: list[str]) -> str:
    """`the mesh anna@den`, `2 meshes: anna@den, lab`."""
    listed = ", ".join(shown(name) for name in names[:5])
    if len(names) == 1:
        return f"the mesh {listed}"
    return f"{len(names)} meshes: {listed}{', ...' if len(names) > 5 else ''}"


def approval_lines(words: str, name: str) -> list[str]:
    """How a member lets this device in."""
    return [
        f"this device shows: {painted(words, 'bold', sys.stderr)}",
        f"on {shown(name)}, `meshwit approve` lets it in; do that only if the same two words stand there",
    ]


class LineReader:
    """Lines of a terminal in an event loop. The one thread that reads may be left behind, blocked for ever.

    It reads the descriptor itself: a thread inside `sys.stdin` would keep the interpreter from ending.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._thread: threading.Thread | None = None
        self._waiting: asyncio.Future[str] | None = None

    async def next_line(self) -> str:
        """The next line that is typed from now on; never, if nothing can be typed any more. May be cancelled."""
        loop = asyncio.get_running_loop()
        self._waiting = loop.create_future()
        if self._thread is None:
            self._thread = threading.Thread(target=self._read, args=(loop,), daemon=True, name="terminal")
            self._thread.start()
        try:
            return await self._waiting
        finally:
            self._waiting = None

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        """One line after another; what nobody waited for is forgotten, as it answered nothing."""
        text = b""
        while True:
            try:
                piece = os.read(self._descriptor, LINE_BYTES_MAX)
            except OSError:
                return
            if not piece:
                return
            *lines, text = (text + piece).split(b"\n")
            text = text[-LINE_BYTES_MAX:]
            for line in lines:
                if not _told(loop, lambda line=line: self._answer(line)):  # type: ignore[misc]
                    return

    def _answer(self, line: bytes) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(line.decode(errors="replace").rstrip("\r"))


def _told(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> bool:
    """Whether the loop is still there to be told."""
    try:
        loop.call_soon_threadsafe(function)
    except RuntimeError:
        return False
    return True
