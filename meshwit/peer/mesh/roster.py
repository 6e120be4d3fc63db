"""What each peer last told of itself, read once when it arrives. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final

from meshwit.bench.scores import decode_scores
from meshwit.ids import PeerId
from meshwit.peer.control.api import PendingView
from meshwit.peer.mesh import profile
from meshwit.peer.mesh.profile import LoadProfile, MemberProfile, PendingProfile
from meshwit.peer.mesh.view import KnownPeer
from meshwit.peer.rates import Unit, decode_rates
from meshwit.peer.trust.certificates import Chain, decode_chain

TOPICS: Final = (profile.MEMBER, profile.LOAD, profile.SCORE, profile.RATES, profile.PENDING)
"""What is read here. Of others nothing is kept: their owners may be out of view, and nobody would forget them."""


class PeerRecords:
    """Of one peer; what it has not told, or told in a form that cannot be read, is None or empty."""

    __slots__ = ("load", "member", "pending", "rates", "scores")

    def __init__(self) -> None:
        self.member: MemberProfile | None = None
        self.load: LoadProfile | None = None
        self.scores: Mapping[str, float] = {}
        self.rates: Mapping[str, tuple[float, Unit]] = {}
        self.pending = PendingProfile()


class Roster:
    """All peers in view, this one included. It follows the gossip core's members: who is forgotten there is here."""

    def __init__(self) -> None:
        self._told: dict[PeerId, PeerRecords] = {}

    def learn(self, peer: PeerId, topic: str, payload: bytes) -> None:
        """Takes the payload of a record, an empty one withdraws what was told; topics of others are passed over."""
        if topic not in TOPICS:
            return
        told = self._told.setdefault(peer, PeerRecords())
        match topic:
            case profile.MEMBER:
                told.member = profile.decode(payload, MemberProfile) or told.member
            case profile.LOAD:
                told.load = profile.decode(payload, LoadProfile)
            case profile.SCORE:
                told.scores = decode_scores(payload) if payload else {}
            case profile.RATES:
                told.rates = {profile.plain(name): rate for name, rate in decode_rates(payload).items()}
            case profile.PENDING:
                told.pending = profile.decode(payload, PendingProfile) or PendingProfile()

    def forget(self, peer: PeerId) -> None:
        """A peer is out of view."""
        self._told.pop(peer, None)

    def member(self, peer: PeerId) -> MemberProfile | None:
        """Who a peer is."""
        told = self._told.get(peer)
        return told.member if told else None

    def name(self, peer: PeerId) -> str:
        """What a peer is called; empty if that is not known."""
        member = self.member(peer)
        return member.name if member else ""

    def chains(self) -> dict[PeerId, Chain]:
        """The certificates of all whose profile is known."""
        found = {}
        for peer, told in self._told.items():
            if told.member is not None:
                with suppress(ValueError):  # gossip has judged it before; it must not end what asks for all
                    found[peer] = decode_chain(told.member.chain)
        return found

    def pending(self) -> Iterator[tuple[PeerId, PendingView]]:
        """Who waits to be let in, and at which member."""
        for peer, told in self._told.items():
            for each, name, words in told.pending.waiting:
                yield peer, PendingView(id=each, name=name, words=words, address=f"at {self.name(peer)}")

    def known(
        self,
        peer: PeerId,
        *,
        me: bool = False,
        state: str = "alive",
        round_trip_s: float | None = None,
        heard_s: float | None = None,
        address: str = "",
        remembered_name: str = "",
    ) -> KnownPeer:
        """All that is known of a peer, for a view of it."""
        told = self._told.get(peer) or PeerRecords()
        return KnownPeer(
            id=peer, me=me, state=state, member=told.member, load=told.load, scores=told.scores, rates=told.rates,
            round_trip_s=round_trip_s, heard_s=heard_s, address=address, remembered_name=remembered_name,
        )  # fmt: skip
