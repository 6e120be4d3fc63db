"""What the parts of the core share: the table, the news on its way, the timers, the effects of the call in progress."""

from __future__ import annotations

from typing import Final

from meshwit.gossip.chance import Chance
from meshwit.gossip.config import GossipConfig
from meshwit.gossip.effects import Effect, Misbehaved, Send
from meshwit.gossip.members import Member, MemberTable
from meshwit.gossip.messages import Claim, Message, encode
from meshwit.gossip.rumors import Rumors
from meshwit.gossip.timers import Timers
from meshwit.ids import PeerId, id_bytes

SECOND_MS: Final = 1000
LOST_BEFORE_LINK: Final = 3
"""Probes in a row that only the link answered before it carries what datagrams would."""


def loses_datagrams(member: Member) -> bool:
    """Whether its link should carry what datagrams would."""
    return member.datagrams_lost >= LOST_BEFORE_LINK and member.linked


class Ground:
    """State that several parts read; each field is changed by one of them.

    Attributes:
        incarnation: ours; it outbids whoever says that we are not alive.
        awareness: Lifeguard's local health, 0 when all is well: how much we mistrust our own verdicts.
        left: whether we have said goodbye.
        mesh_size: about how many peers the mesh has, as of the last comparison of digests.
        returned: those that were held for dead and are back, not yet compared with.
    """

    def __init__(self, me: PeerId, config: GossipConfig, rng: Chance, epoch_ms: int) -> None:
        self.me = me
        self.raw = id_bytes(me)
        self.config = config
        self.rng = rng
        self.table = MemberTable(me, rng, config.view_max, config.tombstones_max)
        self.rumors = Rumors()
        self.timers = Timers()
        self.incarnation = epoch_ms
        self.awareness = 0
        self.left = False
        self.mesh_size = 1
        self.returned: dict[PeerId, None] = {}
        self._out: list[Effect] = []
        self._epoch_ms = epoch_ms
        self._started_at: float | None = None

    def start_clock(self, now: float) -> None:
        """Tie monotonic time to the epoch."""
        self._started_at = now

    @property
    def started(self) -> bool:
        """Whether `start` was called and `leave` was not."""
        return self._started_at is not None and not self.left

    def wall_ms(self, now: float) -> int:
        """Milliseconds since 1970, by our own clock at the start."""
        started_at = now if self._started_at is None else self._started_at
        return self._epoch_ms + int((now - started_at) * SECOND_MS)

    def do(self, effect: Effect) -> None:
        """One more effect of the call in progress."""
        self._out.append(effect)

    def send(self, peer: PeerId, message: Message, reliable: bool) -> None:
        """Send a message: over the link, too, where datagrams to that peer are known to get lost."""
        if not reliable:
            member = self.table.members.get(peer)
            reliable = member is not None and loses_datagrams(member)
        self._out.append(Send(peer, encode(message), reliable))

    def send_exactly(self, peer: PeerId, message: Message, reliable: bool) -> None:
        """Send a message as asked, whatever is known of the path."""
        self._out.append(Send(peer, encode(message), reliable))

    def misbehaved(self, peer: PeerId, why: str) -> None:
        """A peer broke the rules."""
        self._out.append(Misbehaved(peer, why))

    def take(self) -> list[Effect]:
        """The effects of the call that ends."""
        out, self._out = self._out, []
        return out

    def timeout_s(self, peer: PeerId) -> float:
        """How long an answer of that peer may take: three round trips and what a busy device needs."""
        config, member = self.config, self.table.members.get(peer)
        round_trip_s = None if member is None else member.round_trip_s
        usual = config.ping_timeout_s if round_trip_s is None else 3 * round_trip_s + 0.05
        return min(config.ping_timeout_max_s, max(config.ping_timeout_s, usual)) * self.patience

    def own_claim(self, state: int) -> Claim:
        """What we say of ourselves."""
        return Claim(self.raw, state, self.incarnation)

    @property
    def patience(self) -> float:
        """By what our own time-outs are multiplied."""
        return 1.0 + self.awareness

    def transmits(self) -> int:
        """How often an item of news is sent."""
        return self.config.transmits(max(self.mesh_size, len(self.table) + 1))

    def period_s(self) -> float:
        """Between two probes."""
        return self.config.period_s(len(self.table) + 1)
