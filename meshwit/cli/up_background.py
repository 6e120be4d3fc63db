"""Starts a peer in a process of its own, and waits until it is ready, fails, or needs a person."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import msgspec

from meshwit.cli.exit_codes import CommandError, ExitCode
from meshwit.cli.terminal import harmless
from meshwit.cli.up_child import LAST_KINDS, ChildMessage
from meshwit.cli.up_options import as_arguments
from meshwit.peer.control.options import UpOptions

READY_WITHIN_S: Final = 60.0
EXIT_WITHIN_S: Final = 5.0
_ERROR_STARTS: Final = ("error: ", "bug in meshwit: ")
_LINE_CHARS_MAX: Final = 100_000
_ERROR_CHARS_MAX: Final = 20_000


class Started(NamedTuple):
    """A background process that needs nobody any more.

    Attributes:
        folder: the profile's; None while it waits for a person.
        log: where it writes.
    """

    pid: int
    folder: Path | None
    log: str


def up_command(options: UpOptions) -> list[str]:
    """What starts such a peer by itself, the token aside."""
    return [sys.executable, "-m", "meshwit", "up", *as_arguments(options)]


def start_in_background(options: UpOptions, command: list[str] | None = None) -> Started:
    """Start the peer and wait for it; what it says on the way goes to stderr.

    Args:
        options: of the peer.
        command: instead of `up_command`.

    Raises:
        CommandError: it failed, with what it said; or it is not ready in time.
        KeyboardInterrupt: after the process was ended too.
    """
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if options.invite:
        environment["MESHWIT_INVITE"] = options.invite
    process = subprocess.Popen(
        [*(command or up_command(options)), "--child"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
        encoding="utf-8",
        errors="replace",
        **_detached(),
    )
    try:
        started = _awaited(process)
    except BaseException:
        _end(process)
        raise
    process.returncode = 0  # it lives on, and nobody here waits for its end
    return started


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(EXIT_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _detached() -> dict[str, Any]:
    """It survives the terminal, and no Ctrl-C there reaches it."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def _awaited(process: subprocess.Popen[str]) -> Started:
    assert process.stdout is not None and process.stderr is not None
    messages: queue.Queue[ChildMessage | None] = queue.Queue(1000)
    errors: list[str] = []
    readers = [
        threading.Thread(target=_read_messages, args=(process.stdout, messages), daemon=True),
        threading.Thread(target=_read_errors, args=(process.stderr, errors), daemon=True),
    ]
    for reader in readers:
        reader.start()
    until = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            message = messages.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            raise CommandError(
                f"the peer was not ready within {READY_WITHIN_S:g} s and was stopped",
                "run it in the foreground to see why: meshwit up",
                ExitCode.FAILED,
            ) from None
        if message is None:
            readers[1].join(EXIT_WITHIN_S)
            raise _failed(process, "".join(errors))
        if message.text:
            print(harmless(message.text), file=sys.stderr, flush=True)
        if message.kind in LAST_KINDS:
            return Started(process.pid, Path(message.folder) if message.folder else None, message.log)


def _read_messages(stream: IO[str], messages: queue.Queue[ChildMessage | None]) -> None:
    """Up to the last one, or the end of the process, which is told as None."""
    with stream:
        while line := stream.readline(_LINE_CHARS_MAX):
            with contextlib.suppress(msgspec.DecodeError):
                message = msgspec.json.decode(line, type=ChildMessage)
                messages.put(message)
                if message.kind in LAST_KINDS:
                    return
    messages.put(None)


def _read_errors(stream: IO[str], errors: list[str]) -> None:
    with stream:
        errors.append(stream.read(_ERROR_CHARS_MAX))


def _failed(process: subprocess.Popen[str], said: str) -> CommandError:
    """What the process said when it ended: `error: ...`, and its hint behind that."""
    code = process.wait(EXIT_WITHIN_S)
    lines = harmless(said).strip().splitlines() or [f"the background process ended with exit code {code}"]
    at = max((number for number, line in enumerate(lines) if line.startswith(_ERROR_STARTS)), default=0)
    hint = "\n".join(line.strip() for line in lines[at + 1 :])
    known = code in tuple(ExitCode) and code != ExitCode.COMPLETED
    return CommandError(lines[at].removeprefix("error: "), hint, ExitCode(code) if known else ExitCode.FAILED)
