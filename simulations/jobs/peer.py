"""One simulated peer: it leads jobs, stands by, works, and keeps its links, bound together as `peer.engine` does it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final, Protocol

from meshwit.codec import Buffer
from meshwit.ids import PeerId
from meshwit.peer.job.workers import Worker
from meshwit.peer.sched.estimates import RatePrior
from meshwit.peer.succession.messages import (
    Append,
    AskJob,
    CannotStandBy,
    Have,
    LeaderBeat,
    Leads,
    StandBy,
)
from meshwit.peer.succession.records import JobSpec, Term
from meshwit.peer.work.messages import (
    AskBack,
    Assigned,
    Beat,
    Begun,
    Close,
    Died,
    Done,
    Durable,
    GivenBack,
    Granted,
    Held,
    Open,
    Ready,
    Redone,
    Refused,
    Unwanted,
)
from simulations.hosts import DialFailure, End, Host
from simulations.jobs.clock import Clock
from simulations.jobs.disk import SimulatedDisk
from simulations.jobs.keeping import Keeping
from simulations.jobs.lab import CONTROLLERS
from simulations.jobs.leading import Leading
from simulations.jobs.surroundings import Letter, Watching
from simulations.jobs.working import Working
from simulations.network import Network

BEAT_S: Final = 0.25
OVERSLEPT_S: Final = 0.5
REDIAL_S: Final = (0.2, 1.0)
"""The first pause, and the longest."""
REPEATED: Final = (Leads, StandBy, CannotStandBy, Have, Append, LeaderBeat, AskJob, Done, Durable, Held, Redone, Ready)
"""What may come twice and late without harm."""
REPEATS: Final = 0.2
REPEAT_LATE_S: Final = 1.0
ERROR: Final = 0.15
MESSAGES_PER_CHECK: Final = 4
"""What a host checks costs more than what most messages do."""


class Device:
    """What of a peer outlives its process.

    Attributes:
        believed: the speed that it tells, which may be wrong.
        lab: it has the controller; `admits_lacking`, if not, it says so.
        willing: it stands by.
        repeats: messages come to it twice, and late.
        offset: of its clock.
    """

    def __init__(self, id: PeerId, host: Host, slots: int, speed: float) -> None:
        self.id = id
        self.host = host
        self.slots = slots
        self.speed = speed
        self.believed = speed
        self.lab = self.admits_lacking = self.willing = True
        self.repeats = False
        self.offset = 0.0
        self.starts = 0
        self.disk = SimulatedDisk()

    @property
    def name(self) -> str:
        """As in the trace."""
        return self.host.name


class Mesh(Protocol):
    """What a peer is in."""

    network: Network
    rng: random.Random

    @property
    def watch(self) -> Watching:
        """Sees what peers do."""

    def device_of(self, host: Host) -> Device:
        """The device on a host."""

    def device(self, peer: PeerId) -> Device:
        """By id."""

    def sent(self, message: Letter, buffers: Sequence[Buffer]) -> bytes:
        """What stands for a message on its way."""

    def arrived(self, payload: bytes) -> tuple[Letter, Sequence[Buffer]] | None:
        """The message that it stood for; None for garbage."""


class JobsPeer:
    """One process of a peer; a killed one is done, a restart makes another.

    Attributes:
        links: open ones, by peer.
        misbehaved: how often somebody else broke the rules.
    """

    def __init__(self, mesh: Mesh, device: Device) -> None:
        device.starts += 1
        self.mesh = mesh
        self.device = device
        self.me = device.id
        self.clock = Clock(mesh.network.simulation, device.host, device.offset)
        self.links: dict[PeerId, End] = {}
        self.misbehaved = 0
        rng = mesh.network.simulation.rng(f"{device.name}/{device.starts}")
        self._rng = rng
        self.working = Working(
            self.me, self.clock, device.slots, device.speed, self.say, mesh.watch, lab=device.lab
        )  # fmt: skip
        self.leading = Leading(self.me, self.clock, self.say, self._led_by, mesh.watch, rng)
        self.keeping = Keeping(
            self.me, self.clock, device.disk, self.say, lambda: list(self.links), self.leading, mesh.watch, rng,
            lab=device.lab,
        )  # fmt: skip
        self.keeping.willing = device.willing
        self.leading.keeping = self.keeping
        self._letters: list[tuple[Letter, Sequence[Buffer]]] = []
        self._beat_alarm = self.clock.alarm(self._beat)
        self._dialing: dict[PeerId, float] = {}
        self._received = 0
        device.host.process = self
        self.leading.worker_changed(self._worker(device, home=True))

    @property
    def id(self) -> PeerId:
        """Of the peer."""
        return self.me

    def check(self) -> None:
        """Invariants of its cores."""
        for check in (self.keeping.core.check, self.working.host.check):
            self.mesh.watch.sound(self.me, check)
        for led in self.leading.jobs.values():
            self.mesh.watch.sound(self.me, led.leader.check)

    def end(self) -> None:
        """The process is killed."""
        self.clock.lives = False
        self.working.pool.kill()

    def start(self, spec: JobSpec) -> None:
        """Lead a job."""
        self._beat_soon()
        self.leading.start(spec)

    def repeat_offer(self) -> None:
        """Its speed is told anew: to itself, and by `mesh` to others."""
        self.leading.worker_changed(self._worker(self.device, home=True))

    # --- links -------------------------------------------------------------------------------------------------------

    def seek(self, peer: PeerId) -> None:
        """Dial a peer until there is a link."""
        if peer not in self._dialing:
            self._dialing[peer] = REDIAL_S[0]
            self._dial(peer)

    def _dial(self, peer: PeerId) -> None:
        if not self.clock.lives:
            return
        if peer in self.links:
            self._dialing.pop(peer, None)
            return
        target = self.mesh.device(peer).host
        self.mesh.network.dial(self.device.host, target, lambda what: self._dialed(peer, what))

    def _dialed(self, peer: PeerId, what: End | DialFailure) -> None:
        if isinstance(what, DialFailure):
            pause = self._dialing.get(peer, REDIAL_S[0])
            self._dialing[peer] = min(2 * pause, REDIAL_S[1])
            self.clock.later(pause, self._dial, peer)
        else:
            self._dialing.pop(peer, None)
            self._link_up(peer, what)

    def stream_accepted(self, end: End) -> None:
        """Somebody dialled."""
        self._link_up(self.mesh.device_of(end.other.host).id, end)

    def stream_closed(self, end: End, reason: str) -> None:
        """A link has ended."""
        peer = self.mesh.device_of(end.other.host).id
        if self.links.get(peer) is end:
            self.link_down(peer)

    def datagram_received(self, source: Host, payload: bytes) -> None:
        """There are none."""

    def _link_up(self, peer: PeerId, end: End) -> None:
        if not end.open:
            self.seek(peer)
            return
        self._unlinked(peer)
        self.links[peer] = end
        self.keeping.linked(peer)
        self.offer(peer)
        self._rank()

    def offer(self, peer: PeerId) -> None:
        """A peer that is linked may work for jobs led here."""
        if peer in self.links:
            self.leading.worker_changed(self._worker(self.mesh.device(peer)))

    def link_down(self, peer: PeerId) -> None:
        """A link has ended, or the peer is known to be dead."""
        self._unlinked(peer)
        self._rank()
        if self.device.host.index < self.mesh.device(peer).host.index:
            self.clock.later(0.05, self.seek, peer)

    def _unlinked(self, peer: PeerId) -> None:
        end = self.links.pop(peer, None)
        if end is None:
            return
        end.close("silent")
        self.leading.worker_left(peer)
        self.working.leader_left(peer)
        self.keeping.unlinked(peer)

    def _worker(self, device: Device, *, home: bool = False) -> Worker:
        controllers = CONTROLLERS if device.lab or not device.admits_lacking else {}
        prior = RatePrior(device.believed, ERROR)
        return Worker(device.id, device.name, device.slots, None, controllers, lambda _: prior, home)

    def _rank(self) -> None:
        found = [(-self.mesh.device(peer).believed, peer) for peer in self.links]
        self.keeping.rank([peer for _, peer in sorted(found)])

    # --- messages ----------------------------------------------------------------------------------------------------

    def say(self, peer: PeerId, message: Letter, buffers: Sequence[Buffer] = ()) -> None:
        """Send a message to a peer, or to this one itself."""
        if peer == self.me:
            self._letters.append((message, buffers))
            if len(self._letters) == 1:
                self.clock.soon(self._deliver)
            return
        end = self.links.get(peer)
        if end is not None:
            end.send(self.mesh.sent(message, buffers), 120)

    def _deliver(self) -> None:
        letters, self._letters = self._letters, []
        for message, buffers in letters:
            self.received(self.me, message, buffers)

    def stream_received(self, end: End, payload: bytes) -> None:
        """A message came."""
        peer = self.mesh.device_of(end.other.host).id
        parcel = self.mesh.arrived(payload)
        if parcel is None:
            self.misbehaved += 1
            return
        if self.links.get(peer) is not end:
            return
        message, buffers = parcel
        if self.device.repeats and isinstance(message, REPEATED) and self._rng.random() < REPEATS:
            self.clock.later(self._rng.random() * REPEAT_LATE_S, self._repeat, end, peer, message, buffers)
        self.received(peer, message, buffers)

    def _repeat(self, end: End, peer: PeerId, message: Letter, buffers: Sequence[Buffer]) -> None:
        if self.links.get(peer) is end:
            self.received(peer, message, buffers)

    def received(self, peer: PeerId, message: Letter, buffers: Sequence[Buffer]) -> None:
        """A peer said something."""
        match message:
            case Open() | Assigned() | AskBack() | Unwanted() | Close() | Durable():
                self._beat_soon()
                self.working.received(peer, message, buffers)
            case Refused() | Granted() | Begun() | Done() | GivenBack() | Beat() | Died():
                self.leading.reported(peer, message, buffers)
            case Held() | Redone() | Ready():
                self.keeping.told(peer, message)
            case _:
                self.keeping.received(peer, message, buffers)
                if isinstance(message, Leads):
                    self._leader_spoke(peer, message)
        self._received += 1
        if self._received % MESSAGES_PER_CHECK == 0:
            self.mesh.watch.sound(self.me, self.working.host.check)

    def _leader_spoke(self, peer: PeerId, message: Leads) -> None:
        known = self.keeping.core.jobs.get(message.job)
        if peer == message.term.leader and known is not None and known.term == message.term:
            if message.over is not None:
                self.working.job_over(message.job)
            elif not message.took_over:
                self.working.resend(message.job, peer, message.term.epoch)

    def _led_by(self, job: str, term: Term, took_over: bool) -> None:
        if took_over:
            self._beat_soon()
            self.working.took_over(job, term.epoch, term.rank, term.leader)

    # --- time --------------------------------------------------------------------------------------------------------

    def _beat_soon(self) -> None:
        if self._beat_alarm.due is None:
            self._beat_alarm.set(self.clock.now + BEAT_S)

    def _beat(self, late_s: float) -> None:
        if late_s > OVERSLEPT_S:
            for peer in list(self.leading.workers):
                self.leading.heard(peer)
        self.working.beat()
        host = self.working.host
        if self.leading.jobs or host.leaders() or host.unserved:
            self._beat_soon()
