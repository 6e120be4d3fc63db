"""Which peers meet a requirement, in a table of peers and in JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from meshwit.bench.requirements import Requirement, parse_requirement
from meshwit.cli.exit_codes import CommandError
from meshwit.cli.terminal import count_text
from meshwit.peer.control.api import PeerView
from meshwit.peer.job.capable import capable

UNKNOWN: Final = "has told nothing of itself yet"


def requirement_of(text: str) -> Requirement:
    """What was asked for. Raises CommandError that tells the place of the fault."""
    try:
        return parse_requirement(text)
    except ValueError as error:
        raise CommandError(f"--requires: {error}", 'as in: --requires "gpu.cuda and memory >= 8GiB"') from None


class Capable:
    """Of peers that are there: who meets a requirement, and what the others lack, by their ids.

    Attributes:
        able: in the order of the peers.
        lacks: predicates: `lacks gpu.cuda`. Who is gone is in neither.
    """

    def __init__(self, requirement: Requirement, peers: Sequence[PeerView]) -> None:
        here = [one for one in peers if one.state in ("alive", "suspect")]
        known = {one.id: one.capabilities for one in here if one.capabilities}
        self._here = here
        self.able, self.lacks = capable(requirement, known)
        self.lacks |= {one.id: [UNKNOWN] for one in here if not one.capabilities}

    def noted(self, peer: PeerView) -> PeerView:
        """The peer with a note that tells whether it is able, before what there is to tell besides."""
        if peer.id in self.able:
            told = "able"
        elif peer.id in self.lacks:
            told = "; ".join(self.lacks[peer.id])
        else:
            return peer
        return msgspec.structs.replace(peer, note="; ".join(filter(None, (told, peer.note))))

    def as_json(self, peer: PeerView) -> dict[str, Any]:
        """The peer as an object, with `able` and `lacks`."""
        fields: dict[str, Any] = msgspec.to_builtins(peer)
        return fields | {"able": peer.id in self.able, "lacks": self.lacks.get(peer.id, [])}

    def summary(self) -> str:
        """In one line for people."""
        return f"{len(self.able) or 'none'} of {count_text(len(self._here), 'peer')} alive can do that"
