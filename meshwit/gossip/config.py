"""The numbers of gossip, each with its unit and what goes wrong when it is too low or too high."""

from __future__ import annotations

import math

import msgspec


class GossipConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one peer's gossip; peers with different ones understand each other.

    Attributes:
        probe_period_s: between two probes in a small mesh. Lower finds death sooner and costs two datagrams each time.
        probe_period_large_s: the same in a mesh of `large` and more, where many others probe as well.
        large: members from which a mesh is large; between, the period grows evenly.
        ping_timeout_s: least time a ping may take before others are asked. Too low asks for nothing on a busy device.
        ping_timeout_max_s: longest such time, for far peers. Too high delays every detection among them.
        indirect: peers asked to probe in one's stead. Fewer than 3 lets loss through, more costs four datagrams each.
        awareness_max: Lifeguard's ceiling; own time-outs are multiplied by up to this much while we are the slow one.
        suspicion_min_s: times max(1, log10(members)): how long a suspect has when enough others confirm. Too low kills
            the living, too high is slow to see a pulled cable.
        suspicion_max_s: the same for a suspect that nobody confirms.
        confirmations: independent accusers that bring the time down to the least (Lifeguard's k).
        verifiers: members, on average, that check a suspicion by a probe of their own. Too high is a stampede.
        fresh_s: an answer so young speaks against a suspicion that others spread.
        belief_s: somebody who answered us so lately is checked by ourselves before we believe that it is dead.
        stall_s: a tick so late is our own fault (sleep, frozen, overloaded): deadlines move on by as much.
        retransmit: a news item is sent `ceil(retransmit * (1 + log10(members + 1)))` times by each peer. Too low leaves
            news to the anti-entropy (of c transmissions a share of e^-c is missed), too high repeats what is known.
        gossip_period_s: between two pushes of news, as long as there are any.
        fanout: peers told by each push.
        gossip_bytes_per_s: of pushed news at most; what rides on probes apart. Too low delays news in a large mesh.
        strangers_per_s: deaths per second of peers out of view that are passed on. Too low leaves those who have them
            in view to find out by probing, too high lets one liar flood the mesh.
        sync_period_s: between two comparisons of digests with another member (anti-entropy).
        sync_join_s: the same while a newcomer gets to know the mesh.
        sync_join_rounds: so many of them.
        revive_period_s: between two calls to a dead member, which end a partition. Higher heals later.
        dead_s: how long the dead are remembered and called. Too low makes strangers of them.
        tombstones_max: dead members remembered at most.
        view_max: members known at most; in a larger mesh half are the nearest by id, half a sample.
        datagram_bytes_max: of a message that is sent as a datagram, before it is sealed.
        push_bytes_max: a larger record is announced, and sent to those who ask.
        owner_topics_max: topics that one peer may have.
        owner_bytes_max: payload bytes that one peer may have in all its topics.
        shared_records_max: records of topics that concern everybody.
        quiet_topics: topics whose changes only ride on probes and are never pushed: they change often, nobody waits.
        clock_tolerance_s: how far the clocks of two peers may differ before an expiry counts.
    """

    probe_period_s: float = 0.5
    probe_period_large_s: float = 1.0
    large: int = 32
    ping_timeout_s: float = 0.15
    ping_timeout_max_s: float = 1.0
    indirect: int = 3
    awareness_max: int = 8
    suspicion_min_s: float = 0.75
    suspicion_max_s: float = 5.0
    confirmations: int = 3
    verifiers: float = 8.0
    fresh_s: float = 1.0
    belief_s: float = 2.0
    stall_s: float = 0.3
    retransmit: float = 3.0
    gossip_period_s: float = 0.2
    fanout: int = 3
    gossip_bytes_per_s: float = 8192.0
    strangers_per_s: float = 4.0
    sync_period_s: float = 25.0
    sync_join_s: float = 1.0
    sync_join_rounds: int = 5
    revive_period_s: float = 2.0
    dead_s: float = 6 * 3600.0
    tombstones_max: int = 4096
    view_max: int = 256
    datagram_bytes_max: int = 1140
    push_bytes_max: int = 320
    owner_topics_max: int = 32
    owner_bytes_max: int = 64 * 1024
    shared_records_max: int = 1024
    quiet_topics: frozenset[str] = frozenset({"load"})
    clock_tolerance_s: float = 600.0

    def period_s(self, members: int) -> float:
        """Between two probes in a mesh of that many members."""
        growth = min(1.0, max(0.0, (members - 8) / max(1, self.large - 8)))
        return self.probe_period_s + growth * (self.probe_period_large_s - self.probe_period_s)

    def transmits(self, members: int) -> int:
        """How often one peer sends one item of news in a mesh of that many members."""
        return max(1, math.ceil(self.retransmit * (1 + math.log10(members + 1))))
