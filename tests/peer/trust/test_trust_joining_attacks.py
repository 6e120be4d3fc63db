"""Attacks on joining, each refused with a reason: guessing, replaying, sitting in between, lying, flooding.

`mallory` is the attacker; what she may do: open connections under keys of her own, record and change all that crosses
on hers, send anything.
"""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_mesh import NOW, Meeting, admitted, by_id, chance, device, founded, grown, only_send

from meshwit.peer.trust.certificates import CertificateKind, encode_chain, issue
from meshwit.peer.trust.codes import BEGUN_MAX, CLOSED_S, CODE_LIFETIME_S, CodeBook
from meshwit.peer.trust.invites import make_token, read_token
from meshwit.peer.trust.join_messages import (
    MESSAGE_BYTES_MAX,
    Ask,
    CodeAsk,
    CodeProof,
    CodeReply,
    Nonce,
    Refuse,
    Reveal,
    TokenAsk,
    TokenProof,
    TokenReply,
    Welcome,
    WelcomeBody,
    decode,
    decode_body,
    encode,
)
from meshwit.peer.trust.joining import (
    Admit,
    Admitter,
    AdmitterState,
    Handout,
    Joined,
    Joiner,
    JoinerState,
    JoinRefused,
    RefusalKind,
    SendMessage,
    Way,
)
from meshwit.peer.trust.membership import admits, expel

HOME = founded()
EVIL = founded("mallory")
MALLORY = device("mallory")


def member(codes=None, joiner="mallory", membership=HOME, name="ada", entropy="member"):
    """A member with somebody at its door."""
    return Admitter(
        device(name), device(joiner).public_key, lambda: Handout(membership), codes or CodeBook(), chance(entropy), NOW
    )


def joining(to="ada", name="bob", entropy="joining", **options):
    return Joiner(device(name), device(to).public_key, name, chance(entropy), **options)


def refusal(effects):
    """The reason, after a look that nothing else came of it and that the other side was told."""
    assert isinstance(effects[-1], JoinRefused) and effects[-1].reason
    assert not any(isinstance(each, Admit | Joined) for each in effects)
    assert all(isinstance(decode(each.raw), Refuse) for each in effects if isinstance(each, SendMessage))
    return effects[-1].why


def token(hours=1.0, chain=None, by="ada", at=NOW):
    membership = msgspec.structs.replace(HOME, chain=chain) if chain else HOME
    return make_token(membership, device(by), at, hours, (), chance("token"))


def words_not(code):
    """Another code with the same number."""
    return code.split("-")[0] + ("-otter-violin" if not code.endswith("otter-violin") else "-violin-otter")


# --- codes -------------------------------------------------------------------------------------------------------


def guess(book, code, now=NOW):
    """One try over a connection of its own; what the member says in the end."""
    admitter = Admitter(device("ada"), MALLORY.public_key, lambda: Handout(HOME), book, chance("member"), now)
    joiner = Joiner(MALLORY, device("ada").public_key, "mallory", chance("guess"), code=code)
    effects = admitter.receive(only_send(joiner.start(now)), now)
    if not isinstance(effects[-1], JoinRefused):
        effects = admitter.receive(only_send(joiner.receive(only_send(effects), now)), now)
    return effects


def test_attack_a_guessed_code():
    book = CodeBook()
    assert refusal(guess(book, words_not(book.new(NOW, chance(1))))) is RefusalKind.WRONG_CODE


def test_attack_three_guesses_close_even_the_right_code_for_a_minute():
    book = CodeBook()
    code = book.new(NOW, chance(1))
    for _ in range(3):
        assert refusal(guess(book, words_not(code))) is RefusalKind.WRONG_CODE
    closed = guess(book, code)
    assert refusal(closed) is RefusalKind.CLOSED and closed[-1].hint == "try again in 61 s"
    assert isinstance(guess(book, code, NOW + CLOSED_S)[-1], Admit)


def test_attack_many_guesses_begun_at_once_count_no_more_than_three():
    """All begin before the first is found wrong; the fourth proof is not even looked at, though it is right."""
    book = CodeBook()
    code = book.new(NOW, chance(1))
    begun = []
    for typed in (*[words_not(code)] * 3, code):
        admitter, joiner = member(book), joining(name="mallory", code=typed)
        reply = admitter.receive(only_send(joiner.start(NOW)), NOW)
        begun.append((admitter, only_send(joiner.receive(only_send(reply), NOW))))
    answers = [refusal(admitter.receive(proof, NOW)) for admitter, proof in begun]
    assert answers == [RefusalKind.WRONG_CODE] * 3 + [RefusalKind.CLOSED]


def test_attack_a_guess_that_is_never_proven_learns_nothing():
    """Before the proof the member says its share alone, be the code right or wrong: there is nothing to check it by."""
    book = CodeBook()
    code = book.new(NOW, chance(1))
    for typed in (code, words_not(code)):
        reply = decode(only_send(member(book).receive(only_send(joining(name="mallory", code=typed).start(NOW)), NOW)))
        assert isinstance(reply, CodeReply) and list(msgspec.structs.asdict(reply)) == ["share"]
    assert book.closed_s(NOW) == 0 and book.valid(code, NOW)


def test_attack_a_code_used_again():
    book = CodeBook()
    code = book.new(NOW, chance(1))
    assert isinstance(guess(book, code)[-1], Admit)
    assert refusal(guess(book, code)) is RefusalKind.UNKNOWN_CODE


def test_attack_one_code_used_on_two_connections_at_once():
    book = CodeBook()
    code = book.new(NOW, chance(1))
    first, second = Meeting(HOME, codes=book, code=code), Meeting(HOME, codes=book, joiner="mallory", code=code)
    proofs = []
    for meeting in (first, second):
        reply = meeting.admitter.receive(only_send(meeting.joiner.start(NOW)), NOW)
        proofs.append(only_send(meeting.joiner.receive(only_send(reply), NOW)))
    assert isinstance(first.admitter.receive(proofs[0], NOW)[-1], Admit)
    assert refusal(second.admitter.receive(proofs[1], NOW)) is RefusalKind.UNKNOWN_CODE


def test_attack_an_expired_code():
    book = CodeBook()
    code = book.new(NOW, chance(1))
    assert refusal(guess(book, code, NOW + CODE_LIFETIME_S)) is RefusalKind.UNKNOWN_CODE


def test_attack_a_flood_of_begun_exchanges_is_not_computed():
    book = CodeBook()
    ask = only_send(joining(name="mallory", code=book.new(NOW, chance(1))).start(NOW))
    for _ in range(BEGUN_MAX):
        assert member(book).receive(ask, NOW)
    assert refusal(member(book).receive(ask, NOW)) is RefusalKind.CLOSED


def test_attack_a_recorded_code_exchange_replayed():
    """The member's share is fresh on each connection, so an old proof fits nothing."""
    meeting = Meeting(HOME)
    code = meeting.codes.new(NOW, chance(1))
    meeting.begin()
    meeting.from_joiner(meeting.joiner.code(code, NOW))
    _, _, ask, proof = meeting.sent("joiner")
    assert isinstance(decode(ask), CodeAsk) and isinstance(decode(proof), CodeProof)
    meeting.codes.new(NOW, chance(1))  # even if the same code were shown again
    again = member(meeting.codes, joiner="bob", entropy="later")
    assert isinstance(again.receive(ask, NOW)[0], SendMessage)
    assert refusal(again.receive(proof, NOW)) is RefusalKind.WRONG_CODE


def test_attack_sitting_between_two_who_know_the_code():
    """Mallory ends both TLS connections and passes every byte on: both sides bind other keys."""
    book = CodeBook()
    code = book.new(NOW, chance(1))
    bob = joining(to="mallory", code=code)
    ada = member(book, joiner="mallory")
    reply = only_send(ada.receive(only_send(bob.start(NOW)), NOW))
    assert refusal(ada.receive(only_send(bob.receive(reply, NOW)), NOW)) is RefusalKind.WRONG_CODE


def test_attack_a_member_that_does_not_know_the_code():
    """Mallory poses as the member, knows the number and guesses the words: her welcome proves nothing."""
    guessed = CodeBook()
    number = guessed.new(NOW, lambda count: bytes(count)).split("-")[0]
    bob = joining(to="mallory", code=f"{number}-otter-violin")
    evil = member(guessed, joiner="bob", membership=EVIL, name="mallory")
    bob.receive(only_send(evil.receive(only_send(bob.start(NOW)), NOW)), NOW)
    assert bob.state is JoinerState.CODE_PROVEN
    proof = evil._exchange.admitter_proof(encode(evil_body(Way.CODE)))
    assert refusal(bob.receive(encode(Welcome(encode(evil_body(Way.CODE)), proof)), NOW)) is RefusalKind.WRONG_CODE


def evil_body(way, **changes):
    """A welcome into mallory's own mesh, or one that she bends."""
    chain = (*EVIL.chain, issue(MALLORY, EVIL.mesh, device("bob").public_key, "bob", NOW))
    body = WelcomeBody(way, EVIL.mesh_key, "home", encode_chain(chain), EVIL.secrets)
    return msgspec.structs.replace(body, **changes)


def test_attack_a_welcome_changed_on_the_way():
    meeting = Meeting(HOME)
    meeting.joiner.start(NOW)
    code = meeting.codes.new(NOW, chance(1))
    ask = only_send(meeting.joiner.code(code, NOW))
    proof = only_send(meeting.joiner.receive(only_send(meeting.admitter.receive(ask, NOW)), NOW))
    welcome = decode(only_send(meeting.admitter.receive(proof, NOW)))
    body = decode_body(welcome.body)
    for changed in (
        msgspec.structs.replace(body, mesh_name="other"),
        msgspec.structs.replace(body, secrets=EVIL.secrets),
        msgspec.structs.replace(body, addresses=(("10.6.6.6", 666),)),
    ):
        twin = joining(code=code, entropy="bob joins")
        twin.__dict__.update(meeting.joiner.__dict__)
        assert refusal(twin.receive(encode(Welcome(encode(changed), welcome.proof)), NOW)) is RefusalKind.WRONG_CODE
    assert isinstance(meeting.joiner.receive(encode(welcome), NOW)[0], Joined)


def test_attack_a_welcome_instead_of_the_exchange():
    bob = joining(to="mallory", code="41-otter-violin")
    bob.start(NOW)
    assert refusal(bob.receive(encode(Welcome(encode(evil_body(Way.CODE)))), NOW)) is RefusalKind.PROTOCOL


@pytest.mark.parametrize(
    "share", [b"", b"A" * 33, b"B" + bytes(32), b"A" + bytes(32), b"A" + b"\xff" * 32, b"A" + b"\1" + bytes(31)]
)
def test_attack_a_share_that_is_no_point_of_the_curve(share):
    """Zero and points of small order among them, which would fix the key."""
    book = CodeBook()
    number = int(book.new(NOW, chance(1)).split("-")[0])
    assert refusal(member(book).receive(encode(CodeAsk("mallory", number, share)), NOW)) is RefusalKind.PROTOCOL
    bob = joining(code="41-otter-violin")
    bob.start(NOW)
    assert refusal(bob.receive(encode(CodeReply(b"B" + share[1:])), NOW)) is RefusalKind.PROTOCOL


def test_attack_the_joiners_own_share_reflected():
    bob = joining(code="41-otter-violin")
    ask = decode(only_send(bob.start(NOW)))
    for share in (ask.share, b"B" + ask.share[1:]):
        twin = joining(code="41-otter-violin")
        twin.start(NOW)
        assert refusal(twin.receive(encode(CodeReply(share)), NOW)) is RefusalKind.PROTOCOL


# --- approval ----------------------------------------------------------------------------------------------------


def test_attack_sitting_between_two_who_compare_words():
    bob, ada = joining(to="mallory"), member(joiner="mallory")
    nonce = only_send(ada.receive(only_send(bob.start(NOW)), NOW))
    reveal = only_send(bob.receive(nonce, NOW))
    assert refusal(ada.receive(reveal, NOW)) is RefusalKind.PROTOCOL, "the commitment is bound to the keys"
    honest_to_ada = joining(name="mallory")
    ada = member(joiner="mallory")
    reveal = honest_to_ada.receive(only_send(ada.receive(only_send(honest_to_ada.start(NOW)), NOW)), NOW)
    ada.receive(only_send(reveal), NOW)
    assert ada.words and ada.words != bob.words, "and the person sees it"


def test_attack_a_nonce_chosen_after_the_members():
    """To choose the words, mallory would have to know both nonces before she is bound to hers."""
    ada, mallory = member(), joining(name="mallory")
    ada.receive(only_send(mallory.start(NOW)), NOW)
    assert refusal(ada.receive(encode(Reveal(b"x" * 32)), NOW)) is RefusalKind.PROTOCOL


def test_attack_coming_in_without_being_approved():
    for message in (Reveal(b"x" * 32), CodeProof(b"x" * 32), TokenProof(b"", b""), Welcome(b"")):
        assert refusal(member().receive(encode(message), NOW)) is RefusalKind.PROTOCOL


def test_attack_a_second_request_while_pending():
    """Another name after the person has seen the first."""
    meeting = Meeting(HOME).begin()
    assert meeting.admitter.state is AdmitterState.PENDING
    assert refusal(meeting.admitter.receive(encode(Ask("king", bytes(32))), NOW)) is RefusalKind.PROTOCOL


def test_attack_a_name_that_paints_the_terminal():
    ada = member()
    ada.receive(encode(Ask("\x1b[2Jking\N{RIGHT-TO-LEFT OVERRIDE} --yes", bytes(32))), NOW)
    assert ada.name.isprintable() and " " not in ada.name
    refused = member().receive(encode(Refuse(4, "\x1b[31mno\nreally" + "x" * 9000, "\x07" * 500)), NOW)[-1]
    assert refused.reason.isprintable() and len(refused.reason) <= 240 and not refused.hint


def test_attack_a_member_that_lets_in_unasked():
    """Before any words were shown, and with a welcome that claims another way than the one taken."""
    bob = joining(to="mallory")
    bob.start(NOW)
    assert refusal(bob.receive(encode(Welcome(encode(evil_body(Way.OPEN)))), NOW)) is RefusalKind.OPEN_MESH
    bob = joining(to="mallory")
    bob.start(NOW)
    bob.receive(encode(Nonce(bytes(32), "home")), NOW)
    assert refusal(bob.receive(encode(Welcome(encode(evil_body(Way.OPEN)))), NOW)) is RefusalKind.PROTOCOL


def test_attack_the_person_at_the_joiner_is_not_passed_over():
    bob = joining(to="mallory", confirm=True)
    bob.start(NOW)
    bob.receive(encode(Nonce(bytes(32), "home")), NOW)
    bob.receive(encode(Welcome(encode(evil_body(Way.APPROVAL)))), NOW)
    assert bob.state is JoinerState.CONFIRMING
    assert refusal(bob.receive(encode(Welcome(encode(evil_body(Way.APPROVAL)))), NOW)) is RefusalKind.PROTOCOL


OTHERS = grown(HOME, ("ada", "mallory"))


@pytest.mark.parametrize(
    "changes",
    [
        {"mesh_key": HOME.mesh_key},
        {"mesh_key": b"short"},
        {"mesh_name": "\x1b[31m"},
        {"chain": b""},
        {"chain": b"\xc1"},
        {"chain": encode_chain(EVIL.chain)},
        {"chain": encode_chain(admitted(EVIL.chain, "mallory", "carol"))},
        {"chain": encode_chain(admitted(EVIL.chain, "mallory", "bob", kind=CertificateKind.INVITE))},
        {"chain": encode_chain(admitted(EVIL.chain, "mallory", "bob", until=1))},
        {"secrets": ()},
        {"secrets": (msgspec.structs.replace(EVIL.secrets[0], key=b"short"),)},
    ],
)
def test_attack_a_welcome_that_does_not_hold_together(changes):
    bob = joining(to="mallory")
    bob.start(NOW)
    bob.receive(encode(Nonce(bytes(32), "home")), NOW)
    assert (
        refusal(bob.receive(encode(Welcome(encode(evil_body(Way.APPROVAL, **changes)))), NOW)) is RefusalKind.PROTOCOL
    )


def test_attack_a_certificate_by_another_than_the_one_at_the_other_end():
    """Mallory passes on what another member had made out to bob."""
    chain = admitted(HOME.chain, "ada", "bob")
    bob = joining(to="mallory")
    bob.start(NOW)
    bob.receive(encode(Nonce(bytes(32), "home")), NOW)
    body = WelcomeBody(Way.APPROVAL, HOME.mesh_key, "home", encode_chain(chain), HOME.secrets)
    assert refusal(bob.receive(encode(Welcome(encode(body))), NOW)) is RefusalKind.PROTOCOL


# --- tokens ------------------------------------------------------------------------------------------------------


def present(text, admitter, *, name="bob", to="ada"):
    """Brings a token to a member."""
    joiner = Joiner(device(name), device(to).public_key, name, chance("bring"), token=read_token(text, NOW))
    effects = admitter.receive(only_send(joiner.start(NOW)), NOW)
    if isinstance(effects[-1], JoinRefused):
        return effects
    effects = joiner.receive(only_send(effects), NOW)
    return effects if isinstance(effects[-1], JoinRefused) else admitter.receive(only_send(effects), NOW)


def test_attack_a_token_of_another_mesh():
    evil = make_token(EVIL, MALLORY, NOW, 1, (), chance("evil"))
    assert refusal(present(evil, member(joiner="bob"))) is RefusalKind.WRONG_MESH


def test_attack_a_token_whose_maker_was_expelled():
    chains = grown(HOME, ("ada", "cid"))
    text = token(chain=chains["cid"], by="cid")
    assert isinstance(present(text, member(joiner="bob"))[-1], Admit)
    after, _ = expel(HOME, device("ada"), device("cid").id, by_id(chains), NOW, bytes(40))
    assert refusal(present(text, member(joiner="bob", membership=after))) is RefusalKind.INVITE


def test_attack_a_token_that_expires_between_reading_and_presenting():
    admitter, joiner = member(joiner="bob"), joining(token=read_token(token(hours=0.001), NOW))
    late = NOW + 3 * 86_400
    admitter = Admitter(device("ada"), device("bob").public_key, lambda: Handout(HOME), CodeBook(), chance(1), late)
    proof = joiner.receive(only_send(admitter.receive(only_send(joiner.start(late)), late)), late)
    assert refusal(admitter.receive(only_send(proof), late)) is RefusalKind.INVITE


def test_attack_a_recorded_token_proof_replayed_by_another_device():
    meeting = Meeting(HOME, token=read_token(token(), NOW)).begin()
    ask, proof = meeting.sent("joiner")
    ada = member(joiner="mallory", entropy="later")
    assert refusal(ada.receive(ask, NOW)) is RefusalKind.WRONG_MESH, "even the hash of the mesh is bound to bob"
    bob_again = member(joiner="bob", entropy="later")
    assert isinstance(decode(only_send(bob_again.receive(ask, NOW))), TokenReply)
    assert refusal(bob_again.receive(proof, NOW)) is RefusalKind.PROTOCOL


def test_attack_a_token_proof_with_the_chain_of_a_member():
    """A member's certificate is no invite: mallory, a member, may not let bob in this way under her own signature."""
    bob, ada = joining(token=read_token(token(), NOW)), member(joiner="bob")
    proof = decode(only_send(bob.receive(only_send(ada.receive(only_send(bob.start(NOW)), NOW)), NOW)))
    forged = TokenProof(encode_chain(OTHERS["mallory"]), proof.signature)
    assert refusal(ada.receive(encode(forged), NOW)) is RefusalKind.INVITE


def test_attack_a_token_proof_without_the_key_of_the_token():
    bob, ada = joining(token=read_token(token(), NOW)), member(joiner="bob")
    proof = decode(only_send(bob.receive(only_send(ada.receive(only_send(bob.start(NOW)), NOW)), NOW)))
    assert isinstance(proof, TokenProof)
    assert refusal(ada.receive(encode(TokenProof(proof.chain, MALLORY.sign(b"x"))), NOW)) is RefusalKind.PROTOCOL


def test_attack_a_stranger_where_the_token_leads():
    """She gets to know neither the mesh nor the token's chain, though she answers with the chain of a true member."""
    for chain in (EVIL.chain, HOME.chain, ()):
        bob = joining(to="mallory", token=read_token(token(), NOW))
        raw = only_send(bob.start(NOW))
        ask = decode(raw)
        assert isinstance(ask, TokenAsk) and HOME.mesh.encode() not in raw
        assert refusal(bob.receive(encode(TokenReply(bytes(32), encode_chain(chain))), NOW)) is RefusalKind.WRONG_MESH


def test_attack_a_member_that_leads_the_bearer_into_another_mesh():
    """Mallory is a member, and of a mesh of her own too."""
    bob = joining(to="mallory", token=read_token(token(), NOW))
    bob.start(NOW)
    bob.receive(encode(TokenReply(bytes(32), encode_chain(OTHERS["mallory"]))), NOW)
    assert refusal(bob.receive(encode(Welcome(encode(evil_body(Way.TOKEN)))), NOW)) is RefusalKind.PROTOCOL


# --- the expelled, and the rest ----------------------------------------------------------------------------------


def test_attack_an_expelled_device_asks_again_in_every_way():
    chains = grown(HOME, ("ada", "mallory"))
    after, _ = expel(HOME, device("ada"), MALLORY.id, by_id(chains), NOW, bytes(40))
    book = CodeBook()
    code = book.new(NOW, chance(1))
    assert refusal(member(membership=after).receive(encode(Ask("m", bytes(32))), NOW)) is RefusalKind.EXPELLED
    opened = msgspec.structs.replace(after, open=True)
    assert refusal(member(membership=opened).receive(encode(Ask("m", bytes(32))), NOW)) is RefusalKind.EXPELLED
    assert refusal(present(token(), member(membership=after), name="mallory")) is RefusalKind.EXPELLED
    meeting = Meeting(after, joiner="mallory", codes=book, code=code).begin()
    assert meeting.last("joiner").why is RefusalKind.EXPELLED and "meshwit leave" in meeting.last("joiner").hint


def test_attack_expelled_while_waiting_for_approval():
    meeting = Meeting(HOME, joiner="mallory").begin()
    chains = grown(HOME, ("ada", "mallory"))
    meeting.membership, _ = expel(HOME, device("ada"), MALLORY.id, by_id(chains), NOW, bytes(40))
    assert refusal(meeting.admitter.approve(NOW)) is RefusalKind.EXPELLED


def test_a_new_member_refuses_the_expelled_from_its_first_moment():
    chains = grown(HOME, ("ada", "mallory"))
    after, _ = expel(HOME, device("ada"), MALLORY.id, by_id(chains), NOW, bytes(40))
    joined = Meeting(after).begin().approve().last("joiner")
    assert "expelled" in admits(joined.membership, chains["mallory"], MALLORY.public_key, NOW)


def test_attack_a_message_too_long():
    assert refusal(member().receive(bytes(MESSAGE_BYTES_MAX + 1), NOW)) is RefusalKind.PROTOCOL
    bob = joining()
    bob.start(NOW)
    assert refusal(bob.receive(bytes(MESSAGE_BYTES_MAX + 1), NOW)) is RefusalKind.PROTOCOL


def test_attack_a_welcome_always_fits_its_frame():
    """However many were expelled and however long the names are."""
    chains = {f"d{n}": admitted(HOME.chain, "ada", f"d{n}" + "\N{ROCKET}" * 60) for n in range(60)}
    membership = HOME
    for chain in chains.values():
        membership, _ = expel(membership, device("ada"), chain[-1].id, by_id(chains), NOW, bytes(40))
    admitter = Admitter(
        device("ada"),
        device("bob").public_key,
        lambda: Handout(membership, tuple((f"{'h' * 200}{n}", 4100) for n in range(200))),
        CodeBook(),
        chance(1),
        NOW,
    )
    bob = joining()
    nonce = only_send(admitter.receive(only_send(bob.start(NOW)), NOW))
    admitter.receive(only_send(bob.receive(nonce, NOW)), NOW)
    welcome = only_send(admitter.approve(NOW))
    assert len(welcome) <= MESSAGE_BYTES_MAX
    assert isinstance(bob.receive(welcome, NOW)[0], Joined)


def test_attack_bytes_after_the_end_are_ignored():
    meeting = Meeting(HOME).begin().approve()
    for _, raw in meeting.crossed:
        assert meeting.admitter.receive(raw, NOW) == meeting.joiner.receive(raw, NOW) == []


MESSAGES = [
    Ask("bob", bytes(32)),
    Nonce(bytes(32), "home"),
    Reveal(bytes(32)),
    CodeAsk("bob", 41, b"A" + bytes(32)),
    CodeReply(b"B" + bytes(32)),
    CodeProof(bytes(32)),
    TokenAsk("bob", bytes(32), bytes(32)),
    TokenReply(bytes(32), b""),
    TokenProof(b"", bytes(64)),
    Welcome(b""),
    Refuse(99, "?"),
]


@settings(deadline=None, max_examples=150)
@given(st.lists(st.one_of(st.binary(max_size=80), st.sampled_from(MESSAGES).map(encode)), max_size=5), st.booleans())
def test_attack_any_bytes_in_any_order_admit_nobody_and_raise_nothing(raws, with_code):
    book = CodeBook()
    admitter = member(book)
    joiner = joining(code=book.new(NOW, chance(1))) if with_code else joining()
    joiner.start(NOW)
    for raw in raws:
        for machine in (admitter, joiner):
            effects = machine.receive(raw, NOW)
            machine.check()
            assert not any(isinstance(each, Admit | Joined) for each in effects)


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 5), st.integers(0, 10**6), st.integers(1, 255))
def test_attack_any_byte_changed_on_the_way_lets_nobody_in_by_code(which, place, change):
    """The joiner ends as a member of the true mesh or not at all."""
    meeting = Meeting(HOME)
    meeting.joiner = joining(code=meeting.codes.new(NOW, chance(1)))
    raw, sides, turn = only_send(meeting.joiner.start(NOW)), (meeting.admitter, meeting.joiner), 0
    joined = []
    while raw:
        changed = bytearray(raw)
        if turn == which:
            changed[place % len(raw)] ^= change
        effects = sides[turn % 2].receive(bytes(changed), NOW)
        joined += [each for each in effects if isinstance(each, Joined)]
        raw = next((each.raw for each in effects if isinstance(each, SendMessage)), b"")
        turn += 1
    assert bool(joined) == (which > 3)
