"""What `meshwit up` was asked for, and how a peer that wants to join talks to its owner."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from meshwit.peer.control.api import PeerApi

When = Literal["always", "idle", "plugged-in"]


class UpOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a peer starts.

    Attributes:
        home: the folder of the configuration; None for MESHWIT_HOME or the user's own.
        name: of this peer; empty for the host's name, or the name that it had.
        slots: tasks at the same time; None for one per usable core.
        properties: the owner's own capabilities: `{"site": "berlin"}`.
        functions: packages whose functions members may call by name.
        allow_pickle: members may send pickles, which is any code.
        peers: hosts to ask besides those found, with their ports; port 0 where none was named.
        when: when it works for others.
        invite: a token; empty without.
        open: let everybody in who asks.
        new: make a mesh of its own even if others are near.
        port: for other peers; 0 for the one used before, or any.
    """

    home: Path | None = None
    name: str = ""
    slots: int | None = None
    properties: dict[str, str] = {}
    functions: tuple[str, ...] = ()
    allow_pickle: bool = False
    peers: tuple[tuple[str, int], ...] = ()
    when: When = "always"
    invite: str = ""
    open: bool = False
    new: bool = False
    port: int = 0


class JoinPrompt(Protocol):
    """The person in front of a device that is no member yet. Called in the peer's event loop."""

    def found(self, mesh_names: list[str]) -> None:
        """Meshes are near that could be joined."""

    def words(self, words: str, name: str) -> None:
        """A member of the mesh `name` was asked to let us in; both show these two words."""

    async def code(self) -> str:
        """The code that the person types, whatever it looks like. May wait for ever, and be cancelled."""

    def wrong_code(self, message: str) -> None:
        """The code that was typed does not open anything; another may be asked for."""

    async def confirm(self, words: str, name: str) -> bool:
        """Whether these words stand on a member of the mesh `name`, which lets this device in. May be cancelled.

        Anybody on the network can say that it lets us in; only the person sees whether it is the member meant. Where
        nobody can be asked the answer is yes.
        """

    def say(self, text: str) -> None:
        """How it goes."""


class UpError(Exception):
    """The peer cannot start, or cannot go on.

    Attributes:
        message: what happened, with the values.
        hint: what to do about it; may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class RunnablePeer(PeerApi, Protocol):
    """A peer that can be run: `MeshPeer` is made as `MakePeer` says."""

    async def run(self, ready: Callable[[RunnablePeer], None]) -> None:
        """Run until `down`, `leave` or cancellation. Raises UpError.

        Args:
            ready: called once, when the peer is a member and its control API answers.
        """


MakePeer = Callable[[UpOptions, JoinPrompt], RunnablePeer]
