"""The membership of this peer while it runs: judged by, changed and saved here, in one place.

Other parts ask: is the holder of this key a member, which secrets seal, who was expelled. What changes it is an
expulsion or a new secret, ours or another's; each change is on disk before anybody acts on it, if the disk takes it.
"""

from __future__ import annotations

import hmac
import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from meshwit.ids import MeshId, PeerId, peer_id
from meshwit.peer.mesh.profile import MemberProfile, decode
from meshwit.peer.trust.certificates import Chain, decode_chain, encode_chain
from meshwit.peer.trust.errors import TrustError
from meshwit.peer.trust.keys import DeviceKey, verify
from meshwit.peer.trust.membership import (
    SECRET_BYTES,
    SECRET_ID_BYTES,
    Membership,
    MeshSecret,
    admits,
    datagram_secrets,
    encode_secrets,
    expel,
    merge_secrets,
    renew_secret,
    secret_is_stale,
    with_expulsions,
)
from meshwit.peer.trust.store import Profile
from meshwit.records import Record

_HASH_LABEL: Final = b"meshwit mesh hash 1\0"


class MembershipKeeper:
    """Holds the membership; an `Authority` of the wire.

    Args:
        profile: where it is saved, and whose key it is of.
        membership: None on a device that is in no mesh yet.

    Attributes:
        on_change: called after every change, with the membership as it is now.
    """

    def __init__(self, profile: Profile, membership: Membership | None) -> None:
        self._profile = profile
        self._membership = membership
        self.on_change: list[Callable[[Membership], None]] = []

    # --- what is asked -----------------------------------------------------------------------------------------

    @property
    def membership(self) -> Membership:
        """As it is now. Raises TrustError on a device in no mesh."""
        if self._membership is None:
            raise TrustError("this device is in no mesh", "run: meshwit up")
        return self._membership

    @property
    def mesh(self) -> MeshId:
        """The id of the mesh."""
        return self.membership.mesh

    @property
    def signer(self) -> DeviceKey:
        """The key of this peer."""
        return self._profile.key

    @property
    def chain(self) -> bytes:
        """The own certificates, encoded; empty in no mesh."""
        return b"" if self._membership is None else encode_chain(self._membership.chain)

    def mesh_hash(self, nonce: bytes) -> bytes:
        """The salted hash of the mesh id, 32 bytes."""
        if self._membership is None:
            return b"\0" * 32
        return hash_of_mesh(self._membership.mesh, nonce)

    def admits(self, chain: bytes, key: bytes) -> str:
        """Why the holder of that key is no member by that chain; empty if it is."""
        if self._membership is None:
            return "this device is in no mesh"
        return admits(self._membership, chain, key, time.time())

    def admits_profile(self, peer: PeerId, payload: bytes) -> str:
        """The same by the `member` record of a peer."""
        profile = decode(payload, MemberProfile)
        if profile is None:
            return "its profile is malformed"
        try:
            chain = decode_chain(profile.chain)
        except ValueError as error:
            return str(error)
        if not chain or peer_id(chain[-1].subject) != peer:
            return "its certificate is for another device"
        return admits(self.membership, chain, chain[-1].subject, time.time())

    def is_expelled(self, peer: PeerId) -> bool:
        """Whether a peer is out."""
        return self._membership is not None and peer in self._membership.expelled

    def secrets(self) -> tuple[MeshSecret, ...]:
        """Those that open datagrams now; the first seals."""
        return datagram_secrets(self.membership, time.time())

    def secrets_for_members(self) -> bytes:
        """The newest secret, to be sent over links only."""
        return encode_secrets(self.membership)

    @property
    def secret_is_stale(self) -> bool:
        """Whether an expelled peer may know the newest secret."""
        return secret_is_stale(self.membership)

    # --- what changes it ---------------------------------------------------------------------------------------

    def adopt(self, membership: Membership) -> None:
        """Takes the membership that this device has just come to; it is on disk already."""
        self._membership = membership

    def expel(self, target: PeerId, members: Mapping[PeerId, Chain]) -> Record:
        """Expels a peer; the record is to be published. Raises TrustError."""
        after, record = expel(
            self.membership, self.signer, target, members, time.time(), os.urandom(SECRET_ID_BYTES + SECRET_BYTES)
        )
        self._become(after)
        return record

    def add_expulsions(self, records: Iterable[Record]) -> bool:
        """Takes other members' expulsions, all at once; whether they changed anything."""
        return self._become(with_expulsions(self.membership, records, verify))

    def add_secrets(self, raw: bytes) -> bool:
        """Takes another member's secrets; whether these are new here. Raises ValueError if they are none."""
        return self._become(merge_secrets(self.membership, raw, time.time()))

    def renew_secret(self) -> None:
        """Makes a new secret."""
        entropy = os.urandom(SECRET_ID_BYTES + SECRET_BYTES)
        self._become(renew_secret(self.membership, time.time(), entropy))

    def _become(self, after: Membership) -> bool:
        if after == self._membership:
            return False
        self._membership = after
        try:
            self._profile.save_membership(after)
        finally:  # a full disk is no reason to go on talking to somebody expelled
            for tell in self.on_change:
                tell(after)
        return True


def hash_of_mesh(mesh: MeshId, salt: bytes) -> bytes:
    """What an outsider may see of a mesh: a hash by which those who know it tell it from others; 32 bytes."""
    return hmac.digest(mesh.encode(), _HASH_LABEL + salt, "sha256")
