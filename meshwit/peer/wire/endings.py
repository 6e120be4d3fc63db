"""How links fail to come up, and how they end."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

ErrorKind: TypeAlias = Literal[
    "refused", "timeout", "unreachable", "wrong_mesh", "expelled", "version", "identity", "protocol"
]
"""`refused`: the host answers and nobody listens there. `timeout`: no answer in time. `unreachable`: no way there, no
such name, or the connection broke off while it was set up. `wrong_mesh`: a peer of another mesh. `expelled`: one side
was expelled. `version`: no common protocol. `identity`: another peer than was meant, or no valid certificate.
`protocol`: the other side breaks the rules, or speaks something else."""

EndKind: TypeAlias = Literal["goodbye", "closed", "refused", "timeout", "duplicate", "protocol"]
"""`goodbye`: said so. `closed`: without a word, as when a process is killed. `protocol`: for a breach of the rules,
by us or by them. `timeout`: it took nothing for too long. `duplicate`: a second link to the same peer, never reported
down."""


class LinkError(Exception):
    """A link that did not come up, and why; `hint` says what to do, where something can be done."""

    def __init__(self, kind: ErrorKind, message: str, hint: str = "") -> None:
        super().__init__(f"{message} ({hint})" if hint else message)
        self.kind: ErrorKind = kind
        self.message = message
        self.hint = hint


class LinkEnd(msgspec.Struct, frozen=True):
    """How a link ended.

    Attributes:
        kind: in one word.
        reason: in words.
        local: whether this side ended it.
    """

    kind: EndKind
    reason: str = ""
    local: bool = False
