"""The jobs that a simulated peer leads: `peer.leading` and `peer.kept_jobs` as they are, looked at while they do it.

Time and chance that scripts ask for are those of the simulation.
"""

from __future__ import annotations

import datetime
import random
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

from meshwit.lang import program as ir
from meshwit.lang.wishes import Path as ScriptPath
from meshwit.peer.job.effects import Assign, Effect, PrepareStep, RunInline
from meshwit.peer.job.journal import Known
from meshwit.peer.job.leader import JobLeader
from meshwit.peer.job.steps import StepSettings
from meshwit.peer.kept_jobs import KeptJobs
from meshwit.peer.leading import Leading
from meshwit.peer.letters import Letter
from meshwit.peer.running_job import RunningJob
from meshwit.peer.saying import Say
from meshwit.peer.succession.handing_over import CannotLeadError, Leads
from meshwit.peer.succession.keeping import Keeping
from meshwit.peer.succession.records import JobSpec, Term
from simulations.jobs.clock import Clock
from simulations.jobs.device import Device
from simulations.jobs.lab import CODEC, REGISTRY, compiled, owners_of
from simulations.jobs.surroundings import NoBlobs, Watching

CALLS_PER_CHECK: Final = 16
"""A leader's check costs as much as its steps have items."""


class WatchedLeading(Leading):
    """See the module. To be made on the running loop of the device."""

    def __init__(self, device: Device, clock: Clock, say: Say[Letter], watch: Watching, rng: random.Random) -> None:
        none = NoBlobs()
        super().__init__(
            device.id, device.name, REGISTRY, CODEC, say, none.fetch, lambda: [], none, none.stored,
            owners_of(device.version), lambda: clock.wall,
        )  # fmt: skip
        self._watch = watch
        self._rng = rng
        self._calls = 0
        self._paths: dict[int, tuple[str, ScriptPath]] = {}

    def run(self, running: RunningJob, elapsed: float = 0.0) -> None:
        super().run(running, elapsed)
        self._watch.at_work(self.me, running.id)

    def perform(self, job: RunningJob, effects: list[Effect]) -> None:
        super().perform(job, effects)
        self._calls += 1
        if self._calls % CALLS_PER_CHECK == 0:
            self._watch.sound(self.me, job.leader.check)

    def _prepare(self, job: RunningJob, effect: PrepareStep) -> None:
        self._paths[effect.step] = job.id, effect.path
        super()._prepare(job, effect)

    def _assign(self, effect: Assign) -> None:
        self._watch.assigned(self.me, *self._paths[effect.step], effect)
        super()._assign(effect)

    def _call_inline(self, effect: RunInline) -> Known:
        match effect.call.activity.name:
            case "Lab.Stamp":
                return Known(self._watch.stamp())
            case "NewGuid":
                return Known(uuid.UUID(int=self._rng.getrandbits(128)))
            case "DateTime.Now":
                return Known(datetime.datetime(2026, 1, 1) + datetime.timedelta(seconds=self._watch.stamp()))
        return super()._call_inline(effect)


class WatchedKeptJobs(KeptJobs):
    """See the module. To be made on the running loop of the device."""

    def __init__(
        self,
        device: Device,
        leading: Leading,
        clock: Clock,
        led_by: Callable[[str, Term, bool], None],
        over: Callable[[str], None],
        keeping: Callable[[Leads], Keeping],
        watch: Watching,
    ) -> None:
        self._watch = watch
        self._device = device
        super().__init__(
            leading.me, leading.name, leading, CODEC, _compiled, NoBlobs().fetch, _defaults, led_by, over, keeping,
            lambda: clock.wall,
        )  # fmt: skip

    def leadable(self, spec: JobSpec) -> ir.Program:
        if not self._device.lab:
            raise CannotLeadError("has no controller")
        return super().leadable(spec)

    def _made(self, spec: JobSpec, leader: JobLeader, roots: tuple[Path, ...], term: Term) -> RunningJob:
        self._watch.leads(self._me, spec, term, leader)
        return super()._made(spec, leader, roots, term)

    def _ended(self, running: RunningJob) -> None:
        if running.id in self._jobs:
            assert isinstance(running.leader, JobLeader)
            self._watch.ended(self._me, running.id, running.leader)
        super()._ended(running)


def _compiled(text: str, _filename: str) -> ir.Program:
    return compiled(text)


def _defaults(_time_limit_s: float | None, _memory_max_bytes: int | None) -> StepSettings:
    return StepSettings()
