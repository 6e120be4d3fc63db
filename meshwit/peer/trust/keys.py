"""The key of a device: an Ed25519 pair, made once, kept in one file that is also the key file of its TLS."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from meshwit.ids import PeerId, peer_id
from meshwit.peer.trust.errors import TrustError
from meshwit.peer.trust.files import private_folder, read_private, write_private

KEY_FILE: Final = "key.pem"
KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
_CACHED_BYTES_MAX: Final = 512
"""Longer messages are records that are read once; certificates are short and are met at every handshake."""

Entropy = Callable[[int], bytes]
"""So many random bytes; `os.urandom` outside of tests and simulations."""


class DeviceKey:
    """Signs for one peer.

    Args:
        seed: the 32 secret bytes of the Ed25519 private key.
    """

    def __init__(self, seed: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self._public = self._private.public_key().public_bytes_raw()
        self._id = peer_id(self._public)

    @classmethod
    def load_or_create(cls, folder: Path, entropy: Entropy = os.urandom) -> DeviceKey:
        """The key kept in the folder; a new one if there is none. Raises TrustError if it is broken or not private."""
        private_folder(folder)
        found = cls.load(folder)
        if found is not None:
            return found
        made = cls(entropy(KEY_BYTES))
        try:
            write_private(folder / KEY_FILE, made.private_pem(), replace=False)
        except FileExistsError:  # another process was faster: its key counts
            return cls.load_or_create(folder, entropy)
        return made

    @classmethod
    def load(cls, folder: Path) -> DeviceKey | None:
        """The key kept in the folder, None if there is none. Raises TrustError if it is broken or not private."""
        path = folder / KEY_FILE
        content = read_private(path)
        if content is None:
            return None
        try:
            private = load_pem_private_key(content, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            private = None
        if not isinstance(private, Ed25519PrivateKey):
            raise TrustError(
                f"{path} holds no Ed25519 key or is damaged",
                "put a copy of it back, or remove it to become a new device that has to join again",
            )
        return cls(private.private_bytes_raw())

    @property
    def id(self) -> PeerId:
        """The peer that it is the key of."""
        return self._id

    @property
    def public_key(self) -> bytes:
        """32 bytes."""
        return self._public

    def sign(self, message: bytes) -> bytes:
        """The signature, 64 bytes."""
        return self._private.sign(message)

    def private_pem(self) -> bytes:
        """The secret itself, as PKCS #8."""
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def __repr__(self) -> str:
        return f"DeviceKey({self._id})"


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the holder of that Ed25519 key signed that message. Never raises."""
    if len(message) <= _CACHED_BYTES_MAX:
        return _verify_cached(public_key, message, signature)
    return _verify(public_key, message, signature)


def _verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    if len(public_key) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


_verify_cached = lru_cache(maxsize=4096)(_verify)
