"""The handshake as a dialogue of two cores, and the attacks on it."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_mesh import ListedAuthority, key

from meshwit.peer.trust.keys import verify
from meshwit.peer.wire.handshake import (
    ClientHandshake,
    HandshakeFailed,
    HandshakeState,
    PeerInfo,
    Proved,
    SendPayload,
    ServerHandshake,
)

A, B, MALLORY = key("a"), key("b"), key("mallory")
CERTIFICATE = b"the TLS certificate of b"


def nonce(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def about(device, **said) -> PeerInfo:
    return PeerInfo(id=device.id, key=device.public_key, **said)


def client(device=A, *, authority=None, certificate=CERTIFICATE, server_key=B.public_key, seed="client", **more):
    return ClientHandshake(
        authority=authority or ListedAuthority(device), verify=verify, about=more.pop("says", about(device)),
        certificate=certificate, server_key=server_key, nonce=nonce(seed), **more,
    )  # fmt: skip


def server(device=B, *, authority=None, certificate=CERTIFICATE, seed="server", **more):
    return ServerHandshake(
        authority=authority or ListedAuthority(device), verify=verify, about=more.pop("says", about(device)),
        certificate=certificate, nonce=nonce(seed), **more,
    )  # fmt: skip


def sent(effects) -> list[bytes]:
    return [effect.payload for effect in effects if isinstance(effect, SendPayload)]


def outcome(effects):
    return next((effect for effect in effects if not isinstance(effect, SendPayload)), None)


def talk(one: ClientHandshake, other: ServerHandshake):
    """Lets both talk until nothing more is said; how each ended."""
    to_server, to_client = sent(one.start()), []
    ends = [None, None]
    while to_server or to_client:
        if to_server:
            effects = other.receive(to_server.pop(0))
            to_client += sent(effects)
            ends[1] = outcome(effects) or ends[1]
        else:
            effects = one.receive(to_client.pop(0))
            to_server += sent(effects)
            ends[0] = outcome(effects) or ends[0]
    return tuple(ends)


def recorded():
    """Hello, challenge, proof, ready of a good handshake."""
    one, other = client(), server()
    (hello,) = sent(one.start())
    (challenge,) = sent(other.receive(hello))
    (proof,) = sent(one.receive(challenge))
    (ready,) = sent(other.receive(proof))
    return hello, challenge, proof, ready


# --- good ones ---------------------------------------------------------------------------------------------------


def test_two_members_prove_themselves_and_say_who_they_are():
    says = about(A, name="den", version="0.1.0", controllers={"grid": "2"}, addresses=(("10.0.0.7", 7000),))
    to_client, to_server = talk(client(says=says), server(says=about(B, name="attic", instance=b"12345678")))
    assert isinstance(to_client, Proved) and isinstance(to_server, Proved)
    assert (to_client.info.id, to_client.info.name, to_client.info.instance) == (B.id, "attic", b"12345678")
    assert (to_server.info.id, to_server.info.name) == (A.id, "den")
    assert (to_server.info.controllers, to_server.info.addresses) == ({"grid": "2"}, (("10.0.0.7", 7000),))
    assert to_client.purpose == to_server.purpose == "member"


def test_a_device_that_wants_to_join_shows_and_is_shown_no_chain():
    one, other = client(authority=ListedAuthority(A, "none"), purpose="join"), server(joins=True)
    (hello,) = sent(one.start())
    (challenge,) = sent(other.receive(hello))
    (proof,) = sent(one.receive(challenge))
    for message in (hello, challenge, proof):
        assert b"member of" not in message
    assert msgspec.msgpack.decode(hello)["mesh"] == b""
    end = outcome(other.receive(proof))
    assert isinstance(end, Proved) and (end.purpose, end.info.id) == ("join", A.id)


def test_ranges_of_versions_meet_at_the_highest_common_one():
    to_client, to_server = talk(client(protocols=(1, 3)), server(protocols=(2, 7)))
    assert (to_client.info.protocol, to_server.info.protocol) == (3, 3)


@pytest.mark.parametrize(
    ("ours", "theirs", "hint"),
    [((1, 1), (2, 3), "update this device, `pip install -U meshwit`"), ((2, 3), (1, 1), "update that device")],
)
def test_no_common_version_is_said_with_what_mends_it(ours, theirs, hint):
    to_client, to_server = talk(client(protocols=ours), server(protocols=theirs, says=about(B, name="den")))
    assert (to_client.kind, to_server.kind) == ("version", "version")
    assert "peer `den` speaks protocol" in to_client.message
    assert hint in to_client.hint


def test_unknown_fields_are_ignored_missing_ones_have_defaults():
    """A newer peer says more, an older one less."""
    one, other = client(), server()
    hello = msgspec.msgpack.decode(sent(one.start())[0])
    assert outcome(other.receive(msgspec.msgpack.encode({**hello, "later": [1, 2, 3]}))) is None
    del hello["version"], hello["instance"]
    assert outcome(server().receive(msgspec.msgpack.encode(hello))) is None


# --- attacks -----------------------------------------------------------------------------------------------------


def test_attack_wrong_mesh():
    to_client, to_server = talk(client(authority=ListedAuthority(A, "other")), server())
    assert (to_client.kind, to_server.kind) == ("wrong_mesh", "wrong_mesh")


def test_an_outsider_learns_only_a_salted_hash():
    """The server of another mesh shows no chain; the client's Hello names its mesh only under its nonce."""
    hello = sent(client(authority=ListedAuthority(A, "other")).start())[0]
    assert b"other" not in hello
    assert all(b"member of" not in message for message in sent(server().receive(hello)))


def test_attack_no_chain_and_chain_of_another_mesh():
    for chain in (b"", b"member of other", b"\xff" * 100):
        authority = ListedAuthority(A)
        authority.chain = chain
        to_client, to_server = talk(client(authority=authority), server())
        assert (to_client.kind, to_server.kind) == ("identity", "identity")


def test_attack_server_without_a_chain():
    """An impostor learns nothing from the client: no chain, no signature."""
    authority = ListedAuthority(MALLORY)
    authority.chain = b""
    one, other = client(server_key=MALLORY.public_key), server(MALLORY, authority=authority)
    (challenge,) = sent(other.receive(sent(one.start())[0]))
    effects = one.receive(challenge)
    assert outcome(effects).kind == "identity"
    assert all(b"signature" not in message and b"member of" not in message for message in sent(effects))


def test_attack_expelled_device_returns():
    authority = ListedAuthority(B)
    authority.expelled.add(A.public_key)
    to_client, to_server = talk(client(), server(authority=authority))
    assert (to_client.kind, to_server.kind) == ("expelled", "expelled")
    authority = ListedAuthority(A)
    authority.expelled.add(B.public_key)
    assert talk(client(authority=authority), server())[0].kind == "expelled"


def test_attack_replayed_proof():
    """A recorded handshake is played to the same server: its nonce is another."""
    hello, _, proof, _ = recorded()
    again = server(seed="another")
    assert outcome(again.receive(hello)) is None
    end = outcome(again.receive(proof))
    assert (end.kind, end.message) == ("identity", "the client's signature is wrong")


def test_attack_replayed_challenge():
    _, challenge, _, _ = recorded()
    one = client(seed="another")
    one.start()
    assert outcome(one.receive(challenge)).message == "the server's signature is wrong"


def test_attack_relayed_handshake():
    """A machine in between passes all on, but shows a TLS certificate of its own."""
    one = client(certificate=b"of mallory")
    (challenge,) = sent(server().receive(sent(one.start())[0]))
    assert outcome(one.receive(challenge)).message == "the server's signature is wrong"


def test_attack_relayed_with_a_key_that_the_certificate_does_not_have():
    one = client(certificate=b"of mallory", server_key=MALLORY.public_key)
    (challenge,) = sent(server(certificate=b"of mallory").receive(sent(one.start())[0]))
    assert "not the one of the TLS certificate" in outcome(one.receive(challenge)).message


def test_attack_signature_of_the_other_side():
    """What the server signed is no proof of a client, even of the same bytes: the labels differ."""
    one, other = client(), server()
    (hello,) = sent(one.start())
    challenge = msgspec.msgpack.decode(sent(other.receive(hello))[0])
    mirrored = msgspec.msgpack.encode(
        {"type": "proof", "signature": challenge["signature"], "chain": b"member of mesh"}
    )
    assert outcome(other.receive(mirrored)).kind == "identity"


def test_attack_narrowed_versions():
    """The range in the Hello is signed by both: whoever changes it in between is found out."""
    one, other = client(protocols=(1, 3)), server(protocols=(1, 3))
    hello = msgspec.msgpack.decode(sent(one.start())[0])
    (challenge,) = sent(other.receive(msgspec.msgpack.encode({**hello, "protocol_max": 1})))
    assert outcome(one.receive(challenge)).message == "the server's signature is wrong"
    one = client()
    offered = msgspec.msgpack.decode(sent(server().receive(sent(one.start())[0]))[0])
    assert "not offered" in outcome(one.receive(msgspec.msgpack.encode({**offered, "protocol": 9}))).message


def test_attack_the_own_key():
    """A copy of the device's key elsewhere, or a dial that ends at oneself."""
    assert talk(client(B), server())[1].kind == "identity"
    assert talk(client(server_key=A.public_key), server(A))[0].kind == "identity"


@pytest.mark.parametrize("position", range(4))
def test_every_message_out_of_turn_is_a_breach(position):
    message = recorded()[position]
    for side, state in ((server(), HandshakeState.AWAIT_HELLO), (client(), HandshakeState.AWAIT_CHALLENGE)):
        if (position, state) in ((0, HandshakeState.AWAIT_HELLO), (1, HandshakeState.AWAIT_CHALLENGE)):
            continue
        assert outcome(side.receive(message)).kind == "protocol"
        assert side.state is HandshakeState.FAILED
        assert sent(side.receive(message)) == [], "and nothing more is answered"


def test_a_name_cannot_steer_the_terminal():
    says = about(A, name="den\x1b[2J\n" + "x" * 500, controllers={"a\x07b": "\x1b1"}, addresses=(("bad host", 1),))
    _, to_server = talk(client(says=says), server())
    assert (to_server.info.name[:6], len(to_server.info.name)) == ("den[2J", 62)
    assert (to_server.info.controllers, to_server.info.addresses) == ({"ab": "1"}, ())


LEAVES = st.none() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=40) | st.sampled_from(["hello", "join", ""])
VALUES = LEAVES | st.lists(LEAVES, max_size=3)
FIELDS = ["type", "key", "nonce", "signature", "chain", "about", "protocol", "purpose", "mesh", "code", "message"]


@given(
    st.binary(max_size=300) | st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6).map(msgspec.msgpack.encode)
)
def test_fuzz_neither_side_ever_raises(payload):
    for side in (server(), client()):
        assert outcome(side.receive(payload)) is None or isinstance(outcome(side.receive(payload)), HandshakeFailed)


@given(st.integers(0, 3), st.integers(0, 10_000), st.integers(1, 255))
def test_fuzz_no_message_survives_a_changed_byte(position, at, change):
    """Whatever byte of a handshake is changed, nobody takes the changed handshake for another's good one."""
    one, other = client(), server()
    ends = []
    (message,) = sent(one.start())
    for step in range(4):
        if step == position:
            at %= len(message)
            message = message[:at] + bytes([message[at] ^ change]) + message[at + 1 :]
        side = other if step % 2 == 0 else one
        effects = side.receive(message)
        ends += [effect for effect in effects if not isinstance(effect, SendPayload)]
        if any(isinstance(end, HandshakeFailed) for end in ends):
            break
        message = sent(effects)[0] if sent(effects) else b""
    for end in ends:
        if isinstance(end, Proved):
            assert end.info.id in (A.id, B.id)
