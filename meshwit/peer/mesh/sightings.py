"""What was seen of other peers on the local network: read from their records, merged, bounded.

Anybody on a network can say anything here. So a sighting is a hint where to try, never more; its form is checked, the
number kept is limited, and the rate at which news is passed on is, too.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from meshwit.ids import MeshId
from meshwit.peer.wire.addresses import Address, normalised

SERVICE: Final = "_meshwit._tcp.local."
MESH_FIELD: Final = "m"
ADDRESSES_MAX: Final = 8
SIGHTINGS_MAX: Final = 256
OWN_MAX: Final = 32
NEWS_BURST: Final = 256
NEWS_PER_S: Final = 16.0
_HASH_LENGTH: Final = 20
_LABEL: Final = b"meshwit discovery 1\0"
_HASH: Final = re.compile(r"[0-9a-f]{20}")
_INSTANCE: Final = re.compile(r"[0-9a-f]{32}")


class Sighting(msgspec.Struct, frozen=True):
    """A peer that was seen; maybe it is one, and maybe it still is.

    Attributes:
        mesh_hash: of its mesh, as `mesh_hash` makes it.
        addresses: where it says it listens; IPv4 first.
        instance: a random name, another one each time that it announces itself.
    """

    mesh_hash: str
    addresses: tuple[Address, ...]
    port: int
    instance: str


def mesh_hash(mesh: MeshId) -> str:
    """What the record tells of a mesh: members recognise it, others learn no id from it."""
    return hashlib.sha256(_LABEL + mesh.encode()).hexdigest()[:_HASH_LENGTH]


def read_sighting(
    name: str, fields: Mapping[bytes, bytes | None], port: int | None, hosts: Iterable[str]
) -> Sighting | None:
    """The sighting in a record, None if it has not the form of one.

    Args:
        name: of the service, `<instance>._meshwit._tcp.local.`.
    """
    instance, _, service = name.partition(".")
    found = fields.get(MESH_FIELD.encode())
    if service.lower() != SERVICE or not _INSTANCE.fullmatch(instance) or not isinstance(found, bytes):
        return None
    told = found.decode("ascii", "replace")
    if not _HASH.fullmatch(told) or not port or not 0 < port <= 65535:
        return None
    addresses = _addresses(hosts, port)
    return Sighting(told, addresses, port, instance) if addresses else None


class Sightings:
    """Which peers are seen now. Times are `now`, monotonic seconds.

    The same peer is heard over IPv4 and IPv6: `via` tells which, and only when none of them hears it any more is it
    gone. When there are too many, the oldest goes: a flood of invented ones cannot keep out the next real one.
    """

    def __init__(self) -> None:
        self._own: deque[str] = deque(maxlen=OWN_MAX)
        self._seen: dict[str, dict[str, Sighting]] = {}
        self._news = float(NEWS_BURST)
        self._at = 0.0

    def __len__(self) -> int:
        return len(self._seen)

    def __iter__(self) -> Iterator[Sighting]:
        return iter([_merged(each) for each in self._seen.values()])

    def own(self, instance: str) -> None:
        """Do not report that instance: it is this peer itself."""
        self._own.append(instance)

    def seen(self, sighting: Sighting, via: str, now: float) -> Sighting | None:
        """Take note; what is now known of that peer if that is news, else None."""
        if sighting.instance in self._own:
            return None
        known = self._seen.pop(sighting.instance, {})
        before = _merged(known) if known else None
        known[via] = sighting
        self._seen[sighting.instance] = known
        while len(self._seen) > SIGHTINGS_MAX:
            del self._seen[next(iter(self._seen))]
        after = _merged(known)
        return after if after != before and self._may_tell(now) else None

    def gone(self, instance: str, via: str) -> Sighting | None:
        """A peer took its record back, or the record expired; the sighting if it is gone for good."""
        known = self._seen.get(instance)
        if known is None or via not in known:
            return None
        last = _merged(known)
        del known[via]
        if known:
            return None
        del self._seen[instance]
        return last

    def clear(self) -> None:
        """Everything is news again: the network changed."""
        self._seen.clear()

    def _may_tell(self, now: float) -> bool:
        self._news = min(float(NEWS_BURST), self._news + max(0.0, now - self._at) * NEWS_PER_S)
        self._at = now
        if self._news < 1:
            return False
        self._news -= 1
        return True


def _merged(known: Mapping[str, Sighting]) -> Sighting:
    """One sighting out of several of one peer; the newest tells mesh and port."""
    *_, newest = known.values()
    hosts = [host for each in known.values() for host, _ in each.addresses]
    return msgspec.structs.replace(newest, addresses=_addresses(hosts, newest.port))


def _addresses(hosts: Iterable[str], port: int) -> tuple[Address, ...]:
    """Those that can be dialled, each once: IPv4, then IPv6, then link-local."""
    ranked: dict[Address, int] = {}
    for host in hosts:
        try:
            address = normalised(host, port)
            ip = ipaddress.ip_address(address[0].partition("%")[0])
        except ValueError:
            continue
        zone_missing = ip.version == 6 and ip.is_link_local and "%" not in address[0]
        if zone_missing or ip.is_unspecified or ip.is_multicast:
            continue
        ranked[address] = 4 * ip.is_loopback + 2 * ip.is_link_local + (ip.version == 6)
    return tuple(sorted(ranked, key=lambda each: ranked[each])[:ADDRESSES_MAX])
