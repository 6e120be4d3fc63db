"""What people are shown of the peers: in order, with shares that add up, whatever the others said of themselves."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwit.ids import id_text, short
from meshwit.peer.control.api import PeerView
from meshwit.peer.mesh.profile import LoadProfile, MemberProfile, decode, encode
from meshwit.peer.mesh.view import KnownPeer, named, peer_views
from tests.peer.mesh.test_profile import MEMBERS


def an_id(name: str) -> str:
    return id_text(name.encode().ljust(20, b"."))


def known(name: str, *, score: float = 100.0, cores: int = 4, slots: int = 4, **fields) -> KnownPeer:
    member = MemberProfile(
        name=name, chain=b"", meshwit="1.0", slots=slots, capabilities={"cpu.cores": cores, "memory": 2**33}
    )
    fields = {"member": member, "scores": {"score": score, "single": 50.0}} | fields
    return KnownPeer(id=an_id(name), **fields)


def test_this_device_comes_first_then_the_living_by_score_then_the_others():
    views = peer_views(
        [known("dead", state="dead", score=900.0), known("slow", score=10.0), known("left", state="left"),
         known("fast", score=500.0), known("unsure", state="suspect", score=700.0), known("me", me=True, score=1.0)],
        "1.0",
    )  # fmt: skip
    assert [view.name for view in views] == ["me", "fast", "slow", "unsure", "left", "dead"]


def test_shares_are_by_score_and_slots_of_those_that_work():
    views = {
        view.name: view.share
        for view in peer_views(
            [known("whole", me=True), known("half", slots=2), known("dead", state="dead"),
             known("resting", load=LoadProfile(resting="on battery")), known("unmeasured", scores={}),
             known("unsure", state="suspect", score=50.0)],
            "1.0",
        )
    }  # fmt: skip
    assert views == pytest.approx(
        {"whole": 0.5, "half": 0.25, "unsure": 0.25, "dead": 0, "resting": 0, "unmeasured": 0}
    )


def test_more_slots_than_cores_are_no_more_than_all_of_it():
    views = {view.name: view.share for view in peer_views([known("many", slots=99), known("even")], "1.0")}
    assert views == pytest.approx({"many": 0.5, "even": 0.5})


def test_where_nobody_was_measured_nobody_has_a_share():
    assert [view.share for view in peer_views([known("a", scores={}), known("b", scores={})], "1.0")] == [0, 0]


def test_one_of_whom_only_the_address_book_knows_has_its_name_from_there():
    (view,) = peer_views([KnownPeer(id=an_id("den"), state="dead", remembered_name="den")], "1.0")
    assert view.name == "den" and view.score == 0
    (view,) = peer_views([KnownPeer(id=an_id("den"), state="dead")], "1.0")
    assert view.name == short(an_id("den"))


def test_notes_tell_what_is_worth_a_word():
    old = MemberProfile(name="old", chain=b"", meshwit="0.9", open=True)
    views = {
        view.name: view.note
        for view in peer_views(
            [known("fine"), known("resting", load=LoadProfile(resting="on battery")), known("old", member=old)], "1.0"
        )
    }
    assert views["fine"] == "" and views["resting"] == "on battery"
    assert "0.9" in views["old"] and "lets everybody in" in views["old"]


def test_gpus_are_named_with_their_number():
    def gpus(**capabilities):
        member = MemberProfile(name="den", chain=b"", capabilities=capabilities)
        return peer_views([known("den", member=member)], "1.0")[0].gpus

    assert gpus(**{"gpu.name": "H200", "gpu.count": 1}) == ["H200"]
    assert gpus(**{"gpu.name": "H200", "gpu.count": 8}) == ["8 x H200"]
    assert gpus(**{"gpu.name": "H200", "gpu.count": "many"}) == ["H200"]
    assert gpus(**{"gpu.name": 7}) == gpus() == []


@given(MEMBERS, st.sampled_from(["cpu.cores", "memory", "gpu.count", "gpu.name"]),
       st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=50))  # fmt: skip
def test_whatever_peers_say_the_views_cross_to_the_command_line(member, name, value):
    """As JSON, in which true is no number and there is no infinity."""
    said = msgspec.structs.replace(member, capabilities={**member.capabilities, name: value})
    told = decode(encode(said), MemberProfile)
    views = peer_views([known("me", me=True), known("other", member=told)], "1.0")
    assert msgspec.json.decode(msgspec.json.encode(views), type=list[PeerView]) == views
    assert sum(view.share for view in views) == pytest.approx(1)


# --- names -------------------------------------------------------------------------------------------------------


def views(*names: str) -> list[PeerView]:
    return [PeerView(id=an_id(f"{name}{place}"), name=name) for place, name in enumerate(names)]


def test_a_name_means_who_has_it_whole_else_who_begins_with_it():
    peers = views("den", "den-2", "eve")
    assert [one.name for one in named("den", peers)] == ["den"]
    assert [one.name for one in named(" DEN ", peers)] == ["den"]
    assert [one.name for one in named("den-", peers)] == ["den-2"]
    assert [one.name for one in named("e", peers)] == ["eve"]
    assert [one.name for one in named("d", peers)] == ["den", "den-2"]
    assert named("adam", peers) == named("", peers) == named("  ", peers) == []


def test_peers_of_one_name_are_told_apart_by_their_ids():
    peers = views("den", "den")
    assert named("den", peers) == peers
    for peer in peers:
        assert named(peer.id, peers) == named(short(peer.id).upper(), peers) == [peer]
    first = views("ada", "bob")
    assert named(first[0].id[:20], first) == [first[0]]


def test_nobody_hides_behind_the_id_of_another_as_a_name():
    victim, thief = views("den", "eve")
    thief = msgspec.structs.replace(thief, name=short(victim.id))
    assert named(short(victim.id), [thief, victim]) == [victim]
    thief = msgspec.structs.replace(thief, name=victim.id)
    assert named(victim.id, [thief, victim]) == [victim]
