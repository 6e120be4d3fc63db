"""Under which key a record lies.

A record's topic is `kind:name`; its key is a hash of the topic. A capability may have thousands of owners: where the
key is crowded, they also publish one level deeper, under a key for the first letter of the owner's id, then the
second. Whoever needs more owners than a crowded key tells looks through the keys below it.
"""

from __future__ import annotations

import hashlib
from typing import Final, NewType

from meshwit.ids import ID_BYTES, PeerId, is_id
from meshwit.records import TOPIC_LENGTH_MAX

Key = NewType("Key", bytes)
"""20 bytes, in the space of the node ids."""

KINDS: Final = ("peer", "job", "capability")
LETTERS: Final = "abcdefghijklmnopqrstuvwxyz234567"
"""Of ids; a level has one key for each."""
LEVEL_MAX: Final = 2
_LABEL: Final = b"meshwit directory 1\0"


def topic_of(kind: str, name: str) -> str:
    """The topic of a record. Raises ValueError for an unknown kind, an empty name or one that is too long."""
    topic = f"{kind}:{name}"
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no kind of record; there are {', '.join(KINDS)}")
    if not name or len(topic) > TOPIC_LENGTH_MAX:
        raise ValueError(f"a name has 1 to {TOPIC_LENGTH_MAX - len(kind) - 1} characters, not {len(name)}")
    return topic


def key_of(topic: str, prefix: str = "") -> Key:
    """The key of a topic, `prefix` being the first letters of its owner's id at a deeper level."""
    text = f"{topic}\0{prefix}".encode("utf-8", "surrogatepass")
    return Key(hashlib.sha256(_LABEL + text).digest()[:ID_BYTES])


def topic_fault(topic: str, owner: PeerId, level: int) -> str:
    """Why such a record of such an owner does not belong into the directory; empty if it does."""
    kind, _, name = topic.partition(":")
    if kind not in KINDS or not name:
        return "no topic of the directory"
    if kind == "peer" and (name != owner or not is_id(name)):
        return "where a peer is, only that peer says"
    if not 0 <= level <= (LEVEL_MAX if kind == "capability" else 0):
        return "no such level"
    return ""
