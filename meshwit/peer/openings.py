"""How a leader opens its steps at peers: what a step captures is encoded once, what of it is large is shared. Shell.

Large buffers are put into the blob store, once, and `Open` names them: peers fetch them from this one and from each
other, and use them where they lie. While they are written, on a thread, all that is said of the step to other peers
waits behind, in its order. The worker processes of this peer get them without the detour.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol, TypeAlias

import msgspec

from meshwit.blob import Blob
from meshwit.codec import Buffer, Codec, CodecError
from meshwit.ids import PeerId
from meshwit.lang.arrows import activities_in, pack
from meshwit.peer.job.effects import PrepareStep
from meshwit.peer.job.software import Owner, Software, wanted_for
from meshwit.peer.running_job import RunningJob
from meshwit.peer.saying import Say
from meshwit.peer.work.messages import AskBack, Assigned, BlobRef, Close, JobMessage, Open, Unwanted

SHARED_BYTES_MIN: Final = 1024 * 1024
"""Shorter buffers cross with `Open`: lower, and peers wait for fetches of what is there in a moment; higher, and the
leader sends the same bytes to each."""
HOLDERS_MAX: Final = 4
"""Peers named as those that have a blob; from them others are learned of."""
HEARD_S: Final = 0.25
"""Peers that have not been told of their step cannot beat for it; so often they count as heard meanwhile."""


class Store(Protocol):
    """Where shared buffers are put."""

    def put(self, data: Buffer) -> Blob:
        """Keep these bytes. Raises OSError."""

    def pin(self, hash: str) -> None:
        """A blob is needed, until as many `unpin`."""

    def unpin(self, hash: str) -> None:
        """Takes one `pin` back."""


OfStep: TypeAlias = Open | Assigned | AskBack | Unwanted | Close
"""What a leader says of a step."""


class Told:
    """What is told of a step, the same for all peers.

    Attributes:
        shared: by the place of its buffer, what is in the blob store.
        rest: the other buffers, in their order.
        software: that its task wants.
        peers: that were told, in their order.
        waiting: what is to be said when shared buffers are written; None if none are being written.
    """

    def __init__(self, header: bytes, buffers: Sequence[Buffer], blobs: list[BlobRef], software: Software) -> None:
        self.header = header
        self.software = software
        self.buffers = buffers
        self.blobs = blobs
        self.shared: dict[int, BlobRef] = {}
        self.rest = buffers
        self.peers: list[PeerId] = []
        self.stored = False
        self.waiting: list[tuple[PeerId, OfStep, Sequence[Buffer]]] | None = None
        self.task: asyncio.Task[None] | None = None


class Openings:
    """See the module.

    Args:
        me: this peer.
        store: where shared buffers are put.
        say: sends a message to a worker.
        holding: who is known to have blobs.
        heard: told of peers that wait because this one is writing.
        stored: told when something was put into the store.
        owners: the controllers of activities and types here.
    """

    def __init__(
        self,
        me: PeerId,
        codec: Codec,
        store: Store,
        say: Say[JobMessage],
        holding: Callable[[Iterable[BlobRef]], list[PeerId]],
        heard: Callable[[PeerId], None],
        stored: Callable[[], None],
        owners: Mapping[str, Owner],
    ) -> None:
        self._me = me
        self._codec = codec
        self._store = store
        self._say = say
        self._holding = holding
        self._heard = heard
        self._stored = stored
        self._owners = owners
        self._steps: dict[int, Told] = {}
        self._unsendable: dict[int, str] = {}

    def close(self) -> None:
        """Forget all steps."""
        for step in list(self._steps):
            self.over(step)

    def open(self, job: RunningJob, effect: PrepareStep) -> None:
        """Make a step known to a peer."""
        told = self._told(effect)
        if told is None:
            return
        settings, own = effect.settings, effect.peer == self._me
        opened = Open(
            effect.step, job.id, told.header, settings.priority, settings.one_at_a_time, sorted(settings.exclusive),
            settings.once, settings.timeout_s, settings.memory_max_bytes, told.blobs, [],
            [str(root) for root in job.roots] if own else [], job.any_function and own,
            path=effect.path, epoch=job.epoch, rank=job.rank, since=effect.since, adopted=effect.adopted,
            software=told.software,
        )  # fmt: skip
        if not own and not told.stored:
            self._share(told)
        self.say(effect.peer, opened, told.buffers if own else ())

    def unsendable(self, step: int) -> str:
        """Why what a step captures cannot cross; empty if it can."""
        return self._unsendable.get(step, "")

    def say(self, peer: PeerId, message: OfStep, buffers: Sequence[Buffer] = ()) -> None:
        """Say something of a step to a peer, after all that was said of it before."""
        told = self._steps.get(message.step)
        if told is not None and peer != self._me:
            if told.waiting is not None:
                told.waiting.append((peer, message, buffers))
                return
            if isinstance(message, Open):
                self._say(peer, self._addressed(message, told), told.rest)
                told.peers.append(peer)
                return
        self._say(peer, message, buffers)

    def over(self, step: int) -> None:
        """A step has ended: what was put into the store for it may go. What waits to be said of it is not said."""
        self._unsendable.pop(step, None)
        told = self._steps.pop(step, None)
        if told is None:
            return
        if told.task is not None:
            told.task.cancel()
        for name, _ in told.shared.values():
            self._store.unpin(name)

    def _told(self, effect: PrepareStep) -> Told | None:
        told = self._steps.get(effect.step)
        if told is None and effect.step not in self._unsendable:
            try:
                header, buffers, blobs = self._codec.encode_with_blobs(
                    {"task": pack(effect.task), "captured": effect.captured}
                )
            except (CodecError, OSError) as reason:
                self._unsendable[effect.step] = str(reason) or "its values cannot cross"
                return None
            names = (call.activity.name for call in activities_in(effect.task))
            told = self._steps[effect.step] = Told(
                header, buffers, list(blobs), wanted_for(names, self._owners)
            )  # fmt: skip
        return told

    def _addressed(self, opened: Open, told: Told) -> Open:
        """With who has what it needs: besides the makers of blobs, those who were told of the step before."""
        holders = self._holding(told.blobs)
        if told.shared:
            half = HOLDERS_MAX // 2
            holders = [*holders[:half], *told.peers[:half], *told.peers[half:][-half:]]
        names = [str(each) for each in dict.fromkeys(holders)][: 2 * HOLDERS_MAX]
        return msgspec.structs.replace(opened, holders=names, shared=told.shared)

    # --- the store ---------------------------------------------------------------------------------------------

    def _share(self, told: Told) -> None:
        told.stored = True
        large = {
            place: buffer for place, buffer in enumerate(told.buffers) if memoryview(buffer).nbytes >= SHARED_BYTES_MIN
        }
        if large:
            told.waiting = []
            told.task = asyncio.get_running_loop().create_task(self._write(told, large))

    async def _write(self, told: Told, large: dict[int, Buffer]) -> None:
        writing = asyncio.ensure_future(asyncio.to_thread(self._put, large))
        try:
            while not (await asyncio.wait({writing}, timeout=HEARD_S))[0]:
                for peer in {peer for peer, _, _ in told.waiting or ()}:
                    self._heard(peer)
        except asyncio.CancelledError:
            writing.cancel()
            raise
        told.task = None
        told.shared = writing.result()
        told.rest = [buffer for place, buffer in enumerate(told.buffers) if place not in told.shared]
        for name, _ in told.shared.values():
            self._store.pin(name)
        self._stored()
        waiting, told.waiting = told.waiting or [], None
        for peer, message, buffers in waiting:
            self.say(peer, message, buffers)

    def _put(self, large: dict[int, Buffer]) -> dict[int, BlobRef]:
        """What the disk did not take crosses with `Open`."""
        shared: dict[int, BlobRef] = {}
        for place, buffer in large.items():
            try:
                blob = self._store.put(buffer)
            except OSError:
                break
            shared[place] = (blob.hash, blob.size)
        return shared
