"""Records given to a node that is new and closer to their keys (Kademlia, section 2.5).

Corrected: keys are compared as they are (the package hashes them once more, and so hands over to the wrong nodes or to
none), a list shorter than k admits every newcomer, a node that does not fit into its bucket is new only once, several
records travel in one datagram, and the work is done aside, a few datagrams in flight.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator

from kademlia.node import Node

from meshwit.dht.keys import Key
from meshwit.dht.messages import HEAD_BYTES, STORED_AT_ONCE_MAX, Store, Stored
from meshwit.dht.routing import Contact, ExactRoutingTable
from meshwit.dht.settings import DATAGRAM_BYTES_MAX
from meshwit.dht.storage import Entry, RecordStorage

WAITING_MAX = 1024
WELCOMED_MAX = 8192
KEYS_A_TURN = 32
"""Keys compared before the loop goes on with other things."""
FRAME_BYTES = HEAD_BYTES + 40
"""Of a `store`, besides its records."""
Asking = Callable[[Contact, Store], "asyncio.Future[object]"]


class Handover:
    """What new nodes are given."""

    def __init__(
        self, me: Contact, table: ExactRoutingTable, storage: RecordStorage, ask: Asking, parallel: int
    ) -> None:
        self._me = me
        self._table = table
        self._storage = storage
        self._ask = ask
        self._parallel = parallel
        self._waiting: deque[Contact] = deque(maxlen=WAITING_MAX)
        self._welcomed: OrderedDict[bytes, None] = OrderedDict()
        self._task: asyncio.Task[None] | None = None

    def welcome(self, node: Contact) -> None:
        """A node was heard of. Whoever is met for the first time, or again after `forget`, gets what it should have."""
        if node.id in self._welcomed:
            return
        self._welcomed[node.id] = None
        if len(self._welcomed) > WELCOMED_MAX:
            self._welcomed.popitem(last=False)
        if not self._storage.records:
            return
        self._waiting.append(node)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._give())

    def forget(self, node_id: bytes) -> None:
        """It is gone; if it comes back, it comes with nothing."""
        self._welcomed.pop(node_id, None)

    async def close(self) -> None:
        """Stop."""
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def due(self, node: Contact, key: Key) -> bool:
        """Whether it is for this node to give the records of that key to that one.

        The newcomer must be among the k closest, and this node the closest of the others, so that only one gives.
        """
        target = Node(key)
        known = self._table.find_neighbors(target, exclude=node)
        wanted = len(known) < self._table.ksize or node.distance_to(target) < known[-1].distance_to(target)
        return wanted and (not known or self._me.distance_to(target) < known[0].distance_to(target))

    async def _give(self) -> None:
        while self._waiting:
            node = self._waiting.popleft()
            due: list[Entry] = []
            for number, key in enumerate(self._storage.keys()):
                if self.due(node, key):
                    due += self._storage.entries(key)
                if number % KEYS_A_TURN == KEYS_A_TURN - 1:
                    await asyncio.sleep(0)
            batches = list(packed(due))
            for start in range(0, len(batches), self._parallel):
                stores = [self._ask(node, Store(self._me.id, each)) for each in batches[start : start + self._parallel]]
                answers = await asyncio.gather(*stores)
                if all(each is None for each in answers):
                    break


def packed(entries: list[Entry]) -> Iterator[list[Stored]]:
    """The records in as few datagrams as their order allows."""
    batch: list[Stored] = []
    size = FRAME_BYTES
    for entry in entries:
        if batch and (len(batch) == STORED_AT_ONCE_MAX or size + len(entry.raw) + 2 > DATAGRAM_BYTES_MAX):
            yield batch
            batch, size = [], FRAME_BYTES
        batch.append(entry.stored)
        size += len(entry.raw) + 2
    if batch:
        yield batch
