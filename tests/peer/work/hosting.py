"""A peer that works for leaders, without processes or a network: tests say what happens and see what goes where."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from meshwit.ids import PeerId
from meshwit.peer.work.effects import Effect, End, Fetch, Forget, Prepare, Recall, Say, Submit
from meshwit.peer.work.host import TaskHost
from meshwit.peer.work.messages import (
    AskBack,
    Assigned,
    Close,
    GivenBack,
    Granted,
    Open,
    Refused,
    ToLeader,
    Unwanted,
    span,
)

ME, ADA, BOB = PeerId("me"), PeerId("ada"), PeerId("bob")
BLOB = ("b" * 64, 100)


class Hosting:
    """A `TaskHost` and its surroundings.

    Attributes:
        now: seconds.
        said: messages to leaders, since `heard` was last asked.
        pool: batches in the pool, by its number.
        fetching: keys of what is being fetched.
        ended: steps of the pool that have ended; whether they were cancelled.
        recalls, forgotten: asked of the pool.
    """

    def __init__(self, slots: int = 4) -> None:
        self.host = TaskHost(ME, slots)
        self.now = 100.0
        self.said: list[tuple[PeerId, ToLeader]] = []
        self.pool: dict[int, Submit] = {}
        self.fetching: list[Fetch] = []
        self.ended: list[tuple[int, bool]] = []
        self.steps: dict[tuple[PeerId, int], int] = {}
        self.recalls: list[Recall] = []
        self.forgotten: list[Forget] = []
        self._batches = itertools.count(1)

    def carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Say(leader=leader, message=message):
                    self.said.append((leader, message))
                case Prepare():
                    self.steps[effect.leader, effect.opened.step] = effect.number
                case Submit():
                    self.pool[effect.number] = effect
                case Fetch():
                    self.fetching.append(effect)
                case End(number=number, cancel=cancel):
                    self.ended.append((number, cancel))
                    self.pool = {key: each for key, each in self.pool.items() if each.step != number}
                case Recall():
                    self.recalls.append(effect)
                case Forget():
                    self.forgotten.append(effect)
        self.host.check()

    # --- leaders -----------------------------------------------------------------------------------------------

    def open(self, leader: PeerId, step: int = 1, job: str = "job", **fields: Any) -> None:
        self.carry_out(self.host.open(leader, Open(step, job, b"", **fields), [], self.now))

    def assign(self, leader: PeerId, step: int, *batches: Sequence[int], blobs: Sequence[tuple[str, int]] = ()) -> None:
        for items in batches:
            batch = Assigned(step, next(self._batches), span(items), b"", list(blobs))
            self.carry_out(self.host.assigned(leader, batch, [], self.now))

    def ask_back(self, leader: PeerId, step: int, items: Sequence[int]) -> None:
        self.carry_out(self.host.ask_back(leader, AskBack(step, span(items))))

    def drop(self, leader: PeerId, step: int, items: Sequence[int]) -> None:
        self.carry_out(self.host.unwanted(leader, Unwanted(step, span(items))))

    def close(self, leader: PeerId, step: int = 1, *, cancel: bool = False) -> None:
        self.carry_out(self.host.close(leader, Close(step, cancel), self.now))

    def leaves(self, leader: PeerId) -> None:
        self.carry_out(self.host.leader_left(leader, self.now))

    # --- the pool ----------------------------------------------------------------------------------------------

    def feed(self, room: int) -> list[tuple[PeerId, tuple[int, ...]]]:
        """What the pool is given, in order: whose, and which items."""
        before = set(self.pool)
        self.carry_out(self.host.next_batches(room))
        leaders = {number: key[0] for key, number in self.steps.items()}
        new = [each for number, each in self.pool.items() if number not in before]
        return [(leaders[each.step], tuple(each.batch.items.numbers)) for each in new]

    def finish(self, *items: int) -> None:
        """The batches with these items end."""
        for number, each in list(self.pool.items()):
            if set(each.batch.items.numbers) & set(items):
                del self.pool[number]
                self.host.batch_ended(number, self.now)
        self.host.check()

    def fetched(self, key: int | None = None, why: str = "") -> None:
        fetch = next(each for each in self.fetching if key in (None, each.key))
        self.fetching.remove(fetch)
        self.carry_out(self.host.fetched(fetch.key, why, self.now))

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.carry_out(self.host.tick(self.now))

    # --- what was said -----------------------------------------------------------------------------------------

    def heard(self, kind: type) -> list[Any]:
        """Messages of a kind since this was last asked: `(leader, message)`."""
        found = [(leader, message) for leader, message in self.said if isinstance(message, kind)]
        self.said = [each for each in self.said if not isinstance(each[1], kind)]
        return found

    def granted(self) -> dict[tuple[PeerId, int], int]:
        """The last that each leader heard of its steps' slots since this was last asked."""
        return {(leader, message.step): message.slots for leader, message in self.heard(Granted)}

    def given_back(self) -> list[tuple[PeerId, list[int]]]:
        return [(leader, list(message.items.numbers)) for leader, message in self.heard(GivenBack)]

    def refused(self) -> list[tuple[PeerId, int, str]]:
        return [(leader, message.step, message.why) for leader, message in self.heard(Refused)]
