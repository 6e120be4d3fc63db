"""Which step may use how many slots at present, and what leaders are told of that. Core.

A leader hears of its slots whenever they change. How they are divided among equals is in `sharing`; here stands who
takes part: a step that has had nothing for a while keeps no slots from others, and one that rests keeps none at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from meshwit.ids import PeerId
from meshwit.peer.work.effects import Effect, Say
from meshwit.peer.work.hosted import HostedStep
from meshwit.peer.work.messages import Granted
from meshwit.peer.work.sharing import Claim, shared_out

TURN_S: Final = 1.0
"""Where there are more steps than slots, the turn goes round so often: shorter costs messages, longer makes wait."""
IDLE_S: Final = 0.25
"""A step that has had nothing here for so long keeps no slots from others."""


class Granting:
    """The slots of a peer.

    Args:
        me: this peer: its own jobs run even while its owner lets it do nothing for others.
        slots: tasks at the same time.
        steps: all that are hosted.

    Attributes:
        resting: the owner lets the device do nothing for others.
    """

    def __init__(self, me: PeerId, slots: int, steps: Callable[[], Iterable[HostedStep]]) -> None:
        self.slots = slots
        self.resting = False
        self._me = me
        self._steps = steps
        self._turn = 0
        self._turned_at = 0.0

    def rests_for(self, step: HostedStep) -> bool:
        """Whether a step gets nothing because it is another peer's."""
        return self.resting and step.leader != self._me

    @property
    def free(self) -> int:
        """Slots that nobody uses."""
        return max(0, self.slots - sum(min(len(step.running), step.slots_max) for step in self._steps()))

    def turn(self, now: float) -> None:
        """Time has passed: perhaps it is the turn of others."""
        if now - self._turned_at >= TURN_S:
            self._turned_at = now
            self._turn += 1

    def share(self, now: float) -> list[Effect]:
        """Share the slots out anew; gives the words to each leader whose number changed."""
        claims = {
            step.number: Claim((step.leader, step.opened.job), step.opened.priority, step.slots_max)
            for step in self._steps()
            # One without slots is given nothing for that very reason: it has its turn, to show whether it wants any.
            if (step.queue or step.running or step.granted <= 0 or not idle(step, now)) and not self.rests_for(step)
        }
        granted = shared_out(self.slots, claims, self._turn)
        effects: list[Effect] = []
        for step in self._steps():
            # A step that rests here keeps no slot from others; its leader may go on believing in its own.
            slots = granted.get(step.number, 0 if self.rests_for(step) else step.granted)
            if step.number in claims or slots == 0:
                if slots != step.granted and step.orphaned_at is None:
                    effects.append(Say(step.leader, Granted(step.opened.step, slots)))
                if step.granted <= 0 < slots:
                    step.active_at = now
                step.granted = slots
        return effects


def idle(step: HostedStep, now: float) -> bool:
    """Whether a step has had nothing for so long that its slots are for others."""
    return now - step.active_at > IDLE_S
