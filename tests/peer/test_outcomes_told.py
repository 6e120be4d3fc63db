"""What a job came to crosses to another peer as it is."""

from __future__ import annotations

import pytest

from meshwit.codec import Codec, CodecError
from meshwit.lang.control import Failure
from meshwit.outcome import JobError, JobState, Outcome
from meshwit.peer.blobs.store import BlobStore
from meshwit.peer.control.job_script import JobScript
from meshwit.peer.watch.outcomes import blobs_of, outcome_of, outcome_told


def test_results_of_steps_that_did_not_end_cross_as_well(tmp_path):
    failure = Failure("5 is bad")
    error = JobError(failure.message, 3, failure, "a.wit")
    store = BlobStore(tmp_path)
    blob = store.put(b"a picture")
    outcome = Outcome(
        JobState.FAILED, {"n": 1, "none": None, "picture": blob}, [2], ["told"], error, {"xs": {0: 4, 7: 5}}
    )
    codec = Codec([store.wire_type()])
    told, buffers = outcome_told(1, JobScript("text", "a.wit", "Main"), outcome, codec)
    assert not told.why
    assert outcome_of(told, buffers, codec) == outcome
    assert blobs_of(buffers) == [(blob.hash, blob.size)]


@pytest.mark.parametrize("buffers", [[], [b""], [b"\xc1"], [b"\x93\x01\x02\x03"]])
def test_attack_an_outcome_without_its_blobs_is_refused(buffers):
    with pytest.raises(CodecError):
        blobs_of(buffers)
