"""`meshwit run`: compile a script, run a job of it, show how it goes, and write what it leaves.

Own options and the script's parameters share the command line: what is no own option is a parameter.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from meshwit.cli.compiling import compiled
from meshwit.cli.diagnosed import show
from meshwit.cli.exit_codes import CommandError, ExitCode
from meshwit.cli.job_names import ways_back
from meshwit.cli.own_peer import own_peer
from meshwit.cli.parameters import list_parameters
from meshwit.cli.run_job import leave_job, pick_job, plan_job, run_job
from meshwit.cli.run_options import RunOptions, checked_roots, parse_duration, parse_size
from meshwit.cli.run_report import print_report
from meshwit.cli.sources import Source, read_source
from meshwit.cli.terminal import harmless
from meshwit.lang.diagnostics import ScriptError
from meshwit.lang.render import to_json

app = typer.Typer(add_completion=False, rich_markup_mode=None)

EPILOG = """\b
Parameters of the script:
  --frames 1:240          1 to 240, both included; 1:240:10 takes every tenth
  --sizes 1,2,3           a collection; also --sizes 1 2 3, or --sizes '[1, 2, 3]'
  --scene room.xml        a file, for a Blob, an Image or a Video
  --fast, --fast false    a Bool
  --param.json x          a parameter that is named like an option above (here
                          `json`); so is whatever follows a lone --
`meshwit run SCRIPT --help` lists the parameters of that script.

\b
Results:
  Variables of the job stand on stdout, messages on stderr. What is a file (Blob,
  Image, Video) is written to --out: result.mp4, images/0000.png, ...; what a step
  had finished when its job failed goes to <name>.partial/.

\b
Ctrl-C cancels the job, a second one kills it. A job that a peer leads goes on
when its terminal is closed: see meshwit attach, meshwit result.
Exit codes: 0 completed, 1 failed or held, 2 usage, 3 script has errors, 130 cancelled.
"""


class ScriptFirst(TyperCommand):
    """Tells in its usage that parameters come after the script."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """What stands behind the command's name."""
        return ["SCRIPT", "[OPTIONS]", "[--PARAMETER VALUE]..."]


@app.command(
    epilog=EPILOG,
    cls=ScriptFirst,
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def run(
    context: typer.Context,
    script: Annotated[str, typer.Argument(metavar="SCRIPT", help="The script; `-` reads it from stdin.")] = "",
    job: Annotated[str, typer.Option(metavar="NAME", help="Which job to run, instead of the first.")] = "",
    params: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Parameters from a JSON (or .msgpack) file.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where results that are files go.")] = Path(),
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this result; may be given several times.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout; with --watch, events.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Tell all that happens, also where no terminal is.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no messages; errors are still told.")] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=10_000, metavar="N", help="Worker processes, one per core by default; as --here."),
    ] = None,
    here: Annotated[bool, typer.Option("--here", help="On this device alone, in this process.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Show who would do how much, and run nothing.")] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Leave the job to the mesh: print its id and return.")
    ] = False,
    keep: Annotated[
        str, typer.Option(metavar="DURATION", help="How long its results are kept: 12h, 7d; 1d by default.")
    ] = "1d",
    standbys: Annotated[int, typer.Option(min=0, max=16, metavar="N", help="Peers that stand by to lead it on.")] = 2,
    root: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="A folder that activities may use; the current one by default."),
    ] = None,
    time_limit: Annotated[
        float | None, typer.Option(metavar="S", min=0.001, help="Seconds that one item may take.")
    ] = None,
    memory_limit: Annotated[
        str, typer.Option(metavar="SIZE", help="Memory that one worker process may use: 2GiB.")
    ] = "",
    show_help: Annotated[bool, typer.Option("--help", help="Show this message, and the script's parameters.")] = False,
) -> None:
    """Run a script on the mesh, or here where no peer runs, and write its results to files."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C, cleaning up
    if show_help or script == "-h":
        print(context.get_help())
        if script not in ("", "-h"):
            print(f"\n{_script_help(script, job)}")
        raise typer.Exit
    if not script or script.startswith("--"):
        raise CommandError("a script is needed, before all parameters", "meshwit run SCRIPT [--PARAMETER VALUE]...")
    options = RunOptions(
        script=script,
        job=job,
        params=params,
        only=tuple(only or ()),
        out=out,
        as_json=as_json,
        watch=watch,
        quiet=quiet,
        workers=workers,
        roots=checked_roots(root or []),
        time_limit_s=time_limit,
        memory_limit_bytes=parse_size(memory_limit, "--memory-limit") if memory_limit else None,
        arguments=tuple(context.args),
        here=here,
        plan=plan,
        detach=detach,
        keep_s=parse_duration(keep, "--keep"),
        standbys=standbys,
    )
    if watch and quiet:
        raise CommandError("--watch and --quiet exclude each other")
    if watch and detach:
        raise CommandError("--watch and --detach exclude each other", "follow it afterwards: meshwit attach JOB")
    try:
        with own_peer() as block:
            code = run_script(options)
            block.patient = code is not ExitCode.CANCELLED
        raise typer.Exit(code)
    except CommandError as error:
        if as_json:
            state = "refused" if error.code is ExitCode.USAGE else "failed"
            print(json.dumps({"state": state, "error": {"message": error.message, "hint": error.hint}}))
        raise


def run_script(options: RunOptions) -> ExitCode:
    """Compile, run and report. Raises CommandError if that cannot be done as asked."""
    source = read_source(options.script)
    try:
        program = compiled(source)
        if not (options.as_json or options.quiet):
            show(program.warnings, source)
        job = pick_job(program, options.job)
        if options.plan:
            _print_plan(plan_job(program, job, options), options)
            return ExitCode.COMPLETED
        if options.detach:
            _print_left(leave_job(program, job, options), options)
            return ExitCode.COMPLETED
        return print_report(run_job(program, job, options), program, job, options)
    except ScriptError as error:
        _refuse(error, source, options)
        return ExitCode.SCRIPT_ERRORS


def _print_plan(lines: list[str], options: RunOptions) -> None:
    if options.as_json:
        print(json.dumps({"plan": lines}))
    else:
        print("\n".join(harmless(line) for line in lines))


def _print_left(job: str, options: RunOptions) -> None:
    """The id alone stands on stdout."""
    print(json.dumps({"state": "running", "id": job}) if options.as_json else job)
    if not options.quiet:
        print("\n".join(ways_back(job)), file=sys.stderr)


def _refuse(error: ScriptError, source: Source, options: RunOptions) -> None:
    if options.as_json:
        found = [to_json(one, source.text, source.name) for one in error.diagnostics]
        print(json.dumps({"state": "refused", "diagnostics": found}))
    else:
        show(error.diagnostics, source)


def _script_help(script: str, job: str) -> str:
    """The parameters of a script's job, for `--help`."""
    source = read_source(script)
    try:
        program = compiled(source)
    except ScriptError as error:
        show(error.diagnostics, source)
        raise typer.Exit(ExitCode.SCRIPT_ERRORS) from None
    picked = pick_job(program, job)
    lines = list_parameters(picked.parameters, program.offer.types)
    others = [name for name in program.jobs if name != picked.name]
    more = [f"Other jobs, for --job: {', '.join(others)}"] if others else []
    return "\n".join([f"Parameters of {picked.name} in {source.name}:", *(f"  {line}" for line in lines), *more])
