"""One's own records: stored at the k closest nodes, stored again before they expire, withdrawn."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable

from kademlia.node import Node

from meshwit.dht.crawl import NodeCrawl
from meshwit.dht.keys import LEVEL_MAX, key_of
from meshwit.dht.messages import Kept, Store, encode_record
from meshwit.dht.protocol import DirectoryProtocol
from meshwit.dht.routing import Contact
from meshwit.dht.storage import Entry, Keeping, RecordStorage
from meshwit.records import Record

Sign = Callable[[str, int, bytes, float], Record]
"""A record of a topic, at least that version, with a payload, that lives some seconds."""
AGAIN_S_MIN = 10.0
"""Before a record that found no majority is stored once more; doubled each time."""
AGAIN_SHARE = 3
"""A record is published this many times in its life: two may fail."""


PLACE_S = 0.4
"""Between one use of a place and the next: with four places, ten records a second, half of what a node serves."""
VERSION_LEAP_MAX = 2 * 24 * 3600 * 1000
"""A version that another node claims to hold is believed up to two days ahead, in milliseconds."""
GROWN = 8
"""Who knew so many times k nodes knew those that matter."""
VERSIONS_MAX = 4096
"""Topics whose last version is remembered; of others the clock must do."""


class Publication:
    """One thing that this peer says."""

    __slots__ = ("at", "deepest", "ends_at", "known", "pause_s", "payload", "topic", "ttl_s", "version")

    def __init__(self, topic: str, payload: bytes, ttl_s: int) -> None:
        self.topic = topic
        self.payload = payload
        self.ttl_s = ttl_s
        self.version = 0
        self.pause_s = AGAIN_S_MIN
        self.at = 0.0
        self.ends_at = math.inf
        self.known = 1
        self.deepest = 0


class _Stores:
    """What came back from the nodes asked to keep one record; ready once a majority keeps it or all have answered."""

    def __init__(self, targets: int, owners_max: int) -> None:
        self._targets = targets
        self._owners_max = owners_max
        self._open = targets
        self.kept = 0
        self.held_version = 0
        self.crowded = False
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def majority(self) -> bool:
        return self.kept * 2 > self._targets

    def came(self, answer: object) -> None:
        self._open -= 1
        if isinstance(answer, list) and len(answer) == 1 and isinstance(answer[0], Kept):
            self.kept += answer[0].keeping == Keeping.KEPT
            self.held_version = max(self.held_version, answer[0].version)
            self.crowded = self.crowded or answer[0].owners * 2 > self._owners_max
        if (self.majority or not self._open) and not self.ready.done():
            self.ready.set_result(None)


class Publisher:
    """Keeps one's own records in the directory."""

    def __init__(self, protocol: DirectoryProtocol, storage: RecordStorage, sign: Sign, rng: random.Random) -> None:
        self._protocol = protocol
        self._storage = storage
        self._sign = sign
        self._rng = rng
        self._said: dict[str, Publication] = {}
        self._versions: dict[str, int] = {}
        self._places: asyncio.Semaphore = asyncio.Semaphore(protocol.settings.publish_at_once)
        self._due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def publish(self, topic: str, payload: bytes, ttl_s: int) -> int:
        """Store it now, and again until `withdraw`.

        Returns how many nodes keep it so far; 0 if something newer was said of it before its turn came.
        """
        publication = Publication(topic, payload, ttl_s)
        if topic in self._said:
            publication.deepest = self._said[topic].deepest
        self._said[topic] = publication
        return await self._store(publication)

    async def withdraw(self, topic: str) -> None:
        """Store an empty record in its place, which outlives the copies that it did not reach.

        It is tried until a majority has it, or the copies have expired.
        """
        publication = self._said.get(topic)
        if publication is not None and publication.payload:
            publication.payload = b""
            publication.ends_at = self._protocol.now() + publication.ttl_s
            await self._store(publication)

    def renew_outgrown(self) -> None:
        """What was said among few is said again among many: others are the closest now.

        Handover alone would leave it with whoever was met first.
        """
        known = len(self._protocol.router) + 1
        for publication in self._said.values():
            if known >= 2 * publication.known and publication.known < GROWN * self._protocol.settings.k:
                publication.at = self._protocol.now()
                self._due.set()

    async def close(self) -> None:
        """Publish no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _store(self, publication: Publication) -> int:
        # Due again whatever happens now; a store that succeeds says so below.
        publication.at = self._protocol.now() + publication.pause_s
        await self._places.acquire()
        try:
            if not self._stands(publication):
                return 0
            said = publication.payload
            kept, majority, overtaken = await self._store_once(publication)
            if overtaken and self._stands(publication):
                kept, majority, _ = await self._store_once(publication)
        finally:
            # A place is free again only after a pause: many records at once would be too many for those asked.
            asyncio.get_running_loop().call_later(PLACE_S, self._places.release)
        if majority:
            publication.pause_s = AGAIN_S_MIN
            wait_s = publication.ttl_s / AGAIN_SHARE
        else:
            wait_s = min(publication.pause_s, publication.ttl_s / AGAIN_SHARE)
            publication.pause_s *= 2
        publication.at = self._protocol.now() + wait_s * self._rng.uniform(0.9, 1.0)
        ended = publication.at > publication.ends_at or (majority and not said)
        if ended and self._stands(publication):
            del self._said[publication.topic]
        self._due.set()
        if self._task is None and not self._protocol.closed:
            self._task = asyncio.get_running_loop().create_task(self._publish_for_ever())
        return kept

    def _stands(self, publication: Publication) -> bool:
        """Whether nothing else was said of it since: what is signed later has the higher version."""
        return self._said.get(publication.topic) is publication

    async def _store_once(self, publication: Publication) -> tuple[int, bool, bool]:
        """Signs and stores; tells how many keep it, whether a majority, and whether a later version was in its way."""
        topic = publication.topic
        record = self._sign(topic, self._versions.get(topic, 0) + 1, publication.payload, publication.ttl_s)
        self._said_version(topic, record.version)
        publication.known = len(self._protocol.router) + 1
        kept, majority, overtaken = 0, False, False
        for level in range(LEVEL_MAX + 1):
            stores = await self._store_at(record, level)
            kept += stores.kept
            majority = majority or stores.majority
            if record.version < stores.held_version < record.version + VERSION_LEAP_MAX:
                # The clock went back since that version was said: the count goes on from there.
                self._said_version(topic, stores.held_version)
                overtaken = True
            if stores.crowded and topic.startswith("capability:"):
                publication.deepest = max(publication.deepest, level + 1)
            # A record once published deeper is renewed, or withdrawn, there too.
            if level >= publication.deepest:
                break
        return kept, majority, overtaken

    def _said_version(self, topic: str, version: int) -> None:
        self._versions[topic] = max(version, self._versions.pop(topic, 0))
        if len(self._versions) > VERSIONS_MAX:
            del self._versions[next(iter(self._versions))]

    async def _store_at(self, record: Record, level: int) -> _Stores:
        """Bring a record to the k closest nodes; this one may be of them."""
        key = key_of(record.topic, record.owner[:level])
        entry = Entry(record, encode_record(record), level)
        target = Node(key)
        found: list[Contact] = await NodeCrawl(self._protocol, key).find()
        nodes = sorted([*found, self._protocol.me], key=target.distance_to)[: self._protocol.settings.k]
        stores = _Stores(len(nodes), self._protocol.settings.owners_max)
        request = Store(self._protocol.me.id, [entry.stored])
        for node in nodes:
            if node is self._protocol.me:
                stores.came([self._storage.answer(key, record, level)])
            else:
                self._protocol.begin(node, request, lambda _node, answer: stores.came(answer))
        await stores.ready
        return stores

    async def _publish_for_ever(self) -> None:
        """Store what is due; sleeps until then, or until something new is said."""
        loop = asyncio.get_running_loop()
        while True:
            self._due.clear()
            next_at = min((each.at for each in self._said.values()), default=loop.time() + 3600)
            timer = loop.call_at(next_at, self._due.set)
            try:
                await self._due.wait()
            finally:
                timer.cancel()
            due = [each for each in self._said.values() if each.at <= loop.time()]
            await asyncio.gather(*(self._store(each) for each in due))
