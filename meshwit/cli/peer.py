"""`meshwit peer NAME`: everything known about one peer."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Annotated

import msgspec
import typer

from meshwit.bench.sizes import rough_size
from meshwit.cli.peer_names import pick, shown
from meshwit.cli.peer_texts import gpu_text, load_text, power_text, round_trip_text, seen_text
from meshwit.cli.reach import AsJson, Home, On, reach, told
from meshwit.cli.terminal import one_line, painted
from meshwit.ids import short
from meshwit.peer.control.api import PeerView

app = typer.Typer(add_completion=False, rich_markup_mode=None)

CELL_CHARS_MAX = 200


@app.command()
def peer(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name or an id, or its start; this peer without.")] = "",
    as_json: AsJson = False,
    on: On = "",
    home: Home = None,
) -> None:
    """Show everything known about one peer: what it can do, how fast, where."""
    with told(as_json):
        found = reach(home, on)
        known = found.client.peers()
        one = pick(name, known) if name else next((each for each in known if each.me), found.mesh.me)
        if as_json:
            print(msgspec.json.encode(one).decode())
        else:
            print("\n".join(peer_page(one)))


def peer_page(one: PeerView) -> Iterator[str]:
    """The lines about a peer; what is not known is left out."""
    yield f"{painted(shown(one.name), 'bold', sys.stdout)}  {short(one.id)}"
    slots = f"{one.free_slots} of {one.slots} free" if one.slots else ""
    score = f"{one.score:,.0f}, {one.share:.0%} of the mesh" if one.share else f"{one.score:,.0f}" if one.score else ""
    facts = {
        "seen": seen_text(one),
        "note": one.note,
        "score": score,
        "slots": slots,
        "load": f"{load_text(one)} of {one.cores} cores" if one.cores else "",
        "jobs": str(one.jobs or ""),
        "memory": rough_size(one.memory) if one.memory else "",
        "GPU": gpu_text(one.gpus),
        "power": power_text(one),
        "temperature": f"{one.temperature_c:.0f} °C" if one.temperature_c is not None else "",
        "address": one.address,
        "round trip": "" if one.me else round_trip_text(one).strip("-"),
        "system": one.system,
        "meshwit": one.version,
    }
    yield from _section("", facts)
    yield from _section("scores", {key: f"{value:,.1f}" for key, value in one.scores.items() if value})
    yield from _section("rates", one.rates)
    yield from _section("capabilities", {key: _plain(key, value) for key, value in one.capabilities.items()})
    yield from _section("controllers", _controllers(one))


def _section(title: str, facts: Mapping[str, str]) -> Iterator[str]:
    told_facts = {one_line(name, 60): one_line(text, CELL_CHARS_MAX) for name, text in facts.items() if text}
    if not told_facts:
        return
    if title:
        yield f"{title}:"
    width = max(len(name) for name in told_facts)
    yield from (f"  {name.ljust(width)}  {text}" for name, text in told_facts.items())


def _controllers(one: PeerView) -> dict[str, str]:
    """By class; those that came with its meshwit in one line, for they say nothing else than that."""
    others, own = {}, []
    for key, version in sorted(one.controllers.items()):
        module, _, name = key.rpartition(":")
        if module.startswith("meshwit.plugins.") and version == one.version:
            own.append(name)
        else:
            others[name] = version
    return {"built in": ", ".join(sorted(own))} | others


def _plain(name: str, value: bool | int | float | str) -> str:
    """A capability as a requirement would write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float) and name.rpartition(".")[2] in ("memory", "vram"):
        return rough_size(int(value))
    return str(value)
