"""The directory as a peer uses it: publish what one says of oneself, find what others say.

Corrected against `kademlia.Server`: joining is tried again when datagrams are lost, nobody known is no error, a record
is stored once a majority of its nodes has it (the package reports success whatever happened), only its owner publishes
it again, and withdraws it by an empty one, which stays until the last copy has expired. No state is written to disk.

Everything runs in the running asyncio loop and takes its time from there; `clock` tells only when records expire.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable, Sequence

from meshwit.dht.crawl import NodeCrawl, ValueCrawl
from meshwit.dht.keys import LETTERS, LEVEL_MAX, key_of, topic_of
from meshwit.dht.messages import encode_record
from meshwit.dht.protocol import DirectoryProtocol
from meshwit.dht.publishing import Publisher
from meshwit.dht.routing import Address, Contact
from meshwit.dht.settings import RECORD_BYTES_MAX, TTL_S_MAX, TTL_S_MIN, DirectorySettings
from meshwit.dht.storage import Entry, RecordStorage
from meshwit.dht.validity import Validity
from meshwit.ids import PeerId, id_bytes, is_id
from meshwit.records import Record, Signer, Verifier, signed_record

CONTACTS_MAX = 64
"""Contacts remembered, to join by again when everybody was lost."""
PINGS_AT_ONCE = 16
LOOKUPS_MAX = 128
"""In one `find` of a crowded capability."""
LOOKUPS_AT_ONCE = 4
REPAIRED_MAX = 2
"""Nodes told what they lack after a read."""


class Directory:
    """One peer's part of the directory. Only `received`, `add_contact` and `forget` may come at any time."""

    def __init__(
        self,
        me: PeerId,
        signer: Signer,
        verify: Verifier,
        admits: Callable[[PeerId], bool],
        send: Callable[[Address, bytes], None],
        clock: Callable[[], float],
        rng: random.Random,
        settings: DirectorySettings | None = None,
    ) -> None:
        self.settings = settings or DirectorySettings()
        self.validity = Validity(verify, admits, clock)
        self.storage = RecordStorage(id_bytes(me), self.validity, self.settings)
        self.protocol = DirectoryProtocol(me, self.storage, admits, send, rng, self.settings)
        self._me = me
        self._signer = signer
        self._clock = clock
        self._rng = rng
        self._contacts: OrderedDict[PeerId, Address] = OrderedDict()
        self._publisher = Publisher(self.protocol, self.storage, self._sign, rng)
        self._maintenance: asyncio.Task[None] | None = None

    def received(self, sender: PeerId, address: Address, payload: bytes) -> None:
        """A datagram of that peer was opened. Never raises."""
        self.protocol.received(sender, address, payload)

    async def join(self, contacts: Sequence[tuple[PeerId, Address]]) -> int:
        """Get to know the mesh, by peers that may be in it; returns how many nodes are known then.

        Silent contacts are asked again in later rounds; with none answering it is tried again from time to time.
        """
        self._maintain()
        for peer, address in contacts:
            self._remember(peer, address)
        await self._bootstrap(self.settings.join_rounds)
        self._publisher.renew_outgrown()
        return len(self.protocol.router)

    def add_contact(self, peer: PeerId, address: Address) -> None:
        """Gossip tells that a peer is there."""
        if not is_id(peer) or peer == self._me or self.protocol.closed:
            return
        self._remember(peer, address)
        node = Contact(id_bytes(peer), address, self.protocol.now())
        if not self.protocol.shunned.holds(node, node.heard_at):
            self.protocol.router.add_contact(node)
            self.protocol.handover.welcome(node)

    def forget(self, peer: PeerId) -> None:
        """Gossip tells that a peer is gone."""
        if not is_id(peer):
            return
        self._contacts.pop(peer, None)
        node = self.protocol.router.get(id_bytes(peer))
        if node is not None:
            self.protocol.failed(node)

    async def publish(self, kind: str, name: str, payload: bytes, ttl_s: int = 3600) -> int:
        """Say something of oneself, until it is withdrawn; returns on how many nodes it is stored so far.

        It is published again by itself well before it expires, with what was said last. Raises ValueError for a kind,
        name, payload (1 to about 900 bytes) or time (a minute to a day) that cannot be.
        """
        topic = topic_of(kind, name)
        if not payload or not TTL_S_MIN <= ttl_s <= TTL_S_MAX:
            raise ValueError(f"a record has a payload and lives {TTL_S_MIN} to {TTL_S_MAX} s: {topic}, {ttl_s} s")
        if kind == "peer" and name != self._me:
            raise ValueError(f"where a peer is, only that peer says: {name}")
        size = len(encode_record(self._sign(topic, 0, payload, ttl_s)))
        if size > RECORD_BYTES_MAX:
            raise ValueError(f"the record {topic} has {size} bytes, {RECORD_BYTES_MAX} are allowed")
        self._maintain()
        return await self._publisher.publish(topic, payload, ttl_s)

    async def withdraw(self, kind: str, name: str) -> None:
        """Say it no longer. Nothing happens if it was not said."""
        await self._publisher.withdraw(topic_of(kind, name))

    async def find(self, kind: str, name: str, limit: int = 16) -> list[Record]:
        """What members say under that name, of each its latest; at most `limit` of them, fairly chosen.

        Raises ValueError for a kind or name that cannot be.
        """
        topic = topic_of(kind, name)
        self._maintain()
        found: dict[PeerId, Record] = {}
        pending, lookups = [""], 0
        while pending and lookups < LOOKUPS_MAX and _live(found) < limit:
            batch, pending = pending[:LOOKUPS_AT_ONCE], pending[LOOKUPS_AT_ONCE:]
            lookups += len(batch)
            wanted = limit - _live(found)
            crawls = await asyncio.gather(*(self._read(topic, each, wanted) for each in batch))
            for prefix, crawl in zip(batch, crawls, strict=True):
                for record in crawl.found.values():
                    known = found.get(record.owner)
                    if known is None or known.version < record.version:
                        found[record.owner] = record
                if crawl.crowded and kind == "capability" and len(prefix) < LEVEL_MAX:
                    deeper = [prefix + letter for letter in LETTERS]
                    self._rng.shuffle(deeper)
                    pending += deeper
        return [record for record in found.values() if record.payload][:limit]

    async def find_peer(self, peer: PeerId) -> Record | None:
        """Where a peer says it is."""
        found = await self.find("peer", peer, 1)
        return found[0] if found else None

    async def find_capable(self, capability: str, limit: int = 16) -> list[Record]:
        """Peers that say they can do something: `gpu.cuda`, an activity, `score:8`."""
        return await self.find("capability", capability, limit)

    def neighbours(self, limit: int) -> list[tuple[PeerId, Address]]:
        """Known peers to gossip with: half of them the closest, the rest drawn from all."""
        nodes = self.protocol.router.find_neighbors(self.protocol.me, len(self.protocol.router))
        near, far = nodes[: (limit + 1) // 2], nodes[(limit + 1) // 2 :]
        drawn = self._rng.sample(far, min(len(far), limit - len(near))) if len(near) < limit else []
        return [(each.peer, each.address) for each in near + drawn]

    async def close(self) -> None:
        """Stop; whoever waits is told what is known so far."""
        self.protocol.close()
        await self.protocol.handover.close()
        await self._publisher.close()
        if self._maintenance is not None:
            self._maintenance.cancel()
            await asyncio.gather(self._maintenance, return_exceptions=True)

    def _sign(self, topic: str, version: int, payload: bytes, ttl_s: float) -> Record:
        now = self._clock()
        return signed_record(self._signer, topic, max(version, int(now * 1000)), payload, int(now + ttl_s))

    def _remember(self, peer: PeerId, address: Address) -> None:
        if is_id(peer) and peer != self._me:
            self._contacts.pop(peer, None)
            self._contacts[peer] = address
            if len(self._contacts) > CONTACTS_MAX:
                self._contacts.popitem(last=False)

    # Reading.

    async def _read(self, topic: str, prefix: str, limit: int) -> ValueCrawl:
        key = key_of(topic, prefix)
        crawl = ValueCrawl(self.protocol, key, topic, len(prefix), limit, self.validity)
        own = self.storage.chosen(key, self._rng.getrandbits(32))
        if own:
            crawl.add_own([each.record for each in own])
        await crawl.run()
        self._repair(crawl, len(prefix))
        return crawl

    def _repair(self, crawl: ValueCrawl, level: int) -> None:
        """The closest nodes that lack the one record found are told it, as its own nodes should have it."""
        if len(crawl.found) != 1 or self.protocol.closed:
            return
        record = next(iter(crawl.found.values()))
        entry = Entry(record, encode_record(record), level)
        for node in crawl.lacking[:REPAIRED_MAX]:
            if node in crawl.nearest:
                self.protocol.tell(node, [entry.stored])

    # Staying in the mesh.

    def _maintain(self) -> None:
        if self._maintenance is None and not self.protocol.closed:
            self._maintenance = asyncio.get_running_loop().create_task(self._maintain_for_ever())

    async def _maintain_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self.settings.maintain_s * self._rng.uniform(0.9, 1.1))
            self.storage.expire()
            self._publisher.renew_outgrown()
            if not len(self.protocol.router):
                await self._bootstrap(1)
            for bucket in self.protocol.router.lonely_buckets():
                await NodeCrawl(self.protocol, self._rng.randint(*bucket.range).to_bytes(20)).run()

    async def _bootstrap(self, rounds: int) -> None:
        """Ask the contacts until some answer, then look up oneself and every part of the id space far away."""
        pause_s = self.settings.join_pause_s
        answered: list[Contact] = []
        for number in range(rounds):
            answered = await self._ping_contacts()
            if answered or not self._contacts or self.protocol.closed:
                break
            if number + 1 < rounds:
                await asyncio.sleep(pause_s * self._rng.uniform(0.8, 1.2))
                pause_s *= 2
        if not answered:
            return
        await NodeCrawl(self.protocol, self.protocol.me.id, answered).run()
        for bucket in list(self.protocol.router.buckets):
            if not bucket.has_in_range(self.protocol.me):
                await NodeCrawl(self.protocol, self._rng.randint(*bucket.range).to_bytes(20)).run()

    async def _ping_contacts(self) -> list[Contact]:
        contacts = [Contact(id_bytes(peer), address) for peer, address in reversed(self._contacts.items())]
        answered: list[Contact] = []
        for start in range(0, len(contacts), PINGS_AT_ONCE):
            some = contacts[start : start + PINGS_AT_ONCE]
            answers = await asyncio.gather(*(self.protocol.ping(each) for each in some))
            answered += [node for node, answer in zip(some, answers, strict=True) if answer == node.id]
            if len(answered) >= self.settings.alpha:
                break
        return answered


def _live(found: dict[PeerId, Record]) -> int:
    return sum(1 for record in found.values() if record.payload)
