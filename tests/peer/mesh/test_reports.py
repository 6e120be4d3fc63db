"""A peer tells its load at once when somebody would decide otherwise, and keeps silent about trifles."""

from __future__ import annotations

import msgspec
import pytest

from meshwit.peer.mesh.profile import LoadProfile
from meshwit.peer.mesh.reports import REFRESH_S, SPACING_S, is_worth_telling

TOLD = LoadProfile(free_slots=8, busy_cores=2.0, memory_free=8 << 30, battery=0.8, plugged_in=False, temperature_c=50.0)


def changed(**fields) -> LoadProfile:
    return msgspec.structs.replace(TOLD, **fields)


def test_the_first_report_is_told():
    assert is_worth_telling(None, TOLD, 0.0)


def test_what_has_not_changed_is_told_again_seldom():
    assert not is_worth_telling(TOLD, TOLD, REFRESH_S - 1)
    assert is_worth_telling(TOLD, TOLD, REFRESH_S)


@pytest.mark.parametrize(
    "now",
    [
        changed(free_slots=7), changed(jobs=1), changed(resting="somebody uses it"), changed(plugged_in=True),
        changed(busy_cores=3.5), changed(memory_free=5 << 30), changed(battery=0.6), changed(battery=None),
        changed(temperature_c=70.0), changed(temperature_c=None),
    ],
)  # fmt: skip
def test_what_others_decide_by_is_told_at_once_but_not_all_the_time(now):
    assert is_worth_telling(TOLD, now, SPACING_S)
    assert is_worth_telling(now, TOLD, SPACING_S)
    assert not is_worth_telling(TOLD, now, SPACING_S / 2)


@pytest.mark.parametrize(
    "now",
    [changed(busy_cores=2.9), changed(memory_free=(8 << 30) - (1 << 29)), changed(battery=0.75),
     changed(temperature_c=60.0)],
)  # fmt: skip
def test_trifles_are_not_told(now):
    assert not is_worth_telling(TOLD, now, REFRESH_S - 1)


def test_a_large_device_has_larger_trifles():
    busy = changed(busy_cores=60.0, memory_free=512 << 30)
    assert not is_worth_telling(busy, changed(busy_cores=70.0, memory_free=450 << 30), 10.0)


def test_the_numbers_in_a_reason_to_rest_are_no_news():
    first, later = changed(resting="somebody used it 3 s ago"), changed(resting="somebody used it 9 s ago")
    assert not is_worth_telling(first, later, 10.0)
