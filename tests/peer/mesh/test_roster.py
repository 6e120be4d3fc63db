"""What peers last told of themselves: read once, replaced by what comes later, gone when they are."""

from __future__ import annotations

import hashlib

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from meshwit.bench.scores import Measured, encode_scores, scores_of
from meshwit.ids import id_text
from meshwit.peer.mesh import profile
from meshwit.peer.mesh.profile import LoadProfile, MemberProfile, PendingProfile, encode
from meshwit.peer.mesh.roster import TOPICS, Roster
from meshwit.peer.trust.certificates import encode_chain
from tests.peer.trust.small_mesh import founded

DEN = id_text(b"den".ljust(20, b"."))
EVE = id_text(b"eve".ljust(20, b"."))
SCORES = encode_scores(scores_of(Measured(350.0, 700.0, 20.0, 1000.0, 0.0, 2, 0.0, 1.0), ""))


def told(**fields) -> bytes:
    return encode(MemberProfile(**{"name": "den", "chain": b""} | fields))


def test_all_that_was_told_is_known():
    roster = Roster()
    roster.learn(DEN, profile.MEMBER, told(slots=4))
    roster.learn(DEN, profile.LOAD, encode(LoadProfile(free_slots=3)))
    roster.learn(DEN, profile.SCORE, SCORES)
    known = roster.known(DEN, state="suspect", heard_s=2.0)
    assert (known.member.name, known.member.slots, known.load.free_slots) == ("den", 4, 3)
    assert known.scores["score"] > 0 and known.state == "suspect" and known.heard_s == 2.0
    assert roster.name(DEN) == "den" and roster.member(DEN) == known.member


def test_of_a_stranger_nothing_is_known():
    roster = Roster()
    assert roster.name(DEN) == "" and roster.member(DEN) is None
    assert roster.known(DEN, remembered_name="den").remembered_name == "den"
    assert list(roster.pending()) == [] and roster.chains() == {}


def test_what_was_withdrawn_is_unknown_again_but_who_it_is_stays_known():
    roster = Roster()
    roster.learn(DEN, profile.MEMBER, told())
    roster.learn(DEN, profile.LOAD, encode(LoadProfile(free_slots=3)))
    roster.learn(DEN, profile.SCORE, SCORES)
    roster.learn(DEN, profile.PENDING, encode(PendingProfile((("id", "bob", "otter violin"),))))
    for topic in TOPICS:
        roster.learn(DEN, topic, b"")
    known = roster.known(DEN)
    assert known.load is None and known.scores == {} and known.rates == {} and not list(roster.pending())
    assert roster.name(DEN) == "den"


def test_who_is_forgotten_is_unknown():
    roster = Roster()
    roster.learn(DEN, profile.MEMBER, told())
    roster.forget(DEN)
    roster.forget(DEN)
    assert roster.name(DEN) == "" and roster.known(DEN).member is None


def test_topics_of_others_leave_no_trace():
    """Their owners may be out of view: nobody would ever forget them."""
    roster = Roster()
    for topic in ("jobs", "mesh:news", "expel:abc", ""):
        roster.learn(DEN, topic, b"whatever")
    assert roster._told == {}


@given(st.sampled_from(TOPICS), st.binary(max_size=200))
def test_nothing_that_is_told_raises_and_everything_can_be_shown(topic, payload):
    roster = Roster()
    roster.learn(DEN, profile.MEMBER, told())
    roster.learn(DEN, topic, payload)
    assert roster.name(DEN)
    list(roster.pending())
    roster.chains()
    msgspec.json.encode(roster.known(DEN))


def test_waiting_devices_are_listed_with_the_member_at_which_they_wait():
    roster = Roster()
    roster.learn(DEN, profile.MEMBER, told())
    roster.learn(DEN, profile.PENDING, encode(PendingProfile((("id", "bob", "otter violin"),))))
    ((holder, pending),) = roster.pending()
    assert holder == DEN
    assert (pending.id, pending.name, pending.words, pending.address) == ("id", "bob", "otter violin", "at den")


def test_chains_are_those_of_all_who_told_a_sound_one():
    membership = founded("ada")
    roster = Roster()
    roster.learn(membership.id, profile.MEMBER, told(chain=encode_chain(membership.chain)))
    roster.learn(EVE, profile.MEMBER, told(chain=hashlib.sha256(b"no chain").digest()))
    assert roster.chains() == {membership.id: membership.chain}
