"""Calls the peer of this device: what the command line needs, quick to import and synchronous.

The token is sent only to the port that a `control.json` of our own home names, and a file whose process is gone is
ignored: somebody else may listen there by now.
"""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import msgspec
import psutil

from meshwit.peer.control import runtime_file
from meshwit.peer.control.api import (
    Finding,
    InviteKind,
    InviteView,
    JobView,
    MeshEvent,
    MeshView,
    PeerError,
    PeerView,
    RateView,
)
from meshwit.peer.control.event_text import EventReader
from meshwit.peer.control.runtime_file import RuntimeFile

A = TypeVar("A")

ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
ANSWER_TIMEOUT_S: Final = 5.0
LONG_TIMEOUT_S: Final = 60.0
"""For what looks around, or waits for other peers."""
MEASURE_TIMEOUT_S: Final = 300.0
"""For measuring the device or an activity, and what is being measured before that."""


class NoAnswerError(PeerError):
    """Nobody answers, or what answers is no peer of ours."""


class OtherVersionError(PeerError):
    """The peer does not know what it was asked: it was started before meshwit was updated."""


class ControlClient:
    """One running peer.

    Args:
        folder: its profile folder.
        runtime: what `control.json` there says.
    """

    def __init__(self, folder: Path, runtime: RuntimeFile) -> None:
        self.folder = folder
        self.runtime = runtime

    def mesh(self) -> MeshView:
        """How the mesh is. Like all calls it raises PeerError, and NoAnswerError if the peer is gone."""
        return self._get("mesh", MeshView)

    def peers(self) -> list[PeerView]:
        """All known peers."""
        return self._get("peers", list[PeerView])

    def doctor(self) -> list[Finding]:
        """What keeps devices from seeing each other."""
        return self._get("doctor", list[Finding], LONG_TIMEOUT_S)

    def invite(self, kind: InviteKind = "code", hours: float = 24.0) -> InviteView:
        """A new invitation."""
        return self._post("invite", {"kind": kind, "hours": hours}, InviteView)

    def approve(self, name: str) -> str:
        """Let a waiting device in."""
        return self._post("approve", {"name": name}, str, LONG_TIMEOUT_S)

    def expel(self, name: str) -> str:
        """Shut a member out for good."""
        return self._post("expel", {"name": name}, str, LONG_TIMEOUT_S)

    def forget(self, name: str) -> str:
        """Drop a peer that is gone."""
        return self._post("forget", {"name": name}, str)

    def leave(self) -> str:
        """Leave the mesh for good."""
        return self._post("leave", {}, str, LONG_TIMEOUT_S)

    def down(self) -> None:
        """Stop the peer; it may be gone before it has answered."""
        self._post("down", {}, object)

    def bench(self) -> PeerView:
        """Measure the device again."""
        return self._post("bench", {}, PeerView, MEASURE_TIMEOUT_S)

    def rate(self, activity: str, *, refresh: bool = True) -> RateView:
        """How fast the device is at an activity: as it is known, or measured now."""
        return self._post("rate", {"activity": activity, "refresh": refresh}, RateView, MEASURE_TIMEOUT_S)

    def need(self, activities: Sequence[str]) -> None:
        """A job uses these activities."""
        self._post("need", {"activities": list(activities)}, object)

    def jobs(self) -> list[JobView]:
        """The jobs of the mesh, the newest first."""
        return self._get("jobs", list[JobView], LONG_TIMEOUT_S)

    def jobs_like(self, like: str) -> list[JobView]:
        """Those whose id begins so, or that have that name, however many have ended since."""
        return self._post("find", {"like": like}, list[JobView], LONG_TIMEOUT_S)

    def explain(self, job: str, item: int | None = None) -> list[str]:
        """Why a job, or one item of it, is where it is; by the id of the job."""
        return self._post("explain", {"job": job, "item": item}, list[str], LONG_TIMEOUT_S)

    def pause_job(self, job: str) -> None:
        """Start no new task of a job, by its id."""
        self._post(f"jobs/{quote(job, safe='')}/pause", {}, object, LONG_TIMEOUT_S)

    def resume_job(self, job: str, again: bool | None = None) -> str:
        """Let a paused job go on; lead one on that is interrupted or held, deciding whether what may have run runs
        again. Gives its id."""
        return self._post(f"jobs/{quote(job, safe='')}/resume", {"again": again}, str, LONG_TIMEOUT_S)

    def cancel_job(self, job: str) -> None:
        """End a job, by its id."""
        self._post(f"jobs/{quote(job, safe='')}/cancel", {}, object, LONG_TIMEOUT_S)

    def events(self) -> Iterator[MeshEvent | None]:
        """Events as they come, None for each sign of life between them; ends when the peer stops.

        The first sign comes at once: what happens after it is not missed.
        """
        reader = EventReader()
        with self._connection(LONG_TIMEOUT_S) as connection:
            response = self._asked(connection, "GET", "events", None)
            self._checked(response)
            while True:
                try:
                    text = response.read1(65536)
                except (OSError, http.client.HTTPException, ValueError):
                    return
                if not text:
                    return
                yield from reader.receive(text)

    def stopped_serving(self) -> bool:
        """Whether it took its `control.json` away, or died."""
        return runtime_file.read(self.folder) != self.runtime or not self.process_lives()

    def process_lives(self) -> bool:
        """Whether its process does; one that has ended and waits for its parent to notice does not."""
        try:
            return psutil.Process(self.runtime.pid).status() != psutil.STATUS_ZOMBIE
        except psutil.AccessDenied:
            return True
        except psutil.Error:
            return False

    # --- HTTP ----------------------------------------------------------------------------------------------------

    def _get(self, name: str, form: type[A], timeout_s: float = ANSWER_TIMEOUT_S) -> A:
        return self._called("GET", name, None, form, timeout_s)

    def _post(self, name: str, body: dict[str, Any], form: type[A], timeout_s: float = ANSWER_TIMEOUT_S) -> A:
        return self._called("POST", name, json.dumps(body).encode(), form, timeout_s)

    def _called(self, method: str, name: str, body: bytes | None, form: type[A], timeout_s: float) -> A:
        with self._connection(timeout_s) as connection:
            response = self._asked(connection, method, name, body)
            answer = self._checked(response)
        try:
            return msgspec.json.decode(answer, type=form)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise NoAnswerError(f"what listens on port {self.runtime.port} is no peer of ours: {error}") from None

    @contextlib.contextmanager
    def _connection(self, timeout_s: float) -> Iterator[http.client.HTTPConnection]:
        connection = http.client.HTTPConnection("127.0.0.1", self.runtime.port, timeout=timeout_s)
        try:
            yield connection
        except TimeoutError:
            hint = f"it may be very busy; if it stays so, end process {self.runtime.pid}"
            raise NoAnswerError(f"the peer does not answer within {timeout_s:g} s", hint) from None
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswerError("the peer does not answer any more", str(error)) from None
        finally:
            connection.close()

    def _asked(
        self, connection: http.client.HTTPConnection, method: str, name: str, body: bytes | None
    ) -> http.client.HTTPResponse:
        headers = {"Authorization": f"Bearer {self.runtime.token}", "Connection": "close"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, f"/v1/{name}", body, headers)
        return connection.getresponse()

    @staticmethod
    def _checked(response: http.client.HTTPResponse) -> bytes:
        """The body of an answer, none of a stream. Raises PeerError for an error."""
        if response.status == 200 and response.getheader("content-type", "").startswith("text/event-stream"):
            return b""
        answer = response.read(ANSWER_BYTES_MAX)
        if response.status == 200:
            return answer
        try:
            error = json.loads(answer)["error"]
            message, hint = str(error["message"]), str(error["hint"])
        except (ValueError, LookupError, TypeError):
            raise NoAnswerError(f"what listens there is no peer of ours: it answers {response.status}") from None
        if response.status == 401:
            raise NoAnswerError(message, hint)
        if response.status == 404:
            raise OtherVersionError(message, "the peer is of another version: restart it")
        raise PeerError(message, hint)


class Running(msgspec.Struct, frozen=True):
    """A peer that answers, and what it said of its mesh."""

    client: ControlClient
    mesh: MeshView


class Silent(msgspec.Struct, frozen=True):
    """A peer whose process lives but does not answer."""

    pid: int
    reason: str


def first_peer() -> ControlClient | None:
    """The first peer of this user and device that answers, None if there is none."""
    running, _ = find_all()
    return running[0].client if running else None


def find_all(home: Path | None = None) -> tuple[list[Running], list[Silent]]:
    """All peers of a home that run. Files that a killed peer left behind are passed over."""
    running, silent = [], []
    for folder in runtime_file.profile_folders(runtime_file.home_folder(home)):
        runtime = runtime_file.read(folder)
        if runtime is None:
            continue
        client = ControlClient(folder, runtime)
        if not client.process_lives():
            continue
        try:
            running.append(Running(client, client.mesh()))
        except PeerError as error:
            if error.message.startswith("the peer does not answer within"):
                silent.append(Silent(runtime.pid, error.message))
    return running, silent
