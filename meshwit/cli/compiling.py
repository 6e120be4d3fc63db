"""Compiling for the command line: against what is installed, with broken installations told apart from faults."""

from __future__ import annotations

from meshwit.cli.exit_codes import CommandError
from meshwit.cli.sources import Source
from meshwit.lang.checker import compile_script, find_faults
from meshwit.lang.diagnostics import Diagnostic
from meshwit.lang.program import Program
from meshwit.plugins.discovery import BrokenController, installed
from meshwit.plugins.registry import ControllerClash, Registry

_HINT = "mend or uninstall it: no script can run before"


def installed_registry() -> Registry:
    """Everything installed. Raises CommandError where a controller is broken, or two claim one name."""
    try:
        return installed()
    except (BrokenController, ControllerClash) as reason:
        raise CommandError(str(reason), _HINT) from reason
    except Exception as reason:  # whatever a controller of somebody else's may do when it is read
        raise CommandError(f"an installed controller is broken: {type(reason).__name__}: {reason}", _HINT) from reason


def compiled(source: Source) -> Program:
    """The program. Raises ScriptError for its faults."""
    return compile_script(source.text, installed_registry().offer, source.name)


def diagnose(source: Source) -> list[Diagnostic]:
    """All findings, errors and warnings, in source order."""
    return find_faults(source.text, installed_registry().offer, source.name)
