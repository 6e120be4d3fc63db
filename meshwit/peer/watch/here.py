"""What those who follow jobs from afar need of the peer that they are at."""

from __future__ import annotations

from typing import Protocol

from meshwit.ids import PeerId
from meshwit.outcome import Outcome
from meshwit.peer.control.api import JobView
from meshwit.peer.control.job_script import JobScript
from meshwit.peer.running_job import RunningJob


class Here(Protocol):
    """What this peer knows of jobs by itself."""

    def views(self, like: str = "") -> list[JobView]:
        """The jobs that it leads or keeps; only those that a person may mean who says `like`."""

    def running(self, job: str) -> RunningJob | None:
        """A job that it leads, or led."""

    def leader(self, job: str) -> PeerId | None:
        """Who leads a job, as far as it knows."""

    async def kept(self, job: str) -> tuple[JobScript, Outcome]:
        """The outcome of a job that has ended. Raises PeerError."""

    def outcome(self, job: RunningJob) -> Outcome:
        """Of a job that it led."""

    def steer(self, job: str, what: str, by: PeerId) -> None:
        """Do something with a job that it leads. Raises PeerError."""

    def explain(self, job: str, item: int | None) -> list[str]:
        """Why a job that it leads is where it is. Raises PeerError."""
