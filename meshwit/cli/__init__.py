"""The command line, `meshwit`. It talks on stderr; on stdout stands only what was asked for.

Commands live in modules of their own, which are imported when their command is called (`app.py` has the table), so
that `meshwit --help` is quick. What a command decides is in its exit code too (`exit_codes.py`).
"""

from meshwit.cli.app import main

__all__ = ["main"]
