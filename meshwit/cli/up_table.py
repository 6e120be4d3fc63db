"""The live view of a mesh: the table of peers, who waits to be let in, and what one can do next."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, TextIO

from meshwit.cli.peer_names import shown
from meshwit.cli.peer_texts import in_order, mesh_text, peer_lines
from meshwit.cli.terminal import count_text, harmless
from meshwit.lazy import lazy_module
from meshwit.peer.control.api import MeshEvent, MeshView, PeerView, PendingView

if TYPE_CHECKING:
    from rich import console as rich_console
    from rich import live as rich_live
    from rich import text as rich_text
else:
    rich_console, rich_live, rich_text = (lazy_module(f"rich.{name}") for name in ("console", "live", "text"))

OPEN = "OPEN: everybody on this network who asks is let in"
PENDING_MAX = 8
OTHERS_SHOWN_MAX = 5
LINES_BESIDE = PENDING_MAX + 6
_HARMLESS_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Line(NamedTuple):
    """One line of the view; the style only repeats what it says."""

    text: str
    style: str = ""
    folds: bool = False
    """Onto further lines, where it is too long: it says what to type."""


def view_lines(mesh: MeshView, peers: Sequence[PeerView], width: int | None, rows_max: int = 1000) -> Iterator[Line]:
    """The lines of the view.

    Args:
        mesh: how the mesh is.
        peers: all that are known.
        width: cells of a line; None for as many as needed.
        rows_max: peers shown; the rest is counted.
    """
    yield Line(mesh_text(mesh), "bold")
    if mesh.open:
        yield Line(OPEN, "bold red")
    ordered = in_order(peers)
    header, *rows = peer_lines(ordered[:rows_max], width)
    yield Line(header, "dim")
    for peer, row in zip(ordered, rows, strict=False):
        yield Line(row, "" if peer.state == "alive" else "dim")
    if len(ordered) > rows_max:
        yield Line(f"and {count_text(len(ordered) - rows_max, 'more peer')}", "dim")
    for text in pending_texts(mesh.pending)[:PENDING_MAX]:
        yield Line(text, "bold yellow", folds=True)
    if len(mesh.pending) > PENDING_MAX:
        yield Line(f"and {len(mesh.pending) - PENDING_MAX} more wait: meshwit approve", "yellow")
    if mesh.other_meshes:
        yield Line(other_meshes_text(mesh), "dim", folds=True)
    if len(ordered) <= 1 and not mesh.pending:
        yield Line("on the next device: meshwit up; the code that it asks for: meshwit invite", "dim", folds=True)


def other_meshes_text(mesh: MeshView) -> str:
    """`also near, another mesh: anna@den`; to one that is alone, how to get there."""
    names = list(dict.fromkeys(shown(name) for name in mesh.other_meshes))
    listed = ", ".join(names[:OTHERS_SHOWN_MAX]) + (", ..." if len(names) > OTHERS_SHOWN_MAX else "")
    many = "another mesh" if len(names) == 1 else f"{len(names)} other meshes"
    way = "; to join it instead: meshwit leave, then meshwit up" if mesh.peers_known <= 1 else ""
    return f"also near, {many}: {listed}{way}"


def pending_texts(pending: Sequence[PendingView]) -> list[str]:
    """A line for each; by its words where several call themselves the same."""
    names = Counter(one.name.casefold() for one in pending)
    return [pending_text(one, alone=names[one.name.casefold()] == 1) for one in pending]


def pending_text(pending: PendingView, *, alone: bool = True) -> str:
    """`den waits: otter violin; if it shows the same words: meshwit approve den`.

    Name and words come from elsewhere: they stand in the command, which people copy, only if no shell takes them for
    anything else.
    """
    words = "-".join(pending.words.split())
    typed = next((one for one in (pending.name if alone else "", words) if _HARMLESS_WORD.fullmatch(one)), "")
    command = f"meshwit approve {typed}".rstrip()
    return f"{shown(pending.name)} waits: {shown(pending.words)}; if it shows the same words: {command}"


class LiveTable:
    """Draws on a terminal; what happens scrolls by above. Draws only what has changed.

    Args:
        stream: the terminal.
        last_line: stands below all: how to end it.
    """

    def __init__(self, stream: TextIO | None = None, last_line: str = "Ctrl-C stops this peer") -> None:
        self._last = Line(last_line, "dim")
        self._drawn: list[Line] = []
        self._console = rich_console.Console(file=stream or sys.stderr, highlight=False, markup=False, emoji=False)
        self._live = rich_live.Live(console=self._console, auto_refresh=False, redirect_stdout=False)

    def __enter__(self) -> LiveTable:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leaves the table on the screen, without what can be done while it is live."""
        if self._drawn:
            self._live.update(self._rendered(self._drawn[:-1]))
        self._live.stop()

    def show(self, mesh: MeshView, peers: Sequence[PeerView]) -> None:
        """Draw how it is now."""
        width, height = self._console.size
        lines = [*view_lines(mesh, peers, width, max(3, height - LINES_BESIDE)), self._last]
        if lines != self._drawn:
            self._drawn = lines
            self._live.update(self._rendered(lines), refresh=True)

    def event(self, event: MeshEvent) -> None:
        """A line above the table."""
        self._console.print(rich_text.Text(harmless(event.text)))

    def say(self, text: str) -> None:
        """In place of the last line."""
        self._drawn = [*self._drawn[:-1], Line(text)]
        self._live.update(self._rendered(self._drawn), refresh=True)

    @staticmethod
    def _rendered(lines: Sequence[Line]) -> rich_console.RenderableType:
        return rich_console.Group(
            *(
                rich_text.Text(
                    line.text, line.style, no_wrap=not line.folds, overflow="fold" if line.folds else "ellipsis"
                )
                for line in lines
            )
        )
