"""What must hold while jobs change hands, seen from outside of the cores.

Safety: an outcome is what the script says; a value came of a run of that very task; what a leader knows it does not
have run again; who obeys a leader obeys no lower one; what must not run twice begins once. Liveness is for the
scenarios: that accepted jobs end.
"""

from __future__ import annotations

import traceback
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from meshwit.ids import PeerId
from meshwit.lang.wishes import Path
from meshwit.outcome import JobState
from meshwit.peer.job.effects import Assign
from meshwit.peer.job.leader import JobLeader
from meshwit.peer.succession.records import JobSpec, Record, Results, Term
from meshwit.peer.work import effects as work
from meshwit.peer.work.messages import Open, Refused
from simulations.jobs.lab import CODEC
from simulations.jobs.scripts import Script
from simulations.scenario import Run

LOST_TEXTS = ("was lost while it ran this", "were lost while they ran this")
"""A task that took several peers with it is believed to be why; one that must not run twice is given up sooner."""
SKIPPED_TEXT = "it was decided not to run it again"
Item = tuple[str, Path, int]
"""A task: job, path, number."""


class Checks:
    """See the module.

    Attributes:
        strict: nothing is computed twice of which a holder lives: where nobody is cut off.
        split: somebody may have been cut off or frozen: then two may lead at the same time.
        losses: how often a peer was lost to others.
        runs: how often tasks began.
        durable_items: results that outlive their leader.
        paths: of the step of a job that something was given of last.
        again: tasks given again although their result outlived its leader.
        led_at: when leaders began, by job: time, peer, term.
        at_work_at: when they let their scripts run.
        ended_at: when a job first had its outcome, `outcomes` what it was at each leader that saw it.
    """

    def __init__(self, run: Run) -> None:
        self.strict = False
        self.split = False
        self.losses = 0
        self.runs = 0
        self.durable_items: set[Item] = set()
        self.again: set[Item] = set()
        self.paths: dict[str, Path] = {}
        self.led_at: dict[str, list[tuple[float, PeerId, Term]]] = {}
        self.at_work_at: dict[str, list[tuple[float, PeerId]]] = {}
        self.ended_at: dict[str, float] = {}
        self.outcomes: dict[str, list[tuple[PeerId, JobState, dict[str, Any]]]] = {}
        self._run = run
        self._simulation = run.simulation
        self._scripts: dict[str, Script] = {}
        self._names: dict[PeerId, str] = {}
        self._runs: dict[int, tuple[str, str, int]] = {}
        self._begun: dict[Item, int] = {}
        self._allowed: dict[str, int] = {}
        self._obeyed: dict[tuple[PeerId, str], tuple[int, int, PeerId]] = {}
        self._leaders: dict[tuple[PeerId, str], JobLeader] = {}
        self._stamps = 0

    # --- what the mesh tells -----------------------------------------------------------------------------------------

    def named(self, peer: PeerId, name: str) -> None:
        """What a peer is called in the trace."""
        self._names[peer] = name

    def started(self, peer: PeerId) -> None:
        """A process begins: it knows of no leader."""
        for key in [key for key in self._obeyed if key[0] == peer]:
            del self._obeyed[key]

    def submitted(self, job: str, script: Script) -> None:
        """A job is about to begin."""
        self._scripts[job] = script

    def decided(self, job: str, again: bool) -> None:
        """A person said what becomes of tasks of which nobody knows whether they ran."""
        self._allowed[job] = self._allowed.get(job, 0) + again

    # --- tasks -------------------------------------------------------------------------------------------------------

    def work_of(self, job: str, path: Path, number: int) -> float:
        """How long one task takes at speed 1."""
        script = self._scripts.get(job)
        spread = zlib.crc32(f"{self._simulation.seed} {job} {path} {number}".encode()) / 2**32
        return (script.mean_s if script is not None else 0.01) * (0.4 + 1.2 * spread)

    def begun(self, peer: PeerId, opened: Open, number: int) -> int:
        """A task begins."""
        self.runs += 1
        task = CODEC.decode(opened.header)["task"]
        self._runs[self.runs] = opened.job, task[1], number
        if opened.once:
            item = (opened.job, opened.path, number)
            count = self._begun[item] = self._begun.get(item, 0) + 1
            if count > 1 + self._allowed.get(opened.job, 0) and not self.split:
                self._run.fault(f"{item} must not run twice, and begins at {self._names[peer]} for the {count}. time")
        return self.runs

    def opened(self, peer: PeerId, leader: PeerId, opened: Open, effects: Sequence[work.Effect]) -> None:
        """A leader opened a step at a peer."""
        term = (opened.epoch, opened.rank, leader)
        key = (peer, opened.job)
        known = self._obeyed.get(key)
        if opened.epoch <= 0:
            return  # of a job that ends with its leader
        if known is not None and term < known:
            refused = [each for each in effects if isinstance(each, work.Say) and isinstance(each.message, Refused)]
            if len(refused) != len(effects):
                self._run.fault(f"{self._names[peer]} obeys {known}, and lets {term} open a step of {opened.job}")
        else:
            self._obeyed[key] = term

    def obeyed(self, peer: PeerId, job: str, term: tuple[int, int, PeerId]) -> None:
        """A peer has been told of a leader that took over."""
        key = (peer, job)
        self._obeyed[key] = max(term, self._obeyed.get(key, term))

    def sound(self, peer: PeerId, check: Callable[[], None]) -> None:
        """A core's own invariants hold.

        One of them bounds an estimate, the share of work that a step has done twice: where speeds are lied about and
        peers stand still it may be off.
        """
        try:
            check()
        except AssertionError as broken:
            if not (broken.args and isinstance(broken.args[0], float)):
                lines = traceback.format_exception(broken)
                self._run.fault(f"{self._names[peer]} is not sound: {''.join(lines[-2:]).strip()}")

    # --- leaders -----------------------------------------------------------------------------------------------------

    def leads(self, peer: PeerId, spec: JobSpec, term: Term, leader: JobLeader) -> None:
        """A peer begins to lead a job."""
        self._leaders[peer, spec.id] = leader
        self.led_at.setdefault(spec.id, []).append((self._simulation.now, peer, term))
        self._simulation.note(f"{self._names[peer]} leads {spec.id} in {term.epoch}")

    def at_work(self, peer: PeerId, job: str) -> None:
        """A leader has let its script run."""
        self.at_work_at.setdefault(job, []).append((self._simulation.now, peer))

    def assigned(self, peer: PeerId, job: str, path: Path, assign: Assign) -> None:
        """A leader gives items to a peer."""
        known = self._leaders[peer, job].journal.items(path)
        self.paths[job] = path
        for number in assign.numbers:
            if number in known:
                self._run.fault(f"{self._names[peer]} gives {job} {path} {number}, whose result it knows")
            item = (job, path, number)
            if item in self.durable_items:
                self.again.add(item)
                if self.strict:
                    self._run.fault(f"{self._names[peer]} gives {item}, whose result outlived its leader")

    def durable(self, peer: PeerId, job: str, records: Sequence[Record]) -> None:
        """Records of a leader are durable."""
        for record in records:
            body = record.body
            if isinstance(body, Results):
                for part in body.parts:
                    self.durable_items.update((job, body.path, number) for number in part.items.numbers)

    def stamp(self) -> int:
        """A number that never comes twice."""
        self._stamps += 1
        return self._stamps

    # --- outcomes ----------------------------------------------------------------------------------------------------

    def ended(self, peer: PeerId, job: str, leader: JobLeader) -> None:
        """A job has its outcome at its leader, or a question."""
        state, variables = leader.state, leader.variables()
        self._simulation.note(f"{self._names[peer]} ends {job} as {state}")
        if state is JobState.HELD:
            return
        self.ended_at.setdefault(job, self._simulation.now)
        self.outcomes.setdefault(job, []).append((peer, state, variables))
        script = self._scripts[job]
        if state is JobState.FAILED:
            message = leader.failure.message if leader.failure is not None else ""
            lost = any(text in message for text in LOST_TEXTS) and self.losses >= (1 if script.once else 3)
            if not lost:
                self._run.fault(f"{job} failed at {self._names[peer]}: {message}")
        elif state is JobState.COMPLETED:
            self.judge(job, self._names[peer], variables)
        else:
            self._run.fault(f"{job} ended as {state} at {self._names[peer]}")

    def judge(self, job: str, who: str, variables: Mapping[str, Any]) -> None:
        """Whether the variables of a completed job are what they must be."""

        def ran(number: int) -> tuple[str, int] | None:
            of, activity, item = self._runs.get(number, ("", "", 0))
            return (activity, item) if of == job else None

        for text in self._scripts[job].wrong(variables, ran):
            self._run.fault(f"{job} at {who}: {text}")
