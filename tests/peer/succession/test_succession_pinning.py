"""Blobs of kept jobs stay on the device as long as the jobs are kept, and no longer."""

from __future__ import annotations

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
