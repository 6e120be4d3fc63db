"""Protects the mesh's secrets: the newest seals, the previous opens for a moment, none from nowhere is taken."""

import contextlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_mesh import NOW, by_id, chance, device, founded, grown

from meshwit.ids import mesh_id
from meshwit.peer.trust.certificates import encode_chain
from meshwit.peer.trust.keys import verify
from meshwit.peer.trust.membership import (
    SECRET_AHEAD_MAX_S,
    SECRETS_MAX,
    MeshSecret,
    admits,
    datagram_secrets,
    encode_secrets,
    expel,
    found_mesh,
    merge_secrets,
    renew_secret,
    secret_is_stale,
    with_expulsions,
    with_secret,
)

HOME = founded()


def made(number, at=NOW):
    return MeshSecret(bytes([number]) * 8, int(at), bytes([number]) * 32)


def test_a_founder_is_the_first_member_of_its_mesh():
    assert HOME.name == "ada" and HOME.mesh_name == "home" and HOME.id == device("ada").id
    assert HOME.mesh == mesh_id(HOME.mesh_key) != HOME.id
    assert admits(HOME, HOME.chain, device("ada").public_key, NOW) == ""
    assert admits(HOME, encode_chain(HOME.chain), device("ada").public_key, NOW) == ""
    assert not secret_is_stale(HOME)


def test_two_meshes_of_one_name_are_two():
    other = founded("bob")
    assert other.mesh != HOME.mesh
    assert "another mesh" in admits(HOME, other.chain, device("bob").public_key, NOW)


def test_bytes_that_are_no_chain_admit_nobody():
    assert admits(HOME, b"\xc1", device("ada").public_key, NOW)
    assert admits(HOME, b"", device("ada").public_key, NOW) == "there is no certificate"


@pytest.mark.parametrize("name", ["", "my home", "-home"])
def test_a_mesh_has_a_name_that_can_be_typed(name):
    with pytest.raises(ValueError, match="no name for a mesh"):
        found_mesh(device("ada"), name, NOW, chance(1))


def test_the_previous_secret_opens_for_ten_seconds_after_a_newer_came():
    after = with_secret(HOME, made(9, NOW + 50), NOW + 100)
    old = HOME.secrets[0]
    assert datagram_secrets(HOME, NOW) == (old,)
    assert datagram_secrets(after, NOW + 109) == (made(9, NOW + 50), old)
    assert datagram_secrets(after, NOW + 110) == (made(9, NOW + 50),)


def test_an_older_secret_changes_nothing_of_what_seals():
    after = with_secret(HOME, made(9, NOW - 50), NOW + 100)
    assert datagram_secrets(after, NOW + 101) == HOME.secrets
    assert with_secret(after, made(9, NOW - 50), NOW + 200) is after


@settings(deadline=None)
@given(st.permutations([made(1), made(2), made(3, NOW + 1), made(4, NOW - 1), made(5, NOW + 1)]))
def test_secrets_come_in_any_order_and_all_agree_on_the_newest(order):
    after = HOME
    for each in order:
        after = with_secret(after, each, NOW)
    assert after.secrets[0] == made(5, NOW + 1) and len(after.secrets) == SECRETS_MAX


def test_a_new_secret_is_newer_whatever_the_clock_says():
    after = renew_secret(HOME, 0, bytes(40))
    assert after.secrets[0].created_at == HOME.secrets[0].created_at + 1


def test_secrets_cross_a_link():
    renewed = renew_secret(HOME, NOW + 1, bytes(range(40)))
    assert merge_secrets(HOME, encode_secrets(renewed), NOW + 2).secrets == renewed.secrets


def test_attack_a_secret_from_the_far_future_would_rule_for_ever():
    poison = msgspec.msgpack.encode((made(9, NOW + SECRET_AHEAD_MAX_S + 1),))
    assert merge_secrets(HOME, poison, NOW) == HOME


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xc1",
        msgspec.msgpack.encode([[b"short", 1, b"k" * 32]]),
        msgspec.msgpack.encode([[b"i" * 8, 1, b"short"]]),
        msgspec.msgpack.encode([[b"i" * 8, -1, b"k" * 32]]),
        msgspec.msgpack.encode([[b"i" * 8, number, b"k" * 32] for number in range(50)]),
    ],
)
def test_attack_malformed_secrets(raw):
    with pytest.raises(ValueError, match="no secrets"):
        merge_secrets(HOME, raw, NOW)


@settings(deadline=None)
@given(st.binary(max_size=120))
def test_any_bytes_are_secrets_or_a_value_error(raw):
    with contextlib.suppress(ValueError):
        assert merge_secrets(HOME, raw, NOW).mesh == HOME.mesh


def test_two_expulsions_at_once_leave_a_secret_that_is_known_to_be_stale():
    """Ada expels cid while bob, who has not heard it, expels dan and gives his new secret to cid."""
    chains = grown(HOME, ("ada", "bob"), ("ada", "cid"), ("ada", "dan"))
    bobs = msgspec.structs.replace(HOME, chain=chains["bob"])
    one, first = expel(HOME, device("ada"), device("cid").id, by_id(chains), NOW, bytes(40))
    two, second = expel(bobs, device("bob"), device("dan").id, by_id(chains), NOW + 1, bytes(range(40)))
    both = with_expulsions(merge_secrets(one, encode_secrets(two), NOW + 2), (first, second), verify)
    assert both.secrets[0] == two.secrets[0] and secret_is_stale(both)
    assert not secret_is_stale(renew_secret(both, NOW + 3, bytes(40)))
