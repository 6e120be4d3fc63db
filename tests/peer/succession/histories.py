"""Small histories for tests: leaders a, b, c… with their logs, told by strings of what they recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from meshwit.ids import PeerId, peer_id
from meshwit.outcome import JobState
from meshwit.peer.succession.history import History
from meshwit.peer.succession.records import (
    Answered,
    Began,
    Body,
    Concluded,
    Decided,
    Intended,
    LogId,
    Over,
    Results,
    Slept,
    Versions,
)
from meshwit.peer.work.messages import Span

Bodies = Mapping[LogId, list[Body]]


def peer(name: str) -> PeerId:
    """The id of a peer by its name."""
    return peer_id(name.encode().ljust(32))


def log(text: str) -> LogId:
    """`b2` is the log that b writes in epoch 2."""
    return int(text[1:]), peer(text[0])


def began(*basis: str, rank: int = 0) -> Began:
    """`began("a1:4")`: with four records of that log."""
    pairs = [each.split(":") for each in basis]
    return Began([(*log(name), int(count)) for name, count in pairs], rank)


def bodies(records: str) -> list[Body]:
    """One record a word: its kind, and its `since`, as in `A0 R1 C1 I2 S2 D O`."""
    return [body(word[0], int(word[1:] or 0), number) for number, word in enumerate(records.split())]


def body(kind: str, since: int, number: int = 0) -> Body:
    """A record of that kind: Answered, Results, Concluded, Intended, Slept, Decided or Over."""
    path = (number,)
    match kind:
        case "A":
            return Answered(path, since)
        case "R":
            return Results(path, since, [])
        case "C":
            return Concluded(path, since)
        case "I":
            return Intended(path, since, Span(0, 1), "somewhere")
        case "S":
            return Slept(path, since, 1.0)
        case "D":
            return Decided(path, Span(0, 1), True)
    return Over(JobState.COMPLETED, 1.0)


def logs(**told: tuple[Began, str]) -> Bodies:
    """`logs(a1=(began(), "A0 A1"))`."""
    return {log(name): [begin, *bodies(records)] for name, (begin, records) in told.items()}


def history(of: Bodies, upto: Versions | None = None) -> History:
    """All of it, or the beginning of each log."""
    made = History()
    for name, recorded in of.items():
        for number, each in enumerate(recorded[: len(recorded) if upto is None else upto.get(name, 0)]):
            made.add(name, number, each)
    return made


def named(pairs: Iterable[tuple[LogId, int]]) -> list[str]:
    """`["a1:4"]`, the other way round."""
    names = {peer(letter): letter for letter in "abcdefgh"}
    return [f"{names[leader]}{epoch}:{number}" for (epoch, leader), number in pairs]
