"""Where keys and memberships are kept: one folder per user, in it one profile per peer that runs at the same time.

    home/peers/1/   key.pem  certificate.pem  membership.msgpack  address_book  lock
    home/peers/2/   a second peer of the same user on the same device

A file that is damaged stops everything with a sentence that says what to do: nobody becomes a new device unawares.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

import msgspec

from meshwit.peer.home import JOBS_FILE, MEMBERSHIP_FILE, default_folder
from meshwit.peer.trust.certificates import (
    DEPTH_MAX,
    CertificateKind,
    chain_fault,
    clean_name,
    expelled_in,
    issue,
    unique_name,
)
from meshwit.peer.trust.errors import TrustError
from meshwit.peer.trust.files import private_folder, read_private, write_private
from meshwit.peer.trust.keys import KEY_FILE, DeviceKey, Entropy
from meshwit.peer.trust.locks import FileLock
from meshwit.peer.trust.membership import Membership

PROFILES_MAX: Final = 64
_MAGIC: Final = b"meshwit membership 1\n"
_DIGEST_BYTES: Final = 32
_PROFILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
_decoder: Final = msgspec.msgpack.Decoder(Membership)


class Profile:
    """The files of one peer, held by one process until `release`.

    Attributes:
        folder: where they are.
        key: the device key; made when the profile was first taken.
    """

    def __init__(self, folder: Path, lock: FileLock, key: DeviceKey) -> None:
        self.folder = folder
        self.key = key
        self._lock = lock

    @property
    def name(self) -> str:
        """The profile's, not the peer's in its mesh: `1`."""
        return self.folder.name

    @property
    def key_file(self) -> Path:
        """The private key, PEM; TLS reads it too."""
        return self.folder / KEY_FILE

    @property
    def certificate_file(self) -> Path:
        """Where the self-signed certificate for TLS is to be, PEM."""
        return self.folder / "certificate.pem"

    @property
    def address_book_file(self) -> Path:
        """Where the addresses of peers are kept."""
        return self.folder / "address_book"

    def load_membership(self) -> Membership | None:
        """The membership, None if this peer is in no mesh. Raises TrustError if the file is damaged or not its own."""
        membership = read_membership(self.folder)
        if membership is not None and membership.chain[-1].subject != self.key.public_key:
            raise TrustError(
                f"the membership in {self.folder} belongs to another key than the one beside it",
                f"put the right {KEY_FILE} back, or remove membership.msgpack and join again with: meshwit up",
            )
        return membership

    def save_membership(self, membership: Membership) -> None:
        """Writes it, whole or not at all. Raises TrustError."""
        self._require_lock()
        payload = msgspec.msgpack.encode(membership)
        write_private(_membership_file(self.folder), _MAGIC + hashlib.sha256(payload).digest() + payload)

    def forget_membership(self) -> None:
        """Leaves no trace of the mesh: its next start is that of a fresh device, with the same key."""
        self._require_lock()
        jobs = self.folder.glob(f"{JOBS_FILE}*")
        for path in (_membership_file(self.folder), self.address_book_file, *jobs):
            path.unlink(missing_ok=True)

    def forget_key(self) -> None:
        """Becomes another device at the next start: what an expelled one has to do before it may join again."""
        self.forget_membership()
        for path in (self.key_file, self.certificate_file):
            path.unlink(missing_ok=True)

    def leave(self) -> Membership | None:
        """Ends the membership, and returns it. Of one that was expelled the key goes too: it is refused for ever."""
        membership = self.load_membership()
        if membership is None:
            return None
        if expelled_in(membership.chain, membership.expelled) is None:
            self.forget_membership()
        else:
            self.forget_key()
        return membership

    def release(self) -> None:
        """Lets another process have the profile."""
        self._lock.release()

    def __enter__(self) -> Profile:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _require_lock(self) -> None:
        if not self._lock.held:
            raise TrustError(f"the profile {self.folder} is not held any more")


class Home:
    """The folder of one user.

    Args:
        folder: instead of `MESHWIT_HOME` and the system's place for configuration.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_folder()

    def profile(self, name: str | None = None, entropy: Entropy = os.urandom) -> Profile:
        """The profile of that name, or the first that no running peer holds; made if need be.

        Raises:
            TrustError: it is held by a running peer, its name is none, or its files are damaged.
        """
        if name is None:
            return self._first_free(entropy)
        if not _PROFILE_NAME.fullmatch(name):
            raise TrustError(f"{name[:80]!r} is no name for a profile", "use letters, digits, dots and dashes")
        profile = self._take(name, entropy)
        if profile is None:
            raise TrustError(f"the profile {name} is in use by a running peer", "stop it first: meshwit down")
        return profile

    def adopt(self, profile: Profile, now: float, name: str = "", taken: Collection[str] = ()) -> Membership | None:
        """Lets a profile into the mesh of another one of this home, without any question.

        Its certificate is marked as one of the same device: it falls when that one is expelled.

        Args:
            name: in the mesh; else the other's with a number.
            taken: names it may not have, besides those of this home.

        Returns:
            The membership, saved; None if no profile of this home is a member of a mesh.

        Raises:
            TrustError: a file is damaged.
        """
        members = [each for each in self._members(now) if each[1].id != profile.key.id]
        if not members:
            return None
        issuer, membership = min(members, key=lambda each: len(each[1].chain))
        names = {each.name for _, each in members if each.mesh == membership.mesh}
        own = unique_name(name or clean_name(membership.name), {*names, *taken})
        certificate = issue(issuer, membership.mesh, profile.key.public_key, own, now, kind=CertificateKind.SAME_DEVICE)
        adopted = msgspec.structs.replace(membership, chain=(*membership.chain, certificate))
        profile.save_membership(adopted)
        return adopted

    def memberships(self) -> list[Membership]:
        """Of all profiles, held or not. Raises TrustError if a file is damaged."""
        return [found for name in self._names() if (found := read_membership(self._peers / name)) is not None]

    def leave(self, entropy: Entropy = os.urandom) -> list[Membership]:
        """Ends the memberships of all profiles that no running peer holds, as `Profile.leave` does; returns them.

        Raises:
            TrustError: a file is damaged.
        """
        left = []
        for name in self._names():
            profile = self._take(name, entropy)
            if profile is None:
                continue
            with profile:
                membership = profile.leave()
                if membership is not None:
                    left.append(membership)
        return left

    def renew(self, entropy: Entropy = os.urandom) -> None:
        """Makes new devices of the profiles that are in no mesh: who was expelled after it had left needs that.

        Raises:
            TrustError: a file is damaged.
        """
        for name in self._names():
            profile = self._take(name, entropy)
            if profile is None:
                continue
            with profile:
                if profile.load_membership() is None:
                    profile.forget_key()

    def _members(self, now: float) -> Iterator[tuple[DeviceKey, Membership]]:
        """The profiles that may certify others."""
        for name in self._names():
            folder = self._peers / name
            membership = read_membership(folder)
            key = DeviceKey.load(folder)
            if membership is None or key is None or len(membership.chain) >= DEPTH_MAX:
                continue
            if not chain_fault(membership.chain, membership.mesh, key.public_key, now, membership.expelled):
                yield key, membership

    def _first_free(self, entropy: Entropy) -> Profile:
        numbers = [each for each in self._names() if each.isdecimal()]
        fresh = (str(number) for number in range(1, PROFILES_MAX + 1))
        for name in (*numbers, *(each for each in fresh if each not in numbers)):
            profile = self._take(name, entropy)
            if profile is not None:
                return profile
        raise TrustError(f"all {PROFILES_MAX} profiles in {self._peers} are in use", "stop a peer: meshwit down")

    def _take(self, name: str, entropy: Entropy) -> Profile | None:
        folder = self._peers / name
        private_folder(folder)
        lock = FileLock.take(folder / "lock")
        if lock is None:
            return None
        try:
            key = DeviceKey.load(folder)
            if key is None and _membership_file(folder).exists():
                raise TrustError(
                    f"the key of the member in {folder} is missing",
                    f"put {KEY_FILE} back, or remove membership.msgpack and join again with: meshwit up",
                )
            return Profile(folder, lock, key or DeviceKey.load_or_create(folder, entropy))
        except BaseException:
            lock.release()
            raise

    def _names(self) -> list[str]:
        """The profiles there are, by number, then by name."""
        if not self._peers.is_dir():
            return []
        found = (each.name for each in self._peers.iterdir() if each.is_dir() and _PROFILE_NAME.fullmatch(each.name))
        return sorted(found, key=lambda name: (0, int(name), "") if name.isdecimal() else (1, 0, name))

    @property
    def _peers(self) -> Path:
        return self.folder / "peers"


def read_membership(folder: Path) -> Membership | None:
    """The membership kept in a profile's folder, None if there is none. Raises TrustError if it is damaged."""
    path = _membership_file(folder)
    content = read_private(path)
    if content is None:
        return None
    head = len(_MAGIC) + _DIGEST_BYTES
    digest, payload = content[len(_MAGIC) : head], content[head:]
    membership: Membership | None = None
    if content.startswith(_MAGIC) and hmac.compare_digest(hashlib.sha256(payload).digest(), digest):
        try:
            membership = _decoder.decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            membership = None
    if membership is None or not membership.chain or not membership.secrets:
        raise TrustError(
            f"{path} is damaged",
            "put a copy of it back, or remove it and join the mesh again with: meshwit up",
        )
    return membership


def _membership_file(folder: Path) -> Path:
    return folder / MEMBERSHIP_FILE
