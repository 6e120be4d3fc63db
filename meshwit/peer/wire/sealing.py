"""Sealed datagrams: encrypted and authenticated under the mesh's datagram secret. Core.

    version 1 · secret id 8 · sender 20 · salt 4 · counter 8 · kind and payload, encrypted, with a tag of 16

ChaCha20-Poly1305 (RFC 8439); what stands before the ciphertext is authenticated with it. Each sender has a key of its
own, BLAKE2b of his id under the secret, so equal counters of two senders never meet. The nonce is salt and counter:
the counter begins at the microseconds since 1970, so it goes on upwards over restarts, and the random salt, one per
start, keeps nonces apart even where the clock was set back.

Any member can seal in another's name, since all hold the secret: what must be true of its sender is signed inside.
Replays are refused by a window of 1,024 counters per sender, kept only for those who sent something authentic. After
a restart of the receiver an old datagram may pass once; `expect`, called with what the handshake told, closes that
too.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeAlias

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from meshwit.ids import ID_BYTES, PeerId, id_bytes, id_text

VERSION: Final = 1
SECRET_ID_BYTES: Final = 8
SALT_BYTES: Final = 4
HEADER_BYTES: Final = 1 + SECRET_ID_BYTES + ID_BYTES + SALT_BYTES + 8
TAG_BYTES: Final = 16
DATAGRAM_BYTES_MAX: Final = 1400
PAYLOAD_BYTES_MAX: Final = DATAGRAM_BYTES_MAX - HEADER_BYTES - TAG_BYTES - 1
"""What fits into one datagram."""
WINDOW: Final = 1024
SENDERS_MAX: Final = 65_536
_KEYS_MAX: Final = 4096
_COUNTER_END: Final = 2**64


class Secret(Protocol):
    """A datagram secret of the mesh."""

    @property
    def id(self) -> bytes:
        """8 bytes that name it in clear."""

    @property
    def key(self) -> bytes:
        """32 bytes."""


class Opened(msgspec.Struct, frozen=True):
    """An authentic datagram, the first of its counter."""

    sender: PeerId
    kind: int
    payload: bytes


class Rejected(msgspec.Struct, frozen=True):
    """Anything else. `why` is one of `short`, `long`, `version`, `secret`, `own`, `replay`, `forged`."""

    why: str


class _Window:
    """Which of the newest counters of a sender were seen: bit i for `highest - i`."""

    __slots__ = ("bits", "highest")

    def __init__(self, highest: int) -> None:
        self.highest = highest
        self.bits = 1

    def fresh(self, counter: int) -> bool:
        behind = self.highest - counter
        return behind < 0 or (behind < WINDOW and not self.bits >> behind & 1)

    def mark(self, counter: int) -> None:
        ahead = counter - self.highest
        if ahead > 0:
            self.bits = 1 if ahead >= WINDOW else (self.bits << ahead | 1) & ((1 << WINDOW) - 1)
            self.highest = counter
        else:
            self.bits |= 1 << -ahead


_Key: TypeAlias = tuple[bytes, bytes, bytes]


class Sealer:
    """Seals and opens the datagrams of one peer.

    Args:
        me: the own id.
        secrets: the secrets that hold now, the one to seal with first. Asked at every datagram.
        start_counter: microseconds since 1970.
        salt: 4 random bytes, new at each start.
    """

    def __init__(
        self, me: PeerId, secrets: Callable[[], Sequence[Secret]], start_counter: int, salt: bytes = b"\0" * SALT_BYTES
    ) -> None:
        if not 0 <= start_counter < _COUNTER_END - 2**48:
            raise ValueError(f"a counter cannot start at {start_counter}")
        if len(salt) != SALT_BYTES:
            raise ValueError(f"a salt has {SALT_BYTES} bytes, not {len(salt)}")
        self._me = id_bytes(me)
        self._secrets = secrets
        self._counter = start_counter
        self._salt = salt
        self._windows: OrderedDict[bytes, _Window] = OrderedDict()
        self._ciphers: OrderedDict[_Key, ChaCha20Poly1305] = OrderedDict()

    @property
    def counter(self) -> int:
        """The last counter that was used: told at the handshake, for `expect`."""
        return self._counter

    def seal(self, kind: int, payload: bytes) -> bytes:
        """A datagram. Raises ValueError if the payload is too long, or there is no secret."""
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise ValueError(f"{len(payload)} bytes are too many for one datagram: {PAYLOAD_BYTES_MAX} fit")
        secrets = self._secrets()
        if not secrets:
            raise ValueError("this peer has no secret to seal datagrams with: it is in no mesh")
        self._counter += 1
        nonce = self._salt + self._counter.to_bytes(8, "big")
        header = bytes((VERSION,)) + secrets[0].id + self._me + nonce
        sealed = self._cipher(secrets[0], self._me).encrypt(nonce, bytes((kind,)) + payload, header)
        return header + sealed

    def open(self, datagram: bytes) -> Opened | Rejected:
        """What is in a datagram. Never raises."""
        if len(datagram) < HEADER_BYTES + TAG_BYTES + 1:
            return Rejected("short")
        if len(datagram) > DATAGRAM_BYTES_MAX:
            return Rejected("long")
        if datagram[0] != VERSION:
            return Rejected("version")
        header = datagram[:HEADER_BYTES]
        sender = header[1 + SECRET_ID_BYTES : 1 + SECRET_ID_BYTES + ID_BYTES]
        if sender == self._me:
            return Rejected("own")
        secret = next((each for each in self._secrets() if each.id == header[1 : 1 + SECRET_ID_BYTES]), None)
        if secret is None:
            return Rejected("secret")
        nonce = header[-12:]
        counter = int.from_bytes(nonce[SALT_BYTES:], "big")
        window = self._windows.get(sender)
        if window is not None and not window.fresh(counter):
            return Rejected("replay")
        cipher = self._ciphers.get((secret.id, secret.key, sender)) or _cipher(secret.key, sender)
        try:
            plain = cipher.decrypt(nonce, datagram[HEADER_BYTES:], header)
        except InvalidTag:
            return Rejected("forged")
        self._keep(secret, sender, cipher)
        self._mark(sender, window, counter)
        return Opened(PeerId(id_text(sender)), plain[0], plain[1:])

    def expect(self, sender: PeerId, counter: int) -> None:
        """Takes only datagrams of that sender above the counter, which it told by a channel that cannot be forged."""
        raw = id_bytes(sender)
        self._windows.pop(raw, None)
        self._mark(raw, None, counter)
        self._windows[raw].bits = (1 << WINDOW) - 1

    def _mark(self, sender: bytes, window: _Window | None, counter: int) -> None:
        if window is None:
            self._windows[sender] = _Window(counter)
            if len(self._windows) > SENDERS_MAX:
                self._windows.popitem(last=False)
        else:
            window.mark(counter)
            self._windows.move_to_end(sender)

    def _cipher(self, secret: Secret, sender: bytes) -> ChaCha20Poly1305:
        cipher = self._ciphers.get((secret.id, secret.key, sender))
        if cipher is None:
            cipher = _cipher(secret.key, sender)
            self._keep(secret, sender, cipher)
        return cipher

    def _keep(self, secret: Secret, sender: bytes, cipher: ChaCha20Poly1305) -> None:
        key = (secret.id, secret.key, sender)
        self._ciphers[key] = cipher
        self._ciphers.move_to_end(key)
        if len(self._ciphers) > _KEYS_MAX:
            self._ciphers.popitem(last=False)


def _cipher(secret: bytes, sender: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(hashlib.blake2b(sender, digest_size=32, key=secret, person=b"meshwit datagram").digest())
