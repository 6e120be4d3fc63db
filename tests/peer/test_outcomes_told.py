"""What a job came to crosses to another peer as it is."""

from __future__ import annotations

from meshwit.codec import Codec
from meshwit.lang.control import Failure
from meshwit.outcome import JobError, JobState, Outcome
from meshwit.peer.control.job_script import JobScript
from meshwit.peer.watch.outcomes import outcome_of, outcome_told


def test_results_of_steps_that_did_not_end_cross_as_well():
    failure = Failure("5 is bad")
    error = JobError(failure.message, 3, failure, "a.wit")
    outcome = Outcome(JobState.FAILED, {"n": 1, "none": None}, [2], ["told"], error, {"xs": {0: 4, 7: 5}})
    codec = Codec([])
    told, buffers = outcome_told(1, JobScript("text", "a.wit", "Main"), outcome, codec)
    assert not told.why
    assert outcome_of(told, buffers, codec) == outcome
