"""What stands in for Ed25519 in simulations tells good from bad exactly where the real one does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from meshwit.ids import is_id, peer_id
from meshwit.records import Record, Signer, Verifier, record_fault, signed_record
from simulations.keys import SimulatedKey, verify


class RealKey:
    def __init__(self, name: str) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32, b"-"))
        self.public_key = self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)


def really_verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@pytest.fixture(params=[(SimulatedKey, verify), (RealKey, really_verify)], ids=["simulated", "real"])
def kind(request) -> tuple[Callable[[str], Signer], Verifier]:
    return request.param


def test_sizes_and_ids_are_those_of_ed25519(kind):
    make, _ = kind
    key = make("anna")
    assert (len(key.public_key), len(key.sign(b"x"))) == (32, 64)
    assert is_id(peer_id(key.public_key))
    assert make("anna").public_key == key.public_key != make("bert").public_key
    assert key.sign(b"x") == key.sign(b"x") != key.sign(b"y")


def test_only_the_signature_of_that_key_over_that_message_is_good(kind):
    make, holds = kind
    anna, bert = make("anna"), make("bert")
    signature = anna.sign(b"message")
    assert holds(anna.public_key, b"message", signature)
    for bad in (
        (anna.public_key, b"massage", signature),
        (bert.public_key, b"message", signature),
        (anna.public_key, b"message", bert.sign(b"message")),
        (anna.public_key, b"message", bytes([signature[0] ^ 1]) + signature[1:]),
    ):
        assert not holds(*bad)


@pytest.mark.parametrize("length", [0, 31, 33, 63, 65])
def test_wrong_lengths_are_bad_and_raise_nothing(kind, length):
    make, holds = kind
    key = make("anna")
    assert not holds(b"k" * length, b"message", key.sign(b"message"))
    assert not holds(key.public_key, b"message", b"s" * length)


def test_records_are_judged_alike(kind):
    make, holds = kind
    record = signed_record(make("anna"), "load", 7, b"payload")
    assert record_fault(record, holds) == ""
    changed = Record(record.owner, "load", 8, b"payload", 0, record.key, record.signature)
    assert record_fault(changed, holds) == "the signature is wrong"
    stolen = Record(record.owner, "load", 7, b"payload", 0, make("bert").public_key, record.signature)
    assert record_fault(stolen, holds) == "the key is not the owner's"
