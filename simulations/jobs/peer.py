"""One simulated peer: it leads jobs, stands by, works, and is in its mesh (`parts`), bound together as `peer.engine`
and `peer.mesh.jobs` do it: what gossip tells of others says who may work and stand by, links say who is there."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from meshwit.codec import Buffer
from meshwit.gossip.effects import Effect
from meshwit.gossip.swim import Gossip
from meshwit.ids import PeerId
from meshwit.peer.control.api import PeerError
from meshwit.peer.correspondence import Correspondence
from meshwit.peer.job.workers import Worker
from meshwit.peer.letters import Letter
from meshwit.peer.mesh import profile
from meshwit.peer.mesh.profile import LoadProfile, MemberProfile
from meshwit.peer.rates import Rate, encode_rates
from meshwit.peer.succession.handing_over import Leads as LeadsJobs
from meshwit.peer.succession.keeping import Keeping
from meshwit.peer.succession.messages import (
    Append,
    AskJob,
    CannotStandBy,
    Have,
    LeaderBeat,
    Leads,
    StandBy,
)
from meshwit.peer.succession.records import JobSpec
from meshwit.peer.wire.frames import Channel
from meshwit.peer.wire.link import Link
from meshwit.peer.work.messages import (
    Done,
    Durable,
    Held,
    Ready,
    Redone,
)
from simulations.hosts import End, Host
from simulations.jobs.clock import Clock
from simulations.jobs.device import Device
from simulations.jobs.keeping import WatchedKeeping, thread_of
from simulations.jobs.lab import OFFER, compiled, controllers_of
from simulations.jobs.leading import WatchedKeptJobs, WatchedLeading
from simulations.jobs.links import Membership
from simulations.jobs.loop import DeviceLoop
from simulations.jobs.parts import Parts
from simulations.jobs.surroundings import Watching
from simulations.jobs.wire import PORT, address_of
from simulations.jobs.working import SimulatedPool, WatchedWorking
from simulations.network import Network

CHAIN_BYTES: Final = 400
"""A chain of certificates is about so long."""
REPEATED: Final = (Leads, StandBy, CannotStandBy, Have, Append, LeaderBeat, AskJob, Done, Durable, Held, Redone, Ready)
"""What may come twice and late without harm."""
REPEATS: Final = 0.2
REPEAT_LATE_S: Final = 1.0
MESSAGES_PER_CHECK: Final = 4
"""What a host checks costs more than what most messages do."""


class Mesh(Protocol):
    """What a peer is in."""

    network: Network

    @property
    def watch(self) -> Watching:
        """Sees what peers do."""

    def sent(self, message: Letter, buffers: Sequence[Buffer]) -> bytes:
        """What stands for a message on its way."""

    def arrived(self, payload: bytes) -> tuple[Letter, Sequence[Buffer]] | None:
        """The message that it stood for; None for garbage."""

    def gossiped(self, peer: JobsPeer, effect: Effect) -> None:
        """The gossip of a peer wants something done, or tells something."""


class JobsPeer:
    """One process of a peer; a killed one is done, a restart makes another.

    Attributes:
        links: those that jobs use, by peer.
        parts: how it is in its mesh.
        misbehaved: how often somebody else broke the rules.
    """

    def __init__(self, mesh: Mesh, device: Device) -> None:
        device.starts += 1
        self.mesh = mesh
        self.device = device
        self.me = device.id
        simulation = mesh.network.simulation
        self.clock = Clock(simulation, device.host, device.offset, device.suspended_s)
        self.links: dict[PeerId, Link] = {}
        self.misbehaved = 0
        self._rng = rng = simulation.rng(f"{device.name}/{device.starts}")
        self.loop = DeviceLoop(self.clock, thread_of(device, self.clock, rng))  # type: ignore[abstract]  # no sockets
        pool = self._pool = SimulatedPool(device, simulation, mesh.watch)
        self.processes = pool.processes
        with self.loop.running():
            letters = self.letters = Correspondence(self.me, self._send, lambda: self.clock.wall)
            self.working = letters.working = WatchedWorking(device, pool, letters.say, mesh.watch)
            self.leading = letters.leading = WatchedLeading(device, self.clock, letters.say, mesh.watch, rng)
            self.kept = letters.kept = WatchedKeptJobs(
                device, self.leading, self.clock, letters.led_by, self.working.job_over, self._keeping, mesh.watch
            )
        self.keeping = self.kept.keeping
        self.loop.start(self.keeping.open())
        self._received = 0
        with self.loop.running():
            self.parts = Parts(
                device, self.clock, mesh.network, simulation.rng(f"{device.name}/{device.starts} in its mesh"), self,
                self._gossiped,
            )  # fmt: skip
        device.host.process = self
        self.parts.links.on_message(Channel.JOB, self._from_link)
        member = MemberProfile(
            device.name, Membership.chain.ljust(CHAIN_BYTES, b"."), slots=device.slots, meshwit="1.0.0",
            addresses=(address_of(device.host)[0],), port=PORT,
            controllers=controllers_of(device.version) if device.lab or not device.admits_lacking else {},
        )  # fmt: skip
        self.parts.start(member, self._told_speed())

    def _keeping(self, leads: LeadsJobs) -> Keeping:
        linked = lambda: list(self.links)  # noqa: E731
        return WatchedKeeping(self.device, self.clock, self.letters.say, linked, leads, self.mesh.watch)

    def _gossiped(self, effect: Effect) -> None:
        self.mesh.gossiped(self, effect)

    @property
    def core(self) -> Gossip:
        """Its gossip."""
        return self.parts.gossiping.gossip

    @property
    def name(self) -> str:
        """As in the trace."""
        return self.device.name

    @property
    def id(self) -> PeerId:
        """Of the peer."""
        return self.me

    def check(self) -> None:
        """Invariants of its cores."""
        for check in (self.keeping.core.check, self.working.host.check):
            self.mesh.watch.sound(self.me, check)
        for job in self.leading.jobs:
            self.mesh.watch.sound(self.me, job.leader.check)

    def left(self) -> dict[str, int]:
        """What must be gone when all jobs are over and the mesh is whole, as far as any of it is there."""
        keeping, working, links = self.keeping, self.working, self.parts.links
        held = {
            "jobs that are led": self.leading.jobs,
            "steps that are led": self.leading._steps,
            "steps that are opened": self.leading._openings._steps,
            "logs that are written": keeping._recorder.logs,
            "ways to standbys": keeping._sender._ways,
            "arrivals in order": keeping._arrivals._last,
            "jobs being taken over": keeping._taking,
            "works of keeping": keeping._tasks,
            "works of jobs": self.kept._tasks,
            "steps hosted": working.host._steps,
            "batches in hand": working._left,
            "works of working": working._tasks,
            "batches in the pool": self._pool._batches,
            "letters": self.letters._letters,
            "dials": links._dials,
            "handshakes": links._outgoing._pending,
            "dials of gossip": self.parts.gossiping._dials,
            "messages that wait for a link": self.parts.gossiping._waiting,
        }
        return {what: len(each) for what, each in held.items() if each}

    def end(self) -> None:
        """The process is killed."""
        self.clock.lives = False
        self.processes.kill()

    def start(self, spec: JobSpec) -> None:
        """Lead a job."""
        self.letters.beat_soon()
        self.kept.begin(spec, compiled(spec.text), [], [])

    def resume(self, job: str, again: bool | None) -> None:
        """Lead a job on that nobody leads, if it can."""

        async def resume() -> None:
            with contextlib.suppress(PeerError):
                await self.kept.resume(job, again)

        self.loop.create_task(resume())

    def outcome(self, job: str) -> dict[str, object] | None:
        """The state and the variables of a job that is over, as this peer tells them to those who ask."""
        try:
            _, outcome = self.loop.start(self.kept.outcome(job))
        except PeerError:
            return None
        return {"state": outcome.state, **outcome.variables}

    # --- the mesh ----------------------------------------------------------------------------------------------------

    def link_up(self, link: Link) -> None:
        """There is a way to a peer."""
        self._unlinked(link.peer)
        self.links[link.peer] = link
        self.letters.linked(link.peer)
        self._offer(link.peer)
        self._rank()

    def link_down(self, peer: PeerId) -> None:
        """It has ended."""
        self._unlinked(peer)
        self._rank()

    def record_changed(self, owner: PeerId, topic: str) -> None:
        """A peer told something of itself."""
        if topic in (profile.MEMBER, profile.LOAD, profile.SCORE, profile.RATES):
            self._offer(owner)
            if topic != profile.RATES:
                self._rank()

    def load(self) -> LoadProfile:
        """How busy this peer is."""
        host = self.working.host
        jobs = {(self.me, job.id) for job in self.leading.jobs} | host.jobs()
        return LoadProfile(free_slots=host.free_slots, jobs=len(jobs))

    def _unlinked(self, peer: PeerId) -> None:
        if self.links.pop(peer, None) is not None:
            self.leading.worker_left(peer)
            self.working.leader_left(peer)
            self.keeping.unlinked(peer)

    def _offer(self, peer: PeerId) -> None:
        """Let jobs know what a peer can do now."""
        known = self.parts.roster.known(peer)
        if known.member is None:
            return
        benchmarks = {activity: per_s for activity, (per_s, _) in known.rates.items()}
        self.leading.speeds.told(peer, benchmarks=benchmarks)
        if peer == self.me or peer in self.links:
            member = known.member
            self.leading.worker_changed(
                Worker(
                    peer, member.name, member.slots, None, member.controllers,
                    lambda activity: self.leading.speeds.prior(peer, activity), peer == self.me,
                )
            )  # fmt: skip

    def _rank(self) -> None:
        scores = {peer: self.parts.roster.known(peer).scores.get("score", 0.0) for peer in self.links}
        members = [peer for peer in self.links if self.parts.roster.member(peer) is not None]
        self.keeping.rank(sorted(members, key=lambda peer: (-scores[peer], peer)))

    def tell_speed(self) -> None:
        """Its speed is told, to itself and to others."""
        for topic, payload in self._told_speed().items():
            self.parts.publish(topic, payload)

    def _told_speed(self) -> dict[str, bytes]:
        device, activities = self.device, [name for name in OFFER.activities if name.startswith("Lab.")]
        rates = [Rate(activity, "1.0.0", device.believed, "work/s", 0.0) for activity in activities]
        return {
            profile.SCORE: msgspec.msgpack.encode({"score": device.believed * device.slots}),
            profile.RATES: encode_rates(rates),
        }

    # --- what the network tells --------------------------------------------------------------------------------------

    def datagram_received(self, source: Host, payload: bytes) -> None:
        """A datagram came."""
        with self.loop.running():
            self.parts.datagram_received(source, payload)

    def stream_accepted(self, end: End) -> None:
        """Somebody dialled."""
        with self.loop.running():
            self.parts.stream_accepted(end)

    def stream_received(self, end: End, payload: bytes) -> None:
        """A connection brought something."""
        with self.loop.running():
            self.parts.stream_received(end, payload)

    def stream_closed(self, end: End, reason: str) -> None:
        """A connection has ended."""
        with self.loop.running():
            self.parts.stream_closed(end, reason)

    # --- messages ----------------------------------------------------------------------------------------------------

    def _send(self, peer: PeerId, message: Letter, buffers: Sequence[Buffer]) -> None:
        link = self.links.get(peer)
        if link is not None:
            link.send(Channel.JOB, self.mesh.sent(message, buffers))

    def _from_link(self, link: Link, payload: bytes) -> None:
        """A message came."""
        peer = link.peer
        parcel = self.mesh.arrived(payload)
        if parcel is None:
            self.misbehaved += 1
            return
        if self.links.get(peer) is not link:
            return
        self.keeping.spoke(peer)
        message, buffers = parcel
        if self.device.repeats and isinstance(message, REPEATED) and self._rng.random() < REPEATS:
            self.clock.later(self._rng.random() * REPEAT_LATE_S, self._repeat, link, message, buffers)
        self.letters.received(peer, message, buffers)
        self._received += 1
        if self._received % MESSAGES_PER_CHECK == 0:
            self.mesh.watch.sound(self.me, self.working.host.check)

    def _repeat(self, link: Link, message: Letter, buffers: Sequence[Buffer]) -> None:
        if self.links.get(link.peer) is link:
            self.letters.received(link.peer, message, buffers)
