"""`meshwit approve`: let in a device that waits, after a look at the two words that both show."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import msgspec
import typer

from meshwit.cli.columns import laid_out
from meshwit.cli.exit_codes import CommandError
from meshwit.cli.peer_names import pick, shown
from meshwit.cli.reach import AsJson, Home, On, reach, told
from meshwit.cli.terminal import duration_text
from meshwit.peer.control.api import PendingView

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def approve(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The device's name, or its two words as one: otter-violin.")
    ] = "",
    as_json: AsJson = False,
    on: On = "",
    home: Home = None,
) -> None:
    """Let a waiting device in; without a name, show who waits."""
    with told(as_json):
        found = reach(home, on)
        waiting = found.mesh.pending
        if not name:
            _list(waiting, as_json=as_json)
            return
        if not waiting:
            raise CommandError("no device waits to be let in", "on that device: meshwit up")
        one = pick_waiting(name, waiting)
        answer = found.client.approve(one.id or one.name)
        if as_json:
            print(json.dumps({"approved": one.name, "id": one.id, "text": answer}))
        else:
            print(answer, file=sys.stderr)


def pick_waiting(name: str, waiting: list[PendingView]) -> PendingView:
    """By words or by name. A name that two devices claim does not tell them apart: only their words do.

    Raises:
        CommandError: none is meant, or several may be.
    """
    words = " ".join(name.casefold().replace("-", " ").split())
    by_words = [one for one in waiting if one.words.casefold() == words]
    if len(by_words) == 1:
        return by_words[0]
    same = [one for one in waiting if one.name.casefold() == name.casefold()]
    if len(same) > 1:
        known = ", ".join(shown(one.words).replace(" ", "-") for one in same)
        hint = f"compare their words, and say those of the right one: {known}"
        raise CommandError(f"{len(same)} devices that call themselves `{shown(name)}` wait", hint)
    return pick(name, waiting, "device waits")


def _list(waiting: list[PendingView], *, as_json: bool) -> None:
    if as_json:
        print(msgspec.json.encode({"pending": waiting}).decode())
        return
    if not waiting:
        print("no device waits to be let in", file=sys.stderr)
        return
    rows = [(shown(one.name), shown(one.words), shown(one.address), duration_text(one.since_s)) for one in waiting]
    print("\n".join(laid_out(("name", "words", "address", "waits for"), rows)))
    sys.stdout.flush()
    print("let one in whose own screen shows the same words: meshwit approve NAME, or its words", file=sys.stderr)
