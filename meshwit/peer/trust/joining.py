"""Joining a mesh: two machines, one on each end of a TLS connection, bytes in, effects out.

`Joiner` wants in, `Admitter` lets in. The connection has proven both device keys before they start; everything here is
bound to those two keys. Ways: code, approval, token, open; see `join_messages` for what crosses.
"""

from __future__ import annotations

from meshwit.peer.trust.admitter import APPROVAL_S, STEP_S, Admitter, AdmitterState, Handout
from meshwit.peer.trust.join_effects import (
    Admit,
    AskCode,
    Confirm,
    Effect,
    Joined,
    JoinRefused,
    RefusalKind,
    SendMessage,
    Show,
    Way,
)
from meshwit.peer.trust.join_messages import MESSAGE_BYTES_MAX
from meshwit.peer.trust.joiner import Joiner, JoinerState

__all__ = [
    "APPROVAL_S",
    "MESSAGE_BYTES_MAX",
    "STEP_S",
    "Admit",
    "Admitter",
    "AdmitterState",
    "AskCode",
    "Confirm",
    "Effect",
    "Handout",
    "JoinRefused",
    "Joined",
    "Joiner",
    "JoinerState",
    "RefusalKind",
    "SendMessage",
    "Show",
    "Way",
]
