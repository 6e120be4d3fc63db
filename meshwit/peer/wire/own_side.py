"""This peer's side of every handshake. Shell."""

from __future__ import annotations

from collections.abc import Callable

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
from meshwit.peer.wire.streams import Streams
from meshwit.records import Signer, Verifier


class OwnSide:
    """Who this peer is, and what it says of itself. Raises ValueError if the certificate is not of the key."""

    def __init__(
        self,
        key: Signer,
        streams: Streams,
        authority: Authority,
        info: Callable[[], PeerInfo],
        verify: Verifier,
        entropy: Callable[[int], bytes],
    ) -> None:
        if streams.key != key.public_key:
            raise ValueError("that is not the certificate of this device's key")
        self.certificate = streams.certificate
        self.key = key.public_key
        self.me = peer_id(key.public_key)
        self.instance = entropy(INSTANCE_BYTES)
        self._entropy = entropy
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
            nonce=self._entropy(NONCE_BYTES),
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
            nonce=self._entropy(NONCE_BYTES),
            joins=joins,
        )

    def _about(self) -> PeerInfo:
        return msgspec.structs.replace(self._info(), id=self.me, key=self.key, instance=self.instance)
