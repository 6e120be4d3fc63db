"""Who is known: the k-buckets of the package, put right.

Corrected: ranges are aligned (the package's are one too long, so that a node at a boundary is looked for in the wrong
bucket), the k closest are exact (the package takes the first k that it meets), a full bucket does not probe its oldest
node at every message, and time is the loop's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

from kademlia.node import Node
from kademlia.routing import KBucket, RoutingTable

from meshwit.ids import PeerId, id_bytes, id_text

Address = tuple[str, int]
ID_BITS = 160
OLD_S = 60.0
"""A node heard of in the last minute is not probed for a newcomer's sake."""


@lru_cache(maxsize=8192)
def peer_of(node_id: bytes) -> PeerId:
    """The peer with that node id; remembered, as every answer tells of twenty."""
    return PeerId(id_text(node_id))


@lru_cache(maxsize=8192)
def node_id_of(peer: PeerId) -> bytes:
    """The node id of a peer. Raises ValueError if it is no id."""
    return id_bytes(peer)


class Contact(Node):  # type: ignore[misc]
    """A node, and when it was last heard of (seconds of the loop)."""

    def __init__(self, node_id: bytes, address: Address = ("", 0), heard_at: float = 0.0) -> None:
        super().__init__(node_id, address[0], address[1])
        self.heard_at = heard_at

    @property
    def address(self) -> Address:
        """Where it is."""
        return (self.ip, self.port)

    @property
    def peer(self) -> PeerId:
        """Who it is."""
        return peer_of(self.id)


class Bucket(KBucket):  # type: ignore[misc]
    """Contacts of one range of ids, longest unheard first."""

    def __init__(self, first: int, last: int, k: int, time: Callable[[], float]) -> None:
        self._time = time
        super().__init__(first, last, k)

    def touch_last_updated(self) -> None:
        """A lookup went through here."""
        self.last_updated = self._time()

    def split(self) -> tuple[Bucket, Bucket]:
        """The two halves, with what both know."""
        first, last = self.range
        middle = (first + last) // 2
        halves = Bucket(first, middle, self.ksize, self._time), Bucket(middle + 1, last, self.ksize, self._time)
        for half in halves:
            half.last_updated = self.last_updated
        for node in [*self.nodes.values(), *self.replacement_nodes.values()]:
            halves[node.long_id > middle].add_node(node)
        return halves

    def depth(self) -> int:
        """Bits that all ids of the range share."""
        return ID_BITS - int(self.range[1] - self.range[0]).bit_length()


class ExactRoutingTable(RoutingTable):  # type: ignore[misc]
    """The contacts of one node."""

    def __init__(
        self, k: int, node: Contact, time: Callable[[], float], probe: Callable[[Contact], None], refresh_s: float
    ) -> None:
        self._time = time
        self._probe = probe
        self._refresh_s = refresh_s
        super().__init__(None, k, node)

    def __iter__(self) -> Iterator[Contact]:
        for bucket in self.buckets:
            yield from bucket.nodes.values()

    def __len__(self) -> int:
        return sum(len(bucket) for bucket in self.buckets)

    def flush(self) -> None:
        """Forget everybody."""
        self.buckets = [Bucket(0, 2**ID_BITS - 1, self.ksize, self._time)]

    def get(self, node_id: bytes) -> Contact | None:
        """The contact with that id, if it is in a bucket."""
        found: Contact | None = self.buckets[self._index(int.from_bytes(node_id))].nodes.get(node_id)
        return found

    def get_bucket_for(self, node: Node) -> int:
        """The index of the bucket for an id; bounds are inclusive."""
        return self._index(node.long_id)

    def _index(self, long_id: int) -> int:
        low, high = 0, len(self.buckets) - 1
        while low < high:
            middle = (low + high) // 2
            if long_id <= self.buckets[middle].range[1]:
                high = middle
            else:
                low = middle + 1
        return low

    def add_contact(self, node: Contact) -> None:
        """A node was heard of. A full bucket keeps whom it has, as long as its oldest still answers."""
        if node.id == self.node.id:
            return
        while True:
            index = self.get_bucket_for(node)
            bucket = self.buckets[index]
            if bucket.add_node(node):
                return
            if not bucket.has_in_range(self.node) and bucket.depth() % 5 == 0:
                break
            self.split_bucket(index)
        oldest = bucket.head()
        if self._time() - oldest.heard_at > OLD_S:
            # As if heard now: until the probe is decided no other newcomer causes another.
            oldest.heard_at = self._time()
            self._probe(oldest)

    def lonely_buckets(self) -> list[Bucket]:
        """Those that no lookup went through for long."""
        since = self._time() - self._refresh_s
        return [bucket for bucket in self.buckets if bucket.last_updated < since]

    def touch(self, node: Node) -> None:
        """A lookup of that id begins."""
        self.buckets[self.get_bucket_for(node)].touch_last_updated()

    def find_neighbors(self, node: Node, k: int | None = None, exclude: Node | None = None) -> list[Contact]:
        """The k known nodes closest to an id, closest first, neither itself nor `exclude` among them.

        Ranges of buckets are aligned, so all of one bucket are closer than all of the next by the distance of their
        ranges: buckets are taken in that order until k are found.
        """
        wanted = self.ksize if k is None else k
        target: int = node.long_id
        skipped = {node.id} if exclude is None else {node.id, exclude.id}
        ranked = sorted(
            (((bucket.range[0] ^ target) & ~(bucket.range[1] - bucket.range[0])), index)
            for index, bucket in enumerate(self.buckets)
        )
        found: list[Contact] = []
        for _, index in ranked:
            if len(found) >= wanted:
                break
            near = [each for each in self.buckets[index].nodes.values() if each.id not in skipped]
            near.sort(key=lambda each: each.long_id ^ target)
            found += near
        return found[:wanted]
