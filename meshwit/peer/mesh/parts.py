"""The parts of a running peer, and who tells whom what. Shell."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final

import msgspec

from meshwit.bench.load import may_work, probe_load
from meshwit.dht.directory import Directory
from meshwit.gossip.config import GossipConfig
from meshwit.gossip.effects import (
    MemberDied,
    MemberForgotten,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    RecordChanged,
    Why,
)
from meshwit.gossip.swim import Gossip
from meshwit.ids import PeerId, short
from meshwit.peer.control.api import PeerError
from meshwit.peer.control.options import UpOptions
from meshwit.peer.mesh import needs
from meshwit.peer.mesh import profile as topics
from meshwit.peer.mesh.address_book import AddressBookFile
from meshwit.peer.mesh.admitting import Admissions
from meshwit.peer.mesh.advertising import WIDE, Advertiser, offers
from meshwit.peer.mesh.discovery import Discovery
from meshwit.peer.mesh.gossiping import GossipShell, MemberEvent
from meshwit.peer.mesh.interfaces import look, networks, told_addresses
from meshwit.peer.mesh.job_directory import JobDirectory
from meshwit.peer.mesh.jobs import MeshJobs
from meshwit.peer.mesh.keeper import MembershipKeeper
from meshwit.peer.mesh.measuring import Measuring
from meshwit.peer.mesh.merger import Merger
from meshwit.peer.mesh.merging import NEW_S
from meshwit.peer.mesh.neighbourhood import Neighbourhood
from meshwit.peer.mesh.news import MembershipNews
from meshwit.peer.mesh.profile import LoadProfile, MemberProfile, PendingProfile
from meshwit.peer.mesh.reaching import Reaching
from meshwit.peer.mesh.reports import ToldLoad
from meshwit.peer.mesh.roster import Roster
from meshwit.peer.mesh.seeking import Seeker
from meshwit.peer.mesh.sightings import mesh_hash
from meshwit.peer.mesh.watchers import Watchers
from meshwit.peer.trust.certificates import expelled_in
from meshwit.peer.trust.keys import verify
from meshwit.peer.trust.membership import Membership
from meshwit.peer.trust.store import Home
from meshwit.peer.wire.addresses import Address, address_text
from meshwit.peer.wire.datagrams import DatagramKind, Datagrams
from meshwit.peer.wire.endings import LinkEnd, LinkError
from meshwit.peer.wire.links import Link, Links
from meshwit.peer.wire.sealing import Sealer
from meshwit.plugins.discovery import installed

_log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 3.0
"""At the own load and the own addresses. Lower costs processor time in an idle peer, higher shows late who is busy."""
PENDING_AFTER_S: Final = 0.3
"""After so long the mesh is told who waits at the door: strangers come and go there as fast as they like."""
KEEP_SPEEDS_EVERY_S: Final = 60.0
"""What was seen of peers' speeds is written that often, if it changed; and at the end."""
OFFER_JOBS_AFTER_S: Final = 3.0
OFFERED_JOBS_MAX: Final = 5
COMPLAIN_EVERY_S: Final = 60.0
COMPLAINTS_MAX: Final = 64
"""Peers about which a complaint is told; each once a minute at most."""


class Parts:
    """See the module; made, started and closed by `starting.running_parts`.

    Attributes:
        me: the id of this peer.
        port: where it listens, TCP and UDP.
        own_address: that is told for it, as a text.
    """

    def __init__(
        self,
        home: Home,
        keeper: MembershipKeeper,
        links: Links,
        sealer: Sealer,
        datagrams: Datagrams,
        book_file: AddressBookFile,
        member: MemberProfile,
        options: UpOptions,
        watchers: Watchers,
        jobs: MeshJobs,
    ) -> None:
        self.home = home
        self.keeper = keeper
        self._sealer = sealer
        self.me = keeper.signer.id
        self.links = links
        self.datagrams = datagrams
        self.book_file = book_file
        self.book = book_file.book
        self.roster = Roster()
        self.port = member.port
        self.own_address = ""
        self.discovery = Discovery(lambda sighting: self.seeker.sighted(sighting))
        self.merger = Merger(
            keeper, links, member.name, may_merge=options.open and not options.new, spawn=self.spawn,
            is_alone=lambda: self.is_alone, is_new=lambda: self.is_new, is_busy=lambda: jobs.leads_any,
        )  # fmt: skip
        self.seeker = Seeker(
            mesh_hash(keeper.mesh), links, self.book, self.discovery, spawn=self.spawn, addresses_of=self._reachable,
            tell=watchers.tell, noted=book_file.changed, stranger=self.merger.seen,
        )  # fmt: skip
        self._neighbourhood = Neighbourhood(self.me, links, self._linkable, self.addresses_of)
        self._member = member
        self._options = options
        self._watchers = watchers
        self._loop = asyncio.get_running_loop()
        self.gossip = Gossip(
            self.me, GossipConfig(), random.Random(os.urandom(16)), keeper.signer, verify, keeper.admits_profile,
            time.time_ns() // 1_000_000,
        )  # fmt: skip
        self.gossiping = GossipShell(
            self.gossip, links, datagrams, self.addresses_of, self._member_event, self._misbehaved
        )
        self.directory = Directory(
            self.me, keeper.signer, verify, lambda peer: not keeper.is_expelled(peer),
            lambda address, payload: _discard(datagrams.send(address, DatagramKind.DIRECTORY, payload)),
            time.time, random.Random(os.urandom(16)),
        )  # fmt: skip
        self.news = MembershipNews(keeper, links, self._asked_to_approve, self._misbehaved)
        self.admissions = Admissions(keeper, self._taken_names, self.listening_at, self._admissions_changed)
        self.jobs = jobs
        self._tasks: set[asyncio.Task[object]] = set()
        self._closed = False
        self._expelled = frozenset(keeper.membership.expelled)
        self._told_load = ToldLoad()
        self._told_pending = b""
        self._pending_due: asyncio.TimerHandle | None = None
        self._complained: dict[PeerId, float] = {}
        self._reaching = Reaching(links, self._reachable)
        self.measuring = Measuring(self._publish, options.when, lambda: self._member.capabilities)
        jobs.belong(
            self.roster, self._misbehaved, self.measuring.need, self._reaching.reach,
            JobDirectory(self.me, self.directory, self.spawn, self._reaching.reach, self._is_linked_in_part),
        )  # fmt: skip
        self.on_expelled: Callable[[], None] = lambda: None
        """Called when this peer learns that it was expelled."""
        self.on_member: Callable[[MemberProfile], None] = lambda _member: None
        """Called with the own profile, at the start and when it has changed."""

    # --- start and stop ----------------------------------------------------------------------------------------

    async def start(self, contacts: Sequence[Address]) -> None:
        """Begins to talk. `contacts` are where members may be found besides those of the address book."""
        self.links.on_up = self._link_up
        self.links.on_down = self._link_down
        self.links.on_dial_failed = self._dial_failed
        self.links.on_join = self.admissions.serve
        self.datagrams.on_datagram(DatagramKind.DIRECTORY, self.directory.received)
        self.keeper.on_change.append(self._membership_changed)
        self.on_member(self._member)
        self._look_at_addresses(publish=False)
        self.gossiping.start(topics.encode(self._member))
        self._learn_own(topics.MEMBER, topics.encode(self._member))
        await self.seeker.start(self.port, [*self._options.peers, *contacts])
        self.spawn(self.merger.run())
        self.spawn(self._look_for_ever())
        self.spawn(self._keep_speeds())
        self.spawn(self._offer_interrupted())
        self.spawn(self.measuring.run())
        self.spawn(Advertiser(self.me, self.directory, self.listening_at, self._offers).run())

    def goodbye(self) -> None:
        """Tells all that this peer stops."""
        self.gossiping.leave()

    async def close(self) -> None:
        """Stops everything but what was made before the parts."""
        self._closed = True
        self.jobs.lay_down()
        self.news.close()
        self.admissions.close()
        self.merger.close()
        self._neighbourhood.close()
        if self._pending_due is not None:
            self._pending_due.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.jobs.keep()
        await self.seeker.close()
        await self.directory.close()
        await self.links.close()
        self.gossiping.close()
        self.datagrams.close()
        await self.book_file.close()

    def spawn(self, work: Coroutine[Any, Any, object]) -> None:
        """Runs a coroutine until it ends or the peer stops."""
        if self._closed:
            work.close()
            return
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a part of this peer has failed", exc_info=error)

    # --- what others ask ---------------------------------------------------------------------------------------

    def addresses_of(self, peer: PeerId) -> list[Address]:
        """Where a peer may listen, the best first."""
        return self.book.candidates(peer, time.time(), networks(self.discovery.interfaces))

    def _reachable(self, peer: PeerId) -> list[Address]:
        return [] if self.keeper.is_expelled(peer) else self.addresses_of(peer)

    def _linkable(self) -> Iterable[PeerId]:
        return (member.id for member in self.gossip.alive() if not self.keeper.is_expelled(member.id))

    def address_of(self, peer: PeerId) -> str:
        """Where it is, for people."""
        link = self.links.links.get(peer)
        if link is not None and link.info.addresses:
            return address_text((link.address[0], link.info.addresses[0][1]))
        return next(map(address_text, self.addresses_of(peer)), "")

    def listening_at(self) -> list[Address]:
        """Where this peer can be reached."""
        return [(host, self.port) for host in self._member.addresses]

    @property
    def is_alone(self) -> bool:
        """Whether this peer made its mesh and nobody else is in it, as far as it knows."""
        others = self.links.links or self.book.peers or self.admissions.admitted_lately
        return len(self.keeper.membership.chain) == 1 and not others

    @property
    def is_new(self) -> bool:
        """Whether the mesh was just made and everybody in it lets all in: all of them may go over to another one."""
        others = (self.roster.member(each.id) for each in self.gossip.alive())
        age_s = time.time() - self.keeper.membership.chain[0].issued_at
        return abs(age_s) < NEW_S and all(each is not None and each.open for each in others)

    def forget(self, peer: PeerId) -> None:
        """Drops a peer that is gone."""
        self.book.forget(peer)
        self.book_file.changed()
        self.gossiping.run(lambda gossip, now: gossip.forget(peer, now))
        self.roster.forget(peer)

    # --- links and members -------------------------------------------------------------------------------------

    def _link_up(self, link: Link) -> None:
        if self.keeper.admits(link.info.chain, link.info.key):
            link.close("expelled")  # while the handshake went on
            return
        self._sealer.expect(link.peer, link.info.datagram_counter)
        addresses = link.info.addresses
        if addresses:
            self.book.reached(link.peer, (link.address[0], addresses[0][1]), time.time(), link.info.name)
            self.book_file.changed()
            self.directory.add_contact(link.peer, (link.address[0], addresses[0][1]))
        self.news.greet(link)
        self.gossiping.link_up(link)
        self.jobs.link_up(link)

    def _link_down(self, peer: PeerId, end: LinkEnd) -> None:
        self.gossiping.link_down(peer, end)
        self.jobs.link_down(peer)

    def _dial_failed(self, peer: PeerId, error: LinkError) -> None:
        self.gossiping.dial_failed(peer, error)

    def _member_event(self, event: MemberEvent) -> None:
        match event:
            case RecordChanged(record=record):
                self._record_changed(record.owner, record.topic, record.payload)
                return
            case MemberForgotten(peer=peer):
                self.roster.forget(peer)
            case MemberJoined(peer=peer) | MemberRecovered(peer=peer):
                kind = "joined" if isinstance(event, MemberJoined) else "recovered"
                said = "is here" if isinstance(event, MemberJoined) else "is back"
                self._tell(kind, peer, said)
            case MemberSuspected(peer=peer):
                self._tell("suspected", peer, "does not answer")
            case MemberDied(peer=peer, why=why):
                self.directory.forget(peer)
                self._neighbourhood.died(peer)
                self._tell("died", peer, "has stopped" if why is Why.REFUSED else "is gone: it does not answer")
            case MemberLeft(peer=peer):
                self.directory.forget(peer)
                self._tell("left", peer, "has said goodbye")
        self._neighbourhood.changed()

    def _record_changed(self, owner: PeerId, topic: str, payload: bytes) -> None:
        before = {waiting.id for holder, waiting in self.roster.pending() if holder == owner}
        self.roster.learn(owner, topic, payload)
        self.jobs.record_changed(owner, topic)
        if topic == needs.TOPIC:
            self.measuring.heard(payload)
        elif topic == topics.MEMBER:
            member = self.roster.member(owner)
            if member is not None:
                listening = [(host, member.port) for host in member.addresses]
                self.book.told(owner, listening, time.time(), member.name)
                self.book_file.changed()
                self._neighbourhood.moved(owner)
                if owner not in self.links.links and (addresses := self.addresses_of(owner)):
                    self.directory.add_contact(owner, addresses[0])
        elif topic == topics.PENDING:
            for holder, waiting in self.roster.pending():
                if holder == owner and waiting.id not in before:
                    self._watchers.tell("pending", f"{waiting.name} waits to be let in: {waiting.words}", waiting.id)

    def _tell(self, kind: str, peer: PeerId, said: str) -> None:
        """Soon: of a new member the records, and with them its name, come after the news that it is there."""
        self._loop.call_soon(self._tell_now, kind, peer, said)

    def _tell_now(self, kind: str, peer: PeerId, said: str) -> None:
        entry = self.book.peers.get(peer)
        name = self.roster.name(peer) or (entry.name if entry else "") or short(peer)
        _log.info("%s %s", name, said)
        self._watchers.tell(kind, f"{name} {said}", peer)

    def _is_linked_in_part(self) -> bool:
        return len(self.links.links) + 1 < self.gossip.known_count

    def _misbehaved(self, peer: PeerId, why: str) -> None:
        now = self._loop.time()
        self._complained = {each: at for each, at in self._complained.items() if now - at < COMPLAIN_EVERY_S}
        if peer in self._complained or len(self._complained) >= COMPLAINTS_MAX:
            return
        self._complained[peer] = now
        _log.warning("%s: %s", peer, why)
        self._tell("misbehaved", peer, f"breaks the rules: {why}")

    # --- finding others ----------------------------------------------------------------------------------------

    def _offers(self) -> dict[str, int]:
        """What this peer says of itself in the directory."""
        members = self.gossip.known_count
        known = installed().offer.activities if members >= WIDE else {}
        activities = [name for name, activity in known.items() if not activity.missing]
        return offers(self._member.capabilities, activities, self.measuring.own_score, members)

    # --- this device -------------------------------------------------------------------------------------------

    async def _look_for_ever(self) -> None:
        while True:
            self._look_at_load()
            await asyncio.sleep(LOOK_EVERY_S)
            self._look_at_addresses()

    async def _offer_interrupted(self) -> None:
        """Tell of jobs that nobody leads any more, once others have had time to say that they do."""
        await asyncio.sleep(OFFER_JOBS_AFTER_S)
        for job in self.jobs.interrupted()[:OFFERED_JOBS_MAX]:
            said = f"the job {job.id} ({job.name} of {job.file}) was interrupted; it can go on: meshwit resume {job.id}"
            self._watchers.tell("interrupted", said, self.me)

    async def _keep_speeds(self) -> None:
        while True:
            await asyncio.sleep(KEEP_SPEEDS_EVERY_S)
            await self.jobs.keep()

    def _look_at_load(self) -> None:
        load = probe_load()
        self.measuring.looked(load)
        engine = self.jobs.engine
        resting = may_work(self._options.when, load)
        engine.rest(bool(resting))
        found = LoadProfile(
            free_slots=0 if resting else engine.free_slots,
            busy_cores=round(load.busy_cores, 1),
            memory_free=load.memory_available,
            battery=load.battery,
            plugged_in=load.plugged_in,
            temperature_c=load.temperature_c,
            jobs=engine.busy_jobs,
            resting=resting,
        )
        payload = topics.encode(found)
        self._learn_own(topics.LOAD, payload)
        if self._told_load.is_due(found, self._loop.time()):
            self.gossiping.publish(topics.LOAD, payload)

    def _look_at_addresses(self, *, publish: bool = True) -> None:
        hosts = tuple(told_addresses(look()))[: topics.ADDRESSES_MAX]
        if hosts == self._member.addresses:
            return
        self._member = msgspec.structs.replace(self._member, addresses=hosts)
        self.own_address = address_text((hosts[0], self.port)) if hosts else ""
        self.on_member(self._member)
        if publish:
            self._publish_member()

    def _publish_member(self) -> None:
        self._publish(topics.MEMBER, topics.encode(self._member))

    def _publish(self, topic: str, payload: bytes, expires_at: int = 0) -> None:
        """Tells it to all peers, this one included."""
        self._learn_own(topic, payload)
        self.gossiping.publish(topic, payload, expires_at)

    def _learn_own(self, topic: str, payload: bytes) -> None:
        self.roster.learn(self.me, topic, payload)
        self.jobs.record_changed(self.me, topic)

    # --- membership --------------------------------------------------------------------------------------------

    def _membership_changed(self, membership: Membership) -> None:
        if expelled_in(membership.chain, membership.expelled) is not None:
            self.on_expelled()
            return
        for peer in membership.expelled.keys() - self._expelled:
            self._tell("expelled", peer, "was expelled")
        self._expelled = frozenset(membership.expelled)
        for peer, link in list(self.links.links.items()):
            if self.keeper.admits(link.info.chain, link.info.key):
                self.links.unkeep(peer)
                link.close("expelled")
        self.gossiping.run(lambda gossip, now: gossip.recheck(now))

    def _taken_names(self, joiner: PeerId) -> set[str]:
        others = (self.roster.name(peer) for peer in self.gossip.members if peer != joiner)
        return {self._member.name, *others} - {""}

    def _asked_to_approve(self, waiting: str, by: PeerId) -> None:
        try:
            self.admissions.approve(waiting)
        except PeerError as error:
            _log.info("%s asked to let %s in: %s", by, waiting, error)

    def _admissions_changed(self, kind: str, text: str) -> None:
        """Somebody came to wait, or waits no longer: everybody may see and approve it."""
        if self._pending_due is None and not self._closed:
            self._pending_due = self._loop.call_later(PENDING_AFTER_S, self._tell_pending)
        if text:
            self._watchers.tell(kind, text)

    def _tell_pending(self) -> None:
        self._pending_due = None
        waiting = tuple((each.id, each.name, each.words) for each in self.admissions.pending())
        payload = topics.encode(PendingProfile(waiting)) if waiting else b""
        if payload != self._told_pending:
            self._told_pending = payload
            self.gossiping.publish(topics.PENDING, payload)


def _discard(_sent: bool) -> None:
    """A datagram that could not be sent is a lost one."""
