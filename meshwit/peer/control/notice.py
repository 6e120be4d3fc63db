"""A word to the peer of this device that nobody waits for: which activities a job uses.

`meshwit run` says it in passing: without a running peer it costs a look into a folder, with one a thread that is
given a fifth of a second in all, and whatever goes wrong is nobody's concern. HTTP is spoken by hand because the
client's module takes longer to import than the rest takes.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import psutil

from meshwit.peer.control import runtime_file
from meshwit.peer.control.runtime_file import RuntimeFile

LIMIT_S: Final = 0.2
ACTIVITIES_MAX: Final = 64


class Notice:
    """On its way, if there is somebody to tell.

    Args:
        activities: that a job uses.
        home: the folder of the configuration; None for MESHWIT_HOME or the user's own.
    """

    def __init__(self, activities: Sequence[str], home: Path | None = None) -> None:
        self._until = time.monotonic() + LIMIT_S
        self._thread: threading.Thread | None = None
        runtime = first_running(home) if activities else None
        if runtime is not None:
            request = _request(runtime, list(activities)[:ACTIVITIES_MAX])
            self._thread = threading.Thread(target=_send, args=(runtime.port, request, self._until), daemon=True)
            self._thread.start()

    @property
    def is_sent(self) -> bool:
        """Whether there was somebody to send it to."""
        return self._thread is not None

    def end(self) -> None:
        """Wait for what is left of the time: a process that ends takes the thread along."""
        if self._thread is not None:
            self._thread.join(max(0.0, self._until - time.monotonic()))


def first_running(home: Path | None = None) -> RuntimeFile | None:
    """Where the first peer of a home that seems to run answers: found without asking it, which is quick."""
    try:
        for folder in runtime_file.profile_folders(runtime_file.home_folder(home)):
            found = runtime_file.read(folder)
            if found is not None and psutil.pid_exists(found.pid):
                return found
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        return None
    return None


def _request(runtime: RuntimeFile, activities: list[str]) -> bytes:
    body = json.dumps({"activities": activities}).encode()
    lines = (
        "POST /v1/need HTTP/1.1",
        f"Host: 127.0.0.1:{runtime.port}",
        f"Authorization: Bearer {runtime.token}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
        "",
        "",
    )
    return "\r\n".join(lines).encode("latin-1", "replace") + body


def _send(port: int, request: bytes, until: float) -> None:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as connection:
        connection.sendall(request)
        # Closed too early, the request would be given up before it is read.
        while (left := until - time.monotonic()) > 0:
            connection.settimeout(left)
            if not connection.recv(4096):
                return
