"""What `Keeping` hands over to whoever leads jobs here."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import msgspec

from meshwit.codec import Buffer
from meshwit.ids import PeerId
from meshwit.peer.job.effects import KeepIntent
from meshwit.peer.succession.records import JobSpec, Term
from meshwit.peer.succession.replaying import Replay
from meshwit.peer.work.messages import Held, Redone


class CannotLeadError(Exception):
    """A job cannot be led here, and why."""


class Leads(Protocol):
    """Leads jobs, for `Keeping`: implemented by `KeptJobs`."""

    def leadable(self, spec: JobSpec) -> object:
        """Raises CannotLeadError where a job cannot be led on here."""

    def lead_on(self, taken: TakenOver) -> None:
        """Lead a job on."""

    def learn(self, job: str, replay: Replay) -> None:
        """Others' records of a job that runs here."""

    def redone(self, job: str, peer: PeerId, message: Held | Redone, buffers: Sequence[Buffer]) -> None:
        """A worker says what it holds of a job that runs here."""

    def intended(self, job: str, intent: KeepIntent) -> None:
        """An intent is durable."""

    def step_down(self, job: str, term: Term) -> None:
        """Another peer leads a job."""

    def kept(self, job: str) -> None:
        """A job has ended, and all of it is kept."""

    def led_by(self, job: str, term: Term, took_over: bool) -> None:
        """A new term of a job is known."""


class Taking:
    """A job that was taken over and is not led on yet: peers say what they hold."""

    def __init__(self, waits_for: set[PeerId]) -> None:
        self.waits_for = waits_for
        self.all_ready = asyncio.Event()
        self.reports: list[tuple[PeerId, Held | Redone, Sequence[Buffer]]] = []

    def ready(self, peer: PeerId) -> None:
        self.waits_for.discard(peer)
        if not self.waits_for:
            self.all_ready.set()


class TakenOver(msgspec.Struct, frozen=True):
    """A job to be led on.

    Attributes:
        arguments: the buffers of the specification's.
        replay: what is known of it.
        elapsed: seconds that it has gone on for.
        reports: what workers said that they hold.
    """

    spec: JobSpec
    arguments: Sequence[Buffer]
    roots: Sequence[str]
    replay: Replay
    term: Term
    elapsed: float
    reports: Sequence[tuple[PeerId, Held | Redone, Sequence[Buffer]]]
