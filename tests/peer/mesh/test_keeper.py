"""The membership while a peer runs: judged by what is known now, on disk, and told to whoever has to act on it."""

from __future__ import annotations

import os
import time

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshwit.peer.mesh.keeper import MembershipKeeper, hash_of_mesh
from meshwit.peer.mesh.profile import MemberProfile, encode
from meshwit.peer.trust.certificates import encode_chain, issue
from meshwit.peer.trust.errors import TrustError
from meshwit.peer.trust.keys import verify
from meshwit.peer.trust.membership import found_mesh, with_expulsion
from meshwit.peer.trust.store import Home
from meshwit.records import signed_record
from tests.peer.trust.small_mesh import admitted, device


@pytest.fixture
def profile(tmp_path):
    with Home(tmp_path).profile() as found:
        yield found


@pytest.fixture
def keeper(profile):
    membership = found_mesh(profile.key, "home", time.time(), os.urandom, device_name="ada")
    profile.save_membership(membership)
    return MembershipKeeper(profile, membership)


def chain_of(keeper, name: str, *, by=None):
    membership = keeper.membership
    certificate = issue(by or keeper.signer, membership.mesh, device(name).public_key, name, time.time())
    return (*membership.chain, certificate)


def member_record(chain, name: str = "bob") -> bytes:
    return encode(MemberProfile(name=name, chain=encode_chain(chain)))


def test_in_no_mesh_nobody_is_a_member_and_nothing_is_told(profile):
    keeper = MembershipKeeper(profile, None)
    assert keeper.chain == b"" and keeper.mesh_hash(b"salt") == b"\0" * 32
    assert keeper.admits(b"", b"x" * 32) and not keeper.is_expelled(device("bob").id)
    for asked in (lambda: keeper.membership, lambda: keeper.mesh, keeper.secrets, keeper.secrets_for_members):
        with pytest.raises(TrustError, match="in no mesh"):
            asked()


def test_members_are_admitted_by_chain_and_key(keeper):
    chain = chain_of(keeper, "bob")
    raw = encode_chain(chain)
    assert keeper.admits(raw, device("bob").public_key) == ""
    assert "another device" in keeper.admits(raw, device("eve").public_key)
    assert keeper.admits(b"garbage", device("bob").public_key)
    assert keeper.admits(b"", device("bob").public_key)


def test_a_profile_makes_its_owner_a_member_and_nobody_else(keeper):
    chain = chain_of(keeper, "bob")
    assert keeper.admits_profile(device("bob").id, member_record(chain)) == ""
    assert "another device" in keeper.admits_profile(device("eve").id, member_record(chain))
    assert keeper.admits_profile(device("bob").id, member_record(chain_of(keeper, "bob", by=device("eve"))))
    assert keeper.admits_profile(device("bob").id, member_record(()))
    assert "malformed" in keeper.admits_profile(device("bob").id, b"")


@given(st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_no_profile_raises(keeper, raw):
    assert keeper.admits_profile(device("bob").id, raw)
    assert keeper.admits_profile(device("bob").id, encode(MemberProfile(name="bob", chain=raw)))


def test_an_expulsion_counts_is_on_disk_and_is_told_once(keeper, profile):
    told = []
    on_disk = []
    keeper.on_change.append(told.append)
    keeper.on_change.append(lambda after: on_disk.append(profile.load_membership() == after))
    bob = chain_of(keeper, "bob")
    before = keeper.secrets()[0]
    record = keeper.expel(device("bob").id, {device("bob").id: bob})
    assert keeper.is_expelled(device("bob").id)
    assert "expelled" in keeper.admits(encode_chain(bob), device("bob").public_key)
    assert keeper.admits_profile(device("bob").id, member_record(bob))
    assert told == [keeper.membership] and on_disk == [True]
    assert keeper.secrets()[0] != before and before in keeper.secrets(), "what is on its way is still read"
    assert not keeper.secret_is_stale
    assert not keeper.add_expulsions([record, record]) and len(told) == 1


def test_who_came_in_through_the_expelled_is_out_unless_named(keeper):
    bob = chain_of(keeper, "bob")
    cid = admitted(bob, "bob", "cid")
    eve = admitted(bob, "bob", "eve")
    keeper.expel(device("bob").id, {device("bob").id: bob, device("cid").id: cid})
    assert keeper.admits(encode_chain(cid), device("cid").public_key) == ""
    assert keeper.admits(encode_chain(eve), device("eve").public_key)


def test_records_that_are_no_expulsions_change_nothing(keeper):
    told = []
    keeper.on_change.append(told.append)
    stranger = signed_record(device("eve"), f"expel:{device('bob').id}", 1, b"\x93garbage")
    assert not keeper.add_expulsions([stranger, msgspec.structs.replace(stranger, signature=b"\0" * 64)])
    assert not keeper.add_expulsions([])
    assert not told and not keeper.is_expelled(device("bob").id)


def test_expulsions_of_another_member_are_taken_and_leave_the_secret_stale_until_its_comes(keeper, tmp_path):
    with Home(tmp_path / "other").profile() as profile:
        chain = (
            *keeper.membership.chain,
            issue(keeper.signer, keeper.mesh, profile.key.public_key, "bob", time.time()),
        )
        other = MembershipKeeper(profile, msgspec.structs.replace(keeper.membership, chain=chain))
        cid = chain_of(keeper, "cid")
        record = other.expel(device("cid").id, {device("cid").id: cid})
        assert keeper.add_expulsions([record]) and keeper.is_expelled(device("cid").id) and keeper.secret_is_stale
        assert keeper.add_secrets(other.secrets_for_members()) and not keeper.secret_is_stale
        assert not keeper.add_secrets(other.secrets_for_members())
        assert keeper.secrets()[0] == other.secrets()[0]
        assert keeper.membership.expelled == with_expulsion(keeper.membership, record, verify).expelled


def test_secrets_that_are_none_are_refused_and_change_nothing(keeper):
    before = keeper.membership
    for raw in (b"", b"garbage", msgspec.msgpack.encode([1, 2]), msgspec.msgpack.encode([(b"x", 1, b"y")])):
        with pytest.raises(ValueError, match="no secrets"):
            keeper.add_secrets(raw)
    assert keeper.membership == before


def test_a_disk_that_takes_nothing_does_not_keep_the_expelled_in(keeper, profile):
    told = []
    keeper.on_change.append(told.append)
    profile.release()
    with pytest.raises(TrustError):
        keeper.expel(device("bob").id, {})
    assert keeper.is_expelled(device("bob").id) and len(told) == 1


def test_nobody_expels_himself(keeper):
    with pytest.raises(TrustError, match="leave"):
        keeper.expel(keeper.signer.id, {})


def test_outsiders_see_a_salted_hash_of_the_mesh(keeper):
    assert keeper.mesh_hash(b"one") == hash_of_mesh(keeper.mesh, b"one") != keeper.mesh_hash(b"two")
    assert len(keeper.mesh_hash(b"one")) == 32 and keeper.mesh.encode() not in keeper.mesh_hash(b"one")
