"""An examination: so many random jobs on peers that die and freeze, each compared with what it must come to."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from meshwit.codec import Codec
from meshwit.outcome import Outcome
from meshwit.peer.control.api import PeerError
from meshwit.peer.control.client import ControlClient, NoAnswerError
from meshwit.peer.control.job_client import PeerLostError, RemoteJob, asked_of, attach_job, start_job
from meshwit.peer.control.job_messages import Attach, Submit
from tests.examiner.peers import Disturber, Peers
from tests.examiner.scripts import random_script
from tests.examiner.serially import Ending, Expected, TooLong, run_serially

CALLS_MIN, CALLS_MAX = 6, 70
"""Of activities, by one job."""
LOST_AFTER_S = 90.0
"""A job that has not ended so long after it was given is lost; on a free machine it takes some seconds."""
PAUSE_S = 1.0
"""Between two disturbances, on average."""
LOOK_S = 1.0
INTERRUPTED_S = 12.0
"""For so long nobody leads a job before it is resumed by hand: a standby takes over within three seconds of its own,
and sleeps at most five."""
SETTLED_S = 2.0
"""Who stands by for so long has the job."""


class Exercise(NamedTuple):
    """One job, and what it must come to."""

    seed: int
    tag: int
    text: str
    arguments: tuple[int, int, int]
    expected: Expected


class Figures(NamedTuple):
    """How an examination went."""

    jobs: int
    states: Counter[str]
    seconds: float
    disturbances: dict[str, int]
    resumed: int
    given_again: int
    calls: int
    runs: int

    def __str__(self) -> str:
        told = ", ".join(f"{count} x {kind}" for kind, count in self.disturbances.items())
        return (
            f"{self.jobs} jobs in {self.seconds:.0f} s ({self.jobs / self.seconds:.1f}/s), {dict(self.states)}; "
            f"{told}; {self.resumed} resumed by hand, {self.given_again} given again; {self.calls:,} calls ran "
            f"{self.runs:,} times"
        )


def exercise(seed: int, tag: int) -> Exercise:
    """The job of a seed; those that do too little or too much are passed over."""
    for attempt in itertools.count():
        rng = random.Random(f"{seed} {attempt}")
        text = random_script(rng.randrange(1 << 32))
        arguments = (tag, rng.randrange(97), rng.randrange(97))
        try:
            expected = run_serially(text, arguments, CALLS_MAX)
        except TooLong:
            continue
        if expected.calls.total() >= CALLS_MIN:
            return Exercise(seed, tag, text, arguments, expected)
    raise AssertionError("unreachable")


class Holders:
    """Who led a job or stood by, when somebody looked last (`at`), and since when."""

    def __init__(self) -> None:
        self.at = 0.0
        self._since: dict[str, float] = {}

    def seen(self, names: set[str], now: float) -> None:
        """Somebody looked."""
        self.at = now
        self._since = {name: self._since.get(name, now) for name in names}

    def settled(self) -> list[str]:
        """Those who had the job for certain."""
        return [name for name, since in self._since.items() if self.at - since >= SETTLED_S]


class Examination:
    """See the module.

    Args:
        seed: of the first job; the others follow.
        at_once: so many jobs run at a time.
    """

    def __init__(self, peers: Peers, jobs: int, seed: int, at_once: int = 10) -> None:
        self.peers = peers
        self.jobs = jobs
        self.seed = seed
        self.at_once = at_once
        self.wrong: list[str] = []
        self.given_again = 0
        self.resumed: set[str] = set()
        self._open: set[str] = set()
        self._holders: dict[str, Holders] = {}
        self._codec = Codec([])
        self._tags = itertools.count(1)
        self._made: dict[str, Exercise] = {}
        self._over = threading.Event()

    def run(self, pause_s: float) -> Figures:
        """All jobs, while peers are disturbed every `pause_s` on average. Raises AssertionError if one is wrong."""
        began = time.monotonic()
        watch = threading.Thread(target=self._watch, daemon=True)
        watch.start()
        disturber = Disturber(self.peers, random.Random(self.seed), pause_s)
        with disturber, ThreadPoolExecutor(self.at_once) as pool:
            list(pool.map(self._examine, range(self.seed, self.seed + self.jobs)))
        seconds = time.monotonic() - began
        self.peers.wait_until_whole()
        self._look_again()
        self._over.set()
        watch.join()
        runs = self._count_runs()
        story = "\n".join(disturber.story)
        assert not self.wrong, "\n\n".join(self.wrong) + f"\n{story}{self.peers.said()}"
        made = self._made.values()
        return Figures(
            len(made), Counter(each.expected.ending.state for each in made), seconds, disturber.done,
            len(self.resumed), self.given_again, sum(each.expected.calls.total() for each in made), runs.total(),
        )  # fmt: skip

    # --- one job -----------------------------------------------------------------------------------------------------

    def _examine(self, seed: int) -> None:
        try:
            job, given = self._give(seed)
            with job:
                self._made[job.id] = given
                self._open.add(job.id)
                outcome = self._outcome(job)
            self._compare(given, job.id, outcome)
            self._open.discard(job.id)
        except Exception as error:
            self.wrong.append(f"seed {seed}: {type(error).__name__}: {error}")

    def _give(self, seed: int) -> tuple[RemoteJob, Exercise]:
        """Give it to somebody. A peer that dies before it has answered may have begun: it is given anew as another."""
        while True:
            given = exercise(seed, next(self._tags))
            asked = asked_of(
                Submit, text=given.text, filename=f"job{given.tag}.wit", job="", arguments=given.arguments,
                codec=self._codec,
            )  # fmt: skip
            try:
                return start_job(self.peers.somebody(), asked, self._codec), given
            except (NoAnswerError, PeerLostError):
                self.given_again += 1

    def _outcome(self, job: RemoteJob) -> Outcome:
        """What it came to, by whichever peer tells."""
        limit = time.monotonic() + LOST_AFTER_S
        told: RemoteJob | None = job
        while time.monotonic() < limit:
            try:
                if told is None:
                    told = attach_job(self.peers.somebody(), Attach(job=job.id), self._codec)
                outcome = told.wait(limit - time.monotonic())
                if outcome is not None:
                    return outcome
            except PeerError:
                time.sleep(0.3)
            if told is not None:
                told.close()
                told = None
        raise TimeoutError(f"job {job.id} is lost: {self._views(job.id)}")

    def _compare(self, given: Exercise, job: str, outcome: Outcome) -> None:
        message = outcome.error.message if outcome.error is not None else None
        ending = Ending(outcome.state, outcome.variables, outcome.returned, message)
        if ending != given.expected.ending:
            self.wrong.append(
                f"seed {given.seed}, job {job}, arguments {given.arguments}: it came to\n{ending}\ninstead of\n"
                f"{given.expected.ending}\n{given.text}"
            )

    # --- all jobs ----------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Lead on by hand what nobody leads any more, as its owner would."""
        since: dict[str, float] = {}
        while not self._over.wait(LOOK_S):
            try:
                views = [view for view in self.peers.somebody().jobs() if view.id in self._open]
            except PeerError:
                continue
            now = time.monotonic()
            for view in views:
                if view.state == "running":
                    self._holders.setdefault(view.id, Holders()).seen({view.leader, *view.standbys}, now)
            since = {view.id: since.get(view.id, now) for view in views if view.state == "interrupted"}
            for job in [job for job, first in since.items() if now - first > INTERRUPTED_S]:
                if any(self._resume(client, job) for client in self.peers.clients()):
                    self.resumed.add(job)
                    self._check_abandoned(job)
                    del since[job]

    def _check_abandoned(self, job: str) -> None:
        """A job may come to be led by nobody only if all that had it were killed."""
        holders = self._holders.get(job)
        died_at = {each.name: each.died_at for each in self.peers.all}
        alive = [name for name in holders.settled() if died_at[name] < holders.at] if holders is not None else []
        if alive:
            self.wrong.append(f"nobody led job {job} on, though {alive} had it and was never killed")

    def _resume(self, client: ControlClient, job: str) -> bool:
        try:
            return bool(client.resume_job(job))
        except PeerError:
            return False

    def _views(self, job: str) -> list[str]:
        found = []
        for client in self.peers.clients():
            try:
                found += [str(view) for view in client.jobs() if view.id == job]
            except PeerError as error:
                found.append(error.message)
        return found

    def _look_again(self) -> None:
        """Every job once more, by any peer: whoever asks, whenever, gets the same."""
        if self.wrong:
            return
        for job, given in self._made.items():
            try:
                with attach_job(self.peers.somebody(), Attach(job=job), self._codec) as told:
                    outcome = told.wait(LOST_AFTER_S)
                assert outcome is not None, f"job {job} does not end any more"
                self._compare(given, job, outcome)
            except PeerError as error:
                self.wrong.append(f"seed {given.seed}, job {job} is not to be had any more: {error.message}")

    def _count_runs(self) -> Counter[str]:
        """How often each call ran; one that was needed and never ran is wrong."""
        ran = Counter(self.peers.notes.read_text().splitlines())
        for given in self._made.values():
            never = [call for call in given.expected.calls if call not in ran]
            if never:
                self.wrong.append(f"seed {given.seed}: {never[:5]} never ran")
        wanted = {given.tag for given in self._made.values()}
        return Counter({call: count for call, count in ran.items() if int(call.split()[0]) in wanted})


def examine(folder: Path, jobs: int, seed: int, peers: int = 5, pause_s: float = PAUSE_S) -> Figures:
    """One examination. Raises AssertionError, with the seed of each job that is wrong."""
    with Peers(peers, folder, random.Random(seed)) as mesh:
        return Examination(mesh, jobs, seed).run(pause_s)
