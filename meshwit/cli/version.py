"""`meshwit version`."""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def version(as_json: Annotated[bool, typer.Option("--json", help="As a JSON object.")] = False) -> None:
    """Show the version of meshwit, and of the Python that runs it."""
    try:
        number = installed_version("meshwit")
    except PackageNotFoundError:
        number = "(not installed)"
    python, system = platform.python_version(), platform.platform(terse=True)
    if as_json:
        print(json.dumps({"meshwit": number, "python": python, "platform": system}))
    else:
        print(f"meshwit {number} (Python {python}, {system})")
