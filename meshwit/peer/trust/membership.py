"""What makes a peer a member of its mesh: the mesh's key, its own chain, the secrets, who was expelled.

Data and pure functions; each returns a new membership. `now` is seconds since 1970. Whoever holds the newest secret
reads and writes the mesh's datagrams, so a new one is made with every expulsion and crosses over TLS links only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Final

import msgspec

from meshwit.ids import MeshId, PeerId, mesh_id, short
from meshwit.peer.trust.certificates import Chain, chain_fault, decode_chain, issue, name_fault
from meshwit.peer.trust.errors import TrustError
from meshwit.peer.trust.expulsions import (
    expulsion_by,
    expulsion_fault,
    expulsion_record,
    kept_members,
    lapsing,
    merge_expulsions,
    next_version,
    pack_ids,
    standing,
    verdict_on,
)
from meshwit.peer.trust.keys import KEY_BYTES, DeviceKey, Entropy
from meshwit.records import Record, Signer, Verifier

SECRET_BYTES: Final = 32
SECRET_ID_BYTES: Final = 8
SECRETS_MAX: Final = 3
SECRET_GRACE_S: Final = 10.0
"""How long datagrams under the previous secret are still read after a newer one came: it has to reach everybody."""
SECRET_AHEAD_MAX_S: Final = 366 * 86_400
"""How far before the clock and the newest secret known another may be dated: one from the far future would for ever be
the newest, an expelled peer's above all."""
_TIME_MAX: Final = 2**53


class MeshSecret(msgspec.Struct, frozen=True, array_like=True):
    """A key that seals the datagrams of a mesh.

    Attributes:
        id: 8 bytes that name it on the wire.
        created_at: seconds since 1970, and above that of the secret it replaced.
        key: 32 bytes.
        covers: a digest of who was expelled when it was made: those do not have it.
    """

    id: bytes
    created_at: int
    key: bytes
    covers: bytes = b""


class Membership(msgspec.Struct, frozen=True):
    """A peer's place in its mesh, as kept on disk.

    Attributes:
        mesh_key: the public key of the mesh.
        mesh_name: what people call it.
        chain: the peer's own certificates, root first.
        secrets: newest first, at most three.
        expulsions: signed records, seniors first.
        open: whether this peer admits anybody who asks.
        renewed_at: when the newest secret came here, seconds since 1970.
    """

    mesh_key: bytes
    mesh_name: str
    chain: Chain
    secrets: tuple[MeshSecret, ...]
    expulsions: tuple[Record, ...] = ()
    open: bool = False
    renewed_at: int = 0

    @property
    def mesh(self) -> MeshId:
        """The id of the mesh."""
        return mesh_id(self.mesh_key)

    @property
    def name(self) -> str:
        """What this peer is called in the mesh."""
        return self.chain[-1].name

    @property
    def id(self) -> PeerId:
        """This peer."""
        return self.chain[-1].id

    @property
    def expelled(self) -> Mapping[PeerId, frozenset[PeerId]]:
        """Who was, each with the ids of those admitted through it that stay members."""
        return standing(self.expulsions)


_secrets_decoder: Final = msgspec.msgpack.Decoder(tuple[MeshSecret, ...])


def found_mesh(
    device_key: DeviceKey, name: str, now: float, entropy: Entropy, *, device_name: str = "", open: bool = False
) -> Membership:
    """A new mesh whose first member is this device. Its private key signs the founder and is then gone.

    Args:
        name: of the mesh.
        device_name: of the founder in it; the mesh's name if empty.

    Raises:
        ValueError: a name is not one.
    """
    if name_fault(name):
        raise ValueError(f"{name[:80]!r} is no name for a mesh: {name_fault(name)}")
    founding = DeviceKey(entropy(KEY_BYTES))
    mesh = mesh_id(founding.public_key)
    first = issue(founding, mesh, device_key.public_key, device_name or name, now)
    secret = MeshSecret(entropy(SECRET_ID_BYTES), int(now), entropy(SECRET_BYTES), _covers({}))
    return Membership(founding.public_key, name, (first,), (secret,), (), open, int(now))


def admits(membership: Membership, chain: Chain | bytes, key: bytes, now: float) -> str:
    """Why the holder of a key is no member; empty if it is one."""
    try:
        links = decode_chain(chain) if isinstance(chain, bytes) else chain
    except ValueError as error:
        return str(error)
    return chain_fault(links, membership.mesh, key, now, membership.expelled)


def expel(
    membership: Membership,
    signer: Signer,
    target: PeerId,
    members: Mapping[PeerId, Chain],
    now: float,
    new_secret: bytes,
) -> tuple[Membership, Record]:
    """Expels a peer for good and changes the mesh's secret.

    Args:
        signer: this peer's own key.
        members: all that are known, also those away: whoever was admitted through the target and is not among them
            has to join again; whoever the target had expelled and is among them is a member again.
        new_secret: 40 random bytes.

    Returns:
        The membership after it, and the record to publish.

    Raises:
        TrustError: it cannot be done; says why.
    """
    if target == membership.id:
        raise TrustError("a device does not expel itself", "run: meshwit leave")
    if len(new_secret) != SECRET_ID_BYTES + SECRET_BYTES:
        raise ValueError(f"a new secret is made of {SECRET_ID_BYTES + SECRET_BYTES} bytes, not {len(new_secret)}")
    name = members[target][-1].name if members.get(target) else short(target)
    staying = {**members, membership.id: membership.chain}
    verdict = verdict_on(target, name, kept_members(target, staying) | membership.expelled.get(target, frozenset()))
    try:
        version = next_version(membership.expulsions, membership.id, target, now)
        record = expulsion_record(signer, expulsion_by(membership.chain, verdict, now), version)
        lost = lapsing(membership.expulsions, record, members)
        if lost:
            record = expulsion_record(signer, expulsion_by(membership.chain, verdict, now, lost), version)
    except ValueError as error:
        raise TrustError(str(error), "found a new mesh without it instead") from error
    expulsions = merge_expulsions(membership.expulsions, (record,))
    after = msgspec.structs.replace(membership, expulsions=expulsions)
    if target not in after.expelled:
        raise TrustError(
            f"{name} stays: this device was itself expelled, by a member that has been in the mesh for longer",
            "found a new mesh: meshwit leave, then meshwit up",
        )
    return renew_secret(after, now, new_secret), record


def with_expulsion(membership: Membership, record: Record, verify: Verifier) -> Membership:
    """With one more record; the same if it is none, or known. The order in which records come does not matter."""
    if record in membership.expulsions or expulsion_fault(record, membership.mesh, verify):
        return membership
    merged = merge_expulsions(membership.expulsions, (record,))
    return msgspec.structs.replace(membership, expulsions=merged)


def with_secret(membership: Membership, secret: MeshSecret, now: float) -> Membership:
    """With one more secret; the same if it is known or older than those kept."""
    if secret in membership.secrets:
        return membership
    before = membership.secrets[:1]
    secrets = tuple(sorted({*membership.secrets, secret}, key=_age, reverse=True)[:SECRETS_MAX])
    renewed = int(now) if secrets[:1] != before else membership.renewed_at
    return msgspec.structs.replace(membership, secrets=secrets, renewed_at=renewed)


def renew_secret(membership: Membership, now: float, new_secret: bytes) -> Membership:
    """With a new secret made of 40 random bytes, newer than any before whatever the clock says."""
    newest = max((each.created_at for each in membership.secrets), default=0)
    created = max(int(now), newest + 1)
    made = MeshSecret(new_secret[:SECRET_ID_BYTES], created, new_secret[SECRET_ID_BYTES:], _covers(membership.expelled))
    return with_secret(membership, made, now)


def secret_is_stale(membership: Membership) -> bool:
    """Whether the newest secret was made in ignorance of an expulsion, so that an expelled peer may have it.

    So it is for a moment while a new one travels, and for good when two members expelled two others at the same time:
    then somebody has to make another with `renew_secret`.
    """
    return not membership.secrets or membership.secrets[0].covers != _covers(membership.expelled)


def datagram_secrets(membership: Membership, now: float) -> tuple[MeshSecret, ...]:
    """Those that open datagrams now; the first seals."""
    if not 0 <= now - membership.renewed_at < SECRET_GRACE_S:
        return membership.secrets[:1]
    return membership.secrets[:2]


def encode_secrets(membership: Membership) -> bytes:
    """The newest secret for another member, over its TLS link only: older ones are of no use to it."""
    return msgspec.msgpack.encode(membership.secrets[:1])


def merge_secrets(membership: Membership, raw: bytes, now: float) -> Membership:
    """With the secrets that another member sent, without those from the far future.

    Raises:
        ValueError: these are none.
    """
    try:
        received = _secrets_decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ValueError("these are no secrets of a mesh") from None
    if len(received) > SECRETS_MAX or any(secret_fault(each) for each in received):
        raise ValueError("these are no secrets of a mesh")
    for each in received:
        if each.created_at <= max(now, *(known.created_at for known in membership.secrets)) + SECRET_AHEAD_MAX_S:
            membership = with_secret(membership, each, now)
    return membership


def secret_fault(secret: MeshSecret) -> str:
    """Why it cannot be a secret; empty if it can."""
    sound = (
        len(secret.id) == SECRET_ID_BYTES and len(secret.key) == SECRET_BYTES and len(secret.covers) <= SECRET_ID_BYTES
    )
    return "" if sound and 0 <= secret.created_at < _TIME_MAX else "malformed"


def with_expulsions(membership: Membership, records: Iterable[Record], verify: Verifier) -> Membership:
    """`with_expulsion` for several."""
    for each in records:
        membership = with_expulsion(membership, each, verify)
    return membership


def _age(secret: MeshSecret) -> tuple[int, bytes, bytes]:
    return secret.created_at, secret.id, secret.key


@lru_cache(maxsize=16)
def _digest_of(ids: bytes) -> bytes:
    return sha256(b"meshwit expelled 1\0" + ids).digest()[:SECRET_ID_BYTES]


def _covers(expelled: Mapping[PeerId, frozenset[PeerId]]) -> bytes:
    return _digest_of(pack_ids(expelled))
