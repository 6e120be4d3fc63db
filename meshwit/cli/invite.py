"""`meshwit invite`: a short code for the next device, or a long token for those where nobody types."""

from __future__ import annotations

import sys
from typing import Annotated

import msgspec
import typer

from meshwit.cli.peer_names import shown
from meshwit.cli.reach import AsJson, Home, On, reach, told
from meshwit.cli.terminal import duration_text, is_terminal, painted
from meshwit.peer.control.api import InviteView

app = typer.Typer(add_completion=False, rich_markup_mode=None)

HOURS_MAX = 24 * 365


@app.command()
def invite(
    token: Annotated[bool, typer.Option("--token", help="A long token, for any number of devices.")] = False,
    hours: Annotated[
        float | None, typer.Option(metavar="H", min=0.01, max=HOURS_MAX, help="How long the token is valid; 24.")
    ] = None,
    as_json: AsJson = False,
    on: On = "",
    home: Home = None,
) -> None:
    """Let another device in: show the code that it asks for."""
    if hours is not None and not token:
        raise typer.BadParameter("only a token (--token) has hours; a code is valid for ten minutes")
    with told(as_json):
        made = reach(home, on).client.invite("token" if token else "code", hours or 24.0)
    if as_json:
        print(msgspec.json.encode(made).decode())
    elif token:
        _show_token(made)
    else:
        _show_code(made)


def _show_code(made: InviteView) -> None:
    """The code on stdout: alone where a program reads it, large where a person does."""
    if not is_terminal(sys.stdout):
        print(made.text)
    else:
        print("\n".join(["", *(f"    {painted(line, 'bold', sys.stdout)}" for line in framed(made.text)), ""]))
    valid = duration_text(made.expires_in_s)
    print(f"lets one device into {shown(made.mesh)} within {valid}", file=sys.stderr)
    print("on that device type `meshwit up`, and this code when it asks", file=sys.stderr)


def framed(code: str) -> list[str]:
    """The code with space between its letters, in a frame that every terminal can draw."""
    spaced = " ".join(code)
    edge = f"+{'-' * (len(spaced) + 6)}+"
    return [edge, f"|   {spaced}   |", edge]


def _show_token(made: InviteView) -> None:
    print(made.text)
    sys.stdout.flush()
    valid = duration_text(made.expires_in_s)
    print(
        f"lets devices into {shown(made.mesh)} within {valid}; whoever has it can join: keep it secret", file=sys.stderr
    )
    print("on a device: MESHWIT_INVITE=<token> meshwit up --background", file=sys.stderr)
