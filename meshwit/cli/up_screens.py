"""What a running peer shows while it runs: a live table, lines for a log, or JSON lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Protocol

import msgspec

from meshwit.cli.peer_names import shown
from meshwit.cli.peer_texts import mesh_text
from meshwit.cli.terminal import harmless
from meshwit.cli.up_table import LiveTable
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
        self.say(f"{mesh_text(mesh)}, reached at port {mesh.port}")
        if mesh.open:
            self.say("OPEN: everybody on this network who asks is let in")

    def show(self, mesh: MeshView, peers: Sequence[PeerView]) -> None:
        """A log needs no table."""

    def event(self, event: MeshEvent) -> None:
        """What happened."""
        self.say(harmless(event.text), event.time)

    def end(self) -> None:
        """That it is over."""
        if self._begun:
            self.say("stopped")

    @staticmethod
    def say(text: str, at: float = 0.0) -> None:
        """A line with its time."""
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at or None))
        print(f"{moment}  {text}", file=sys.stderr, flush=True)


class JsonScreen:
    """Lines of JSON on stdout: first how the mesh is, then each event."""

    redraws = False

    def begin(self, mesh: MeshView, peers: Sequence[PeerView]) -> None:
        """The first line."""
        self._print({"kind": "ready", "peer": mesh.me.id, "text": f"{shown(mesh.me.name)} is up", "mesh": mesh})

    def show(self, mesh: MeshView, peers: Sequence[PeerView]) -> None:
        """Whoever wants more asks for it."""

    def event(self, event: MeshEvent) -> None:
        """One more line."""
        self._print(event)

    def end(self) -> None:
        """The lines end."""

    @staticmethod
    def _print(value: object) -> None:
        print(msgspec.json.encode(value).decode(), flush=True)
