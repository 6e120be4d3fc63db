"""Rates and rest in the views of peers: from the payloads of records to what people see."""

from __future__ import annotations

import msgspec
import pytest

from meshwit.bench.load import DeviceLoad, may_work
from meshwit.bench.scores import Measured, encode_scores, scores_of
from meshwit.ids import PeerId
from meshwit.peer.mesh import profile
from meshwit.peer.mesh.profile import LoadProfile, MemberProfile, encode
from meshwit.peer.mesh.reports import is_worth_telling
from meshwit.peer.mesh.roster import Roster
from meshwit.peer.mesh.view import peer_views
from meshwit.peer.rates import Rate, encode_rates, rate_text

ADA, BOB = PeerId("a" * 32), PeerId("b" * 32)
MEASURED = Measured(350.0, 700.0, 20.0, 1000.0, 0.0, 2, 1.7e9, 1.0)


@pytest.fixture
def roster():
    """Two peers of equal strength."""
    made = Roster()
    for peer in (ADA, BOB):
        made.learn(peer, profile.MEMBER, encode(MemberProfile(peer[0], b"", slots=4, capabilities={"cpu.cores": 4})))
        made.learn(peer, profile.SCORE, encode_scores(scores_of(MEASURED, "")))
        made.learn(peer, profile.LOAD, encode(LoadProfile(free_slots=4)))
    return made


def views(roster):
    """By id."""
    return {one.id: one for one in peer_views([roster.known(ADA, me=True), roster.known(BOB)], "1")}


def rate(activity, per_s, unit="work/s"):
    return Rate(activity, "1", per_s, unit, 1.0)


def test_rates_are_shown_with_their_units(roster):
    roster.learn(BOB, profile.RATES, encode_rates([rate("B.Y", 520_000.0), rate("A.X", 9.812, "tasks/s")]))

    assert views(roster)[BOB].rates == {"A.X": "9.81 tasks/s", "B.Y": "0.52 M work/s"}
    assert views(roster)[ADA].rates == {}


def test_rates_are_replaced_and_withdrawn_as_a_whole(roster):
    roster.learn(BOB, profile.RATES, encode_rates([rate("A.X", 1.0)]))
    roster.learn(BOB, profile.RATES, encode_rates([rate("B.Y", 2.0)]))
    assert views(roster)[BOB].rates == {"B.Y": "2 work/s"}

    roster.learn(BOB, profile.RATES, b"")
    assert views(roster)[BOB].rates == {}


@pytest.mark.parametrize("lie", [b"\xc1", msgspec.msgpack.encode({"A": [-1.0, "work/s"], "B": [1e30, "tasks/s"]})])
def test_rates_that_cannot_be_are_not_shown(roster, lie):
    roster.learn(BOB, profile.RATES, lie)

    assert views(roster)[BOB].rates == {}


def test_a_name_of_another_peer_is_fit_for_a_terminal(roster):
    roster.learn(BOB, profile.RATES, msgspec.msgpack.encode({"A\x1b[31m": [1.0, "work/s"]}))

    assert list(views(roster)[BOB].rates) == ["A?[31m"]


@pytest.mark.parametrize(
    ("per_s", "text"),
    [
        (0.0005, "0.0005"), (0.52, "0.52"), (9.8, "9.8"), (12.345, "12.3"), (520.4, "520"), (99_400.0, "99,400"),
        (520_000.0, "0.52 M"), (9_331_954.3, "9.33 M"), (2.5e9, "2.5 G"), (7.77e15, "7,770 T"),
    ],
)  # fmt: skip
def test_three_digits_tell_a_rate(per_s, text):
    assert rate_text(per_s, "work/s") == f"{text} work/s"


# --- peers whose owners let them rest --------------------------------------------------------------------------

LOAD = DeviceLoad(busy_cores=0.0, cores=4, memory_available=1 << 30)
RESTING = [
    ("plugged-in", {"battery": 0.42, "plugged_in": False}, "it runs on battery (42%)"),
    ("plugged-in", {}, "this system does not tell whether the device is plugged in"),
    ("idle", {"idle_s": 3.0}, "somebody uses it"),
    ("idle", {}, "this system does not tell when the device was last used"),
]
WORKING = [
    ("always", {"battery": 0.01, "plugged_in": False, "idle_s": 0.0}),
    ("plugged-in", {"battery": 0.42, "plugged_in": True}),
    ("idle", {"idle_s": 301.0}),
]


@pytest.mark.parametrize(("when", "load", "reason"), RESTING)
def test_a_peer_that_rests_says_why_and_has_no_part_in_the_work(roster, when, load, reason):
    resting = may_work(when, msgspec.structs.replace(LOAD, **load))
    roster.learn(BOB, profile.LOAD, encode(LoadProfile(free_slots=0, resting=resting)))

    found = views(roster)
    assert found[BOB].note.startswith(reason)
    assert (found[BOB].free_slots, found[BOB].share) == (0, 0.0)
    assert (found[ADA].note, found[ADA].free_slots, found[ADA].share) == ("", 4, 1.0)


@pytest.mark.parametrize(("when", "load"), WORKING)
def test_a_peer_that_may_work_does(when, load):
    assert may_work(when, msgspec.structs.replace(LOAD, **load)) == ""


def test_the_reason_is_not_told_of_a_peer_that_is_gone(roster):
    """It rests no more."""
    roster.learn(BOB, profile.LOAD, encode(LoadProfile(resting="it runs on battery")))

    gone = peer_views([roster.known(ADA, me=True), roster.known(BOB, state="dead")], "1")[1]
    assert gone.note == ""


def test_that_a_peer_begins_to_rest_is_told_at_once_and_that_its_battery_drains_is_not():
    """Whoever would send it work must know; the charge in the reason changes all the time."""
    works, rests = LoadProfile(free_slots=4), LoadProfile(free_slots=0, resting="it runs on battery (42%)")

    assert is_worth_telling(works, rests, age_s=2.0)
    assert not is_worth_telling(rests, msgspec.structs.replace(rests, resting="it runs on battery (41%)"), age_s=2.0)
