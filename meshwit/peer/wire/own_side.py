"""This peer's side of every handshake. Shell."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from meshwit.ids import peer_id
from meshwit.peer.wire.handshake import (
    INSTANCE_BYTES,
    Authority,
    ClientHandshake,
    PeerInfo,
    ServerHandshake,
)
from meshwit.peer.wire.handshake_messages import NONCE_BYTES, Purpose
from meshwit.peer.wire.tls import certificate_der, certificate_key
from meshwit.records import Signer, Verifier


class OwnSide:
    """Who this peer is, and what it says of itself. Raises ValueError if the certificate is not of the key."""

    def __init__(
        self, key: Signer, certfile: Path | str, authority: Authority, info: Callable[[], PeerInfo], verify: Verifier
    ) -> None:
        self.certificate = certificate_der(certfile)
        if certificate_key(self.certificate) != key.public_key:
            raise ValueError(f"{certfile} is not the certificate of this device's key")
        self.key = key.public_key
        self.me = peer_id(key.public_key)
        self.instance = os.urandom(INSTANCE_BYTES)
        self._authority = authority
        self._info = info
        self._verify = verify

    def client(self, certificate: bytes, server_key: bytes, purpose: Purpose, gone: bytes = b"") -> ClientHandshake:
        """The side that dialled."""
        return ClientHandshake(
            authority=self._authority,
            verify=self._verify,
            about=self._about(),
            certificate=certificate,
            server_key=server_key,
            nonce=os.urandom(NONCE_BYTES),
            purpose=purpose,
            gone=gone,
        )

    def server(self, joins: bool) -> ServerHandshake:
        """The side that was dialled."""
        return ServerHandshake(
            authority=self._authority,
            verify=self._verify,
            about=self._about(),
            certificate=self.certificate,
            nonce=os.urandom(NONCE_BYTES),
            joins=joins,
        )

    def _about(self) -> PeerInfo:
        return msgspec.structs.replace(self._info(), id=self.me, key=self.key, instance=self.instance)
