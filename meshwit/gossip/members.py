"""The members in view: who, in what state, and which are kept when the mesh is too large to know whole.

Two rules choose, both without memory, so that the view does not wobble: the nearest ids by XOR (the neighbourhood,
which neighbours share), and those with the smallest product with a secret number of our own (an even sample of the
mesh: ids are hashes already).
Linked peers stay in view.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from enum import IntEnum
from typing import Final

from meshwit.gossip.chance import Chance
from meshwit.ids import PeerId, id_bytes
from meshwit.records import Record

NEVER: Final = float("-inf")
ID_SPACE: Final = 2**160
SALTED_MAX: Final = 2**64 - 1


class State(IntEnum):
    """Of a member. At the same incarnation the later one here overrides the earlier."""

    ALIVE = 1
    SUSPECT = 2
    DEAD = 3
    LEFT = 4


class Member:
    """What is known of one member.

    Attributes:
        heard_at: when anything came from it, monotonic seconds.
        answered_at: when it last showed that it also hears: by an answer.
        round_trip_s: smoothed, of datagrams; None before the first.
        linked: whether a link to it is up.
        closed_at: when its link closed without goodbye.
        died_at: when it was declared dead or left.
        datagrams_lost: probes in a row that only its link answered.
    """

    __slots__ = (
        "answered_at",
        "closed_at",
        "connect_at",
        "datagrams_lost",
        "died_at",
        "digest",
        "distance",
        "heard_at",
        "id",
        "incarnation",
        "linked",
        "raw",
        "records",
        "round_trip_s",
        "salted",
        "state",
    )

    def __init__(self, peer: PeerId, raw: bytes, incarnation: int, now: float) -> None:
        self.id = peer
        self.raw = raw
        self.state = State.ALIVE
        self.incarnation = incarnation
        self.records: dict[str, Record] = {}
        self.heard_at = now
        self.answered_at = NEVER
        self.round_trip_s: float | None = None
        self.linked = False
        self.closed_at = NEVER
        self.connect_at = NEVER
        self.died_at = NEVER
        self.datagrams_lost = 0
        self.digest: bytes | None = None
        self.distance = 0
        self.salted = 0

    @property
    def present(self) -> bool:
        """Whether it takes part: alive or only suspected."""
        return self.state <= State.SUSPECT

    def __repr__(self) -> str:
        return f"<{self.id[:8]} {self.state.name} {self.incarnation}>"


class Pool:
    """A set of peers from which one can be drawn at once."""

    def __init__(self) -> None:
        self._list: list[PeerId] = []
        self._place: dict[PeerId, int] = {}

    def add(self, peer: PeerId) -> None:
        """Put it in."""
        if peer not in self._place:
            self._place[peer] = len(self._list)
            self._list.append(peer)

    def discard(self, peer: PeerId) -> None:
        """Take it out."""
        place = self._place.pop(peer, None)
        if place is None:
            return
        last = self._list.pop()
        if last != peer:
            self._list[place] = last
            self._place[last] = place

    def draw(self, rng: Chance, count: int, but: PeerId | None = None) -> list[PeerId]:
        """Up to `count` different ones, without `but`."""
        size = len(self._list)
        if size <= count + 1:
            drawn = [each for each in self._list if each != but]
            rng.shuffle(drawn)
            return drawn[:count]
        drawn = []
        for _ in range(count * 3 + 3):
            peer = self._list[int(rng.random() * size)]
            if peer != but and peer not in drawn:
                drawn.append(peer)
                if len(drawn) == count:
                    break
        return drawn

    def __contains__(self, peer: object) -> bool:
        return peer in self._place

    def __len__(self) -> int:
        return len(self._list)

    def listed(self) -> list[PeerId]:
        """All, in no order that means anything."""
        return self._list


class MemberTable:
    """The members in view, without ourselves.

    Args:
        view_max: present members kept at most, linked ones apart.
        tombstones_max: dead and gone ones remembered at most.

    Attributes:
        salt: odd, and known to nobody else.
    """

    def __init__(self, me: PeerId, rng: Chance, view_max: int, tombstones_max: int) -> None:
        self.me = me
        self.members: dict[PeerId, Member] = {}
        self.present = Pool()
        self.absent = Pool()
        self.dead = Pool()
        self._view_max = view_max
        self._tombstones_max = tombstones_max
        self._rng = rng
        self.salt = rng.getrandbits(64) | 1
        self._number = int.from_bytes(id_bytes(me))
        self._order: list[PeerId] = []
        self._at = 0
        self._by_distance: list[tuple[int, PeerId]] = []
        self._by_salt: list[tuple[int, int, PeerId]] = []
        self._edge: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.present)

    @property
    def full(self) -> bool:
        """Whether the view takes in a newcomer only at another's cost."""
        return len(self.present) >= self._view_max

    def distance(self, raw: bytes) -> int:
        """By XOR, from us."""
        return int.from_bytes(raw) ^ self._number

    def salted(self, raw: bytes) -> int:
        """Its place in an order of all ids that is ours alone."""
        return int.from_bytes(raw[:8]) * self.salt & SALTED_MAX

    def _edges(self) -> tuple[int, int]:
        """How near, or how small under the salt, an id must be to be in a full view."""
        if self._edge is None:
            half = self._view_max // 2
            border = self._by_distance[self._view_max - half - 1][0]
            sample = [salted for salted, distance, _ in self._by_salt if distance > border][:half]
            self._edge = border, sample[-1] if sample else 0
        return self._edge

    def wants(self, raw: bytes) -> bool:
        """Whether a newcomer with that id would be kept."""
        if not self.full:
            return True
        border, sample = self._edges()
        return self.distance(raw) < border or self.salted(raw) < sample

    def add(self, peer: PeerId, raw: bytes, incarnation: int, now: float) -> Member:
        """Take in a new member, alive. `crowded_out` tells who has to go for it."""
        member = Member(peer, raw, incarnation, now)
        member.distance = self.distance(raw)
        member.salted = self.salted(raw)
        self.members[peer] = member
        self._enter(member)
        return member

    def crowded_out(self) -> list[Member]:
        """The present members that are too many; nobody while the view has room."""
        if len(self.present) <= self._view_max:
            return []
        border, sample = self._edges()
        out = [self.members[peer] for salted, distance, peer in self._by_salt if distance > border and salted > sample]
        return [each for each in out if not each.linked]

    def oldest_tombstones(self) -> list[Member]:
        """The absent members that are too many."""
        excess = len(self.absent) - self._tombstones_max
        if excess <= 0:
            return []
        return sorted((self.members[each] for each in self.absent.listed()), key=lambda each: each.died_at)[:excess]

    def set_state(self, member: Member, state: State) -> None:
        """Change its state."""
        was, member.state = member.present, state
        if member.present and not was:
            self.absent.discard(member.id)
            self.dead.discard(member.id)
            self._enter(member)
        elif was and not member.present:
            self._exit(member)
            self.absent.add(member.id)
        if state is State.DEAD:
            self.dead.add(member.id)
        elif state is State.LEFT:
            self.dead.discard(member.id)

    def remove(self, peer: PeerId) -> None:
        """Forget it."""
        member = self.members.pop(peer, None)
        if member is None:
            return
        if member.present:
            self._exit(member)
        self.absent.discard(peer)
        self.dead.discard(peer)

    def _enter(self, member: Member) -> None:
        self._edge = None
        self.present.add(member.id)
        insort(self._by_distance, (member.distance, member.id))
        insort(self._by_salt, (member.salted, member.distance, member.id))
        place = self._at + self._rng.randrange(len(self._order) - self._at + 1)
        self._order.insert(place, member.id)

    def _exit(self, member: Member) -> None:
        self._edge = None
        self.present.discard(member.id)
        del self._by_distance[bisect_left(self._by_distance, (member.distance, member.id))]
        del self._by_salt[bisect_left(self._by_salt, (member.salted, member.distance, member.id))]

    def next_to_probe(self) -> Member | None:
        """Round robin in an order shuffled anew each round, so that nobody waits longer than two rounds."""
        for _ in range(2):
            while self._at < len(self._order):
                peer = self._order[self._at]
                self._at += 1
                member = self.members.get(peer)
                if member is not None and member.present:
                    return member
            self._order = list(self.present.listed())
            self._rng.shuffle(self._order)
            self._at = 0
        return None

    def nearest(self, raw: bytes, count: int) -> list[Member]:
        """The present members nearest to an id by XOR."""
        target = int.from_bytes(raw)
        there = [self.members[each] for each in self.present.listed()]
        return sorted(there, key=lambda each: int.from_bytes(each.raw) ^ target)[:count]

    def known_count(self) -> int:
        """About how many members the mesh has, ourselves included.

        Exact while the view has room; else from how near our nearest half is: the density of ids is even.
        """
        if not self.full:
            return len(self.present) + 1
        half = self._view_max // 2
        return max(len(self.present) + 1, round((half - 1) * ID_SPACE / max(1, self._by_distance[half - 1][0])) + 1)
