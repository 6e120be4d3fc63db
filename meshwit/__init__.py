"""meshwit: whatever devices there are, one computer.

    outcome = meshwit.run('Job:Main() { Trace("hello"); }')

The public names load when first used: a worker process and `meshwit --help` need few of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meshwit.client import Session, compile, run, run_async
    from meshwit.executor import Executor, map
    from meshwit.lang.diagnostics import Diagnostic, ScriptError
    from meshwit.lang.program import Program
    from meshwit.outcome import JobError, JobState, Outcome
    from meshwit.parameters import ParameterError
    from meshwit.peer.control.api import PeerError
    from meshwit.streams import TaskError

__version__ = "0.1.0"

_HOMES = {
    "Executor": "meshwit.executor",
    "TaskError": "meshwit.streams",
    "map": "meshwit.executor",
    "Diagnostic": "meshwit.lang.diagnostics",
    "JobError": "meshwit.outcome",
    "JobState": "meshwit.outcome",
    "Outcome": "meshwit.outcome",
    "ParameterError": "meshwit.parameters",
    "PeerError": "meshwit.peer.control.api",
    "Program": "meshwit.lang.program",
    "ScriptError": "meshwit.lang.diagnostics",
    "Session": "meshwit.client",
    "compile": "meshwit.client",
    "run": "meshwit.client",
    "run_async": "meshwit.client",
}

__all__ = [
    "Diagnostic",
    "Executor",
    "JobError",
    "JobState",
    "Outcome",
    "ParameterError",
    "PeerError",
    "Program",
    "ScriptError",
    "Session",
    "TaskError",
    "compile",
    "map",
    "register_joblib",
    "run",
    "run_async",
]


def register_joblib() -> None:
    """Make `joblib.parallel_config("meshwit")` known. Raises ImportError where joblib is not installed."""
    importlib.import_module("meshwit.joblib_backend")


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'meshwit' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
