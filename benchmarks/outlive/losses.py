"""Peers are lost in the middle of a job, its leader too: what it takes until another one leads, and what it costs.

The same job runs undisturbed just before, led by the same peer on the same ones. The ideal of a loss is that time up to
the loss, and from then on what is left shared by those that are left.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.outlive.crew import WORK, Crew, Followed, Member, check, crew, kill, until
from benchmarks.outlive.figures import Figure, figure, seconds
from benchmarks.outlive.notes import begun_after, longest_pause, repeats, runs_of
from meshwit.peer.control.api import PeerError

EARLIEST, LATEST = 0.2, 0.7
"""When, as shares of the time that the job takes undisturbed."""
THAWED_S = 3.0
"""After a frozen leader goes on: how long what it does then is watched."""
GROWTH_S, GROWTH_SHARE = 3.0, 0.03
"""By how much a job may take longer than its ideal."""
Raw = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Loss:
    """A case: how many of so many peers are lost, the leader among them, and how; how many stand by, so that one can
    lead."""

    name: str
    title: str
    how: Callable[[int], int]
    standbys: Callable[[int], int]
    freezes: bool = False
    next_leader: tuple[str, str] = ("", "")


LOSSES = {
    each.name: each
    for each in (
        Loss("killed", "leader killed", lambda peers: 1, lambda peers: 2, next_leader=("2 s", "5 s")),
        Loss("frozen", "leader frozen", lambda peers: 1, lambda peers: 2, freezes=True, next_leader=("5 s", "")),
        Loss("half", "half of the peers killed", lambda peers: peers // 2, lambda peers: peers // 2),
        Loss("all-but-one", "all but one killed", lambda peers: peers - 1, lambda peers: peers - 1),
    )
}


def measure(loss: Loss, options: argparse.Namespace) -> tuple[list[Figure], list[Raw]]:
    """So many runs; after one that went wrong, on fresh peers."""
    source = random.Random(options.seed)
    raw: list[Raw] = []
    while len(raw) < options.runs:
        with crew(options.peers, options.keep) as made:
            while len(raw) < options.runs:
                try:
                    told = _one(loss, made, source, options)
                except (RuntimeError, TimeoutError, PeerError) as reason:  # before anything was lost
                    print(made.said(), file=sys.stderr)
                    told = {"failed": f"not begun: {reason}"}
                raw.append(told)
                print(f"{loss.name} {len(raw)}/{options.runs}: {_brief(told)}", file=sys.stderr, flush=True)
                if "failed" in told:
                    break
    return figures(loss, raw), raw


def _brief(told: Raw) -> str:
    texts = {key: f"{value:.3f}" if isinstance(value, float) else str(value) for key, value in told.items()}
    return ", ".join(f"{key} {text}" for key, text in texts.items())


def _one(loss: Loss, made: Crew, source: random.Random, options: argparse.Namespace) -> Raw:
    made.whole()
    victims = source.sample(made.members, loss.how(len(made.members)))
    leader, follower = victims[0], source.choice([each for each in made.members if each not in victims])
    made.warm_up(leader)
    at_share = source.uniform(EARLIEST, LATEST)
    seconds_each = options.item_ms / 1e3
    standbys = loss.standbys(len(made.members))
    plain = made.start(
        leader, follower, WORK, [options.items, str(made.noted()), seconds_each], standbys=standbys
    )  # fmt: skip
    check(plain.outcome(options.patience), options.items)
    notes = made.noted()
    job = made.start(leader, follower, WORK, [options.items, str(notes), seconds_each], standbys=standbys)
    told: Raw = {"job": job.id, "leader": leader.name, "lost": [each.name for each in victims]}
    told |= {"share": at_share, "undisturbed_s": plain.seconds}
    until(job.is_watched, "the follower is told of the job")
    time.sleep(max(0.0, job.asked_at + at_share * plain.seconds - time.time()))
    if loss.freezes:
        lost_at = time.time()
        leader.freeze()
    else:
        lost_at = kill(victims)
    try:
        check(job.outcome(options.patience), options.items)
    except (RuntimeError, TimeoutError, PeerError) as reason:
        runs = runs_of(notes)
        begun, ended = {run.item for run in runs}, {run.item for run in runs if run.ended is not None}
        last = max((run.began for run in runs), default=lost_at) - lost_at
        evidence = f"{len(begun)} items have begun, {len(ended)} ended, the last began {last:.3f} s after the loss"
        print(f"{evidence}\n{made.views(job.id)}\n{made.said(40)}", file=sys.stderr, flush=True)
        return told | {"failed": f"{type(reason).__name__}: {reason}", "evidence": evidence}
    told |= _measured(made, job, lost_at, notes_of=(notes, [each.name for each in victims]), plain_s=plain.seconds)
    if loss.freezes:
        told |= _thawed(made, leader, job, notes_of=notes)
    return told


def _measured(made: Crew, job: Followed, lost_at: float, notes_of: tuple[Any, Sequence[str]], plain_s: float) -> Raw:
    notes, lost = notes_of
    runs = runs_of(notes)
    led_at = job.led_again_at(lost_at)
    worked_at = None if led_at is None else begun_after(runs, led_at, lost)
    left = len(made.names) - len(lost)
    before_s = lost_at - job.asked_at
    ideal_s = before_s + max(0.0, plain_s - before_s) * len(made.names) / left
    told: Raw = {"seconds": job.seconds, "ideal_s": ideal_s, "growth_s": job.seconds - ideal_s}
    told |= {"growth_of_allowed": (job.seconds - ideal_s) / (GROWTH_S + GROWTH_SHARE * ideal_s)}
    told |= {"led_s": None if led_at is None else led_at - lost_at}
    told |= {"worked_s": None if worked_at is None else worked_at - lost_at}
    told |= {"pause_s": longest_pause(runs, lost_at, lost)}
    again = repeats(runs, lost_at, lost)
    told |= {"needless": again.needless, "lost_runs": again.lost, "other": again.other}
    return told | {"oldest_s": again.oldest_s}


def _thawed(made: Crew, leader: Member, job: Followed, notes_of: Any) -> Raw:
    """The frozen leader goes on, after the end: it must learn that, run next to nothing more, and be of use again."""
    thawed_at = time.time()
    leader.thaw()
    try:
        until(lambda: _state(leader, job.id) == "completed", "the thawed leader knows that it has ended", 20.0)
    except TimeoutError as reason:
        print(f"{made.views(job.id)}\n{made.said(40)}", file=sys.stderr, flush=True)
        return {"failed": f"{reason}; it says {_state(leader, job.id)!r}"}
    learned_s = time.time() - thawed_at
    time.sleep(max(0.0, thawed_at + THAWED_S - time.time()))
    began = sum(run.began > thawed_at for run in runs_of(notes_of))
    states = Counter(_state(each, job.id) for each in made.members)
    if set(states) != {"completed"}:
        print(f"{made.views(job.id)}\n{made.said(40)}", file=sys.stderr, flush=True)
        return {"failed": f"after the thaw peers say that the job is {dict(states)}"}
    return {"learned_s": learned_s, "began_after_thaw": began}


def _state(member: Member, job: str) -> str:
    try:
        return next((view.state for view in member.client.jobs() if view.id == job), "unknown")
    except PeerError as reason:
        return reason.message


def figures(loss: Loss, raw: Sequence[Raw]) -> list[Figure]:
    """What so many runs came to."""
    well = [each for each in raw if "failed" not in each]

    def values(key: str) -> list[float]:
        return [float(each[key]) for each in raw if each.get(key) is not None]

    name = loss.name
    right = f"{len(well)} of {len(raw)}"
    found = [figure(name, f"{loss.title}: right result, nothing missing", right, "all")]
    for each in raw:
        if "failed" in each:
            found.append(figure(name, f"  {each['failed'][:90]}", "failed"))
    found += seconds(name, "until another leader is told to be at work", values("led_s"), *loss.next_leader)
    found += seconds(name, "until an item begins under it", values("worked_s"), *loss.next_leader)
    found += seconds(name, "longest pause of all that are left", values("pause_s"))
    found += seconds(name, "longer than the ideal of the loss", values("growth_s"))
    share = f"1 ({GROWTH_S:g} s + {GROWTH_SHARE:.0%})"
    found += seconds(name, "that, of what is allowed", values("growth_of_allowed"), share, share, "x")
    found.append(_count(name, "items run again though reported", values("needless"), "0"))
    found.append(_count(name, "items run again that were lost", values("lost_runs")))
    found += seconds(name, "age at the loss of the oldest result that was lost", values("oldest_s"))
    found.append(_count(name, "items run beside others at the end", values("other")))
    if loss.freezes:
        found += seconds(name, "thawed: until it knows that the job has ended", values("learned_s"))
        found.append(_count(name, "thawed: items that began then", values("began_after_thaw")))
    return found


def _count(case: str, what: str, values: Sequence[float], target: str = "") -> Figure:
    each = f"{sum(values):.0f} in {len(values)} runs, at most {max(values, default=0):.0f}"
    return figure(case, what, each, target, values)
