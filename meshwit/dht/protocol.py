"""One node: what it answers and whom it knows. `KademliaProtocol`, put right.

Corrected: the sender is who the seal says, never who the message claims; only members are served, at a limited rate;
what is malformed is counted and dropped (the package lets exceptions fly in tasks nobody awaits); records are checked
before they are kept; an answer never outgrows a datagram; nodes that others tell of are believed only where members
could be, and never against what was heard from them directly.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final, assert_never

import msgspec
from kademlia.node import Node
from kademlia.protocol import KademliaProtocol

from meshwit.dht.calls import PatientProtocol
from meshwit.dht.handover import Handover
from meshwit.dht.keys import key_of
from meshwit.dht.messages import (
    ANSWER,
    HEAD_BYTES,
    REQUEST,
    STORED_AT_ONCE_MAX,
    FindNode,
    FindValue,
    Kept,
    MalformedError,
    Ping,
    RawValue,
    Request,
    Store,
    Stored,
    Told,
    decode_record,
    decode_request,
    encode_answer,
    host_text,
    is_key,
    packed_host,
)
from meshwit.dht.round_trips import Rates
from meshwit.dht.routing import Address, Contact, ExactRoutingTable, node_id_of
from meshwit.dht.settings import DATAGRAM_BYTES_MAX, DirectorySettings
from meshwit.dht.storage import Keeping, RecordStorage
from meshwit.ids import PeerId, id_bytes

TOLD_BYTES: Final = 46
"""Of a node told of, at most."""
TOLD_BESIDES_MIN: Final = 6
"""Nodes for which a page of records leaves room."""
STORE_COST: Final = 4.0
"""Requests that a `store` counts for: signatures are verified."""


class DirectoryProtocol(PatientProtocol, KademliaProtocol):  # type: ignore[misc]
    """The node of one peer."""

    def __init__(
        self,
        me: PeerId,
        storage: RecordStorage,
        admits: Callable[[PeerId], bool],
        send: Callable[[Address, bytes], None],
        rng: random.Random,
        settings: DirectorySettings,
    ) -> None:
        self.me = Contact(id_bytes(me))
        super().__init__(send, rng, settings, self.me, storage, settings.k)
        self.router = ExactRoutingTable(settings.k, self.me, self.now, self._probe, settings.refresh_s)
        self.handover = Handover(self.me, self.router, storage, self.ask, settings.handover_parallel)
        self.dropped: Counter[str] = Counter()
        self._peer = me
        self._admits = admits
        self._rates = Rates(settings.requests_per_s, settings.requests_burst)

    def received(self, sender: PeerId, address: Address, payload: bytes) -> None:
        """A datagram whose seal was good came from that peer. Never raises."""
        if self.closed:
            return
        if not HEAD_BYTES < len(payload) <= DATAGRAM_BYTES_MAX or payload[0] not in (REQUEST, ANSWER):
            self.dropped["malformed"] += 1
        elif sender == self._peer or not self._admits(sender):
            self.dropped["no member"] += 1
        else:
            try:
                self._received(sender, address, payload)
            except ValueError:
                self.dropped["malformed"] += 1

    def _received(self, sender: PeerId, address: Address, payload: bytes) -> None:
        node = Contact(node_id_of(sender), address, self.now())
        if payload[0] == ANSWER:
            if self.take_answer(node.id, payload) is None:
                self.dropped["unasked"] += 1
            else:
                self.heard(node)
            return
        if not self._rates.allows(sender, node.heard_at):
            self.dropped["too many"] += 1
            return
        request = decode_request(payload[HEAD_BYTES:])
        if request is None:
            self.dropped["unknown"] += 1
            return
        if request.node != node.id:
            self.dropped["false id"] += 1
            return
        answer = self._answer(node, request)
        if answer is not None:
            self.send(address, encode_answer(payload[1:HEAD_BYTES], answer))
        self.heard(node)

    def heard(self, node: Contact) -> None:
        """A member was heard of at an address."""
        self.shunned.heard(node)
        self.router.add_contact(node)
        self.handover.welcome(node)

    def failed(self, node: Contact) -> None:
        """A node answers no more at its address: it is let go and shunned."""
        super().failed(node)
        known = self.router.get(node.id)
        if known is not None and known.address == node.address:
            self.router.remove_contact(node)
            self.handover.forget(node.id)

    def learned(self, told: Iterable[Told]) -> list[Contact]:
        """Those of the nodes another tells of that may be asked."""
        found = []
        now = self.now()
        for each in list(told)[: self.settings.k]:
            host = host_text(each.host)
            if not is_key(each.id) or not host or not 0 < each.port < 65536 or each.id == self.me.id:
                continue
            # What was heard from a node itself is better than what another says of it.
            node = self.router.get(each.id) or Contact(each.id, (host, each.port))
            if not self.shunned.holds(node, now) and self._admits(node.peer):
                found.append(node)
        return found

    def ping(self, node: Contact) -> Any:
        """Ask whether it is there; to be awaited, None where no answer came."""
        return self.ask(node, Ping(self.me.id))

    def tell(self, node: Contact, records: list[Stored]) -> None:
        """Bring records, whatever becomes of them."""
        self.begin(node, Store(self.me.id, records), lambda _node, _answer: None)

    def _probe(self, node: Contact) -> None:
        if not self.closed:
            self.begin(node, Ping(self.me.id), lambda _node, _answer: None)

    def _answer(self, sender: Contact, request: Request) -> Any:
        match request:
            case Ping():
                return self.me.id
            case Store(records=records):
                if not self._rates.allows(sender.peer, sender.heard_at, STORE_COST - 1):
                    self.dropped["too many"] += 1
                    return None
                return [self._keep(each) for each in records[:STORED_AT_ONCE_MAX]]
            case FindNode(key=key):
                return self._told(self._key(key), sender, DATAGRAM_BYTES_MAX - HEAD_BYTES)
            case FindValue(key=key):
                return self._value(self._key(key), sender, request)
            case _:
                assert_never(request)

    def _keep(self, stored: Stored) -> Kept:
        record = decode_record(bytes(stored.record))
        if not 0 <= stored.level <= len(record.owner):
            return Kept(Keeping.REFUSED)
        key = key_of(record.topic, record.owner[: stored.level])
        kept: Kept = self.storage.answer(key, record, stored.level)
        return kept

    def _value(self, key: bytes, sender: Contact, request: FindValue) -> RawValue:
        room = DATAGRAM_BYTES_MAX - HEAD_BYTES - 16
        chosen = self.storage.chosen(key, request.salt)
        start = max(0, request.offset)
        page: list[msgspec.Raw] = []
        for entry in chosen[start:]:
            if page and len(entry.raw) > room - TOLD_BESIDES_MIN * TOLD_BYTES:
                break
            page.append(msgspec.Raw(entry.raw))
            room -= len(entry.raw)
        after = start + len(page)
        more = after if page and after < len(chosen) else 0
        return RawValue(page, self._told(key, sender, room), len(chosen), more)

    def _told(self, key: bytes, sender: Contact, room: int) -> list[Told]:
        near = self.router.find_neighbors(Node(key), exclude=sender)
        told = [Told(each.id, host, each.port) for each in near if (host := packed_host(each.ip))]
        return told[: max(0, room // TOLD_BYTES)]

    def _key(self, raw: bytes) -> bytes:
        if not is_key(raw):
            raise MalformedError("no key")
        return raw
