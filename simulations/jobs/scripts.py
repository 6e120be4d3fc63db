"""Small jobs of many kinds, each with what an independent look at its variables must find."""

from __future__ import annotations

import datetime
import random
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from simulations.jobs.lab import DRAWN, FRAIL

Ran = Callable[[int], tuple[str, int] | None]
"""The activity and the item number of a run, by the run's number; None if there was no such run of this job."""
Found: TypeAlias = Iterator[str]
Judge = Callable[[Mapping[str, Any], Ran], Found]


class Script:
    """A job.

    Attributes:
        items: so many tasks are in it.
        mean_s: how long one takes at speed 1, on the average; set by whoever submits it.
        once: it has tasks that must not run twice.
        pure: all its values follow from its text.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        body = "\n".join(part.text for part in parts)
        self.text = f"Job:Main()\n{{\n{body}\n}}"
        self.items = sum(part.items for part in parts)
        self.mean_s = 0.1
        self.once = any(part.once for part in parts)
        self.pure = all(part.pure for part in parts)
        self._parts = parts

    def wrong(self, variables: Mapping[str, Any], ran: Ran) -> list[str]:
        """What is not as it must be."""
        return [text for part in self._parts for text in part.judge(variables, ran)]


class Part:
    """One piece of a script; its variables end in its own number."""

    def __init__(self, text: str, items: int, judge: Judge, *, once: bool = False, pure: bool = True) -> None:
        self.text = text
        self.items = items
        self.judge = judge
        self.once = once
        self.pure = pure


def same(variables: Mapping[str, Any], name: str, wanted: object) -> Found:
    """A variable has that value."""
    value = variables.get(name)
    if value != wanted:
        yield f"{name} is {str(value)[:200]}, not {str(wanted)[:200]}"


def grid(rng: random.Random, n: int) -> Part:
    """One Grid step."""
    count = rng.randrange(20, 120)
    strategy = rng.choice(("Adaptive", "Adaptive", "Queued", "Balanced"))
    text = (
        f'IntCollection:ys{n} = Grid.ForEach(x in Int.Range(0, {count}), ProcessingOptions("{strategy}")) '
        f"=> Lab.Square(x);"
    )
    return Part(text, count, lambda v, _: same(v, f"ys{n}", [x * x for x in range(count)]))


def chain(rng: random.Random, n: int) -> Part:
    """Two, the second over the results of the first."""
    count = rng.randrange(10, 40)
    text = (
        f"IntCollection:as{n} = Grid.ForEach(x in Int.Range(0, {count})) => Lab.Square(x);\n"
        f"IntCollection:bs{n} = Grid.ForEach(a in as{n}) => Lab.Add(a, 3);"
    )
    return Part(text, 2 * count, lambda v, _: same(v, f"bs{n}", [x * x + 3 for x in range(count)]))


def loop(rng: random.Random, n: int) -> Part:
    """A Grid step in a loop, that goes on with its own results, and a call each time."""
    count, rounds = rng.randrange(5, 20), rng.randrange(2, 5)
    text = (
        f"Int:k{n} = 0;\nIntCollection:ls{n} = Int.Range(0, {count});\nLoop({rounds})\n{{\n"
        f"k{n} = Lab.Add(k{n}, 1);\nls{n} = Grid.ForEach(x in ls{n}) => Lab.Add(x, k{n});\n}}"
    )
    added = sum(range(rounds + 1))
    return Part(text, (count + 1) * rounds, lambda v, _: same(v, f"ls{n}", [x + added for x in range(count)]))


def parallel(rng: random.Random, n: int) -> Part:
    """Two at once."""
    one, two = rng.randrange(10, 40), rng.randrange(10, 40)
    text = (
        f"Parallel.Invoke()\n{{\nIntCollection:ps{n} = Grid.ForEach(x in Int.Range(0, {one})) => Lab.Square(x);\n"
        f"IntCollection:qs{n} = Grid.ForEach(x in Int.Range(0, {two})) => Lab.Add(x, 7);\n}}"
    )

    def judge(variables: Mapping[str, Any], _: Ran) -> Found:
        # They belong to the block's own scope: that it ended is all that is to be seen.
        yield from ()

    return Part(text, one + two, judge)


def drawn(rng: random.Random, n: int) -> Part:
    """A call whose value is another one each time, used by a Grid step."""
    count = rng.randrange(10, 40)
    text = (
        f"Int:d{n} = Lab.Draw({n});\n"
        f"IntCollection:es{n} = Grid.ForEach(x in Int.Range(0, {count})) => Lab.Add(x, d{n});"
    )

    def judge(variables: Mapping[str, Any], ran: Ran) -> Found:
        value = variables.get(f"d{n}") or 0
        if value % DRAWN != n or ran(value // DRAWN) != ("Lab.Draw", 0):
            yield f"d{n} is {value}, which no run gave"
        yield from same(variables, f"es{n}", [x + value for x in range(count)])

    return Part(text, count + 1, judge, pure=False)


def drawn_grid(rng: random.Random, n: int) -> Part:
    """A Grid step whose values are other ones each time, and one over them."""
    count = rng.randrange(10, 40)
    text = (
        f"IntCollection:fs{n} = Grid.ForEach(x in Int.Range(0, {count})) => Lab.Draw(x);\n"
        f"IntCollection:gs{n} = Grid.ForEach(f in fs{n}) => Lab.Add(f, 1);"
    )

    def judge(variables: Mapping[str, Any], ran: Ran) -> Found:
        values = variables.get(f"fs{n}") or []
        for x, value in enumerate(values):
            if value % DRAWN != x or ran(value // DRAWN) != ("Lab.Draw", x):
                yield f"fs{n}[{x}] is {value}, which no run gave"
        if len(values) != count:
            yield f"fs{n} has {len(values)} values of {count}"
        yield from same(variables, f"gs{n}", [value + 1 for value in values])

    return Part(text, 2 * count, judge, pure=False)


def failing(rng: random.Random, n: int) -> Part:
    """A step that fails, held by a `Try`."""
    count = rng.randrange(8, 30)
    text = (
        f"Int:w{n} = 0;\nTry\n{{\nIntCollection:ts{n} = Grid.ForEach(x in Int.Range(0, {count})) => Lab.Frail(x);\n}}\n"
        f"Catch(String:error)\n{{\nw{n} = Lab.Add(1, 1);\n}}"
    )
    return Part(text, count + 1, lambda v, _: same(v, f"w{n}", 2))


def skipping(rng: random.Random, n: int) -> Part:
    """A step that goes on without items that fail."""
    count = rng.randrange(8, 30)
    retries = rng.choice((0, 2))
    text = (
        f"IntCollection:us{n} = Grid.ForEach(x in Int.Range(0, {count}), "
        f'ProcessingOptions("Adaptive", Retries: {retries}, OnError: "Skip")) => Lab.Frail(x);'
    )
    wanted = [None if x % FRAIL == 2 else x for x in range(count)]
    return Part(text, count, lambda v, _: same(v, f"us{n}", wanted))


def waiting(rng: random.Random, n: int) -> Part:
    """A wait, and a timer."""
    delay, interval = rng.randrange(100, 3000), rng.randrange(100, 900)
    text = (
        f"Int:m{n} = 0;\nDelay({delay})\n{{\nm{n} = Lab.Add(m{n}, 1);\n}}\n"
        f"Timer({interval}, {3 * interval})\n{{\nm{n} = Lab.Add(m{n}, 10);\n}}"
    )

    def judge(variables: Mapping[str, Any], _: Ran) -> Found:
        # By its total a timer runs its block three times; time that leaders needed may cost it rounds.
        value = variables.get(f"m{n}")
        if value not in (1, 11, 21, 31):
            yield f"m{n} is {value}"

    return Part(text, 4, judge)


def stamped(rng: random.Random, n: int) -> Part:
    """Time and chance, asked for by the leader and used later."""
    count = rng.randrange(8, 30)
    text = (
        f"Int:s{n} = Lab.Stamp();\nDateTime:t{n} = DateTime.Now();\nGuid:g{n} = NewGuid();\n"
        f"IntCollection:vs{n} = Grid.ForEach(x in Int.Range(0, {count})) => Lab.Add(x, s{n});\n"
        f'StringCollection:xs{n} = Grid.ForEach(x in Int.Range(0, {count})) => Lab.Tag(x, "" + g{n} + t{n});'
    )

    def judge(variables: Mapping[str, Any], _: Ran) -> Found:
        stamp = variables.get(f"s{n}")
        if not isinstance(stamp, int):
            yield f"s{n} is {stamp}"
            return
        yield from same(variables, f"vs{n}", [x + stamp for x in range(count)])
        if not isinstance(variables.get(f"t{n}"), datetime.datetime):
            yield f"t{n} is {variables.get(f't{n}')}"
        guid = variables.get(f"g{n}")
        if not isinstance(guid, uuid.UUID):
            yield f"g{n} is {guid}"
        texts = [str(text) for text in variables.get(f"xs{n}") or ["none"]]
        if len({text.partition(" ")[2] for text in texts}) != 1 or str(guid) not in texts[0]:
            yield f"xs{n} are of several moments or ids: {texts[:2]}"

    return Part(text, 2 * count, judge, pure=False)


def once(rng: random.Random, n: int) -> Part:
    """Tasks that must not run twice."""
    count = rng.randrange(4, 16)
    text = (
        f"IntCollection:os{n} = Grid.ForEach(x in Int.Range(0, {count}), "
        f'ProcessingOptions("Adaptive", OnError: "Skip")) => Lab.Send(x);'
    )

    def judge(variables: Mapping[str, Any], _: Ran) -> Found:
        values = variables.get(f"os{n}") or []
        if len(values) != count or any(value not in (x + 1, None) for x, value in enumerate(values)):
            yield f"os{n} is {values}"

    return Part(text, count, judge, once=True)


KINDS: Final = (grid, chain, loop, parallel, drawn, drawn_grid, failing, skipping, waiting, stamped, once)


def random_script(rng: random.Random) -> Script:
    """A job of some parts."""
    kinds = rng.sample(KINDS, rng.choice((1, 1, 2, 3)))
    return Script([kind(rng, number) for number, kind in enumerate(kinds, 1)])


def once_script(rng: random.Random) -> Script:
    """A job of tasks that must not run twice."""
    return Script([once(rng, 1), once(rng, 2)])


def plain_grid(count: int) -> Script:
    """One Grid step of so many items."""
    text = f"IntCollection:ys = Grid.ForEach(x in Int.Range(0, {count})) => Lab.Square(x);"
    return Script([Part(text, count, lambda v, _: same(v, "ys", [x * x for x in range(count)]))])
