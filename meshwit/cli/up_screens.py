"""What a running peer shows while it runs: a live table, lines for a log, or JSON lines."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import Protocol

import msgspec

from meshwit.cli.peer_names import shown
from meshwit.cli.peer_texts import mesh_text
from meshwit.cli.terminal import harmless, painted
from meshwit.cli.up_table import OPEN, LiveTable
from meshwit.peer.control.api import MeshEvent, MeshView, PeerView


class Screen(Protocol):
    """Shows one peer, from when it is ready until it stops."""

    redraws: bool
    """Whether `show` is to be called again and again."""

    def begin(self, mesh: MeshView, peers: Sequence[PeerView]) -> None:
        """The peer is ready."""

    def show(self, mesh: MeshView, peers: Sequence[PeerView]) -> None:
        """How it is now."""

    def event(self, event: MeshEvent) -> None:
        """Something happened."""

    def say(self, text: str) -> None:
        """Something about this process, whether the peer is ready or not."""

    def end(self) -> None:
        """The peer has stopped."""


class LiveScreen:
    """A table on the terminal."""

    redraws = True

    def __init__(self) -> None:
        self._table = LiveTable()
        self._begun = False

    def begin(self, mesh: MeshView, peers: Sequence[PeerView]) -> None:
        """Draw it."""
        self._table.__enter__()
        self._begun = True
        self._table.show(mesh, peers)

    def show(self, mesh: MeshView, peers: Sequence[PeerView]) -> None:
        """Draw what has changed."""
        self._table.show(mesh, peers)

    def event(self, event: MeshEvent) -> None:
        """A line above."""
        self._table.event(event)

    def say(self, text: str) -> None:
        """In place of the last line; on a new one if there is no table: `^C` may stand on the old one."""
        if self._begun:
            self._table.say(text)
        else:
            print(f"\n{text}", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave it on the screen."""
        if self._begun:
            self._begun = False
            self._table.__exit__(None, None, None)


class PlainScreen:
    """Lines on stderr, each with its time."""

    redraws = False
    _begun = False

    def begin(self, mesh: MeshView, peers: Sequence[PeerView]) -> None:
        """Who this is, and where."""
        self._begun = True
        self._line(f"{mesh_text(mesh)}, reached at port {mesh.port}")
        if mesh.open:
            self._line(painted(OPEN, "red", sys.stderr))

    def show(self, mesh: MeshView, peers: Sequence[PeerView]) -> None:
        """A log needs no table."""

    def event(self, event: MeshEvent) -> None:
        """What happened."""
        self._line(harmless(event.text), event.time)

    def say(self, text: str) -> None:
        """A line like others; on a terminal `^C` may stand on the last one."""
        if sys.stderr.isatty():
            print(file=sys.stderr)
        self._line(text)

    def end(self) -> None:
        """That it is over."""
        if self._begun:
            self._line("stopped")

    @staticmethod
    def _line(text: str, at: float = 0.0) -> None:
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at or None))
        print(f"{moment}  {text}", file=sys.stderr, flush=True)


class JsonScreen:
    """Lines of JSON on stdout: first how the mesh is, then each event. If nobody reads them any more, none."""

    redraws = False

    def begin(self, mesh: MeshView, peers: Sequence[PeerView]) -> None:
        """The first line."""
        self._print({"kind": "ready", "peer": mesh.me.id, "text": f"{shown(mesh.me.name)} is up", "mesh": mesh})

    def show(self, mesh: MeshView, peers: Sequence[PeerView]) -> None:
        """Whoever wants more asks for it."""

    def event(self, event: MeshEvent) -> None:
        """One more line."""
        self._print(event)

    def say(self, text: str) -> None:
        """For people, so not among the data."""
        print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        """The lines end."""

    @staticmethod
    def _print(value: object) -> None:
        try:
            print(msgspec.json.encode(value).decode(), flush=True)
        except OSError:  # the reader of a pipe has seen enough; the peer is here for others
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
