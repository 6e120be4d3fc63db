"""How slots are shared out: never more than there are, fairly, the important first, and everybody in his turn."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from meshwit.peer.work.sharing import Claim, shared_out

MANY = 1_000_000

claims_of_many = st.dictionaries(
    st.integers(0, 20),
    st.builds(Claim, st.sampled_from("abcd"), st.integers(-1, 1), st.sampled_from([0, 1, 2, 5, MANY])),
    max_size=10,
)


@given(st.integers(0, 16), claims_of_many, st.integers(0, 100))
def test_slots_are_never_overbooked_and_none_is_left_that_somebody_could_use(slots, claims, turn):
    granted = shared_out(slots, claims, turn)
    assert granted.keys() == claims.keys()
    assert all(0 <= granted[key] <= claim.slots_max for key, claim in claims.items())
    assert sum(granted.values()) == min(slots, sum(claim.slots_max for claim in claims.values()))


@given(st.integers(0, 16), claims_of_many, st.integers(0, 100))
def test_who_has_less_than_another_of_its_rank_cannot_use_more(slots, claims, turn):
    """Max-min fairness among jobs: only by one slot, which cannot be halved, may one have more."""
    granted = shared_out(slots, claims, turn)
    jobs = Counter[tuple[int, object]]()
    for key, claim in claims.items():
        jobs[claim.priority, claim.job] += granted[key]
    for key, claim in claims.items():
        if granted[key] == claim.slots_max:
            continue
        for (priority, _), slots_of_job in jobs.items():
            if priority == claim.priority:
                assert slots_of_job <= jobs[claim.priority, claim.job] + 1
            if priority < claim.priority:
                assert slots_of_job == 0


def test_jobs_have_equal_shares_whatever_the_number_of_their_steps():
    claims = {"one": Claim("a", 0, MANY), "two": Claim("b", 0, MANY), "three": Claim("b", 0, MANY)}
    assert shared_out(8, claims, 0) == {"one": 4, "two": 2, "three": 2}


def test_the_important_goes_first_and_leaves_what_it_cannot_use():
    claims = {"low": Claim("a", 0, MANY), "high": Claim("b", 5, 3)}
    assert shared_out(8, claims, 0) == {"low": 5, "high": 3}
    assert shared_out(2, claims, 0) == {"low": 0, "high": 2}


def test_the_turn_goes_round_where_there_are_more_steps_than_slots():
    claims = {name: Claim(name, 0, MANY) for name in "abcde"}
    had = Counter[str]()
    for turn in range(5):
        had.update(shared_out(2, claims, turn))
    assert had == dict.fromkeys("abcde", 2)


def test_nobody_and_nothing():
    assert shared_out(4, {}, 3) == {}
    assert shared_out(0, {"a": Claim("a", 0, MANY)}, 3) == {"a": 0}
