"""Protects tokens: whole, of one mesh, expiring; and read in plain words when they are not."""

import base64
import hashlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_mesh import NOW, chance, device, founded

from meshwit.peer.trust.certificates import CertificateKind, chain_fault
from meshwit.peer.trust.invites import ADDRESSES_MAX, PREFIX, make_token, read_token

HOME = founded()
PLACES = [("192.168.1.2", 4100), ("fe80::1%eth0", 4100)]
TOKEN = make_token(HOME, device("ada"), NOW, 24, PLACES, chance("token"))


def test_a_token_says_where_and_into_what():
    token = read_token(TOKEN, NOW)
    assert token.mesh == HOME.mesh and token.mesh_name == "home" and list(token.addresses) == PLACES
    assert token.expires_at == NOW + 24 * 3600


def test_the_key_of_a_token_is_no_member():
    token = read_token(TOKEN, NOW)
    assert chain_fault(token.chain, HOME.mesh, token.key.public_key, NOW, {}, kind=CertificateKind.INVITE) == ""
    assert chain_fault(token.chain, HOME.mesh, token.key.public_key, NOW, {}) == "an invite is no membership"


def test_each_token_has_a_key_of_its_own():
    other = make_token(HOME, device("ada"), NOW, 24, PLACES, chance("another"))
    assert read_token(other, NOW).seed != read_token(TOKEN, NOW).seed


def test_a_token_survives_mail_and_shouting():
    broken = "\r\n".join(TOKEN[at : at + 60] for at in range(0, len(TOKEN), 60))
    assert read_token(f"  {broken.upper()} \n", NOW) == read_token(TOKEN, NOW)


def test_a_token_is_one_word_for_a_shell():
    assert TOKEN.startswith(PREFIX) and TOKEN.isalnum() and TOKEN.islower() and len(TOKEN) < 700


def test_addresses_are_bounded():
    many = make_token(HOME, device("ada"), NOW, 1, PLACES * 20, chance(1))
    assert len(read_token(many, NOW).addresses) == ADDRESSES_MAX


def test_attack_an_expired_token():
    with pytest.raises(ValueError, match="has expired, 2 days ago: ask for another"):
        read_token(TOKEN, NOW + 3 * 86_400)


@pytest.mark.parametrize("hours", [0, -1, 24 * 400])
def test_a_token_is_neither_eternal_nor_void(hours):
    with pytest.raises(ValueError, match="good for up to"):
        make_token(HOME, device("ada"), NOW, hours, PLACES, chance(1))


@settings(deadline=None)
@given(st.integers(len(PREFIX), len(TOKEN) - 1), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_attack_a_token_with_one_letter_changed(at, letter):
    changed = TOKEN[:at] + letter + TOKEN[at + 1 :]
    if changed != TOKEN and at < len(TOKEN) - 1:  # the last letter has bits to spare
        with pytest.raises(ValueError, match="damaged"):
            read_token(changed, NOW)


@pytest.mark.parametrize(
    "text", ["", "meshwit1", TOKEN[:-20], TOKEN[:40], "meshwit1" + "a" * 30_000, "41-otter-violin", "meshwit1ö"]
)
def test_what_is_no_token_is_said_in_plain_words(text):
    with pytest.raises(ValueError, match="invite"):
        read_token(text, NOW)


@settings(deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_a_token_or_a_value_error(text):
    for each in (text, PREFIX + text):
        with pytest.raises(ValueError, match="invite"):
            read_token(each, NOW)


def test_attack_a_token_with_the_chain_of_a_member_and_a_key_of_ones_own():
    """The checksum is no protection, and is not meant to be one: what counts is the chain."""
    raw = base64.b32decode(TOKEN[len(PREFIX) :].upper() + "=" * (-len(TOKEN[len(PREFIX) :]) % 8))
    content = msgspec.msgpack.decode(raw[:-4])
    content[2] = bytes(32)
    forged = msgspec.msgpack.encode(content)
    check = hashlib.sha256(b"meshwit invite 1\0" + forged).digest()[:4]
    with pytest.raises(ValueError, match="for another device"):
        read_token(PREFIX + base64.b32encode(forged + check).decode().rstrip("="), NOW)
