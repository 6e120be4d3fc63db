"""Running one job of a program here: a peer in this process, a watcher beside it, its results written at the end."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import NamedTuple

from meshwit.cli.exit_codes import CommandError, ExitCode
from meshwit.cli.interrupts import Interrupts, follow
from meshwit.cli.parameters import list_parameters, read_parameters, read_parameters_file
from meshwit.cli.results import RETURNED, Results, collect, result_names
from meshwit.cli.run_options import RunOptions
from meshwit.cli.watching import watcher
from meshwit.client import Session
from meshwit.lang.findings import did_you_mean
from meshwit.lang.program import CheckedJob, Program
from meshwit.lang.uses import activities_used
from meshwit.outcome import Outcome
from meshwit.parameters import ParameterError
from meshwit.peer.control.notice import Notice


class Finished(NamedTuple):
    """A job that ended, however it did."""

    outcome: Outcome
    results: Results
    elapsed_s: float


def pick_job(program: Program, name: str) -> CheckedJob:
    """The job of that name, or the first. Raises CommandError."""
    if not name:
        return next(iter(program.jobs.values()))
    if name not in program.jobs:
        hint = did_you_mean(name, program.jobs) or f"there is {', '.join(program.jobs)}"
        raise CommandError(f"{program.filename} has no job `{name}`", hint)
    return program.jobs[name]


def run_job(program: Program, job: CheckedJob, options: RunOptions) -> Finished:
    """Run the job to its end. Raises CommandError if it cannot be started as asked."""
    types = program.offer.types
    params: dict[str, object] = {}
    if options.params is not None:
        params |= read_parameters_file(options.params, job.parameters, types)
    params |= read_parameters(options.arguments, job.parameters, types)
    _check_names(options.only, job)
    notice = Notice(activities_used(program, job.name))
    began = time.monotonic()
    session = Session(
        workers=options.workers,
        roots=options.roots,
        task_time_limit_s=options.time_limit_s,
        task_memory_max_bytes=options.memory_limit_bytes,
    )
    with ExitStack() as stack:
        try:
            stack.enter_context(session)
        except OSError as reason:
            raise CommandError(f"cannot work on this device: {reason}", code=ExitCode.FAILED) from None
        with watcher(options) as watching, Interrupts() as interrupts:
            try:
                handle = session.start(program, job.name, params=params, on_event=watching)
            except ParameterError as reason:
                raise CommandError(str(reason), "\n".join(list_parameters(job.parameters, types))) from None
            outcome = follow(handle, interrupts, watching.say, watching.lost)
        elapsed_s = time.monotonic() - began
        # Written while the session lives: its store holds the bytes.
        results = collect(outcome, job, types, options.out, options.only)
    notice.end()
    return Finished(outcome, results, elapsed_s)


def _check_names(only: tuple[str, ...], job: CheckedJob) -> None:
    names = [*result_names(job), RETURNED]
    for name in only:
        if name not in names:
            raise CommandError(f"--only: {job.name} has no result `{name}`", f"there is {', '.join(names)}")
