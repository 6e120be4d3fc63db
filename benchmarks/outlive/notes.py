"""What the items of a job noted as they ran, and what is to be read from it. Pure but for reading the file.

Each run of an item leaves two lines, when it begins and when it ends, with the peer's name and the time. All peers
share this machine's clock.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

REPORTED_S = 0.5
"""A result that is older has long been reported, and recorded where others have it."""


@dataclass(slots=True)
class Run:
    """One run of an item; `ended` is None where it never did."""

    item: int
    peer: str
    began: float
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class Repeats:
    """Runs of items that had run before.

    Attributes:
        needless: after the loss, of items whose result was there and had been reported.
        lost: after the loss, of items that ran on a lost peer then, or whose result nobody else had yet.
        other: all others: last items that idle peers run beside, to be done sooner.
        oldest_s: how old the oldest result was, when it was lost, of an item that ran again; 0 if only runs were lost.
    """

    needless: int
    lost: int
    other: int
    oldest_s: float = 0.0


def runs_of(file: Path) -> list[Run]:
    """All runs, in the order in which they began."""
    found: list[Run] = []
    open_runs: dict[tuple[int, str, str], Run] = {}
    for line in file.read_text().splitlines() if file.exists() else []:
        what, item, peer, process, at = line.split()
        key = (int(item), peer, process)
        if what == "began":
            found.append(Run(int(item), peer, float(at)))
            open_runs[key] = found[-1]
        elif key in open_runs:
            open_runs.pop(key).ended = float(at)
    return sorted(found, key=lambda run: run.began)


def repeats(runs: Sequence[Run], lost_at: float, lost: Collection[str]) -> Repeats:
    """Which runs were not the first of their item, and why."""
    of_item: dict[int, list[Run]] = defaultdict(list)
    for run in runs:
        of_item[run.item].append(run)
    needless = gone = other = 0
    oldest_s = 0.0
    for runs_of_one in of_item.values():
        for number, run in enumerate(runs_of_one[1:], 1):
            before = runs_of_one[:number]
            if run.began <= lost_at:
                other += 1
            elif any(_was_reported(earlier, run.began, lost_at, lost) for earlier in before):
                needless += 1
            elif all(earlier.peer in lost for earlier in before):
                gone += 1
                oldest_s = max([oldest_s, *(lost_at - each.ended for each in before if each.ended is not None)])
            else:
                other += 1
    return Repeats(needless, gone, other, oldest_s)


def _was_reported(run: Run, by: float, lost_at: float, lost: Collection[str]) -> bool:
    until = min(by, lost_at) if run.peer in lost else by
    return run.ended is not None and run.ended + REPORTED_S < until


def begun_after(runs: Iterable[Run], at: float, besides: Collection[str] = ()) -> float | None:
    """When the first item began after some time, on other peers than these."""
    return min((run.began for run in runs if run.began > at and run.peer not in besides), default=None)


def longest_pause(runs: Sequence[Run], since: float, besides: Collection[str] = ()) -> float:
    """The longest time without an item that began, from then until the last one did, on other peers than these."""
    times = [since, *(run.began for run in runs if run.began > since and run.peer not in besides)]
    return max((later - earlier for earlier, later in itertools.pairwise(times)), default=0.0)
