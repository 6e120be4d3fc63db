"""Running one job of a program, by the peer of this device or here: a watcher beside it, its results at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from meshwit.cli.exit_codes import CommandError, ExitCode
from meshwit.cli.interrupts import Handle, Interrupts, follow
from meshwit.cli.parameters import list_parameters, read_parameters, read_parameters_file
from meshwit.cli.results import RETURNED, Results, collect, result_names
from meshwit.cli.run_by_peer import bound, leave_to_peer, peer_told, plan_by_peer, start_by_peer
from meshwit.cli.run_options import RunOptions
from meshwit.cli.watching import Watcher, watcher
from meshwit.client import Session
from meshwit.lang.findings import did_you_mean
from meshwit.lang.program import CheckedJob, Program
from meshwit.lang.types import ScriptType
from meshwit.lang.uses import activities_used
from meshwit.outcome import Outcome
from meshwit.parameters import ParameterError, named_job
from meshwit.peer.control.notice import Notice


class Finished(NamedTuple):
    """A job that ended, however it did."""

    outcome: Outcome
    results: Results
    elapsed_s: float
    job_id: str = ""
    """Of a job that a peer knows."""


def pick_job(program: Program, name: str) -> CheckedJob:
    """The job of that name, or the first. Raises CommandError."""
    try:
        return named_job(program, name or None)
    except ParameterError:
        hint = did_you_mean(name, program.jobs) or f"there is {', '.join(program.jobs)}"
        raise CommandError(f"{program.filename} has no job `{name}`", hint) from None


def run_job(program: Program, job: CheckedJob, options: RunOptions) -> Finished:
    """Run the job to its end.

    Raises:
        CommandError: it cannot be started as asked, or the peer that led it is gone.
        ScriptError: the peer finds errors that are none here.
    """
    types = program.offer.types
    params = _parameters(program, job, options)
    check_names(options.only, job)
    began = time.monotonic()
    with ExitStack() as stack:
        with parameters_told(job, types), watcher(options) as watching, Interrupts() as interrupts, peer_told():
            handle = _started(stack, program, job, params, options, watching)
            outcome = follow(handle, interrupts, watching.say, watching.lost)
        elapsed_s = time.monotonic() - began
        # Written while who led it is there: its store holds the bytes.
        results = collect(outcome, job, types, options.out, options.only)
    return Finished(outcome, results, elapsed_s, getattr(handle, "id", ""))


def leave_job(program: Program, job: CheckedJob, options: RunOptions) -> str:
    """Have a peer lead the job, and give its id. Raises what `run_job` raises."""
    if options.alone:
        raise CommandError("--detach needs a peer to leave the job to", "it excludes --here and --workers")
    params = _parameters(program, job, options)
    check_names(options.only, job)
    with parameters_told(job, program.offer.types), peer_told():
        left = leave_to_peer(program, job, params, options)
    if left is None:
        hint = "start one: meshwit up"
        raise CommandError("no peer runs on this device to which the job could be left", hint, ExitCode.FAILED)
    return left


def _parameters(program: Program, job: CheckedJob, options: RunOptions) -> dict[str, object]:
    """By name, as the command line and the file give them. Raises CommandError."""
    types = program.offer.types
    params: dict[str, object] = {}
    if options.params is not None:
        params |= read_parameters_file(options.params, job.parameters, types)
    return params | read_parameters(options.arguments, job.parameters, types)


@contextmanager
def parameters_told(job: CheckedJob, types: Mapping[str, ScriptType]) -> Iterator[None]:
    """Makes a wrong parameter an error of the command, with all that there are."""
    try:
        yield
    except ParameterError as reason:
        raise CommandError(str(reason), "\n".join(list_parameters(job.parameters, types))) from None


def _started(
    stack: ExitStack,
    program: Program,
    job: CheckedJob,
    params: dict[str, object],
    options: RunOptions,
    watching: Watcher,
) -> Handle:
    """The job, led by the peer of this device or here; what leads it lives until the stack ends."""
    if not options.alone:
        remote = start_by_peer(program, job, params, options, watching)
        if remote is not None:
            stack.callback(remote.close)
            return remote
    notice = Notice(activities_used(program, job.name))
    stack.callback(notice.end)
    session = Session(
        workers=options.workers,
        roots=options.roots,
        task_time_limit_s=options.time_limit_s,
        task_memory_max_bytes=options.memory_limit_bytes,
    )
    try:
        stack.enter_context(session)
    except OSError as reason:
        raise CommandError(f"cannot work on this device: {reason}", code=ExitCode.FAILED) from None
    return session.start(program, job.name, params=params, on_event=watching)


def plan_job(program: Program, job: CheckedJob, options: RunOptions) -> list[str]:
    """Who would do how much of the job, for people. Raises what `run_job` raises."""
    params = _parameters(program, job, options)
    with parameters_told(job, program.offer.types), peer_told():
        lines = None if options.alone else plan_by_peer(program, job, params, options)
        if lines is not None:
            return lines
        bound(program, job, params)
    why = "as asked" if options.alone else "no peer is running here, see meshwit up"
    return [f"one peer does everything: this device alone ({why})"]


def check_names(only: tuple[str, ...], job: CheckedJob) -> None:
    """Raises CommandError for a name that is no result of the job."""
    names = [*result_names(job), RETURNED]
    for name in only:
        if name not in names:
            raise CommandError(f"--only: {job.name} has no result `{name}`", f"there is {', '.join(names)}")
