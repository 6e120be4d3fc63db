"""Protects expulsion: signed by a member, the same for everybody whatever the order of news, not to be undone."""

import itertools

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_mesh import NOW, admitted, by_id, chance, device, founded, grown

from meshwit.ids import id_bytes, id_text
from meshwit.peer.trust.certificates import CertificateKind
from meshwit.peer.trust.errors import TrustError
from meshwit.peer.trust.expulsions import (
    EXPULSIONS_MAX,
    expulsion_by,
    expulsion_fault,
    expulsion_record,
    is_expulsion,
    merge_expulsions,
    read_expulsion,
    verdict_on,
)
from meshwit.peer.trust.keys import verify
from meshwit.peer.trust.membership import admits, expel, secret_is_stale, with_expulsion, with_expulsions
from meshwit.records import signed_record

HOME = founded()
# ada founded; she let bob and cid in; bob let dan in, dan let eve in.
CHAINS = grown(HOME, ("ada", "bob"), ("ada", "cid"), ("bob", "dan"), ("dan", "eve"))
FRESH = bytes(range(40))


def seat(name, membership=HOME, chains=CHAINS):
    """The membership of one of them."""
    return msgspec.structs.replace(membership, chain=chains[name])


def expelled_by(by, target, *, without=(), membership=HOME, now=NOW, chains=CHAINS):
    members = by_id(chains, *without)
    return expel(seat(by, membership, chains), device(by), device(target).id, members, now, FRESH)


def answer(membership, name, chains=CHAINS):
    return admits(membership, chains[name], device(name).public_key, NOW)


def members_of(membership, chains=CHAINS):
    return {name for name in chains if not answer(membership, name, chains)}


def test_the_expelled_is_out_and_whoever_it_let_in_stays():
    after, record = expelled_by("ada", "bob")
    assert members_of(after) == {"ada", "cid", "dan", "eve"}
    assert answer(after, "bob") == "bob was expelled"
    assert is_expulsion(record.topic) and read_expulsion(record).verdict.name == "bob"


def test_all_others_come_to_the_same_by_the_record():
    after, record = expelled_by("ada", "bob")
    assert with_expulsion(HOME, record, verify).expulsions == after.expulsions


def test_those_not_known_as_members_fall_with_it():
    after, _ = expelled_by("ada", "bob", without=("dan", "eve"))
    assert members_of(after) == {"ada", "cid"}
    assert answer(after, "eve") == "it was let in by bob, who was expelled"


def test_only_the_first_kept_of_each_branch_is_named():
    _, record = expelled_by("ada", "bob")
    assert len(read_expulsion(record).verdict.kept) == 20
    _, record = expelled_by("ada", "bob", without=("dan",))
    assert read_expulsion(record).verdict.kept == id_bytes(device("eve").id)


def test_attack_the_expelled_lets_itself_in_again_under_a_new_key():
    after, _ = expelled_by("ada", "bob")
    again = admitted(CHAINS["bob"], "bob", "mallory")
    assert "let in by bob" in admits(after, again, device("mallory").public_key, NOW)


def test_who_expels_the_one_that_let_it_in_stays_even_if_it_forgets_itself():
    after, _ = expel(seat("dan"), device("dan"), device("bob").id, {}, NOW, FRESH)
    assert members_of(after) == {"ada", "cid", "dan", "eve"}


def test_the_other_peers_of_its_device_fall_with_it():
    chains = dict(CHAINS)
    chains["bob-2"] = admitted(CHAINS["bob"], "bob", "bob-2", kind=CertificateKind.SAME_DEVICE)
    chains["fay"] = admitted(chains["bob-2"], "bob-2", "fay")
    after, _ = expelled_by("ada", "bob", chains=chains)
    assert members_of(after, chains) == {"ada", "cid", "dan", "eve", "fay"}


def test_an_expulsion_brings_a_new_secret_that_the_clock_cannot_hold_back():
    after, _ = expelled_by("ada", "bob", now=0)
    assert after.secrets[0].key == FRESH[8:]
    assert after.secrets[0].created_at > HOME.secrets[0].created_at
    assert not secret_is_stale(after) and secret_is_stale(with_expulsion(HOME, expelled_by("ada", "bob")[1], verify))


def test_nobody_expels_himself():
    with pytest.raises(TrustError, match="does not expel itself"):
        expelled_by("ada", "ada")


def test_whoever_let_too_many_in_to_name_them_cannot_be_expelled_and_that_is_said():
    crowd = {f"d{number}": admitted(HOME.chain, "ada", f"d{number}") for number in range(900)}
    with pytest.raises(TrustError, match="too many"):
        expel(seat("bob"), device("bob"), device("ada").id, by_id(crowd), NOW, FRESH)


# --- forged and malformed ----------------------------------------------------------------------------------------


def record_by(signer, chain, target="bob", **changes):
    expulsion = expulsion_by(chain, verdict_on(device(target).id, target, ()), NOW)
    return expulsion_record(device(signer), msgspec.structs.replace(expulsion, **changes), 1)


def fault(record):
    assert with_expulsion(HOME, record, verify) is HOME
    return expulsion_fault(record, HOME.mesh, verify)


def test_attack_an_expulsion_by_a_stranger():
    assert "another mesh" in fault(record_by("mallory", founded("mallory").chain))
    assert fault(record_by("mallory", ())) == "there is no certificate"


def test_attack_an_expulsion_with_the_chain_of_a_member_but_not_its_key():
    assert fault(record_by("mallory", CHAINS["ada"])) == "the certificate is for another device"


def test_attack_an_expulsion_changed_on_the_way():
    _, record = expelled_by("ada", "bob")
    other = expelled_by("ada", "cid")[1]
    assert "signature" in fault(msgspec.structs.replace(record, payload=other.payload))
    assert "signature" in fault(msgspec.structs.replace(record, version=record.version + 1))
    assert "not the owner's" in fault(msgspec.structs.replace(record, owner=device("cid").id))


def test_attack_an_expulsion_by_the_key_of_an_invite():
    invite = admitted(HOME.chain, "ada", "token", kind=CertificateKind.INVITE)
    assert fault(record_by("token", invite)) == "an invite is no membership"


@pytest.mark.parametrize("payload", [b"", b"\xc1", msgspec.msgpack.encode([["x", "y", b""], 1, b""])])
def test_malformed_expulsions_are_none(payload):
    assert fault(signed_record(device("ada"), f"expel:{device('bob').id}", 1, payload))


def test_an_expulsion_under_another_topic_or_with_an_end_is_none():
    payload = expelled_by("ada", "bob")[1].payload
    assert "another topic" in fault(signed_record(device("ada"), f"expel:{device('cid').id}", 1, payload))
    assert "expire" in fault(signed_record(device("ada"), f"expel:{device('bob').id}", 1, payload, 2_000_000_000))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_payload_is_handled(payload):
    assert expulsion_fault(signed_record(device("ada"), f"expel:{device('bob').id}", 1, payload), HOME.mesh, verify)


# --- who prevails ------------------------------------------------------------------------------------------------


def test_of_two_that_expel_one_another_the_senior_stays():
    for senior, junior in (("ada", "bob"), ("bob", "cid"), ("cid", "dan"), ("bob", "eve")):
        one, two = expelled_by(senior, junior)[1], expelled_by(junior, senior)[1]
        for order in ((one, two), (two, one)):
            after = with_expulsions(HOME, order, verify)
            assert answer(after, senior) == "" and answer(after, junior)


def test_attack_an_expelled_junior_backdates_its_revenge():
    revenge = expelled_by("bob", "ada", now=1)[1]
    after = with_expulsions(HOME, (expelled_by("ada", "bob")[1], revenge), verify)
    assert answer(after, "ada") == "" and answer(after, "bob")


def test_a_junior_can_expel_its_senior():
    after, _ = expelled_by("dan", "ada")
    assert members_of(after) == {"bob", "cid", "dan", "eve"}


def test_who_is_expelled_by_a_senior_is_told_that_its_own_expulsion_of_it_is_void():
    knows = with_expulsion(HOME, expelled_by("ada", "bob")[1], verify)
    with pytest.raises(TrustError, match="for longer"):
        expelled_by("bob", "ada", membership=knows)


def test_what_the_expelled_had_decided_still_holds():
    """Bob expelled dan long ago; now ada expels bob, and dan does not come back by that."""
    first = with_expulsion(HOME, expelled_by("bob", "dan", without=("eve",))[1], verify)
    after, record = expelled_by("ada", "bob", membership=first, without=("dan", "eve"))
    assert members_of(after) == {"ada", "cid"}
    assert [each.name for each in read_expulsion(record).taken_over] == ["dan"]


def test_whom_the_expelled_threw_out_wrongly_comes_back_when_listed():
    first = with_expulsion(HOME, expelled_by("cid", "dan")[1], verify)
    assert answer(first, "dan")
    after, _ = expelled_by("ada", "cid", membership=first)
    assert members_of(after) == {"ada", "bob", "dan", "eve"}


def test_two_members_expel_the_same_one_and_what_either_keeps_stays():
    one, two = expelled_by("ada", "bob", without=("dan",))[1], expelled_by("cid", "bob", without=("eve",))[1]
    after = with_expulsions(HOME, (one, two), verify)
    assert members_of(after) == {"ada", "cid", "dan", "eve"}


RECORDS = [expelled_by(*pair)[1] for pair in itertools.permutations(CHAINS, 2)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(RECORDS), max_size=7), st.randoms(use_true_random=False))
def test_the_order_in_which_records_come_does_not_matter(records, random):
    """Commutative, idempotent, and associative by parts."""
    after = with_expulsions(HOME, records, verify)
    shuffled = [*records, *records]
    random.shuffle(shuffled)
    assert with_expulsions(HOME, shuffled, verify).expulsions == after.expulsions
    half = len(records) // 2
    left, right = merge_expulsions((), records[:half]), merge_expulsions((), records[half:])
    assert merge_expulsions(left, right) == merge_expulsions(right, left) == after.expulsions


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(RECORDS), min_size=1, max_size=7))
def test_however_they_expel_one_another_somebody_is_left(records):
    assert members_of(with_expulsions(HOME, records, verify))


def test_a_later_record_of_the_same_signer_replaces_the_earlier_even_if_its_clock_went_back():
    first, old = expelled_by("ada", "bob", without=("dan", "eve"))
    after, new = expelled_by("ada", "bob", membership=first, now=NOW - 10_000)
    assert new.version > old.version
    assert with_expulsions(HOME, (new, old), verify).expulsions == after.expulsions == (new,)


def test_attack_a_flood_of_expulsions_is_bounded_and_the_seniors_remain():
    draw = chance("flood")
    flood = []
    for _ in range(EXPULSIONS_MAX + 20):
        verdict = verdict_on(id_text(draw(20)), "x", ())
        flood.append(expulsion_record(device("eve"), expulsion_by(CHAINS["eve"], verdict, NOW), 1))
    true = expelled_by("ada", "bob")[1]
    for order in (([true], flood), (flood, [true])):
        merged = merge_expulsions(*order)
        assert len(merged) == EXPULSIONS_MAX and true in merged
