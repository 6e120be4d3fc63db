"""All checks of the project, one after another: `python -m tests`. The same here, in CI and in the README.

Arguments go to pytest: `python -m tests -k video`. Ends with the first check that fails.
"""

import os
import subprocess
import sys

CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("pytest", "-q", "-n", str(min(4, os.cpu_count() or 1)), "--dist", "loadfile"),
)


def main() -> int:
    """Run every check; the exit code of the first that fails."""
    for tool, *arguments in CHECKS:
        extra = sys.argv[1:] if tool == "pytest" else []
        print(f"== {tool} {' '.join((*arguments, *extra))}", flush=True)
        code = subprocess.call([sys.executable, "-m", tool, *arguments, *extra])
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
