"""Tokens: an invitation as one long word, for devices with nobody in front of them.

A token holds a private key that was made for it and that key's certificate, of the kind INVITE: proof to any member
that a member let its bearer in. It also pins the mesh. It is good for many devices until it expires, so it is as secret
as a password. Text: `meshwit1`, then base32 of MessagePack and four bytes of its hash. Pure; `now` is seconds since
1970.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from meshwit.ids import MeshId, mesh_id
from meshwit.peer.trust.certificates import (
    CLOCK_TOLERANCE_S,
    CertificateKind,
    Chain,
    chain_fault,
    decode_chain,
    encode_chain,
    issue,
    name_fault,
)
from meshwit.peer.trust.keys import KEY_BYTES, DeviceKey, Entropy
from meshwit.peer.trust.membership import Membership
from meshwit.records import Signer

PREFIX: Final = "meshwit1"
TOKEN_LENGTH_MAX: Final = 16 * 1024
ADDRESSES_MAX: Final = 8
HOURS_MAX: Final = 24 * 366
_CHECK_BYTES: Final = 4
_NAME: Final = "invite"

Address = tuple[str, int]


class Token(msgspec.Struct, frozen=True):
    """What is in a token.

    Attributes:
        mesh_name: what the mesh was called when it was made.
        addresses: where members were then.
        seed: the secret of the token's key, 32 bytes.
        chain: that key's certificates, root first; the first issuer is the mesh.
    """

    mesh_name: str
    addresses: tuple[Address, ...]
    seed: bytes
    chain: Chain

    @property
    def mesh(self) -> MeshId:
        """The only mesh that it leads into."""
        return mesh_id(self.chain[0].issuer)

    @property
    def expires_at(self) -> int:
        """Seconds since 1970."""
        return self.chain[-1].expires_at

    @property
    def key(self) -> DeviceKey:
        """The token's own key."""
        return DeviceKey(self.seed)


class _Content(msgspec.Struct, frozen=True, array_like=True):
    mesh_name: str
    addresses: tuple[Address, ...]
    seed: bytes
    chain: bytes


_decoder: Final = msgspec.msgpack.Decoder(_Content)


def make_token(
    membership: Membership, signer: Signer, now: float, hours: float, addresses: Sequence[Address], entropy: Entropy
) -> str:
    """A token of this member. Raises ValueError if it would be good for no time or for more than a year."""
    if not 0 < hours <= HOURS_MAX:
        raise ValueError(f"a token is good for up to {HOURS_MAX} hours, not {hours:g}")
    seed = entropy(KEY_BYTES)
    certificate = issue(
        signer, membership.mesh, DeviceKey(seed).public_key, _NAME, now, now + hours * 3600, CertificateKind.INVITE
    )
    chain = encode_chain((*membership.chain, certificate))
    return _text(_Content(membership.mesh_name, tuple(addresses[:ADDRESSES_MAX]), seed, chain))


def read_token(text: str, now: float) -> Token:
    """What a token says. Spaces and line breaks in it, as mails add them, do no harm.

    Raises:
        ValueError: it is none, is damaged or has expired; says which.
    """
    word = re.sub(r"\s+", "", text[: 2 * TOKEN_LENGTH_MAX]).lower()
    if not word.startswith(PREFIX):
        raise ValueError(f"this is no invite: it would begin with {PREFIX}")
    content = _content(word[len(PREFIX) :])
    try:
        chain = decode_chain(content.chain)
        key = DeviceKey(content.seed).public_key
    except ValueError:
        raise ValueError("the invite is damaged: ask for another one") from None
    if not chain or name_fault(content.mesh_name) or len(content.addresses) > ADDRESSES_MAX:
        raise ValueError("the invite is damaged: ask for another one")
    token = Token(content.mesh_name, content.addresses, content.seed, chain)
    expires = token.expires_at
    if expires and now > expires + CLOCK_TOLERANCE_S:
        raise ValueError(
            f"the invite into {token.mesh_name} has expired, {_ago(now - expires)} ago: ask for another one"
        )
    fault = chain_fault(chain, token.mesh, key, now, {}, kind=CertificateKind.INVITE)
    if fault:
        raise ValueError(f"the invite is not good ({fault}): ask for another one")
    return token


def _text(content: _Content) -> str:
    raw = msgspec.msgpack.encode(content)
    return PREFIX + base64.b32encode(raw + _check(raw)).decode().lower().rstrip("=")


def _content(letters: str) -> _Content:
    """Decodes what follows the prefix. Raises ValueError."""
    if len(letters) > TOKEN_LENGTH_MAX:
        raise ValueError("this is no invite: it is too long")
    try:
        raw = base64.b32decode(letters.upper() + "=" * (-len(letters) % 8))
    except (binascii.Error, ValueError):
        raise ValueError("the invite is damaged, or part of it is missing: copy it once more") from None
    body, check = raw[:-_CHECK_BYTES], raw[-_CHECK_BYTES:]
    if not hmac.compare_digest(_check(body), check):
        raise ValueError("the invite is damaged, or part of it is missing: copy it once more")
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ValueError("the invite was made by a newer meshwit: update this one, pip install -U meshwit") from None


def _check(raw: bytes) -> bytes:
    return hashlib.sha256(b"meshwit invite 1\0" + raw).digest()[:_CHECK_BYTES]


def _ago(seconds: float) -> str:
    """`3 hours`, rounded down; at least a minute."""
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        count = int(seconds // size)
        if count:
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "a moment"
