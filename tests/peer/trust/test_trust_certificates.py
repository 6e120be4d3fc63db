"""Protects the chain of certificates: only what a member of this mesh vouched for, unbroken, counts."""

import contextlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_mesh import NOW, admitted, device, founded, grown

from meshwit.ids import mesh_id
from meshwit.peer.trust.certificates import (
    CHAIN_BYTES_MAX,
    CLOCK_TOLERANCE_S,
    DEPTH_MAX,
    NAME_LENGTH_MAX,
    CertificateKind,
    chain_fault,
    clean_name,
    decode_chain,
    encode_chain,
    issue,
    name_fault,
    unique_name,
)

HOME = founded()
CHAINS = grown(HOME, ("ada", "bob"), ("bob", "cid"))


def fault(chain, name="cid", *, now=NOW, expelled=None, mesh=HOME.mesh, kind=CertificateKind.MEMBER):
    return chain_fault(chain, mesh, device(name).public_key, now, expelled or {}, kind=kind)


def changed(chain, index, **fields):
    return (*chain[:index], msgspec.structs.replace(chain[index], **fields), *chain[index + 1 :])


def test_members_are_members():
    assert fault(CHAINS["ada"], "ada") == fault(CHAINS["bob"], "bob") == fault(CHAINS["cid"]) == ""


def test_attack_no_certificate():
    assert fault(()) == "there is no certificate"


def test_attack_a_certificate_of_another_mesh():
    other = grown(founded("eve", "home"), ("eve", "cid"))["cid"]
    assert "another mesh" in fault(other)


def test_attack_another_mesh_that_claims_the_name_of_this_one():
    """The mesh is named in each certificate, but what counts is the key that the first one is signed with."""
    eve = device("eve")
    first = issue(eve, HOME.mesh, eve.public_key, "eve", NOW)
    assert "another mesh" in fault((first,), "eve")


def test_attack_a_certificate_for_another_device():
    assert fault(CHAINS["bob"], "cid") == "the certificate is for another device"


def test_attack_a_forged_signature():
    assert "signature" in fault(changed(CHAINS["cid"], 2, signature=bytes(64)))
    assert "signature" in fault(changed(CHAINS["cid"], 0, signature=CHAINS["cid"][1].signature))


@pytest.mark.parametrize(
    "fields",
    [{"name": "king"}, {"issued_at": 1}, {"expires_at": int(NOW) + 10**6}, {"subject": device("eve").public_key}],
)
@pytest.mark.parametrize("index", [0, 1, 2])
def test_attack_a_certificate_with_one_field_changed(index, fields):
    assert fault(changed(CHAINS["cid"], index, **fields))


def test_attack_a_link_left_out_doubled_or_swapped():
    ada, bob, cid = CHAINS["cid"]
    for chain in ((ada, cid), (bob, cid), (cid,), (ada, bob, bob, cid), (bob, ada, cid)):
        assert fault(chain)


def test_attack_a_member_signed_by_a_stranger_in_the_place_of_a_member():
    eve = device("eve")
    forged = issue(eve, HOME.mesh, device("cid").public_key, "cid", NOW)
    assert fault((*CHAINS["bob"], forged)) == "the chain of certificates is broken"
    posing = msgspec.structs.replace(forged, issuer=device("bob").public_key)
    assert "signature" in fault((*CHAINS["bob"], posing))


def test_attack_an_expired_certificate_with_ten_minutes_for_wrong_clocks():
    chain = admitted(CHAINS["bob"], "bob", "cid", until=NOW + 100)
    assert fault(chain, now=NOW + 100 + CLOCK_TOLERANCE_S) == ""
    assert fault(chain, now=NOW + 101 + CLOCK_TOLERANCE_S) == "the certificate of cid has expired"


def test_attack_a_chain_through_an_expired_member():
    bob = admitted(HOME.chain, "ada", "bob", until=NOW)
    assert "bob has expired" in fault(admitted(bob, "bob", "cid"), now=NOW + 1000)


def test_the_date_of_issue_is_not_judged():
    assert fault(admitted(CHAINS["bob"], "bob", "cid", at=0)) == ""
    assert fault(admitted(CHAINS["bob"], "bob", "cid", at=NOW + 10**9)) == ""


def test_attack_an_invite_is_no_membership_and_certifies_nobody():
    invite = admitted(HOME.chain, "ada", "cid", kind=CertificateKind.INVITE)
    assert fault(invite) == "an invite is no membership"
    assert fault(invite, kind=CertificateKind.INVITE) == ""
    assert "no membership" in fault(admitted(invite, "cid", "dan"), "dan")
    assert fault(CHAINS["cid"], kind=CertificateKind.INVITE) == "a membership is no invite"


def test_a_peer_of_the_same_device_is_a_member_and_may_certify():
    second = admitted(HOME.chain, "ada", "bob", kind=CertificateKind.SAME_DEVICE)
    assert fault(second, "bob") == fault(admitted(second, "bob", "cid")) == ""


def test_attack_a_chain_longer_than_sixteen():
    chain, by = HOME.chain, "ada"
    for number in range(DEPTH_MAX):
        chain, by = admitted(chain, by, f"d{number}"), f"d{number}"
        assert bool(fault(chain, by)) == (len(chain) > DEPTH_MAX)
    with pytest.raises(ValueError, match="longer"):
        decode_chain(encode_chain(admitted(chain, by, "last")))


# --- expelled ----------------------------------------------------------------------------------------------------


def ids(*names):
    return frozenset(device(name).id for name in names)


def test_attack_an_expelled_peer_returns():
    assert fault(CHAINS["bob"], "bob", expelled={device("bob").id: frozenset()}) == "bob was expelled"


def test_attack_a_chain_through_an_expelled_issuer():
    assert fault(CHAINS["cid"], expelled={device("bob").id: frozenset()}) == "it was let in by bob, who was expelled"


def test_those_kept_stay_and_so_do_those_they_let_in():
    kept = {device("bob").id: ids("cid")}
    assert fault(CHAINS["cid"], expelled=kept) == ""
    assert fault(admitted(CHAINS["cid"], "cid", "dan"), "dan", expelled=kept) == ""
    assert fault(CHAINS["bob"], "bob", expelled=kept) == "bob was expelled"


def test_attack_an_expelled_peer_under_a_new_key_certified_by_its_old_one():
    assert fault(admitted(CHAINS["bob"], "bob", "bob-again"), "bob-again", expelled={device("bob").id: ids("cid")})


def test_each_expelled_in_a_chain_needs_one_kept_behind_it():
    chain = admitted(CHAINS["cid"], "cid", "dan")
    both = {device("bob").id: ids("cid"), device("cid").id: frozenset()}
    assert "cid" in fault(chain, "dan", expelled=both)
    assert fault(chain, "dan", expelled={**both, device("cid").id: ids("dan")}) == ""


# --- on the wire -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ada", "bob", "cid"])
def test_a_chain_crosses_the_wire(name):
    assert decode_chain(encode_chain(CHAINS[name])) == CHAINS[name]


def test_no_chain_crosses_as_nothing():
    assert decode_chain(encode_chain(())) == ()


def test_the_longest_chain_fits():
    chain, by = HOME.chain, "ada"
    for number in range(DEPTH_MAX - 1):
        name = f"{number:02}" + "\N{ROCKET}" * (NAME_LENGTH_MAX - 2)
        chain, by = admitted(chain, by, name), name
    assert fault(chain, by) == "" and len(encode_chain(chain)) < CHAIN_BYTES_MAX


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_chain_or_a_value_error(raw):
    with contextlib.suppress(ValueError):
        assert chain_fault(decode_chain(raw), HOME.mesh, device("cid").public_key, NOW, {})


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 255))
def test_attack_a_chain_with_one_byte_changed(place, change):
    """Wherever it is: no member comes of it."""
    raw = bytearray(encode_chain(CHAINS["cid"]))
    raw[place % len(raw)] ^= change
    try:
        chain = decode_chain(bytes(raw))
    except ValueError:
        return
    assert chain == CHAINS["cid"] or fault(chain)


def test_the_mesh_is_the_hash_of_its_key():
    assert HOME.mesh == mesh_id(HOME.mesh_key)


# --- names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["", "two words", "tab\tbed", "\x1b[31mred", "x" * 65, "-rf", "\N{RIGHT-TO-LEFT OVERRIDE}x"]
)
def test_names_that_would_confuse_a_terminal_or_a_command_are_none(name):
    assert name_fault(name)
    with pytest.raises(ValueError, match="no name"):
        issue(device("ada"), HOME.mesh, device("bob").public_key, name, NOW)


@settings(deadline=None)
@given(st.text(max_size=100))
def test_every_text_can_be_made_a_name(text):
    name = clean_name(text)
    assert name_fault(name) == "" and clean_name(name) == name


@settings(deadline=None)
@given(st.text(max_size=80), st.sets(st.text(max_size=6), max_size=5))
def test_unique_names_are_unique(wanted, taken):
    names = set(taken)
    for _ in range(4):
        name = unique_name(wanted, names)
        assert name_fault(name) == "" and name.lower() not in {each.lower() for each in names}
        names.add(name)


def test_the_second_of_a_name_gets_a_number():
    assert unique_name("den", {"ada"}) == "den"
    assert unique_name("Den", {"den"}) == "Den-2"
    assert unique_name("den", {"den", "den-2"}) == "den-3"
