"""Peers of one slot on this device that are given jobs, killed, frozen and started again; jobs that are followed."""

from __future__ import annotations

import contextlib
import functools
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.loopback import Peers
from benchmarks.outlive.notes import runs_of
from meshwit import events
from meshwit.codec import Codec
from meshwit.outcome import JobState, Outcome
from meshwit.peer.control import runtime_file
from meshwit.peer.control.api import PeerError
from meshwit.peer.control.client import ControlClient
from meshwit.peer.control.job_client import RemoteJob, asked_of, attach_job, start_job
from meshwit.peer.control.job_messages import Attach, Submit

NAME = "OUTLIVE_PEER"
"""Environment variable: the name of the peer that a worker process works for."""
CONTROLLER = f'''"""Work that notes when and where it ran."""

import os
import time

from meshwit.plugins import Controller, Double, Int, String, activity


def note(file, what, item):
    if not file:
        return
    with open(file, "ab", buffering=0) as notes:
        notes.write(f"{{what}} {{item}} {{os.environ['{NAME}']}} {{os.getpid()}} {{time.time():.6f}}\\n".encode())


class Outlive(Controller):
    """Work that notes when and where it ran."""

    @activity
    def Work(self, item: Int, notes: String, seconds: Double) -> Int:
        """Sleeps as long as it would compute; notes it in a file, if there is one."""
        note(notes, "began", item)
        time.sleep(seconds)
        note(notes, "ended", item)
        return 2 * item + 1

    @activity
    def Odd(self, item: Int) -> Int:
        """Next to nothing."""
        return 2 * item + 1

    @activity
    def Text(self, item: Int, length: Int) -> String:
        """A text of that length."""
        return chr(97 + item % 26) * length
'''
WORK = """Job:Main(Int:count, String:notes, Double:seconds)
{
    IntCollection:results = Grid.ForEach(x in Int.Range(0, count)) => Outlive.Work(x, notes, seconds);
}
"""
PATIENCE_S = 60.0
RESULTS = "results"
SETTLE_S = 0.5
"""Once all are there: until what they told each other is told on."""


def until(done: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """Waits for something. Raises TimeoutError."""
    limit = time.monotonic() + patience_s
    while not (found := done()):
        if time.monotonic() > limit:
            raise TimeoutError(f"it never came to this: {what}")
        time.sleep(0.05)
    return found


class Member:
    """One peer that runs."""

    def __init__(self, name: str, told: dict[str, Any], client: ControlClient) -> None:
        self.name = name
        self.log = Path(told["log"])
        self.process = psutil.Process(told["pid"])
        self.client = client

    def workers(self) -> list[psutil.Process]:
        """Its worker processes."""
        with contextlib.suppress(psutil.Error):
            return list(self.process.children(recursive=True))
        return []

    @property
    def alive(self) -> bool:
        with contextlib.suppress(psutil.Error):
            return bool(self.process.status() != psutil.STATUS_ZOMBIE)
        return False

    def freeze(self) -> None:
        """It and its worker processes stand still."""
        for process in [self.process, *self.workers()]:
            with contextlib.suppress(psutil.Error):
                process.suspend()

    def thaw(self) -> None:
        """They go on."""
        for process in [*self.workers(), self.process]:
            with contextlib.suppress(psutil.Error):
                process.resume()


def kill(members: Sequence[Member]) -> float:
    """Ends peers with their worker processes, all at once and with no chance to say a word; when that was."""
    processes = [process for each in members for process in [each.process, *each.workers()]]
    at = time.time()
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    until(lambda: not any(each.alive for each in members), "they are dead")
    return at


def end_all(home: Path) -> None:
    """Ends every process that was started with this home, those that nobody has noted yet too.

    Between the start of a peer and its being noted there is a command that waits for it; where that is killed, the peer
    is nobody's. All of them inherit the home in their environment. Raises TimeoutError.
    """

    def none_left() -> bool:
        left = list(started_with(home))
        for process in left:
            with contextlib.suppress(psutil.Error):
                for each in [process, *process.children(recursive=True)]:
                    with contextlib.suppress(psutil.Error):
                        each.kill()
        return not left

    until(none_left, f"nothing runs in {home}")


def started_with(home: Path) -> Iterator[psutil.Process]:
    """The processes that have this home in their environment."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get("MESHWIT_HOME") == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                yield process


class Followed:
    """A job as one peer tells of it, with the time of what it tells.

    To attach takes a busy peer as long as a small job takes: what such a job takes is measured without that.

    Args:
        leader: is asked for it.
        follower: tells of it; where that is the leader, over the connection that asked for it.
        asked: what for.
    """

    def __init__(self, leader: Member, follower: Member, asked: Submit) -> None:
        self.ended_at = 0.0
        self.told: list[tuple[float, events.JobEvent]] = []
        codec = Codec([])
        self.asked_at = time.time()
        self._remote: RemoteJob = start_job(leader.client, asked, codec, self._on_event)
        self.id = self._remote.id
        if follower is not leader:
            self._remote.close()
            self._remote = attach_job(follower.client, Attach(job=self.id), codec, self._on_event)

    def _on_event(self, event: events.JobEvent) -> None:
        self.told.append((time.time(), event))

    def outcome(self, within_s: float) -> Outcome:
        """What it came to. Raises TimeoutError and PeerError."""
        try:
            outcome = self._remote.wait(within_s)
            self.ended_at = time.time()
        finally:
            self._remote.close()
        if outcome is None:
            raise TimeoutError(f"the job has not ended within {within_s:.0f} s")
        return outcome

    @property
    def seconds(self) -> float:
        """From its being asked for to its outcome."""
        return self.ended_at - self.asked_at

    @property
    def own_seconds(self) -> float:
        """Until it was completed, by its own clock."""
        return next((event.at for _, event in reversed(self.told) if isinstance(event, events.Completed)), 0.0)

    def is_watched(self) -> bool:
        """Whether it has been told that the Grid step began: told again, another leader says it."""
        return any(isinstance(event, events.StepStarted) for _, event in list(self.told))

    def led_again_at(self, since: float) -> float | None:
        """When it was first told that another peer is at work: it says so, or tells anew what the job is at."""
        anew = events.LeaderChanged | events.JobStarted | events.StepStarted
        return next((at for at, event in list(self.told) if at > since and isinstance(event, anew)), None)


class Crew:
    """Peers that know each other, one slot each."""

    def __init__(self, count: int, folder: Path) -> None:
        self.folder = folder
        self.names = [f"m{number}" for number in range(count)]
        self.peers = Peers(folder, "Outlive", CONTROLLER)
        self.members: list[Member] = []
        self._jobs = 0

    def whole(self) -> None:
        """Starts those that do not run, and waits until all know all."""
        self.members = [each for each in self.members if each.alive]
        missing = [name for name in self.names if name not in {each.name for each in self.members}]
        if missing and not self.members:
            self.members.append(self._up(missing.pop(0)))  # it makes the mesh that the others join
        with ThreadPoolExecutor(4) as starting:
            self.members += starting.map(self._up, missing)
        self.members.sort(key=lambda each: self.names.index(each.name))
        until(self._all_know_all, "all know all")
        if missing:
            time.sleep(SETTLE_S)

    def _up(self, name: str) -> Member:
        told = self.peers.up(name, **{NAME: name})
        for folder in runtime_file.profile_folders(self.peers.home):
            runtime = runtime_file.read(folder)
            if runtime is not None and runtime.pid == told["pid"]:
                return Member(name, told, ControlClient(folder, runtime))
        raise RuntimeError(f"the peer {name} is not to be found in {self.peers.home}")

    def _all_know_all(self) -> bool:
        with contextlib.suppress(PeerError):
            return all(
                sum(peer.state == "alive" for peer in each.client.peers()) == len(self.names) for each in self.members
            )
        return False

    def start(
        self, leader: Member, follower: Member, script: str, arguments: Sequence[object], **more: Any
    ) -> Followed:
        """Gives a job to a peer, and follows it by one; `more` are fields of `Submit`."""
        asked = asked_of(
            Submit, text=script, filename="outlive.wit", job="Main", arguments=arguments, codec=Codec([]), **more
        )  # fmt: skip
        return Followed(leader, follower, asked)

    def noted(self) -> Path:
        """A file for the notes of one more job."""
        self._jobs += 1
        return self.folder / f"notes.{self._jobs}"

    def warm_up(self, leader: Member, items: int = 20) -> None:
        """Until every peer does its share for this one: at least half of what each would do if all did the same."""
        count = items * len(self.names)
        shares: Counter[str] = Counter()

        def all_work() -> bool:
            notes = self.noted()
            shares.clear()
            check(self.start(leader, leader, WORK, [count, str(notes), 0.02]).outcome(PATIENCE_S), count)
            shares.update(run.peer for run in runs_of(notes))
            return all(2 * shares[name] >= items for name in self.names)

        try:
            until(all_work, f"all peers do their share for {leader.name}")
        except TimeoutError as reason:
            raise TimeoutError(f"{reason}; items done: {dict(sorted(shares.items()))}") from None

    def close(self) -> None:
        """Ends all of them, also those that were only being started."""
        try:
            for each in self.members:
                each.thaw()
            with contextlib.suppress(RuntimeError):
                self.peers.command("down", "--all")
        finally:
            end_all(self.peers.home)

    def said(self, lines: int = 15) -> str:
        """The last lines of all logs."""
        texts = []
        for file in sorted({each.log for each in self.members}):
            with contextlib.suppress(OSError):
                texts += [f"--- {file}", *file.read_text(errors="replace").splitlines()[-lines:]]
        return "\n".join(texts)

    def views(self, job: str) -> str:
        """What each peer says of a job."""
        texts = []
        for each in self.members:
            if each.alive:
                try:
                    texts += [f"{each.name}: {view}" for view in each.client.jobs() if view.id == job]
                except PeerError as reason:
                    texts.append(f"{each.name}: {reason.message}")
        return "\n".join(texts)


def check(outcome: Outcome, count: int) -> None:
    """Raises RuntimeError unless the job ended well, with every result at its place."""
    if outcome.state is not JobState.COMPLETED:
        raise RuntimeError(f"the job has {outcome.state}: {str(outcome.error)[:300]}")
    results = list(outcome.variables.get(RESULTS) or [])
    if results != list(odd(count)):
        wrong = [item for item, (had, want) in enumerate(zip(results, odd(count), strict=False)) if had != want]
        raise RuntimeError(f"{len(results)} results of {count}, wrong ones: {len(wrong)}, the first {wrong[:5]}")


@functools.lru_cache(8)
def odd(count: int) -> tuple[int, ...]:
    """The results of so many items."""
    return tuple(2 * item + 1 for item in range(count))


@contextmanager
def crew(count: int, keep: Path | None = None) -> Iterator[Crew]:
    """Peers that are there; their homes and notes are left in `keep`."""
    with contextlib.ExitStack() as stack:
        if keep is None:
            folder = Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="outlive-", ignore_cleanup_errors=True))
            )
        else:
            keep.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix="crew-", dir=keep))
        made = Crew(count, folder)
        stack.callback(made.close)
        try:
            made.whole()
            yield made
        except (TimeoutError, RuntimeError, PeerError):
            print(made.said(), file=sys.stderr)
            raise
