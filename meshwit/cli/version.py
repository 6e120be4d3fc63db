"""`meshwit version`."""

from __future__ import annotations

import json
import platform
from typing import Annotated

import typer

from meshwit import __version__

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def version(as_json: Annotated[bool, typer.Option("--json", help="As a JSON object.")] = False) -> None:
    """Show the version of meshwit, and of the Python that runs it."""
    python, system = platform.python_version(), platform.platform(terse=True)
    if as_json:
        print(json.dumps({"meshwit": __version__, "python": python, "platform": system}))
    else:
        print(f"meshwit {__version__} (Python {python}, {system})")
