"""Who can run a step: what its activities and the script require, and in words why nobody can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from meshwit.bench.requirements import Requirement, all_of, parse_requirement
from meshwit.bench.shortfalls import shortfalls
from meshwit.lang.offer import Activity

P = TypeVar("P")

PEERS_NAMED_MAX: Final = 8
_NAME_CHARS_MAX: Final = 40
_LACKS_CHARS_MAX: Final = 400


def required(activities: Sequence[Activity], expression: str = "") -> Requirement:
    """What a peer must have to run a task that calls these activities, under the script's own expression."""
    return all_of(parse_requirement(text) for text in (expression, *(one.requires for one in activities)))


def capable(requirement: Requirement, peers: Mapping[P, Mapping[str, object]]) -> tuple[list[P], dict[P, list[str]]]:
    """Which peers meet a requirement, and what each of the others lacks, as predicates; both in the order given.

    Args:
        requirement: as `required` makes it, or as somebody wrote it.
        peers: their capabilities, by whatever names them.
    """
    lacks = {peer: shortfalls(requirement, capabilities) for peer, capabilities in peers.items()}
    return [peer for peer, lacking in lacks.items() if not lacking], {
        peer: lacking for peer, lacking in lacks.items() if lacking
    }


def nobody_can(
    activities: Sequence[Activity], requirement: Requirement, peers: Mapping[str, Mapping[str, object]]
) -> str:
    """Why none of the peers can run a step; empty if one can.

    At most `PEERS_NAMED_MAX` of them are named, those first that lack least.

    Args:
        activities: that its task calls, the outermost first.
        requirement: theirs and the script's.
        peers: their capabilities, by their names.
    """
    able, lacks_by_peer = capable(requirement, peers)
    if able:
        return ""
    lacking = sorted(lacks_by_peer.items(), key=lambda each: len(each[1]))
    named = [
        f"{_shown(name or 'this peer', _NAME_CHARS_MAX)} {_joined(lacks)}" for name, lacks in lacking[:PEERS_NAMED_MAX]
    ]
    if len(lacking) > PEERS_NAMED_MAX:
        named.append(f"and {len(lacking) - PEERS_NAMED_MAX} more")
    return f"no peer can run {_what(activities, peers)}: {'; '.join(named) or 'there is no peer'}"


def _what(activities: Sequence[Activity], peers: Mapping[str, Mapping[str, object]]) -> str:
    """The first activity that no peer can run; the outermost where it is only their sum, or the script's wish."""
    for one in activities:
        own = parse_requirement(one.requires)
        if not any(own.met_by(capabilities) for capabilities in peers.values()):
            return f"`{one.name}`"
    return f"`{activities[0].name}`" if activities else "this step"


def _joined(lacks: Sequence[str]) -> str:
    return _shown(" and ".join(lacks), _LACKS_CHARS_MAX)


def _shown(text: str, chars_max: int) -> str:
    """What other peers say of themselves, without control characters and never endless."""
    shown = "".join(one if one.isprintable() else "?" for one in text[:chars_max])
    return shown if len(text) <= chars_max else f"{shown}…"
