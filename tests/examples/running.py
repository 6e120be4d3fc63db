"""Runs an example as its user does, in a process and a folder of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[2] / "examples"
TIMEOUT_S = 300


def run_example(name: str, folder: Path, *arguments: str) -> dict[str, Any]:
    """The outcome of `meshwit run examples/<name>.wit ... --json`, files below `folder`."""
    command = [sys.executable, "-m", "meshwit", "run", str(EXAMPLES / f"{name}.wit"), *arguments, "--json"]
    path = os.pathsep.join(filter(None, [str(EXAMPLES.parent), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome
