"""What the scheduler of a Grid step wants done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from meshwit.ids import PeerId


class Give(msgspec.Struct, frozen=True):
    """Send a batch to a peer, which runs its items in this order on one slot, after the batches it got before.

    Attributes:
        batch: its number, unique in the step.
        items: their numbers; a range where they lie together.
        duplicate: the items run elsewhere too; whoever ends first counts.
    """

    peer: PeerId
    batch: int
    items: Sequence[int]
    duplicate: bool = False


class TakeBack(msgspec.Struct, frozen=True):
    """Ask a peer for items that it has not begun; it answers with those that it really had not."""

    peer: PeerId
    items: Sequence[int]


class Drop(msgspec.Struct, frozen=True):
    """Tell a peer that items are settled elsewhere: what runs of them is killed, what waits is forgotten."""

    peer: PeerId
    items: Sequence[int]


class Lost(msgspec.Struct, frozen=True):
    """Told, not asked: items were running on a peer that left or is believed frozen.

    Attributes:
        items: the first unsettled one of each batch that it had begun; with `once` all that it had been given.
        final: they are set aside and no result of them will be taken; else they are pending again, or a second run of
            them goes on.
    """

    peer: PeerId
    items: Sequence[int]
    final: bool


class StepDone(msgspec.Struct, frozen=True):
    """Each item is finished or set aside, and no more come; nothing is wanted after it."""


Effect = Give | TakeBack | Drop | Lost | StepDone


class Share(msgspec.Struct, frozen=True):
    """What a peer is meant to run.

    Attributes:
        share: of the work of the step, 0 to 1.
        items: how many, where items are alike.
    """

    peer: PeerId
    share: float
    items: int

    def as_data(self) -> dict[str, Any]:
        """For programs."""
        return {"peer": self.peer, "share": self.share, "items": self.items}
