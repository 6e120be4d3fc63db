"""Certificates: a member vouches for another, in a chain that begins with the key that founded the mesh.

Every member may certify, so a chain says who let whom in. What it proves: that the holder of the last subject's key
was admitted by somebody who had been admitted, and so on back to the mesh's own key. Pure; `now` is seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import IntEnum
from typing import Final

import msgspec

from meshwit.ids import MeshId, PeerId, mesh_id, peer_id, short
from meshwit.peer.trust.keys import KEY_BYTES, SIGNATURE_BYTES, verify
from meshwit.records import Signer, Verifier

DEPTH_MAX: Final = 16
NAME_LENGTH_MAX: Final = 64
CLOCK_TOLERANCE_S: Final = 600
"""Of expiry. Devices without a battery for their clock start with a wrong one, so `issued_at` is not judged at all."""
CHAIN_BYTES_MAX: Final = 8 * 1024
"""Sixteen certificates with the longest names stay below it."""
_LABEL: Final = b"meshwit certificate 1\0"
_TIME_MAX: Final = 2**53


class CertificateKind(IntEnum):
    """What a certificate is good for."""

    MEMBER = 0
    """To belong to the mesh and to certify others."""
    INVITE = 1
    """To be admitted by a member, nothing else: its key is in a token, known to whoever has read it."""
    SAME_DEVICE = 2
    """Like MEMBER, for another peer of the issuer's own device: it falls with its issuer."""


class Certificate(msgspec.Struct, frozen=True, array_like=True):
    """One link of a chain.

    Attributes:
        mesh: the mesh it is of.
        subject: the public key certified.
        name: what the subject is called, unique as far as the issuer knew.
        issuer: the public key that signed: the mesh's in the first of a chain, else the subject before it.
        issued_at: seconds since 1970 by the issuer's clock.
        expires_at: seconds since 1970; 0 for never.
        kind: what it is good for.
        signature: over all of the above.
    """

    mesh: MeshId
    subject: bytes
    name: str
    issuer: bytes
    issued_at: int
    expires_at: int
    kind: CertificateKind
    signature: bytes

    @property
    def id(self) -> PeerId:
        """The peer certified."""
        return peer_id(self.subject)


Chain = tuple[Certificate, ...]
"""Root first."""


class _Link(msgspec.Struct, frozen=True, array_like=True):
    """A certificate without what the chain says already."""

    subject: bytes
    name: str
    issued_at: int
    expires_at: int
    kind: CertificateKind
    signature: bytes


class _Links(msgspec.Struct, frozen=True, array_like=True):
    mesh_key: bytes
    links: tuple[_Link, ...]


_decoder: Final = msgspec.msgpack.Decoder(_Links)


def issue(
    signer: Signer,
    mesh: MeshId,
    subject: bytes,
    name: str,
    issued_at: float,
    expires_at: float = 0,
    kind: CertificateKind = CertificateKind.MEMBER,
) -> Certificate:
    """A certificate for the subject's key. Raises ValueError if the name is not one."""
    fault = name_fault(name)
    if fault:
        raise ValueError(f"{name[:80]!r} is no name for a device: {fault}")
    issued, expires = int(issued_at), int(expires_at)
    message = _message(mesh, subject, name, signer.public_key, issued, expires, kind)
    return Certificate(mesh, subject, name, signer.public_key, issued, expires, kind, signer.sign(message))


def chain_fault(
    chain: Chain,
    mesh: MeshId,
    subject: bytes,
    now: float,
    expelled: Mapping[PeerId, frozenset[PeerId]],
    *,
    kind: CertificateKind = CertificateKind.MEMBER,
    verify: Verifier = verify,
) -> str:
    """Why a chain does not make the subject a member; empty if it does.

    Args:
        expelled: who was, each with the ids among those admitted through it that stay members.
        kind: INVITE to judge the chain of a token's key instead.
        now: seconds since 1970.
    """
    if not chain:
        return "there is no certificate"
    if len(chain) > DEPTH_MAX + (kind is CertificateKind.INVITE):
        return f"the chain of certificates is longer than {DEPTH_MAX}"
    if mesh_id(chain[0].issuer) != mesh:
        return f"it is of another mesh ({short(mesh_id(chain[0].issuer))}, not {short(mesh)})"
    if chain[-1].subject != subject:
        return "the certificate is for another device"
    for index, certificate in enumerate(chain):
        last = index == len(chain) - 1
        fault = _link_fault(
            certificate, mesh, chain[index - 1] if index else None, kind if last else CertificateKind.MEMBER
        )
        if not fault and certificate.expires_at and now > certificate.expires_at + CLOCK_TOLERANCE_S:
            fault = f"the certificate of {certificate.name} has expired"
        if not fault and not verify(certificate.issuer, _signed(certificate), certificate.signature):
            fault = f"the signature on the certificate of {certificate.name} is wrong"
        if fault:
            return fault
    through = expelled_in(chain, expelled)
    if through is None:
        return ""
    name = chain[through].name
    return f"{name} was expelled" if through == len(chain) - 1 else f"it was let in by {name}, who was expelled"


def expelled_in(chain: Chain, expelled: Mapping[PeerId, frozenset[PeerId]]) -> int | None:
    """Where in a chain somebody stands whose expulsion ends it; None if it holds.

    A chain through an expelled peer holds if somebody after that peer is among those kept.
    """
    ids = [each.id for each in chain] if expelled else []
    for index, each in enumerate(ids):
        kept = expelled.get(each)
        if kept is not None and not any(later in kept for later in ids[index + 1 :]):
            return index
    return None


def encode_chain(chain: Chain) -> bytes:
    """For the wire: the mesh's key and each issuer are written once. The chain has to be a sound one."""
    if not chain:
        return b""
    links = tuple(_Link(c.subject, c.name, c.issued_at, c.expires_at, c.kind, c.signature) for c in chain)
    return msgspec.msgpack.encode(_Links(chain[0].issuer, links))


def decode_chain(raw: bytes) -> Chain:
    """What `encode_chain` wrote. Raises ValueError if that is none; of its truth nothing is said."""
    if not raw:
        return ()
    if len(raw) > CHAIN_BYTES_MAX:
        raise ValueError(f"a chain of certificates has at most {CHAIN_BYTES_MAX} bytes, not {len(raw)}")
    try:
        links = _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"this is no chain of certificates ({error})") from None
    if len(links.links) > DEPTH_MAX + 1:
        raise ValueError(f"the chain of certificates is longer than {DEPTH_MAX}")
    mesh, issuer = mesh_id(links.mesh_key), links.mesh_key
    chain: list[Certificate] = []
    for each in links.links:
        chain.append(
            Certificate(
                mesh, each.subject, each.name, issuer, each.issued_at, each.expires_at, each.kind, each.signature
            )
        )
        issuer = each.subject
    return tuple(chain)


def name_fault(name: str) -> str:
    """Why it is no name for a device or mesh; empty if it is. Names end up on terminals and in commands."""
    if not 0 < len(name) <= NAME_LENGTH_MAX:
        return f"a name has 1 to {NAME_LENGTH_MAX} characters"
    if not name.isprintable() or " " in name:
        return "a name has no spaces and no control characters"
    return "a name does not begin with a dash" if name.startswith("-") else ""


def clean_name(text: str) -> str:
    """The nearest name to what a host or a person is called: `Den's Mac` becomes `Den's-Mac`."""
    shown = "".join(each if each.isprintable() and not each.isspace() else " " for each in text)
    return "-".join(shown.split()).lstrip("-")[:NAME_LENGTH_MAX] or "device"


def unique_name(wanted: str, taken: Collection[str]) -> str:
    """The name, or with the lowest number that makes it unique: `den`, `den-2`. Capitals do not tell names apart."""
    name, lower = clean_name(wanted), {each.lower() for each in taken}
    candidates: Iterable[str] = (f"{name[: NAME_LENGTH_MAX - 6]}-{number}" for number in range(2, len(lower) + 3))
    return next(each for each in (name, *candidates) if each.lower() not in lower)


def _link_fault(certificate: Certificate, mesh: MeshId, before: Certificate | None, kind: CertificateKind) -> str:
    """What is wrong with one certificate in its place, signature and expiry apart."""
    if certificate.mesh != mesh:
        return f"the certificate of {short(certificate.id)} is of another mesh"
    if before is not None and certificate.issuer != before.subject:
        return "the chain of certificates is broken"
    if len(certificate.subject) != KEY_BYTES or len(certificate.signature) != SIGNATURE_BYTES:
        return "a certificate holds no key or no signature"
    if not (0 <= certificate.issued_at < _TIME_MAX and 0 <= certificate.expires_at < _TIME_MAX):
        return "a certificate has an impossible date"
    if name_fault(certificate.name):
        return "a certificate has an impossible name"
    if (certificate.kind is CertificateKind.INVITE) != (kind is CertificateKind.INVITE):
        return (
            "an invite is no membership" if certificate.kind is CertificateKind.INVITE else "a membership is no invite"
        )
    return ""


def _signed(certificate: Certificate) -> bytes:
    each = certificate
    return _message(each.mesh, each.subject, each.name, each.issuer, each.issued_at, each.expires_at, each.kind)


def _message(
    mesh: str, subject: bytes, name: str, issuer: bytes, issued: int, expires: int, kind: CertificateKind
) -> bytes:
    return _LABEL + msgspec.msgpack.encode((mesh, subject, name, issuer, issued, expires, int(kind)))
