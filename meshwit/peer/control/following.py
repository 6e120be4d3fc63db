"""A job that is followed wherever it goes: its watcher outlives the peer that told of it.

When that peer is gone a running peer of this device is looked for, for a while, and asked for the job by its id: the
mesh knows who leads it on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from meshwit.outcome import Outcome
from meshwit.peer.control.api import PeerError
from meshwit.peer.control.client import ControlClient, NoAnswerError, find_all
from meshwit.peer.control.job_client import PeerGoneError, PeerLostError, RemoteJob
from meshwit.peer.control.job_script import JobScript

WATCH_AGAIN_S: Final = 60.0
LOOK_EVERY_S: Final = 0.5

FindClient = Callable[[], ControlClient | None]
"""A peer of this device that runs; asked again and again."""


class RunningPeers:
    """Gives the running peers of a home in turn: the first need not be of the mesh that knows the job."""

    def __init__(self, home: Path | None = None) -> None:
        self._home = home
        self._turn = -1

    def __call__(self) -> ControlClient | None:
        running, _ = find_all(self._home)
        self._turn += 1
        return running[self._turn % len(running)].client if running else None


class _Search:
    """For another peer that knows the job."""

    def __init__(self, gone: PeerGoneError, until: float) -> None:
        self.why: PeerError = gone
        self.until = until
        self.next = 0.0


class WatchedJob:
    """A job for whoever waits for it, as `RemoteJob` is; called from one thread, `cancel` from any.

    Args:
        job: as it is followed at first.
        attach: follows it by another peer. Raises PeerError.
        find_client: gives such peers.
        say: tells the person about a search.
        within_s: how long one is looked for.
    """

    def __init__(
        self,
        job: RemoteJob,
        attach: Callable[[ControlClient], RemoteJob],
        find_client: FindClient,
        say: Callable[[str], None],
        within_s: float | None = None,
    ) -> None:
        self._job = job
        self._attach = attach
        self._find_client = find_client
        self._say = say
        self._within_s = WATCH_AGAIN_S if within_s is None else within_s
        self._search: _Search | None = None
        self._cancelling = False

    @property
    def id(self) -> str:
        """Tells the job from all others."""
        return self._job.id

    @property
    def script(self) -> JobScript | None:
        """What it runs, if a peer has told."""
        return self._job.script

    def wait(self, timeout_s: float | None = None) -> Outcome | None:
        """The outcome, or None if there is none yet after `timeout_s`.

        Raises:
            PeerGoneError: the peer is, and no other was found that knows the job.
            PeerError: see `RemoteJob.wait`.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = None if until is None else max(0.0, until - time.monotonic())
            if self._search is None:
                try:
                    return self._job.wait(left_s)
                except PeerGoneError as gone:
                    self._search = _Search(gone, time.monotonic() + self._within_s)
                    self._say("the peer of this device is gone; looking for the job elsewhere")
            elif not self._found(self._search):
                time.sleep(LOOK_EVERY_S if left_s is None else min(LOOK_EVERY_S, left_s))
                if left_s == 0.0:
                    return None

    def pause(self) -> None:
        """Start no new task until `resume`; what runs ends."""
        self._job.pause()

    def resume(self) -> None:
        """Start tasks again."""
        self._job.resume()

    def cancel(self) -> None:
        """End the job; if its peer is gone, as soon as it is found again."""
        self._cancelling = True
        self._job.cancel()

    def kill(self) -> None:
        """The same, without the patience to look for it any longer."""
        self._job.kill()
        if self._search is not None:
            self._search.until = 0.0

    def close(self) -> None:
        """Follow it no more; it goes on."""
        self._job.close()

    def _found(self, search: _Search) -> bool:
        now = time.monotonic()
        if now >= search.until:
            hint = f"it may go on elsewhere. To follow it again: meshwit up, then meshwit attach {self.id}"
            raise PeerGoneError(f"the job was not found again: {search.why.message}", hint)
        if now < search.next:
            return False
        search.next = now + LOOK_EVERY_S
        try:
            client = self._find_client()
            if client is None:
                return False
            self._job = self._attach(client)
        except (NoAnswerError, PeerLostError):
            return False
        except PeerError as reason:  # it does not know the job yet, perhaps
            search.why = reason
            return False
        self._search = None
        self._say("found the job again")
        if self._cancelling:
            self._job.cancel()
        return True
