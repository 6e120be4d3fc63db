"""`meshwit doctor`: why devices do not see each other, and what to do about it."""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Final

import msgspec
import typer

from meshwit.cli.exit_codes import ExitCode
from meshwit.cli.peer_names import shown
from meshwit.cli.reach import AsJson, Home, On, reach, told
from meshwit.cli.terminal import count_text, harmless, painted
from meshwit.peer.control.api import Finding
from meshwit.peer.control.client import find_all
from meshwit.peer.control.runtime_file import home_folder

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_COLORS: Final = {"ok": "green", "warn": "yellow", "fail": "red"}


@app.command()
def doctor(as_json: AsJson = False, on: On = "", home: Home = None) -> None:
    """Find out why devices do not see each other: multicast, firewall, interfaces, clocks, versions."""
    with told(as_json):
        running, silent = find_all(home)
        if running:
            found = reach(home, on)
            print(f"asking {shown(found.mesh.me.name)}, which runs here; this takes some seconds", file=sys.stderr)
            findings = found.client.doctor()
        else:
            print("no peer answers here, so this looks from outside; it takes some seconds", file=sys.stderr)
            diagnose = importlib.import_module("meshwit.peer.mesh.diagnose").diagnose
            findings = asyncio.run(diagnose(home_folder(home), None))
            findings += [Finding(state="fail", what=one.reason, do=f"end its process: {one.pid}") for one in silent]
    if as_json:
        print(msgspec.json.encode({"findings": findings}).decode())
    else:
        show_findings(findings)
    if any(finding.state == "fail" for finding in findings):
        raise typer.Exit(ExitCode.FAILED)


def show_findings(findings: list[Finding]) -> None:
    """One after another on stdout, the sign in words first; what it comes to on stderr."""
    for finding in findings:
        sign = painted(finding.state.ljust(4), _COLORS[finding.state], sys.stdout)
        print(f"{sign}  {harmless(finding.what)}")
        for text in (finding.why, f"to do: {finding.do}" if finding.do else ""):
            for line in harmless(text).splitlines():
                print(f"      {line}")
    sys.stdout.flush()
    failed = sum(finding.state == "fail" for finding in findings)
    warned = sum(finding.state == "warn" for finding in findings)
    if failed or warned:
        print(f"{count_text(failed, 'fault')}, {count_text(warned, 'warning')}", file=sys.stderr)
    else:
        print("nothing to complain about", file=sys.stderr)
