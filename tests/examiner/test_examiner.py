"""Jobs outlive their leaders: random ones, on five real peers that are killed, frozen and started again all the while.

Each comes to what a serial interpreter comes to; none is lost, and whoever asks is told the same. More of them, and
other ones: `python -m tests.examiner --jobs 2000 --seed 7`.
"""

from __future__ import annotations

import pytest

from tests.examiner.examining import examine, exercise

JOBS = 200


@pytest.fixture
def told(capsys):
    """Figures, for whoever reads the log of a run."""

    def tell(text: object) -> None:
        with capsys.disabled():
            print(f"\n{text}")

    return tell


def test_random_jobs_survive_what_befalls_their_peers(tmp_path, told):
    figures = examine(tmp_path, JOBS, seed=1)
    told(figures)
    assert figures.jobs == JOBS
    assert figures.runs < 1.5 * figures.calls, "what is recorded is not run again"
    assert figures.disturbances["kill"] and figures.disturbances["freeze"] and figures.disturbances["worker"]


def test_the_exercises_have_all_that_is_to_be_examined():
    texts = [exercise(seed, 1) for seed in range(JOBS)]
    for part in ("Parallel.", "Catch", "Retries: 1", "Skip", "NewGuid", "Timer", "Exam.Second", "=> Job"):
        assert sum(part in each.text for each in texts) > JOBS // 20, part
    assert {each.expected.ending.state for each in texts} == {"completed", "failed"}
