"""What is known of items before they run: where their data lie, and only where that matters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from meshwit.blob import Blob
from meshwit.codec import Codec
from meshwit.ids import PeerId
from meshwit.peer.blobs.store import BlobStore
from meshwit.peer.guessing import LINK_BYTES_PER_S, NEAR_ITEMS_MAX, AskedGuesses
from meshwit.peer.sched.nearness import Nearness
from meshwit.peer.work.lengths import Lengths
from meshwit.plugins.registry import Registry

ME, A, B = PeerId("me"), PeerId("a"), PeerId("b")
MAKERS = {"1" * 64: A, "2" * 64: B}


def blob(digit: str, size: int = 50_000_000) -> Blob:
    """A handle; the bytes are nowhere."""
    return Blob(digit * 64, size, "image/png")


def near(items: Sequence[Any], tmp_path: Path) -> Nearness | None:
    codec = Codec([BlobStore(tmp_path).wire_type()])
    located = lambda name: frozenset((ME, MAKERS.get(name, ME)))  # noqa: E731
    return AskedGuesses(Registry(()), codec, Lengths(), located).near(items)


def test_an_item_lies_with_the_maker_of_its_blob_and_with_the_leader(tmp_path):
    known = near([blob("1"), {"picture": blob("2"), "n": 1}, blob("3")], tmp_path)
    assert known is not None
    assert known.peers == {0: frozenset((ME, A)), 1: frozenset((ME, B)), 2: frozenset((ME,))}
    assert known.move_s[0] == pytest.approx(50_000_000 / LINK_BYTES_PER_S)


def test_an_item_of_blobs_of_several_lies_with_who_has_them_all(tmp_path):
    known = near([[blob("1"), blob("2")]], tmp_path)
    assert known is not None
    assert known.peers == {0: frozenset((ME,))}
    assert known.move_s[0] == pytest.approx(100_000_000 / LINK_BYTES_PER_S)


@pytest.mark.parametrize(
    "items",
    [[], [1, 2, 3], ["text"], [blob("1", 1000)], [blob("1")] * (NEAR_ITEMS_MAX + 1), [object()]],
)
def test_where_it_does_not_matter_or_is_too_much_nothing_is_known(items, tmp_path):
    assert near(items, tmp_path) is None
