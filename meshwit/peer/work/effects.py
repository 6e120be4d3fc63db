"""What a peer's `TaskHost` asks of its shell. All plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from meshwit.codec import Buffer
from meshwit.ids import PeerId
from meshwit.peer.work.messages import Assigned, BlobRef, Open, ToLeader, ToSuccessor


class Say(msgspec.Struct, frozen=True):
    """Send a message to a leader, and the buffers beside it."""

    leader: PeerId
    message: ToLeader | ToSuccessor
    buffers: Sequence[Buffer] = ()


class Prepare(msgspec.Struct, frozen=True):
    """Make a step known to the pool, as `number`; answered by `TaskHost.refuse` where that cannot be.

    What of its buffers is shared is here before the first `Submit` of the step, not yet now.
    """

    number: int
    leader: PeerId
    opened: Open
    buffers: Sequence[Buffer]


class Submit(msgspec.Struct, frozen=True):
    """Give a batch to the pool, as `number` of step `step`."""

    number: int
    step: int
    batch: Assigned
    buffers: Sequence[Buffer]


class Fetch(msgspec.Struct, frozen=True):
    """Bring blobs here; answered by `TaskHost.fetched`, with the same key."""

    key: int
    blobs: Sequence[BlobRef]
    holders: Sequence[PeerId]


class Recall(msgspec.Struct, frozen=True):
    """Take items of batches back from the pool; answered by one `TaskHost.recalled`."""

    step: int
    batches: Sequence[int]
    items: Sequence[int]
    queued: Sequence[int]
    """Those that had not even been given to the pool: they are given back too."""


class Forget(msgspec.Struct, frozen=True):
    """Items of a batch are wanted no more."""

    number: int
    items: Sequence[int]


class End(msgspec.Struct, frozen=True):
    """Forget a step of the pool; with `cancel`, kill what runs of it.

    Attributes:
        replace: the job goes on: worker processes that are killed are started anew at once, not when work waits.
    """

    number: int
    cancel: bool
    replace: bool = False


Effect: TypeAlias = Say | Prepare | Submit | Fetch | Recall | Forget | End
