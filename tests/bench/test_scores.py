"""From measurements to scores: proportions, consistency, and what cannot be believed."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwit.bench.scores import (
    ALL_PER_S,
    CLASSES,
    DISK_MB_S,
    GPU_TFLOPS,
    MEMORY_GB_S,
    SINGLE_PER_S,
    Measured,
    best_of,
    decode_scores,
    encode_scores,
    is_plausible,
    median_of_maxima,
    scores_of,
    settled,
)

REFERENCE = Measured(SINGLE_PER_S, ALL_PER_S, MEMORY_GB_S, DISK_MB_S, GPU_TFLOPS, 4, 1e9, 2.0)


def like(**changes):
    return msgspec.structs.replace(REFERENCE, **changes)


def test_the_reference_device_has_100_in_every_class():
    scores = scores_of(REFERENCE, "f")
    assert [scores.of(name) for name in CLASSES] == [100] * 5
    assert (scores.score, scores.fingerprint, scores.measured_at, scores.took_s) == (100, "f", 1e9, 2.0)
    assert scores.value("memory") == (MEMORY_GB_S, "GB/s")


@given(st.floats(0.1, 100))
def test_the_composite_is_proportional_to_work_per_second(factor):
    """Shares by score end together only then; memory, disk and GPU do not bend it."""
    faster = scores_of(like(all_per_s=factor * ALL_PER_S, memory_gb_s=1.0, gpu_tflops=0.0), "f")
    assert faster.score == pytest.approx(100 * factor)


def test_fewer_slots_than_cores_are_less_throughput():
    scores = scores_of(like(all_per_s=3 * SINGLE_PER_S), "f")  # hyperthreads: four do what three would
    assert scores.score_of_slots(1) == pytest.approx(25)
    assert scores.score_of_slots(2) == pytest.approx(50)
    assert scores.score_of_slots(4) == scores.score_of_slots(64) == scores.score == pytest.approx(75)
    assert scores.score_of_slots(0) == 0


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [
        ([5.0, 1.0, 5.0, 2.0, 1.0, 5.0], 5.0),  # slow rounds are others' load
        ([5.0, 4.0, 50.0, 4.0, 4.0, 5.0], 5.0),  # one too fast is a fault of the clock
        ([1.0, 2.0, 3.0, 9.0], 2.5),
        ([7.0], 7.0),
        ([7.0, 9.0], 8.0),
        ([], 0.0),
    ],
)
def test_neither_slow_rounds_nor_one_that_is_too_fast_count(rounds, expected):
    assert median_of_maxima(rounds) == expected


@pytest.mark.parametrize(
    ("single", "everything", "others", "cores", "expected"),
    [
        (100, 400, 0.0, 4, (100, 400)),
        (100, 300, 0.0, 4, (100, 300)),  # hyperthreads or heat: stays
        (100, 200, 0.5, 4, (100, 400)),  # others had half of it
        (100, 300, 0.5, 4, (100, 400)),  # but four cores do at most four times as much
        (100, 20, 1.0, 4, (100, 400)),
        (100, 50, 0.0, 4, (100, 100)),
        (100, 600, 0.0, 4, (150, 600)),  # the one core was measured low
        (100, 50, 0.0, 1, (50, 50)),  # half a core by quota
    ],
)
def test_one_core_and_all_of_them_agree(single, everything, others, cores, expected):
    assert settled(single, everything, others, cores) == pytest.approx(expected)


def test_the_higher_of_several_measurements_counts_class_by_class():
    older = like(single_per_s=600.0, memory_gb_s=10.0, gpu_tflops=99.0, others=0.0)
    newest = like(single_per_s=400.0, disk_mb_s=2.0, measured_at=2e9, took_s=3.0, others=0.5)
    best = best_of([older, newest])
    assert best == like(single_per_s=600.0, measured_at=2e9, took_s=3.0)


def test_what_no_device_can_be_does_not_count():
    broken = like(all_per_s=1e12)
    assert not is_plausible(broken)
    assert not is_plausible(like(single_per_s=0.0))
    assert not is_plausible(like(memory_gb_s=float("nan")))
    assert is_plausible(like(disk_mb_s=0.0, gpu_tflops=0.0))
    assert best_of([broken, REFERENCE]) == REFERENCE


def test_scores_in_gossip():
    assert decode_scores(encode_scores(scores_of(REFERENCE, "f"))) == dict.fromkeys(("score", *CLASSES), 100)


@pytest.mark.parametrize(
    "said", [None, [], {}, {"single": 1.0}, {"score": -1}, {"score": 1e300}, {"score": float("nan")}, {"score": "x"}]
)
def test_a_score_that_cannot_be_is_none(said):
    assert decode_scores(msgspec.msgpack.encode(said)) == {}


@given(st.binary())
def test_no_bytes_from_others_raise(payload):
    decode_scores(payload)
