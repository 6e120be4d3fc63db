"""What goes wrong, drawn by chance: who, when, and for how long. All of it ends with `calm`."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from meshwit.ids import PeerId
from meshwit.outcome import JobState
from meshwit.peer.letters import Letter
from meshwit.peer.succession.messages import Append, AskJob, CannotStandBy, Have, LeaderBeat, Leads, StandBy
from meshwit.peer.succession.records import Term
from meshwit.peer.wire.frames import Channel
from meshwit.peer.work.messages import (
    AskBack,
    Assigned,
    Begun,
    Close,
    Done,
    Durable,
    GivenBack,
    Granted,
    Held,
    HeldBatch,
    Open,
    Ready,
    Redone,
    Span,
    Unwanted,
)
from simulations.hosts import Cut
from simulations.jobs.device import Device
from simulations.jobs.lab import OTHER_VERSIONS, VERSION
from simulations.jobs.mesh import JobsMesh

GARBAGE: Final = (b"", b"\xff" * 40, b"Leads", b"\x93\x01\x02")
VERSIONS: Final = (VERSION, *OTHER_VERSIONS)
FOR_GOOD: Final = 0.4
"""So many of those that are killed do not come back by themselves."""


class Faults:
    """See the module.

    Attributes:
        drawn: the names of those that came.
    """

    def __init__(self, mesh: JobsMesh) -> None:
        self.mesh = mesh
        self.drawn: list[str] = []
        self._rng = mesh.simulation.rng("faults")
        self._cuts: list[Cut] = []
        self._calm = False

    def plan(self, count: int, until: float, kinds: Sequence[str]) -> None:
        """So many at random times."""
        for _ in range(count):
            kind = self._rng.choice(kinds)
            self.drawn.append(kind)
            self.mesh.simulation.at(self._rng.uniform(self.mesh.simulation.now, until), self._come, kind)

    def prepare(self) -> None:
        """What holds from the start: who lies about its speed, who lacks what others have, who refuses."""
        rng = self._rng
        for device in self.mesh.devices:
            if rng.random() < 0.15:
                device.believed = device.speed * rng.choice((10.0, 0.1))
            if device.host.index > 1 and rng.random() < 0.1:
                device.lab = False
                device.admits_lacking = rng.random() < 0.5
            if rng.random() < 0.1:
                device.willing = False

    def skew(self) -> None:
        """From the start some devices have another version of the controller; others get one later."""
        for device in self.mesh.devices:
            if device.host.index > 1 and self._rng.random() < 0.3:
                device.version = self._rng.choice(OTHER_VERSIONS)

    def calm(self) -> None:
        """No more, and what lasts ends; those that were killed come back if nobody else has the jobs."""
        self._calm = True
        mesh = self.mesh
        mesh.simulation.note("calm")
        for cut in list(self._cuts):
            self._heal(cut)
        for device in mesh.devices:
            device.host.loss = 0.0
            device.disk.full = device.repeats = False
            mesh.network.plug(device.host)
        self._conditions(0.0005, 0.0005)
        self._order(0.0, 0.0)
        for device in mesh.devices:
            if device.id not in mesh.running and self._rng.random() < 0.7:
                mesh.start(device)
        for job in mesh.jobs:
            holders = [each for each in mesh.holders(job) if each.lab]
            if holders and not any(each.able for each in holders):
                self._install(self._rng.choice(holders), VERSION)  # a person sees to it
            holders = [each for each in holders if each.able]
            if holders and not any(each.id in mesh.running for each in holders):
                mesh.start(self._rng.choice(holders))

    # --- whom and how long -------------------------------------------------------------------------------------------

    def _come(self, kind: str) -> None:
        device = self._victim()
        if device is None or self._calm:
            return
        self.mesh.simulation.note(f"fault {kind} {device.name}")
        (FAULTS | LIFE)[kind](self, device)

    def _victim(self) -> Device | None:
        """A running one, a leader more often."""
        mesh, rng = self.mesh, self._rng
        leaders = [peer.device for job in mesh.jobs for peer in mesh.leaders(job)]
        if leaders and rng.random() < 0.5:
            return rng.choice(leaders)
        running = [device for device in mesh.devices if device.id in mesh.running]
        return rng.choice(running) if running else None

    def _while(self, seconds: float, then: Callable[..., None], *arguments: object) -> None:
        self.mesh.simulation.after(seconds, then, *arguments)

    def _down(self, device: Device, *, back: bool) -> None:
        self.mesh.watch.losses += 1
        self.mesh.kill(device)
        if back:
            self._while(self._rng.uniform(0.3, 5.0), self._up, device)

    def _up(self, device: Device) -> None:
        if device.id not in self.mesh.running:
            self.mesh.start(device)

    def _heal(self, cut: Cut) -> None:
        if cut in self._cuts:
            self._cuts.remove(cut)
            self.mesh.network.heal(cut)

    def _apart(self) -> None:
        self.mesh.watch.losses += 3
        self.mesh.watch.split = True
        self.mesh.gossip.all_disturbed(float("inf"))

    # --- what --------------------------------------------------------------------------------------------------------

    def crash(self, device: Device) -> None:
        """Killed at once."""
        self._down(device, back=self._rng.random() > FOR_GOOD)

    def restart(self, device: Device) -> None:
        """Killed, and back soon with what lies on its disk."""
        self._down(device, back=True)

    def crash_torn(self, device: Device) -> None:
        """The power fails: the last that was written is lost."""
        self._down(device, back=True)
        device.disk.tear(self._rng)
        self.mesh.watch.split = True  # what was said to be durable may be lost

    def crash_both(self, device: Device) -> None:
        """A leader and a standby at once."""
        peer = self.mesh.running[device.id]
        others = [
            self.mesh.device(each)
            for known in peer.keeping.core.jobs.values()
            for each in (*known.standbys, known.term.leader)
            if each != device.id and each in self.mesh.running
        ]
        self._down(device, back=self._rng.random() > FOR_GOOD)
        if others:
            self._down(self._rng.choice(others), back=self._rng.random() > FOR_GOOD)

    def off_and_on(self, _device: Device) -> None:
        """All are killed, and come back one after the other."""
        for each in list(self.mesh.devices):
            if each.id in self.mesh.running:
                self._down(each, back=True)

    def freeze(self, device: Device) -> None:
        """It stands still."""
        self._apart()
        self.mesh.freeze(device, self._rng.uniform(0.3, 8.0))

    def one_way(self, device: Device) -> None:
        """What it says does not arrive, or what is said to it."""
        self._cut([device], one_way=True)

    def two_ways(self, _device: Device) -> None:
        """Some are cut off from the others."""
        devices = list(self.mesh.devices)
        self._rng.shuffle(devices)
        self._cut(devices[: self._rng.randrange(1, len(devices))])

    def _cut(self, left: Sequence[Device], *, one_way: bool = False) -> None:
        self._apart()
        right = [each for each in self.mesh.devices if each not in left]
        if one_way and self._rng.random() < 0.5:
            cut = self.mesh.cut(right, left, one_way=True)
        else:
            cut = self.mesh.cut(left, right, one_way=one_way)
        self._cuts.append(cut)
        self._while(self._rng.uniform(0.5, 10.0), self._heal, cut)

    def loss(self, device: Device) -> None:
        """Packets are lost."""
        self._apart()
        device.host.loss = self._rng.uniform(0.05, 0.4)
        self._while(self._rng.uniform(1.0, 8.0), self._set_loss, device, 0.0)

    def _set_loss(self, device: Device, loss: float) -> None:
        device.host.loss = loss

    def delay(self, _device: Device) -> None:
        """All takes long."""
        self._apart()
        self._conditions(self._rng.uniform(0.05, 0.4), self._rng.uniform(0.0, 0.2))
        self._while(self._rng.uniform(1.0, 6.0), self._conditions, 0.0005, 0.0005)

    def _conditions(self, delay_s: float, jitter_s: float) -> None:
        network = self.mesh.network
        network.conditions = msgspec.structs.replace(network.conditions, delay_s=delay_s, jitter_s=jitter_s)

    def repeats(self, device: Device) -> None:
        """Messages come twice, and late, after others."""
        device.repeats = True
        self._order(0.2, 0.2)
        self._while(self._rng.uniform(1.0, 8.0), self._no_repeats, device)

    def _no_repeats(self, device: Device) -> None:
        device.repeats = False
        self._order(0.0, 0.0)

    def _order(self, duplication: float, reordering: float) -> None:
        """Of datagrams."""
        network = self.mesh.network
        network.conditions = msgspec.structs.replace(
            network.conditions, duplication=duplication, reordering=reordering
        )  # fmt: skip

    def garbage(self, device: Device) -> None:
        """It sends what is no frame, no datagram, or no message of a link, of gossip or of jobs."""
        self._apart()
        device.garbled = True
        rng, peer = self._rng, self.mesh.running[device.id]
        for other, link in list(peer.links.items()):
            what = rng.choice(GARBAGE)
            match rng.randrange(5):
                case 0:
                    for end in peer.parts.links.streams(other):
                        end.send(what, 40)
                case 1:
                    self.mesh.network.send(device.host, self.mesh.device(other).host, what)
                case 2:
                    link.send(Channel.SESSION, what)
                case 3:
                    link.send(Channel.GOSSIP, what)
                case _:
                    link.send(Channel.JOB, what)

    def nonsense(self, device: Device) -> None:
        """It sends messages that make no sense."""
        peer = self.mesh.running[device.id]
        for other in list(peer.links):
            for message in senseless(self._rng, device.id, next(iter(self.mesh.jobs), "job0")):
                if self._rng.random() < 0.4:
                    peer.letters.say(other, message)

    def clock_jump(self, device: Device) -> None:
        """Its clock leaps, as after sleep."""
        self._apart()
        self.mesh.running[device.id].clock.leap(self._rng.choice((0.4, 2.0, 10.0, 3600.0)))

    def full_disk(self, device: Device) -> None:
        """Its disk takes nothing."""
        self.mesh.watch.split = True
        device.disk.full = True
        self._while(self._rng.uniform(0.5, 8.0), self._room, device)

    def _room(self, device: Device) -> None:
        device.disk.full = False

    def slow(self, device: Device) -> None:
        """A quarter of its speed."""
        self._speed(device, device.speed / 4)
        self._while(self._rng.uniform(1.0, 8.0), self._speed, device, device.speed)

    def _speed(self, device: Device, speed: float) -> None:
        peer = self.mesh.running.get(device.id)
        if peer is not None:
            peer.processes.change_speed(speed)

    def lie(self, device: Device) -> None:
        """It tells a speed that is ten times what it has, or a tenth."""
        device.believed = device.speed * self._rng.choice((10.0, 0.1))
        self.mesh.running[device.id].tell_speed()

    def upgrade(self, device: Device) -> None:
        """It begins anew with another version of the controller."""
        self._install(device, self._rng.choice([each for each in VERSIONS if each != device.version]))

    def _install(self, device: Device, version: str) -> None:
        self.mesh.simulation.note(f"{device.name} has {version}")
        device.version = version
        if device.id in self.mesh.running:
            self._down(device, back=True)

    def suspend(self, device: Device) -> None:
        """The lid is closed: it sleeps, and when it wakes its network takes its time."""
        if device.host.frozen_until > self.mesh.simulation.now:
            return
        self._apart()
        seconds = self._rng.uniform(0.3, 8.0)
        self.mesh.freeze(device, seconds)
        self.mesh.running[device.id].clock.suspend(seconds)
        self.mesh.network.unplug(device.host)
        self._while(seconds + self._rng.uniform(0.0, 8.0), self.mesh.network.plug, device.host)

    def refuse(self, device: Device) -> None:
        """It stands by no more."""
        device.willing = False


FAULTS: Final[dict[str, Callable[[Faults, Device], None]]] = {
    each.__name__: each
    for each in (
        Faults.crash, Faults.restart, Faults.crash_torn, Faults.crash_both, Faults.off_and_on, Faults.freeze,
        Faults.one_way, Faults.two_ways, Faults.loss, Faults.delay, Faults.repeats, Faults.garbage, Faults.nonsense,
        Faults.clock_jump, Faults.full_disk, Faults.slow, Faults.lie, Faults.refuse,
    )
}  # fmt: skip
LIFE: Final = {each.__name__: each for each in (Faults.upgrade, Faults.suspend)}
"""What else becomes of devices of people: where they have several versions of a controller."""
CRASHES: Final = ("crash", "crash_both", "restart")
"""After which nobody is wrong about who lives."""


def senseless(rng: random.Random, me: PeerId, job: str) -> list[Letter]:
    """Messages that are well formed, and cannot be meant."""
    far = 2**40
    nobody = PeerId("nobody")
    return [
        Leads(job, Term(far, 0, me)),
        Leads(job, Term(-1, 0, me)),
        Leads("other", Term(1, 0, nobody), [nobody] * 40),
        Leads(job, Term(1, 99, me), over=JobState.COMPLETED),
        StandBy(job, Term(0, 0, me), b"nonsense"),
        StandBy("other", Term(1, 0, me), b"nonsense"),
        CannotStandBy("other", "why " * 1000),
        Have(job, [(-1, me, 5), (far, nobody, far)], ask=True),
        Append(job, 1, me, -5, b"nonsense"),
        Append(job, far, me, far, b"\x90"),
        LeaderBeat({job: (-1, float("nan")), "other": (5, -1.0)}),
        AskJob("other"),
        Open(1, job, b"nonsense", path=(1,), epoch=0),
        Assigned(10**9, 1, Span(0, 1), b"nonsense"),
        AskBack(10**9, Span(-4, 2)),
        Unwanted(10**9, Span(listed=[-1])),
        Close(10**9),
        Durable(1, far),
        Durable(-1, -1),
        Granted(10**9, -3),
        Begun(10**9, [-1]),
        Done(10**9, Span(0, 3), b"nonsense", b""),
        GivenBack(10**9, Span(0, 10**9)),
        Held("other", (1,), [HeldBatch(1, Span(-1, 4), True)]),
        Redone(job, (99,), Span(0, 3), b"nonsense"),
        Ready("other", far),
    ]
