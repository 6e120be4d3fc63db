"""What is believed of the items of a Grid step: the activities are asked, the first items weighed, blobs located."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from meshwit.codec import Codec, CodecError
from meshwit.ids import PeerId
from meshwit.lang import program as ir
from meshwit.peer.job.guesses import Guesses
from meshwit.peer.sched.nearness import Nearness
from meshwit.peer.work.lengths import ITEMS_MAX, Lengths
from meshwit.plugins.registry import Registry

BATCH_BYTES_MAX: Final = 8 * 1024 * 1024
"""A batch of items holds about so many bytes at most: more would make a peer wait for its first item."""


NEAR_ITEMS_MAX: Final = 5_000
"""Of steps with more items it is not known where their data lie: to know it costs the leader time for each item."""
NEAR_BYTES_MIN: Final = 1024 * 1024
"""Data of an item that are less are moved in no time, wherever they lie."""
LINK_BYTES_PER_S: Final = 100e6
"""What a link is believed to carry."""


class AskedGuesses(Guesses):
    """Asks the activities themselves, what was learned of items, and weighs the first ones.

    Args:
        located: the peers that have a blob.
    """

    def __init__(
        self, registry: Registry, codec: Codec, lengths: Lengths, located: Callable[[str], frozenset[PeerId]]
    ) -> None:
        self._registry = registry
        self._codec = codec
        self._lengths = lengths
        self._located = located

    def learned_works(self, activity: str, items: Sequence[Any]) -> list[float] | None:
        if activity not in self._lengths or len(items) > ITEMS_MAX:
            return None
        prints = fingerprints(self._codec, items)
        return None if prints is None else self._lengths.recall(activity, prints)

    def work(self, call: ir.Invoke, item: Any) -> float | None:
        work = self._registry.implementations[call.activity.name, call.form].work
        if work is None:
            return None
        try:
            return float(work(item))
        except Exception:
            return None  # an estimate that fails costs order, never a job

    def batch_items_max(self, items: Sequence[Any]) -> int | None:
        sample = [items[0], items[len(items) // 2], items[-1]] if items else []
        size = 0
        for item in sample:
            try:
                header, buffers = self._codec.encode(item)
            except (CodecError, OSError):
                return None
            size += len(header) + sum(buffer.nbytes for buffer in buffers)
        mean = size / len(sample) if sample else 0.0
        return max(1, int(BATCH_BYTES_MAX / mean)) if mean * 4096 > BATCH_BYTES_MAX else None

    def near(self, items: Sequence[Any]) -> Nearness | None:
        if len(items) > NEAR_ITEMS_MAX or not any(self._blobs(each) for each in (items[:1], items[-1:])):
            return None
        peers: dict[int, frozenset[PeerId]] = {}
        move_s: dict[int, float] = {}
        for number, item in enumerate(items):
            blobs = self._blobs(item)
            size = sum(size for _, size in blobs)
            if size >= NEAR_BYTES_MIN:
                peers[number] = frozenset.intersection(*(self._located(name) for name, _ in blobs))
                move_s[number] = size / LINK_BYTES_PER_S
        return Nearness(peers, move_s) if peers else None

    def _blobs(self, item: Any) -> list[tuple[str, int]]:
        try:
            return self._codec.encode_with_blobs(item)[2]
        except (CodecError, OSError):
            return []


def fingerprints(codec: Codec, items: Sequence[Any]) -> list[bytes] | None:
    """What tells items apart, as they cross; None if one cannot or is large: that would cost more than it gives."""
    prints = []
    for item in items:
        try:
            header, buffers = codec.encode(item)
        except (CodecError, OSError):
            return None
        if buffers:
            return None
        prints.append(hashlib.blake2b(header, digest_size=8).digest())
    return prints
