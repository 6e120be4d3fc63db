"""The background process of `meshwit up --background`, seen from inside.

To the process that started it it tells how it goes, as lines of JSON on stdout, until it is ready or waits for a
person; errors before that go to stderr. Then it lets go of both, and what it says goes to its log.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Final

import msgspec

from meshwit.cli import up_waiting
from meshwit.cli.log_file import LogFile
from meshwit.cli.up_join import PlainPrompt, approval_lines
from meshwit.cli.up_screens import PlainScreen
from meshwit.peer.control.runtime_file import own_folder

LOG_NAME: Final = "peer.log"
"""In the profile folder; until that is known, in the home."""


LAST_KINDS: Final = ("waits", "ready")
"""After these nothing more comes."""


class ChildMessage(msgspec.Struct, frozen=True):
    """What the background process tells.

    Attributes:
        kind: `say`, `waits` (for a person) or `ready`.
        text: for people.
        folder: the profile's, once it is ready.
        log: where it writes from now on.
    """

    kind: str
    text: str = ""
    folder: str = ""
    log: str = ""


class Child:
    """The lines to whoever started this process, and the log after that.

    Args:
        home: the folder of the configuration.
        told: whether somebody listens on stdout; without, everything goes to the log at once.
    """

    def __init__(self, home: Path, *, told: bool) -> None:
        self.home = home
        self.log = LogFile(home / LOG_NAME)
        self._told = told
        if not told:
            self._let_go()

    def say(self, text: str) -> None:
        """How it goes."""
        self._tell(ChildMessage("say", text))

    def waits(self, text: str) -> None:
        """A person has to do something first; whoever started this need not wait for that."""
        up_waiting.note(self.home)
        self._tell(ChildMessage("waits", text, log=str(self.log.path)))
        self._let_go()

    def ready(self) -> None:
        """The peer answers."""
        up_waiting.forget(self.home)
        folder = own_folder(self.home)
        if folder is not None:
            self.log.move(folder / LOG_NAME)
        self._tell(ChildMessage("ready", folder=str(folder or ""), log=str(self.log.path)))
        self._let_go()

    def _tell(self, message: ChildMessage) -> None:
        if not self._told:
            if message.text:
                PlainScreen().say(message.text)
            return
        with contextlib.suppress(OSError):  # it has gone: nobody minds
            print(msgspec.json.encode(message).decode(), flush=True)

    def _let_go(self) -> None:
        """The standard streams lead into the log, their descriptors nowhere."""
        self._told = False
        if sys.stderr is self.log:
            return
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        sys.stdout = sys.stderr = self.log
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        os.close(nowhere)


class ChildPrompt(PlainPrompt):
    """Nobody types here: a member has to approve."""

    def __init__(self, child: Child) -> None:
        self._child = child

    def words(self, words: str, name: str) -> None:
        """What a member has to do; this may take long."""
        lines = approval_lines(words, name)
        self._child.waits("\n".join([*lines, "or run `meshwit up` without --background, to type a code instead"]))

    def wrong_code(self, message: str) -> None:
        """What was wrong."""
        self._child.say(message)

    def say(self, text: str) -> None:
        """How it goes."""
        self._child.say(text)
