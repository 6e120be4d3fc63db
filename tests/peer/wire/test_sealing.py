"""Sealed datagrams, and the attacks on them."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire_mesh import key

from meshwit.peer.wire import sealing
from meshwit.peer.wire.sealing import PAYLOAD_BYTES_MAX, WINDOW, Opened, Rejected, Sealer

A, B, C = key("a").id, key("b").id, key("c").id


class MeshSecret(NamedTuple):
    id: bytes
    key: bytes


OLD, NEW, FOREIGN = (MeshSecret(bytes([n]) * 8, bytes([n]) * 32) for n in (1, 2, 3))


def sealer(me, *secrets, start=1_000_000, salt=b"salt"):
    return Sealer(me, lambda: list(secrets or [NEW]), start, salt)


def test_what_is_sealed_opens_at_another_member():
    for payload in (b"", b"ping", bytes(PAYLOAD_BYTES_MAX)):
        datagram = sealer(A).seal(1, payload)
        assert len(datagram) <= 1400
        assert sealer(B).open(datagram) == Opened(A, 1, payload)
        assert not payload or payload not in datagram


def test_too_long_or_without_a_secret_is_the_callers_error():
    with pytest.raises(ValueError, match="too many"):
        sealer(A).seal(1, bytes(PAYLOAD_BYTES_MAX + 1))
    with pytest.raises(ValueError, match="no mesh"):
        Sealer(A, lambda: [], 0).seal(1, b"")


def test_while_secrets_change_both_open():
    assert isinstance(sealer(B, NEW, OLD).open(sealer(A, OLD).seal(1, b"x")), Opened)
    assert isinstance(sealer(B, NEW, OLD).open(sealer(A, NEW).seal(1, b"x")), Opened)


def test_attack_another_mesh_and_an_old_secret():
    assert sealer(B).open(sealer(A, FOREIGN).seal(1, b"x")) == Rejected("secret")
    assert sealer(B, NEW).open(sealer(A, OLD).seal(1, b"x")) == Rejected("secret")
    lying = MeshSecret(NEW.id, FOREIGN.key)
    assert sealer(B).open(sealer(A, lying).seal(1, b"x")) == Rejected("forged")


def test_attack_replay():
    one, other = sealer(A), sealer(B)
    datagrams = [one.seal(1, bytes([n])) for n in range(10)]
    for at in (3, 1, 9, 0):
        assert isinstance(other.open(datagrams[at]), Opened)
        assert other.open(datagrams[at]) == Rejected("replay")
    assert isinstance(other.open(datagrams[5]), Opened), "late is no replay"


def test_attack_replay_from_before_the_window():
    one, other = sealer(A), sealer(B)
    old = one.seal(1, b"old")
    for _ in range(WINDOW - 1):
        newest = one.seal(1, b"")
    assert isinstance(other.open(newest), Opened)
    assert isinstance(other.open(old), Opened), "just inside"
    old = one.seal(1, b"")
    for _ in range(WINDOW):
        newest = one.seal(1, b"")
    assert isinstance(other.open(newest), Opened)
    assert other.open(old) == Rejected("replay")


def test_attack_replay_after_the_receiver_restarted():
    """The handshake tells where the sender's counter stands: older datagrams do not pass, newer ones do."""
    one = sealer(A)
    recorded = [one.seal(1, b"old") for _ in range(3)]
    other = sealer(B)
    other.expect(A, one.counter)
    assert {other.open(each) for each in recorded} == {Rejected("replay")}
    assert isinstance(other.open(one.seal(1, b"new")), Opened)


def test_a_sender_whose_clock_was_set_back_is_heard_again_after_a_handshake():
    other = sealer(B)
    assert isinstance(other.open(sealer(A, start=5_000_000).seal(1, b"x")), Opened)
    reborn = sealer(A, start=1_000_000, salt=b"else")
    assert other.open(reborn.seal(1, b"x")) == Rejected("replay")
    other.expect(A, reborn.counter)
    assert isinstance(other.open(reborn.seal(1, b"x")), Opened)


def test_nonces_differ_over_senders_and_restarts():
    """Equal counters never meet under one key and nonce."""
    datagrams = {
        sealer(me, start=7, salt=salt).seal(1, b"same").removeprefix(b"")[sealing.HEADER_BYTES :]
        for me in (A, B)
        for salt in (b"salt", b"pepr")
    }
    assert len(datagrams) == 4


def test_attack_the_own_datagram_sent_back():
    one = sealer(A)
    assert one.open(one.seal(1, b"x")) == Rejected("own")


def test_attack_another_senders_name():
    """The sender's id is authenticated: changed, the datagram does not open."""
    datagram = bytearray(sealer(A).seal(1, b"x"))
    theirs = sealer(C).seal(1, b"x")
    datagram[9:29] = theirs[9:29]
    assert sealer(B).open(bytes(datagram)) == Rejected("forged")


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_fuzz_attack_any_changed_byte(at, change):
    datagram = bytearray(sealer(A).seal(1, b"payload"))
    datagram[at % len(datagram)] ^= change
    assert isinstance(sealer(B).open(bytes(datagram)), Rejected)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.binary(max_size=1500))
def test_fuzz_any_bytes_are_rejected_without_raising(datagram):
    assert isinstance(sealer(B).open(datagram), Rejected)
    assert isinstance(sealer(B).open(b"\x01" + NEW.id + datagram), Rejected)


def test_a_forgery_does_not_move_the_window():
    other = sealer(B)
    good = sealer(A).seal(1, b"x")
    forged = bytearray(good)
    forged[33:41] = b"\xff" * 8
    assert other.open(bytes(forged)) == Rejected("forged")
    assert isinstance(other.open(good), Opened)


def test_memory_is_bounded(monkeypatch):
    """Senders heard longest ago are forgotten first."""
    monkeypatch.setattr(sealing, "SENDERS_MAX", 4)
    monkeypatch.setattr(sealing, "_KEYS_MAX", 4)
    other = sealer(B)
    for n in range(10):
        other.open(sealer(key(f"sender {n}").id).seal(1, b"x"))
    assert len(other._windows) == 4
    assert len(other._ciphers) == 4
