"""What must always hold among gossiping peers, checked from outside of the cores.

After every step (or every so many, in large runs): the core's own `check`; no version goes back; nobody is accused who
keeps to the rules; a datagram fits into a packet; nobody sends to himself. Over the whole mesh: who runs and can be
reached by most is not held for dead. Deaths are recorded with their time, for the scenarios to judge.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from meshwit.gossip.effects import (
    Effect,
    MemberDied,
    MemberForgotten,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    Misbehaved,
    RecordChanged,
    Send,
)
from meshwit.gossip.swim import Gossip
from meshwit.ids import PeerId, short
from simulations.scenario import Run

DATAGRAM_BYTES_MAX: Final = 1200
GRACE_S: Final = 15.0
"""So long after a disturbance a death may still come of it."""
ONE_DEATH_S: Final = 60.0
"""Declarations of one peer's death within this time are one false death."""
PAIRS_SEEN_MAX: Final = 500_000


class Observer(Protocol):
    """A peer, as far as it is examined."""

    @property
    def id(self) -> PeerId:
        """Its id."""

    @property
    def name(self) -> str:
        """As in the trace."""

    @property
    def core(self) -> Gossip:
        """What is examined."""


class Watch:
    """Sees each effect of each peer of a mesh.

    Attributes:
        died_at: when each observer first told a subject's death (or goodbye) since it was last alive to it.
        false_deaths: (time, subject, first accuser) of those declared dead while they ran undisturbed.
        false_suspicions: how often somebody running and undisturbed was suspected, counted at each observer.
    """

    def __init__(self, run: Run, steps_per_check: int = 1) -> None:
        self.died_at: dict[tuple[PeerId, PeerId], float] = {}
        self.false_deaths: list[tuple[float, PeerId, PeerId]] = []
        self.false_suspicions = 0
        self._run = run
        self._simulation = run.simulation
        self._names: dict[PeerId, str] = {}
        self._steps_per_check = steps_per_check
        self._steps = 0
        self._versions: dict[tuple[PeerId, PeerId], dict[str, int]] = {}
        self._undisturbed_from: dict[PeerId, float] = {}
        self._gone: dict[PeerId, None] = {}
        self._all_undisturbed_from = 0.0

    # --- what the scenario does ----------------------------------------------------------------------------------

    def named(self, peer: PeerId, name: str) -> None:
        """How the trace calls it."""
        self._names[peer] = name

    def gone(self, peer: Observer) -> None:
        """Its process was ended: any death told of it is true."""
        self._gone[peer.id] = None
        for key in [key for key in self._versions if key[0] == peer.id]:
            del self._versions[key]

    def back(self, peer: PeerId) -> None:
        """It runs again."""
        self._gone.pop(peer, None)
        self.disturbed([peer])

    def disturbed(self, peers: Iterable[PeerId], lasting_s: float = float("inf")) -> None:
        """What is held of them now may be wrong, for so long and some grace."""
        until = self._simulation.now + lasting_s + GRACE_S
        for peer in peers:
            self._undisturbed_from[peer] = until

    def all_disturbed(self, lasting_s: float) -> None:
        """The same for everybody."""
        self._all_undisturbed_from = self._simulation.now + lasting_s + GRACE_S

    # --- what the peers do ---------------------------------------------------------------------------------------

    def sent(self, peer: Observer, effect: Send) -> None:
        """A message goes out."""
        if effect.peer == peer.id:
            self._run.fault(f"{peer.name} sends to itself")
        if not effect.reliable and len(effect.raw) > DATAGRAM_BYTES_MAX:
            self._run.fault(f"{peer.name} sends a datagram of {len(effect.raw)} bytes")

    def told(self, observer: Observer, effect: Effect) -> None:
        """Something changed in the eyes of one peer."""
        now = self._simulation.now
        note = self._simulation.note
        match effect:
            case MemberDied(subject, why):
                note(f"{observer.name} died {self._name(subject)} {why.name}")
                self.died_at.setdefault((observer.id, subject), now)
                self._judge_death(observer, subject, now)
                self._may_repeat(observer, subject)
            case MemberLeft(subject):
                note(f"{observer.name} left {self._name(subject)}")
                self.died_at.setdefault((observer.id, subject), now)
                if self._well(subject, now):
                    self._run.fault(f"{observer.name} holds {self._name(subject)} for gone")
                self._may_repeat(observer, subject)
            case MemberJoined(subject) | MemberRecovered(subject) | MemberForgotten(subject):
                if isinstance(effect, MemberForgotten):
                    self._versions.pop((observer.id, subject), None)
                note(f"{observer.name} {type(effect).__name__} {self._name(subject)}")
                self.died_at.pop((observer.id, subject), None)
            case MemberSuspected(subject, by):
                note(f"{observer.name} suspects {self._name(subject)} by {self._name(by)}")
                self.false_suspicions += self._well(subject, now) and self._well(observer.id, now)
            case RecordChanged(record):
                self._judge_version(observer, record.owner, record.topic, record.version)
            case Misbehaved(subject, reason):
                self._run.fault(f"{observer.name} accuses {self._name(subject)}: {reason}")
            case _:
                pass

    def stepped(self, peer: Observer) -> None:
        """A core was called; its own invariants hold."""
        self._steps += 1
        if self._steps % self._steps_per_check:
            return
        try:
            peer.core.check()
        except AssertionError as broken:
            self._run.fault(f"{peer.name} is not sound: {broken or 'an assertion in check()'}")
        deadline = peer.core.next_deadline()
        if deadline is not None and not deadline < float("inf"):
            self._run.fault(f"{peer.name} waits for {deadline}")

    # --- judgements ----------------------------------------------------------------------------------------------

    def _judge_death(self, observer: Observer, subject: PeerId, now: float) -> None:
        if not (self._well(subject, now) and self._well(observer.id, now)):
            return
        for time, known, _ in reversed(self.false_deaths):
            if known == subject and now - time < ONE_DEATH_S:
                return
        self.false_deaths.append((now, subject, observer.id))
        self._simulation.note(f"false death of {self._name(subject)} by {observer.name}")

    def _judge_version(self, observer: Observer, owner: PeerId, topic: str, version: int) -> None:
        seen = self._versions.get((observer.id, owner))
        if seen is None:
            if len(self._versions) >= PAIRS_SEEN_MAX:
                return
            seen = self._versions[observer.id, owner] = {}
        before = seen.get(topic, -1)
        if version <= before:
            self._run.fault(f"{observer.name} goes from version {before} of {topic} back to {version}")
        seen[topic] = version

    def _may_repeat(self, observer: Observer, subject: PeerId) -> None:
        """Records of the dead may be dropped, and so be new once more; older ones never."""
        seen = self._versions.get((observer.id, subject), {})
        for topic in seen:
            seen[topic] -= 1

    def _well(self, peer: PeerId, now: float) -> bool:
        """Whether it runs, and did so undisturbed for some time."""
        return (
            peer not in self._gone
            and now >= self._undisturbed_from.get(peer, 0.0)
            and now >= self._all_undisturbed_from
        )

    def _name(self, peer: PeerId) -> str:
        return self._names.get(peer) or short(peer)
