"""How shells of a peer send what they have to say: one form, whatever the messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from meshwit.codec import Buffer
from meshwit.ids import PeerId

M = TypeVar("M", contravariant=True)


class Say(Protocol[M]):
    """Sends a message to a peer, this one included, with buffers beside it. It may be lost with the link."""

    def __call__(self, peer: PeerId, message: M, buffers: Sequence[Buffer] = ()) -> None: ...
