"""Records that were asked for and have not come: another teller is asked, in the end over the link.

A question or its answer may get lost like any datagram. Whoever tells of the same record meanwhile is kept as somebody
to turn to. Each question has its number of tries; after that it is forgotten, and anti-entropy finds what is missing.
"""

from __future__ import annotations

from typing import Final

from meshwit.gossip.ground import Ground
from meshwit.gossip.messages import Want, raw_of
from meshwit.gossip.shelf import Shelf
from meshwit.gossip.timers import Due
from meshwit.ids import PeerId

QUESTIONS_MAX: Final = 2048
TRIES_MAX: Final = 4
TELLERS_MAX: Final = 3
ITEMS_BY_DATAGRAM: Final = 24
ITEMS_BY_LINK: Final = 256

Item = tuple[PeerId, str, int]
"""Owner, topic (all of them if empty), version."""


class Question:
    """One record that is asked for.

    Attributes:
        batch: the number of the asking that it was last part of.
        asked: who was asked last.
        tellers: others who have it.
    """

    __slots__ = ("asked", "batch", "tellers", "tries", "version")

    def __init__(self, version: int, asked: PeerId) -> None:
        self.version = version
        self.asked = asked
        self.tellers: list[PeerId] = []
        self.tries = 0
        self.batch = 0


class Asker:
    """Asks for records until they are there."""

    def __init__(self, ground: Ground, shelf: Shelf) -> None:
        self.ground = ground
        self.shelf = shelf
        self.questions: dict[tuple[PeerId, str], Question] = {}
        self._batches: dict[int, list[tuple[PeerId, str]]] = {}
        self._batch = 0

    def ask(self, peer: PeerId, items: list[Item], now: float, reliable: bool) -> None:
        """Ask a peer for records, those apart that somebody was asked for and may still send."""
        fresh: list[tuple[PeerId, str]] = []
        for owner, topic, version in items:
            key = owner, topic
            question = self.questions.get(key)
            if question is None or question.version < version:
                self.questions.pop(key, None)
                self.questions[key] = Question(version, peer)
                fresh.append(key)
            elif peer != question.asked and peer not in question.tellers and len(question.tellers) < TELLERS_MAX:
                question.tellers.append(peer)
        while len(self.questions) > QUESTIONS_MAX:
            del self.questions[next(iter(self.questions))]
        fresh = [each for each in fresh if each in self.questions]
        if fresh:
            self._send(peer, fresh, now, reliable)

    def _send(self, peer: PeerId, keys: list[tuple[PeerId, str]], now: float, reliable: bool) -> None:
        self._batch += 1
        tries = 0
        for key in keys:
            question = self.questions[key]
            question.batch = self._batch
            question.tries += 1
            tries = max(tries, question.tries)
        self._batches[self._batch] = keys
        if len(self._batches) > QUESTIONS_MAX:
            del self._batches[next(iter(self._batches))]
        per_message = ITEMS_BY_LINK if reliable else ITEMS_BY_DATAGRAM
        for first in range(0, len(keys), per_message):
            wanted = [(raw_of(owner), topic) for owner, topic in keys[first : first + per_message]]
            self.ground.send(peer, Want(wanted), reliable)
        timeout_s = self.ground.config.ping_timeout_max_s if reliable else self.ground.timeout_s(peer)
        self.ground.timers.at(now + timeout_s * 2**tries, Due.ASK_AGAIN, self._batch)

    def again(self, batch: int, now: float) -> None:
        """An answer is late: turn to somebody else for what has not come."""
        by_teller: dict[tuple[PeerId, bool], list[tuple[PeerId, str]]] = {}
        for key in self._batches.pop(batch, ()):
            question = self.questions.get(key)
            if question is None or question.batch != batch:
                continue
            if question.tries >= TRIES_MAX or not self._lacks(key, question.version):
                del self.questions[key]
                continue
            reliable = not question.tellers
            if question.tellers:
                question.asked = question.tellers.pop(0)
            by_teller.setdefault((question.asked, reliable), []).append(key)
        for (teller, reliable), keys in by_teller.items():
            self._send(teller, keys, now, reliable)

    def _lacks(self, key: tuple[PeerId, str], version: int) -> bool:
        owner, topic = key
        if topic:
            return self.shelf.lacks(owner, raw_of(owner), topic, version)
        return owner not in self.ground.table.members and self.ground.table.wants(raw_of(owner))
