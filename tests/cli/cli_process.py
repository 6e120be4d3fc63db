"""A `meshwit` process: its environment."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
NO_HOME = Path(__file__).parent / "no-home"
"""A folder that is never made: commands must not meet a peer of whoever runs the tests."""


def environment() -> dict[str, str]:
    """The variables of a `meshwit` process: this checkout, no colour, no peer, nothing of the caller's taste."""
    kept = {
        name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "MESHWIT_DEBUG")
    }
    path = os.pathsep.join(filter(None, (str(ROOT), kept.get("PYTHONPATH", ""))))
    return {**kept, "PYTHONPATH": path, "COLUMNS": "100", "MESHWIT_HOME": str(NO_HOME)}
