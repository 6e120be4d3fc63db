"""Signatures that cost a microsecond and protect nothing: what a simulation puts in place of Ed25519.

They tell the honest from the damaged just as real ones do (a test holds both to the same), but anybody could forge
them: the signature is a hash keyed with the public key.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from meshwit.ids import PeerId, peer_id

SIGNATURE_BYTES: Final = 64


class SimulatedKey:
    """The key of a simulated device; the same name has the same key.

    Attributes:
        id: of the peer.
        public_key: 32 bytes.
    """

    __slots__ = ("id", "public_key")

    def __init__(self, name: str) -> None:
        self.public_key = hashlib.blake2b(name.encode(), digest_size=32).digest()
        self.id: PeerId = peer_id(self.public_key)

    def sign(self, message: bytes) -> bytes:
        """The signature, 64 bytes."""
        return hashlib.blake2b(message, digest_size=SIGNATURE_BYTES, key=self.public_key).digest()


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the holder of that key signed that message; never raises."""
    if len(public_key) != 32 or len(signature) != SIGNATURE_BYTES:
        return False
    expected = hashlib.blake2b(message, digest_size=SIGNATURE_BYTES, key=public_key).digest()
    return hmac.compare_digest(expected, signature)
