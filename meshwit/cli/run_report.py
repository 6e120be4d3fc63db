"""What `meshwit run` says at the end: the results on stdout, as text or JSON, and how the job ended on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from meshwit.cli.exit_codes import ExitCode
from meshwit.cli.result_options import ShownOptions
from meshwit.cli.results import notes, results_json, text_lines
from meshwit.cli.run_job import Finished
from meshwit.cli.terminal import duration_text, harmless, painted, wants_color
from meshwit.lang.diagnostics import Diagnostic
from meshwit.lang.program import CheckedJob, Program
from meshwit.lang.render import render, to_json
from meshwit.outcome import JobError, JobState, Outcome

RUN_TIME_CODE = "WIT500"
"""What all failures at run time have in common, beside the codes of the checker."""

_EXIT_CODES = {
    JobState.COMPLETED: ExitCode.COMPLETED,
    JobState.FAILED: ExitCode.FAILED,
    JobState.CANCELLED: ExitCode.CANCELLED,
    JobState.HELD: ExitCode.FAILED,
}
_COLORS = {
    JobState.COMPLETED: "green",
    JobState.FAILED: "red",
    JobState.CANCELLED: "yellow",
    JobState.HELD: "yellow",
}


def print_report(finished: Finished, program: Program, job: CheckedJob, options: ShownOptions) -> ExitCode:
    """Print everything; gives the exit code."""
    outcome = finished.outcome
    if options.as_json:
        record = outcome_json(finished, program, job)
        print(json.dumps({"event": "outcome", **record} if options.watch else record, allow_nan=False))
    else:
        for line in text_lines(finished.results):
            print(line)
    sys.stdout.flush()
    if outcome.error is not None and not options.as_json:
        print("\n".join(_error_lines(outcome.error, program, options)), file=sys.stderr)
    if outcome.state is JobState.HELD and not options.as_json:
        print("\n".join(_decision_lines(finished.job_id)), file=sys.stderr)
    for error in finished.results.errors:
        print(f"{painted('error', 'red', sys.stderr)}: {error}", file=sys.stderr)
    if not options.quiet:
        for note in notes(finished.results):
            print(note, file=sys.stderr)
        print(_ending(outcome, finished.elapsed_s), file=sys.stderr)
    code = _EXIT_CODES[outcome.state]
    return ExitCode.FAILED if code is ExitCode.COMPLETED and finished.results.errors else code


def _error_lines(error: JobError, program: Program, options: ShownOptions) -> Iterator[str]:
    """Why the job failed: the statement underlined, the item and where it ran; the traceback for who watches."""
    failure = error.failure
    where, *details = harmless(str(error)).splitlines()
    if error.line:
        diagnostic = Diagnostic(RUN_TIME_CODE, error.message, failure.span)
        yield render(diagnostic, program.text, program.filename, wants_color(sys.stderr))
    else:
        yield f"{painted('error', 'red', sys.stderr)}: {where}"
    yield from details
    if failure.traceback and options.watch:
        yield from harmless(failure.traceback).rstrip().splitlines()
    elif failure.traceback:
        yield "  --watch shows the traceback"


def _decision_lines(job: str) -> Iterator[str]:
    """How somebody says what the job waits for."""
    yield f"  run it again:          meshwit resume {job} --again"
    yield f"  or let it have failed: meshwit resume {job} --skip"


def _ending(outcome: Outcome, elapsed_s: float) -> str:
    word = "in" if outcome.state is JobState.COMPLETED else "after"
    return f"{painted(outcome.state.value, _COLORS[outcome.state], sys.stderr)} {word} {duration_text(elapsed_s)}"


def outcome_json(finished: Finished, program: Program, job: CheckedJob) -> dict[str, Any]:
    """The outcome for programs."""
    outcome = finished.outcome
    return {
        "state": outcome.state.value,
        "job": job.name,
        "id": finished.job_id,
        **results_json(finished.results),
        "trace": outcome.trace,
        "error": _error_json(outcome),
        "warnings": [to_json(one, program.text, program.filename) for one in program.warnings],
        "elapsed_s": round(finished.elapsed_s, 3),
    }


def _error_json(outcome: Outcome) -> dict[str, Any] | None:
    if outcome.error is None:
        return None
    failure = outcome.error.failure
    return {
        "code": RUN_TIME_CODE,
        "message": outcome.error.message,
        "line": outcome.error.line,
        "activity": failure.activity,
        "item": failure.item,
        "item_text": failure.item_text,
        "peer": failure.peer,
        "worker": failure.worker,
        "traceback": failure.traceback,
        "output": failure.output,
    }
