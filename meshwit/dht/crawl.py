"""Lookups: towards the nodes closest to a key. `SpiderCrawl`, put right.

Corrected: there are no rounds. The package asks alpha nodes and waits for the slowest of them, a dead one included;
here each answer lets the next question go out, and a node that is late by one try holds no place. The lookup widens
from alpha to k once answers bring nobody closer (Kademlia, section 2.3), as the package does. Reading asks several
holders, so that the highest version wins and not the most frequent one, and believes no record unchecked.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections.abc import Iterator, Sequence
from typing import Any

from kademlia.crawling import SpiderCrawl
from kademlia.node import Node, NodeHeap

from meshwit.dht.keys import Key
from meshwit.dht.messages import FindNode, FindValue, Told, Value
from meshwit.dht.protocol import DirectoryProtocol
from meshwit.dht.routing import Contact
from meshwit.dht.validity import Validity
from meshwit.ids import PeerId
from meshwit.records import Record

SHORTLIST_FACTOR = 5
"""A shortlist keeps this many times k nodes: as many may turn out dead in a row."""
RECORDS_READ_MAX = 4096


class Shortlist(NodeHeap):  # type: ignore[misc]
    """The closest nodes, sorted; the package's searches its whole heap at every push."""

    def __init__(self, node: Node, maxsize: int) -> None:
        super().__init__(node, maxsize)
        self.heap: list[tuple[int, Contact]] = []
        self._ids: set[bytes] = set()

    def __contains__(self, node: object) -> bool:
        return isinstance(node, Node) and node.id in self._ids

    def __iter__(self) -> Iterator[Contact]:
        return iter([node for _, node in self.heap[: self.maxsize]])

    def __len__(self) -> int:
        return min(len(self.heap), int(self.maxsize))

    def push(self, nodes: Sequence[Contact]) -> None:
        """Add those that are new."""
        for node in nodes:
            if node.id not in self._ids:
                self._ids.add(node.id)
                insort(self.heap, (self.node.distance_to(node), node), key=lambda pair: pair[0])
        del self.heap[self.maxsize * SHORTLIST_FACTOR :]

    def knows(self, node_id: bytes) -> bool:
        """Whether it was pushed before."""
        return node_id in self._ids

    def drop(self, node_id: bytes) -> None:
        """It does not answer; it is not taken up again in this lookup."""
        self.heap = [pair for pair in self.heap if pair[1].id != node_id]

    def next_uncontacted(self, within: int) -> Contact | None:
        """The closest of the first `within` that was not asked yet."""
        return next((node for _, node in self.heap[:within] if node.id not in self.contacted), None)


class Crawl(SpiderCrawl):  # type: ignore[misc]
    """One lookup; `run` it once."""

    def __init__(self, protocol: DirectoryProtocol, key: bytes, start: Sequence[Contact] | None = None) -> None:
        settings = protocol.settings
        target = Node(key)
        super().__init__(protocol, target, [], settings.k, settings.alpha)
        self.nearest = Shortlist(target, settings.k)
        self.answered: list[Contact] = []
        self.wide = settings.k
        self._late: set[bytes] = set()
        self._flying = 0
        self._width = settings.alpha
        self._done: asyncio.Future[None] | None = None
        now = protocol.now()
        known = protocol.router.find_neighbors(target) if start is None else start
        self.nearest.push([each for each in known if start is not None or not protocol.shunned.holds(each, now)])

    async def run(self) -> None:
        """Look until the k closest have answered, or enough is known."""
        self.protocol.router.touch(self.node)
        self._done = asyncio.get_running_loop().create_future()
        self._go_on()
        await self._done

    def enough(self) -> bool:
        """Whether to stop before all of the closest have answered."""
        return False

    def request(self, node: Contact) -> Any:
        """What to ask a node."""
        return FindNode(self.protocol.me.id, self.node.id)

    def read(self, node: Contact, answer: Any) -> list[Told]:
        """Take what an answer says; returns the nodes it tells of."""
        told: list[Told] = answer
        return told

    def patient(self) -> bool:
        """Whether to wait for nodes that are late, once nobody else is left to ask."""
        return True

    def ask_also(self, node: Contact, request: Any) -> None:
        """Ask a node something besides."""
        self._flying += 1
        self.protocol.begin(node, request, self._come)

    def _go_on(self) -> None:
        """Ask as many as the width allows; end where nobody is left to ask or to wait for."""
        if self._done is None or self._done.done():
            return
        while not self.enough() and self._flying - len(self._late) < self._width:
            node = self.nearest.next_uncontacted(self.ksize + len(self._late))
            if node is None:
                break
            self.nearest.mark_contacted(node)
            self._flying += 1
            self.protocol.begin(node, self.request(node), self._come, lambda late=node: self._stalled(late))
        waiting = self._flying if self.patient() else self._flying - len(self._late)
        if self.enough() or not waiting:
            self._done.set_result(None)

    def _stalled(self, node: Contact) -> None:
        self._late.add(node.id)
        self._go_on()

    def _come(self, node: Contact, answer: Any) -> None:
        self._flying -= 1
        self._late.discard(node.id)
        if self._done is None or self._done.done():
            return
        if answer is None:
            self.nearest.drop(node.id)
        else:
            if node not in self.answered:
                self.answered.append(node)
            closest = self.nearest.heap[0][0] if self.nearest.heap else 1 << 160
            told = [each for each in self.read(node, answer) if not self.nearest.knows(each.id)]
            self.nearest.push(self.protocol.learned(told))
            nearer = bool(self.nearest.heap) and self.nearest.heap[0][0] < closest
            self._width = self.alpha if nearer else self.wide
        self._go_on()


class NodeCrawl(Crawl):
    """Finds the k closest nodes that answer."""

    async def find(self) -> list[Contact]:
        """Those, closest first."""
        await self.run()
        return sorted(self.answered, key=self.node.distance_to)[: self.ksize]


class ValueCrawl(Crawl):
    """Reads the records under a key.

    Attributes:
        found: of each owner the highest version seen; withdrawn ones (empty payload) too.
        crowded: whether a holder has as many owners as it keeps.
        lacking: nodes that answered and had no record or an older one, closest first.
    """

    def __init__(
        self, protocol: DirectoryProtocol, key: Key, topic: str, level: int, limit: int, validity: Validity
    ) -> None:
        super().__init__(protocol, key)
        self.wide = 2 * self.alpha
        self.found: dict[PeerId, Record] = {}
        self.crowded = False
        self._topic = topic
        self._level = level
        self._limit = limit
        self._validity = validity
        self._held: dict[bytes, dict[PeerId, int]] = {}
        self._owners_most = 0
        self._salts: dict[bytes, int] = {}
        self._pages: dict[bytes, int] = {}

    def enough(self) -> bool:
        """A quorum of holders answered and nobody has more that is wanted.

        Under a crowded key each holder has its own choice of owners, so all holders are asked where many are wanted.
        """
        holders = sum(1 for held in self._held.values() if held)
        if holders < self.protocol.settings.read_quorum:
            return False
        return self.live() >= self._limit or (not self.crowded and len(self.found) >= self._owners_most)

    def patient(self) -> bool:
        """What was found is told before the late have answered."""
        return not self.found

    def live(self) -> int:
        """Owners found that have not withdrawn."""
        return sum(1 for record in self.found.values() if record.payload)

    @property
    def lacking(self) -> list[Contact]:
        """See the class."""
        behind = [
            node
            for node in self.answered
            if any(self._held.get(node.id, {}).get(owner, -1) < each.version for owner, each in self.found.items())
        ]
        return sorted(behind, key=self.node.distance_to)

    def add(self, record: Record) -> None:
        """A record held here or told by a node, already believed."""
        known = self.found.get(record.owner)
        if known is None or (known.version, known.signature) < (record.version, record.signature):
            self.found[record.owner] = record

    def add_own(self, records: Sequence[Record]) -> None:
        """What this node itself keeps under the key; it counts as a holder."""
        self._held[self.protocol.me.id] = {each.owner: each.version for each in records}
        for record in records:
            self.add(record)

    def request(self, node: Contact) -> FindValue:
        """Each holder is asked for another choice, so that together they tell many owners."""
        salt = self._salts.setdefault(node.id, self.protocol.rng.getrandbits(32))
        return FindValue(self.protocol.me.id, self.node.id, salt)

    def read(self, node: Contact, answer: Value) -> list[Told]:
        """Take the records that are believed, and ask for the next page where more are wanted."""
        held = self._held.setdefault(node.id, {})
        for wire in answer.records:
            record = wire.record()
            if len(self.found) < RECORDS_READ_MAX and self._believed(record):
                held[record.owner] = record.version
                self.add(record)
        if held:
            self._owners_most = max(self._owners_most, min(answer.owners, self.protocol.settings.owners_max))
            self.crowded = self.crowded or answer.owners >= self.protocol.settings.owners_max
        if self.live() < self._limit and self._pages.get(node.id, 0) < answer.next < RECORDS_READ_MAX and held:
            self._pages[node.id] = answer.next
            self.ask_also(node, FindValue(self.protocol.me.id, self.node.id, self._salts[node.id], answer.next))
        return answer.nodes

    def _believed(self, record: Record) -> bool:
        known = self.found.get(record.owner)
        if record == known:
            return True
        return record.topic == self._topic and not self._validity.fault(record, self._level)
