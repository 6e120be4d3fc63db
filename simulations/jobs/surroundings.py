"""What the parts of a simulated peer are told about what surrounds them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from meshwit.blob import Blob
from meshwit.codec import Buffer
from meshwit.ids import PeerId
from meshwit.lang.wishes import Path
from meshwit.peer.job.effects import Assign
from meshwit.peer.job.leader import JobLeader
from meshwit.peer.succession.records import JobSpec, Record, Term
from meshwit.peer.work import effects as work
from meshwit.peer.work.messages import BlobRef, Open


class NoBlobs:
    """Values of simulated jobs have none."""

    async def fetch(self, blobs: Sequence[BlobRef], holders: Sequence[PeerId]) -> str:
        raise AssertionError("nothing has blobs")

    def put(self, data: Buffer) -> Blob:
        raise AssertionError("nothing has blobs")

    def view(self, name: str) -> Buffer:
        raise AssertionError("nothing has blobs")

    def stored(self) -> None:
        raise AssertionError("nothing has blobs")

    def pin(self, hash: str) -> None:
        raise AssertionError("nothing has blobs")

    def unpin(self, hash: str) -> None:
        raise AssertionError("nothing has blobs")

    def let_go(self) -> None:
        """There is nothing."""


class Watching(Protocol):
    """Sees what peers do, and says how long tasks take: implemented by `checks.Checks`."""

    def work_of(self, job: str, path: Path, number: int) -> float:
        """Of one item."""

    def begun(self, peer: PeerId, opened: Open, number: int) -> int:
        """A task begins; the number of its run."""

    def opened(self, peer: PeerId, leader: PeerId, opened: Open, effects: Sequence[work.Effect]) -> None:
        """A leader opened a step at a peer, which did that about it."""

    def sound(self, peer: PeerId, check: Callable[[], None]) -> None:
        """Have a core look at itself."""

    def obeyed(self, peer: PeerId, job: str, term: tuple[int, int, PeerId]) -> None:
        """A peer has been told of a leader that took over."""

    def leads(self, peer: PeerId, spec: JobSpec, term: Term, leader: JobLeader) -> None:
        """A peer begins to lead a job."""

    def at_work(self, peer: PeerId, job: str) -> None:
        """A leader has let its script run for the first time."""

    def assigned(self, peer: PeerId, job: str, path: Path, assign: Assign) -> None:
        """A leader gives items to a peer."""

    def durable(self, peer: PeerId, job: str, records: Sequence[Record]) -> None:
        """Records of a leader are durable."""

    def ended(self, peer: PeerId, job: str, leader: JobLeader) -> None:
        """A job has its outcome at its leader, or a question."""

    def stamp(self) -> int:
        """A number that never comes twice."""
