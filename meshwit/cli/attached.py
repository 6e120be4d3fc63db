"""Following a job that somebody submitted before, here or on another device, and printing what it leaves."""

from __future__ import annotations

import json
import re
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from meshwit.cli.compiling import installed_registry
from meshwit.cli.exit_codes import CommandError, ExitCode
from meshwit.cli.interrupts import Interrupts, watch
from meshwit.cli.job_names import UNFINISHED, ways_back
from meshwit.cli.own_peer import own_peer
from meshwit.cli.result_options import ResultOptions
from meshwit.cli.results import collect
from meshwit.cli.run_by_peer import attach_by_peer, peer_told
from meshwit.cli.run_job import Finished, check_names
from meshwit.cli.run_report import print_report
from meshwit.cli.watching import watcher
from meshwit.lang.checker import compile_script
from meshwit.lang.diagnostics import ScriptError
from meshwit.lang.program import Block, CheckedJob, Program
from meshwit.outcome import Outcome
from meshwit.peer.control.api import JobView
from meshwit.peer.control.client import ControlClient
from meshwit.peer.control.job_script import JobScript


class Known(NamedTuple):
    """What is known here of a job's script; `job` is None where the controllers that it needs are not installed."""

    program: Program
    job: CheckedJob | None


def follow_attached(client: ControlClient, view: JobView, options: ResultOptions, home: Path | None = None) -> ExitCode:
    """Follow the job to its end, then print and write its results; a signal leaves it as it is.

    Raises:
        CommandError: it cannot be followed, or a result asked for is none of its.
    """
    with own_peer() as block:
        code = _followed(client, view, options, home)
        block.patient = code is not ExitCode.CANCELLED
    return code


def _followed(client: ControlClient, view: JobView, options: ResultOptions, home: Path | None) -> ExitCode:
    began = time.monotonic()
    with ExitStack() as stack:
        with watcher(options) as watching, Interrupts() as interrupts, peer_told():
            handle = attach_by_peer(client, view.id, options.only, watching, home)
            stack.callback(handle.close)
            known = read_script(handle.script or JobScript("", view.file, view.name))
            if known.job is not None:
                check_names(options.only, known.job)
            outcome = watch(handle, interrupts, watching.lost)
        if outcome is None:
            return _left(view, options)
        job = known.job or _unread(view.name, outcome)
        results = collect(outcome, job, known.program.offer.types, options.out, options.only)
    since_s = time.monotonic() - began if view.state in UNFINISHED else 0.0
    finished = Finished(outcome, results, view.elapsed_s + since_s, view.id)
    return print_report(finished, known.program, job, options)


def read_script(script: JobScript) -> Known:
    """The script as it is here: another device may have other controllers."""
    offer = installed_registry().offer
    try:
        program = compile_script(script.text, offer, script.filename)
    except ScriptError:
        return Known(Program({}, [], script.text, script.filename, offer), None)
    return Known(program, program.jobs.get(script.job))


def _unread(name: str, outcome: Outcome) -> CheckedJob:
    """A job that cannot be read here: all its variables are results, of no type that is known.

    They are called what another peer says, and files are called after them.
    """
    names = [each for each in outcome.variables if re.fullmatch(r"\w+", each)]
    return CheckedJob(name, (), Block(()), 0, tuple((each, slot, "") for slot, each in enumerate(names)))


def _left(view: JobView, options: ResultOptions) -> ExitCode:
    if options.as_json:
        print(json.dumps({"state": "followed no more", "id": view.id}))
    lines = [f"{view.name} goes on", *ways_back(view.id)]
    print("\n  ".join(lines), file=sys.stderr)
    return ExitCode.CANCELLED


def of_no_leader(view: JobView) -> CommandError:
    """Why there is nothing to follow of a job that is interrupted or held."""
    if view.state == "held":
        hint = decide_hint(view) if view.to_decide else f"lead it on: meshwit resume {view.id}"
        return CommandError(f"{view.name} is held: {question(view)}", hint, ExitCode.FAILED)
    hint = f"lead it on from this device: meshwit resume {view.id}"
    return CommandError(f"{view.name} is interrupted: nobody leads it", hint, ExitCode.FAILED)


def question(view: JobView) -> str:
    """What somebody has to decide."""
    return view.held_question or "nobody knows whether something ran that must not run twice"


def decide_hint(view: JobView) -> str:
    """How to decide it."""
    return f"run it again: meshwit resume {view.id} --again\nor let it have failed: meshwit resume {view.id} --skip"
