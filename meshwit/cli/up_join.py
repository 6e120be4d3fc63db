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
QUESTION_AFTER_S = 0.3
"""The question comes when nothing has been said for so long: it belongs below all that is told at once."""


class PlainPrompt:
    """Says what goes on, and asks nothing: nobody could answer."""

    _found: list[str] | None = None

    def found(self, mesh_names: list[str]) -> None:
        """Which meshes there are; once."""
        if mesh_names != self._found:
            self._found = mesh_names
            self.tell_found(f"found {meshes_text(mesh_names)}")

    def tell_found(self, text: str) -> None:
        """Say it."""
        self.say(text)

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

    async def confirm(self, words: str, name: str) -> bool:
        """Nobody could be asked: whoever compares the words does it on the member, and can still take it back."""
        self.say(f"{shown(name)} lets this device in; if nobody there approved the words {words}, run: meshwit leave")
        return True

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
        self._questions: list[str] = []
        """What is asked now; the last one stands on the screen, and the next line answers it."""
        self._asked = False
        """Whether a question stands on the last line."""
        self._due: asyncio.TimerHandle | None = None

    def tell_found(self, text: str) -> None:
        """And where the code is."""
        self.say(text)
        self.say("type the code that `meshwit invite` shows on one of its members")

    def words(self, words: str, name: str) -> None:
        """The other way, without a code."""
        first, second = approval_lines(words, name)
        self.say(f"or be let in without a code: {first}")
        self.say(second)

    async def code(self) -> str:
        """The next line that is not empty."""
        return await self._answer("code: ")

    async def confirm(self, words: str, name: str) -> bool:
        """Asked even while a code might be typed."""
        self.say(f"{shown(name)} lets this device in, if it is the one that you mean")
        while True:
            answer = (await self._answer(f"does it show `{words}` there too? (y/n) ")).casefold()
            if answer in ("y", "yes", "n", "no"):
                return answer.startswith("y")

    async def _answer(self, question: str) -> str:
        self._questions.append(question)
        try:
            self._ask_soon()
            while True:
                line = (await self._lines.next_line()).strip()
                self._asked = False
                if line:
                    return line
                self._ask_soon()
        finally:
            self._questions.remove(question)

    def wrong_code(self, message: str) -> None:
        """What was wrong."""
        self._show(f"{painted('wrong code', 'red', sys.stderr)}: {harmless(message)}")

    def say(self, text: str) -> None:
        """A line on stderr, of its own even while the question stands there."""
        self._show(harmless(text))

    def _show(self, text: str) -> None:
        if self._asked:
            self._asked = False
            print(file=sys.stderr)
        print(text, file=sys.stderr, flush=True)
        if self._questions:
            self._ask_soon()

    def _ask_soon(self) -> None:
        if self._due is not None:
            self._due.cancel()
        self._due = asyncio.get_running_loop().call_later(QUESTION_AFTER_S, self._ask)

    def _ask(self) -> None:
        if self._asked:
            print(file=sys.stderr)
        self._asked = bool(self._questions)
        if self._questions:
            print(self._questions[-1], end="", file=sys.stderr, flush=True)


def meshes_text(names: list[str]) -> str:
    """`the mesh anna@den`, `2 meshes: anna@den, lab`."""
    listed = ", ".join(shown(name) for name in names[:5])
    if len(names) == 1:
        return f"the mesh {listed}"
    return f"{len(names)} meshes: {listed}{', ...' if len(names) > 5 else ''}"


def approval_lines(words: str, name: str) -> list[str]:
    """How a member of the mesh of that name lets this device in."""
    return [
        f"this device shows: {shown(words)}",
        f"`meshwit approve` on a member of {shown(name)} lets it in; only if that shows the same words",
    ]


class LineReader:
    """Lines of a terminal in an event loop. The one thread that reads may be left behind, blocked for ever.

    It reads the descriptor itself: a thread inside `sys.stdin` would keep the interpreter from ending.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._thread: threading.Thread | None = None
        self._waiting: list[asyncio.Future[str]] = []
        """The last one gets the next line."""

    async def next_line(self) -> str:
        """The next line that is typed from now on; never, if nothing can be typed any more. May be cancelled."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[str] = loop.create_future()
        self._waiting.append(waiting)
        if self._thread is None:
            self._thread = threading.Thread(target=self._read, args=(loop,), daemon=True, name="terminal")
            self._thread.start()
        try:
            return await waiting
        finally:
            self._waiting.remove(waiting)

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
        waiting = [each for each in self._waiting if not each.done()]
        if waiting:
            waiting[-1].set_result(line.decode(errors="replace").rstrip("\r"))


def _told(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> bool:
    """Whether the loop is still there to be told."""
    try:
        loop.call_soon_threadsafe(function)
    except RuntimeError:
        return False
    return True
