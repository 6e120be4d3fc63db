"""Where one user's configuration is: the one place that says so, light enough for every command."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import platformdirs

HOME_VARIABLE: Final = "MESHWIT_HOME"
MEMBERSHIP_FILE: Final = "membership.msgpack"
JOBS_FILE: Final = "jobs.sqlite"
"""Where jobs are kept; what begins so belongs to it."""
"""In a profile's folder, while that is a member of a mesh."""


def default_folder() -> Path:
    """`MESHWIT_HOME`, or the system's folder for a user's configuration."""
    chosen = os.environ.get(HOME_VARIABLE, "").strip()
    if chosen:
        return Path(chosen).expanduser().absolute()
    return Path(platformdirs.user_config_dir("meshwit", appauthor=False, roaming=False))
