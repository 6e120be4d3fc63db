"""Blobs of kept jobs stay on the device as long as the jobs are kept, and no longer."""

from __future__ import annotations

import pytest

from meshwit.peer.blobs.store import BlobStore
from meshwit.peer.succession.pinning import Pins


def test_blobs_are_not_evicted_while_a_job_refers_to_them(tmp_path, monkeypatch):
    monkeypatch.setattr("meshwit.peer.blobs.store._FRESH_S", -1.0)
    store = BlobStore(tmp_path)
    one, other = store.put(b"one"), store.put(b"other")
    pins = Pins(store)
    pins.add("job", [one.hash])
    pins.add("job", [one.hash])
    pins.add("second", [one.hash])
    assert store.evict(0) == 1
    assert (store.find(one.hash) is not None, store.find(other.hash)) == (True, None)
    pins.drop("job")
    assert store.evict(0) == 0
    pins.drop("second")
    assert store.evict(0) == 1


def test_nothing_is_evicted_before_all_that_is_needed_is_pinned(tmp_path, monkeypatch):
    """A peer that starts anew reads what its jobs refer to, which takes a while."""
    monkeypatch.setattr("meshwit.peer.blobs.store._FRESH_S", -1.0)
    store = BlobStore(tmp_path)
    store.hold()
    blob = store.put(b"a frame")
    assert store.evict(0) == 0
    pins = Pins(store)
    pins.complete()
    assert store.evict(0) == 1
    assert store.find(blob.hash) is None


def test_a_file_of_another_size_is_not_the_blob(tmp_path):
    """After a power cut its name may be there, and not its bytes."""
    store = BlobStore(tmp_path)
    blob = store.put(b"a frame")
    store.path(blob).write_bytes(b"")
    assert store.find(blob.hash, blob.size) is None
    with pytest.raises(FileNotFoundError):
        store.path(blob)
    assert store.put(b"a frame") == blob
    assert store.path(blob).read_bytes() == b"a frame"
