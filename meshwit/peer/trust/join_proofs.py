"""What the two sides of joining compute from what both know: words, proofs, the exchange over a code.

Everything is bound to the two keys that TLS has proven, so whoever sits between two connections gets other words on
each side, and proofs that do not fit.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final, Protocol

from spake2 import SPAKE2_A, SPAKE2_B

from meshwit.ids import MeshId, id_bytes
from meshwit.peer.trust.keys import Entropy
from meshwit.peer.trust.words import two_words

SHARE_BYTES: Final = 33
_LABEL: Final = b"meshwit join 1 "


class Ends(Protocol):
    """The two ends of a connection by their device keys, 32 bytes each."""

    @property
    def joiner_key(self) -> bytes:
        """Of the side that wants in."""

    @property
    def admitter_key(self) -> bytes:
        """Of the member."""


def commitment(nonce: bytes, ends: Ends) -> bytes:
    """The hash that fixes a nonce before the other one is known."""
    return _digest(b"commitment", ends.joiner_key, ends.admitter_key, nonce)


def approval_words(joiner_nonce: bytes, admitter_nonce: bytes, ends: Ends) -> str:
    """The words that both sides show. As neither nonce can be chosen after the other, a liar has one guess in 2^22."""
    return two_words(_digest(b"words", ends.joiner_key, ends.admitter_key, joiner_nonce, admitter_nonce))


def mesh_hash(mesh: MeshId, nonce: bytes, ends: Ends) -> bytes:
    """Names a mesh to those who know it, and to nobody else."""
    return _digest(b"mesh", id_bytes(mesh), nonce, ends.joiner_key, ends.admitter_key)


def token_message(name: str, joiner_nonce: bytes, admitter_nonce: bytes, ends: Ends) -> bytes:
    """What the key of an invite signs: good on this connection, for this name, once."""
    parts = (name.encode(), joiner_nonce, admitter_nonce, ends.joiner_key, ends.admitter_key)
    return _LABEL + b"token" + _digest(b"token", *parts)


class CodeExchange:
    """SPAKE2 over a code, one side of it; source: RFC 9382 as the package `spake2` does it, our confirmation.

    Args:
        code: all of it, the number too.
        joining: whether this is the joiner's side.
    """

    def __init__(self, code: str, ends: Ends, entropy: Entropy, *, joining: bool) -> None:
        side = SPAKE2_A if joining else SPAKE2_B
        identities = {"idA": _LABEL + ends.joiner_key, "idB": _LABEL + ends.admitter_key}
        self._exchange = side(code.encode(), **identities, entropy_f=entropy)
        self._key = b""
        self.share: bytes = self._exchange.start()

    def finish(self, share: bytes, ask: bytes, reply: bytes) -> str:
        """Takes the other side's share and both messages as they crossed. Returns what is wrong; empty if nothing."""
        if len(share) != SHARE_BYTES:
            return "a share of the code exchange has the wrong length"
        try:
            secret: bytes = self._exchange.finish(share)
        except Exception:  # the package raises assertions and bare exceptions on what is no point of its curve
            return "a share of the code exchange is no such thing"
        self._key = _digest(b"code", secret, ask, reply)
        return ""

    def joiner_proof(self) -> bytes:
        """That the joiner came to the same key."""
        return self._proof(b"joiner")

    def admitter_proof(self, body: bytes) -> bytes:
        """That the member did, and that the welcome is its own."""
        return self._proof(b"admitter" + body)

    def _proof(self, what: bytes) -> bytes:
        if not self._key:
            raise RuntimeError("the code exchange is not finished")
        return hmac.digest(self._key, _LABEL + what, "sha256")


def same(one: bytes, other: bytes) -> bool:
    """Whether two proofs are equal, in a time that tells nothing."""
    return hmac.compare_digest(one, other)


def _digest(what: bytes, *parts: bytes) -> bytes:
    """SHA-256 over labelled parts, each with its length before it, so that no two lists of parts hash alike."""
    state = hashlib.sha256(_LABEL + what + b"\0")
    for part in parts:
        state.update(len(part).to_bytes(4, "big"))
        state.update(part)
    return state.digest()
