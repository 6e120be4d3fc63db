"""How the command ends: exit codes, and the error that ends it with one.

0 completed · 1 the job failed or is held, or a result could not be written · 2 wrong usage, wrong parameters, file not
found · 3 the script has errors · 70 a bug in meshwit · 130 cancelled. They are documented in `meshwit --help` and keep
their meaning.
"""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """What the shell sees."""

    COMPLETED = 0
    FAILED = 1
    USAGE = 2
    SCRIPT_ERRORS = 3
    BUG = 70
    CANCELLED = 130


class CommandError(Exception):
    """Ends a command with a message for people and without a traceback.

    Attributes:
        message: what happened, with the values.
        hint: what to do about it, perhaps several lines; may be empty.
        code: the exit code.
    """

    def __init__(self, message: str, hint: str = "", code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code
