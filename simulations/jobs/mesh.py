"""The peers of one run that lead jobs for each other: started, killed, cut off, frozen, and what lies on their disks.

A link ends at once where a process ends, since the system closes its connections. Where nobody is told (a pulled cable,
a frozen process) it ends when the gossip of the other side, over the same network, has come to hold the peer for dead.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Final

from meshwit.codec import Buffer
from meshwit.gossip.effects import Effect, Misbehaved, Send
from meshwit.gossip.members import State
from meshwit.ids import PeerId
from meshwit.lang.uses import names_used
from meshwit.outcome import JobState
from meshwit.peer.job.software import wanted_for
from meshwit.peer.letters import Letter
from meshwit.peer.succession.known import Role
from meshwit.peer.succession.records import Content, JobSpec
from simulations.hosts import LAN, Conditions, Cut
from simulations.invariants import Watch
from simulations.jobs.checks import Checks
from simulations.jobs.device import Device
from simulations.jobs.lab import CODEC, compiled, owners_of
from simulations.jobs.peer import JobsPeer
from simulations.jobs.scripts import Script
from simulations.keys import SimulatedKey
from simulations.network import Network
from simulations.scenario import Run

EFFECTS_PER_CHECK: Final = 32
"""A check of gossip costs more than what most of its effects do."""
DONE: Final = (JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED)


class JobsMesh:
    """See the module.

    Attributes:
        devices: in the order of their names.
        running: the process of each that has one.
        jobs: what was submitted, by id.
        watch: sees what peers do with jobs; `gossip`, what they believe of each other.
    """

    def __init__(self, run: Run, conditions: Conditions = LAN) -> None:
        self.run = run
        self.simulation = run.simulation
        self.network = Network(run.simulation, conditions)
        self.rng = run.simulation.rng("mesh")
        self.watch = Checks(run)
        self.gossip = Watch(run, EFFECTS_PER_CHECK)
        self.devices: list[Device] = []
        self.running: dict[PeerId, JobsPeer] = {}
        self.jobs: dict[str, Script] = {}
        self._by_id: dict[PeerId, Device] = {}
        self._parcels: dict[bytes, tuple[Letter, Sequence[Buffer]]] = {}
        self._numbers = itertools.count(1)

    # --- who there is ------------------------------------------------------------------------------------------------

    def add(self, slots: int, speed: float) -> Device:
        """One more device, without a process."""
        host = self.network.add_host(f"peer{len(self.devices)}")
        device = Device(SimulatedKey(host.name).id, host, slots, speed)
        self.devices.append(device)
        self._by_id[device.id] = device
        self.watch.named(device.id, host.name)
        self.gossip.named(device.id, host.name)
        return device

    def device(self, peer: PeerId) -> Device:
        """By id."""
        return self._by_id[peer]

    def start(self, device: Device) -> JobsPeer:
        """A process on a device; it finds the others, and they it."""
        self.simulation.note(f"started {device.name}")
        if device.starts:
            self.gossip.back(device.id)
        peer = self.running[device.id] = JobsPeer(self, device)
        self.watch.started(device.id)
        return peer

    def kill(self, device: Device) -> None:
        """Its process ends at once."""
        peer = self.running.pop(device.id, None)
        if peer is not None:
            peer.end()
            self.gossip.gone(peer)
            device.offset, device.suspended_s = peer.clock.offset, peer.clock.suspended_s
            self.network.kill(device.host)
            device.host.frozen_until = 0.0

    def freeze(self, device: Device, seconds: float) -> None:
        """Its process does nothing for a while."""
        peer = self.running.get(device.id)
        if peer is None or device.host.frozen_until > self.simulation.now:
            return
        self.network.freeze(device.host, seconds)
        peer.processes.freeze()
        self.simulation.after(seconds, self._thaw, device, peer)

    def _thaw(self, device: Device, peer: JobsPeer) -> None:
        if self.running.get(device.id) is peer:
            peer.processes.thaw()

    def cut(self, left: Iterable[Device], right: Iterable[Device], *, one_way: bool = False) -> Cut:
        """Nothing gets from the one to the other."""
        ours, theirs = list(left), list(right)
        self.gossip.all_disturbed(float("inf"))
        return self.network.cut([each.host for each in ours], [each.host for each in theirs], one_way)

    def unplug(self, device: Device) -> None:
        """Its cable is pulled."""
        self.gossip.disturbed([device.id])
        self.network.unplug(device.host)

    def gossiped(self, peer: JobsPeer, effect: Effect) -> None:
        """The gossip of a peer wants something done, or tells something."""
        match effect:
            case Send():
                self.gossip.sent(peer, effect)
            case Misbehaved(subject) if self.device(subject).garbled:
                self.simulation.note(f"{peer.name} accuses {self.device(subject).name}")
            case _:
                self.gossip.told(peer, effect)
        self.gossip.stepped(peer)

    def whole(self) -> bool:
        """Whether all that run hold each other for alive, and are linked."""
        return all(
            other in peer.links and (known := peer.core.members.get(other)) is not None and known.state is State.ALIVE
            for peer in self.running.values()
            for other in self.running
            if other != peer.id
        )

    # --- messages ----------------------------------------------------------------------------------------------------

    def sent(self, message: Letter, buffers: Sequence[Buffer]) -> bytes:
        """What stands for a message on its way."""
        payload = f"{type(message).__name__} {next(self._numbers)}".encode()
        self._parcels[payload] = message, buffers
        return payload

    def arrived(self, payload: bytes) -> tuple[Letter, Sequence[Buffer]] | None:
        """The message that it stood for; None for garbage."""
        return self._parcels.pop(payload, None)

    # --- jobs --------------------------------------------------------------------------------------------------------

    def submit(self, device: Device, script: Script, standbys: int = 2) -> str:
        """A peer is asked to run a job; its id."""
        job = f"job{len(self.jobs)}"
        self.jobs[job] = script
        self.watch.submitted(job, script)
        header, _, _ = CODEC.encode_with_blobs([])
        spec = JobSpec(
            id=job, text=script.text, filename="job.grid", name="Main", arguments=Content(header),
            submitter=device.id, submitter_name=device.name, started_at=0.0, standbys=standbys,
            software=wanted_for(names_used(compiled(script.text), "Main"), owners_of(device.version)),
        )  # fmt: skip
        self.running[device.id].start(spec)
        return job

    def resume(self, device: Device, job: str, again: bool | None = None) -> None:
        """A person has a job led on."""
        self.simulation.note(f"resume {job} at {device.name} {again}")
        if again is not None:
            self.watch.decided(job, again)
        if any(holder.id not in self.running for holder in self.holders(job)):
            self.watch.split = True  # what only they know was not asked for
        self.running[device.id].resume(job, again)

    def leaders(self, job: str) -> list[JobsPeer]:
        """Those that lead a job, as they believe."""
        return [
            peer
            for peer in self.running.values()
            if job in peer.keeping.core.jobs and peer.keeping.core.jobs[job].role is Role.LEADING
        ]

    def led(self, job: str) -> bool:
        """Whether somebody leads a job that is not over, or stands by and was named, so that he will."""
        for peer in self.running.values():
            known = peer.keeping.core.jobs.get(job)
            if known is not None and known.over is None:
                named = known.role is Role.STANDING_BY and peer.id in known.standbys
                if named or known.role is Role.LEADING:
                    return True
        return False

    def holders(self, job: str) -> list[Device]:
        """The devices on whose disks a job lies."""
        return [each for each in self.devices if job in each.disk.specs and each.disk.history(job).head is not None]

    def over(self, job: str) -> JobState | None:
        """The outcome of a job, as a running peer knows it."""
        for peer in self.running.values():
            known = peer.keeping.core.jobs.get(job)
            if known is not None and known.over in DONE and known.versions:
                return known.over
        return None

    def held(self, job: str) -> JobsPeer | None:
        """A peer at which a job waits for a person's decision."""
        for peer in self.running.values():
            known = peer.keeping.core.jobs.get(job)
            if known is not None and known.over is JobState.HELD and known.versions and peer.device.able:
                return peer
        return None

    def outcome_at(self, device: Device, job: str) -> dict[str, object] | None:
        """The variables of a job that is over, as a device tells them; None if it does not know of the end."""
        peer = self.running.get(device.id)
        known = peer.keeping.core.jobs.get(job) if peer is not None else None
        if peer is None or known is None or known.over not in DONE or device.disk.over(job) not in DONE:
            return None  # one whose disk was full knows that what lies there was overruled
        return peer.outcome(job)
