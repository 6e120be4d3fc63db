"""How near to the ideal a Grid step comes, for each strategy and for two simple schedulers beside them.

Each case makes tasks and peers of a seed, and says what the makespan is to be compared with: where nothing else is said
the work over the speed of all that can work at the time, for few tasks the best possible assignment (or a lower bound).
"""

from __future__ import annotations

import heapq
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from meshwit.ids import PeerId
from meshwit.peer.sched.config import SchedulerConfig
from meshwit.peer.sched.estimates import RatePrior
from meshwit.peer.sched.grid import STRATEGIES, GridScheduler
from meshwit.peer.sched.nearness import Nearness
from simulations.engine import Simulation
from simulations.scenario import Figure, Run, Scenario
from simulations.scheduling import Scheduler, Step, Worker
from simulations.scheduling_simple import PlainPull, StaticSplit

OFFICE: Final = (850.0, 620.0, 340.0, 200.0)
IDEAL_S: Final = 20.0
LIMIT_S: Final = 2000.0
SCORE_ERROR: Final = 0.05


class Case(msgspec.Struct):
    """One step to schedule.

    Attributes:
        sizes: work of each task.
        speeds: of each peer's slots.
        reference_s: what the makespan is compared with.
        scores: what is believed of speeds.
        works: estimates of sizes; None for none.
        slots: of each peer.
        happenings: what happens to which peer, and when.
        beats: peers give signs of life.
        near: where data lie, and what moving costs; None where nothing is to be moved.
        told: whether the scheduler knows that.
    """

    sizes: npt.NDArray[np.float64]
    speeds: Sequence[float]
    reference_s: float
    scores: list[float]
    works: npt.NDArray[np.float64] | None = None
    slots: Sequence[int] = ()
    happenings: Sequence[tuple[float, int, str, float]] = ()
    beats: bool = False
    near: Nearness | None = None
    told: bool = True


def play_case(case: Case, name: str, seed: int, check_each: int = 97) -> tuple[Step, Scheduler]:
    """Schedule a case by a strategy, or by `static` or `pull`."""
    simulation = Simulation(seed)
    scheduler = make_scheduler(name, case)
    step = Step(simulation, scheduler, case.sizes, check_each=check_each, near=case.near)
    workers: list[Worker] = []
    for number, (speed, score) in enumerate(zip(case.speeds, case.scores, strict=True)):
        slots = case.slots[number] if case.slots else 1
        workers.append(step.join(PeerId(f"peer{number}"), speed, slots, RatePrior(score, 0.15)))
    for when, number, what, value in case.happenings:
        worker = workers[number]
        match what:
            case "speed":
                simulation.at(when, worker.change_speed, value)
            case "kill":
                simulation.at(when, step.kill, worker)
            case "freeze":
                simulation.at(when, worker.freeze)
            case "wake":
                simulation.at(when, worker.wake)
            case _:
                raise AssertionError(what)
    if case.beats:
        for worker in workers:
            worker.beat()
    step.start()
    simulation.run_until(lambda: step.makespan_s < math.inf, LIMIT_S, 0.5)
    return step, scheduler


def make_scheduler(name: str, case: Case) -> Scheduler:
    """By name."""
    count = len(case.sizes)
    if name == "static":
        return StaticSplit(count)
    if name in ("pull", "prefetch"):
        return PlainPull(count, prefetch=name == "prefetch")
    config = SchedulerConfig(beats=True, silence_min_s=1.0) if case.beats else None
    works = None if case.works is None else case.works.tolist()
    return GridScheduler(name, count, works, config=config, near=case.near if case.told else None)


# --- cases -------------------------------------------------------------------------------------------------------


def office(rng: random.Random, sizes: npt.NDArray[np.float64], **more: object) -> Case:
    """The four machines, with work that takes them 20 s together."""
    sizes = sizes * (IDEAL_S * sum(OFFICE) / sizes.sum())
    scores = [speed * math.exp(rng.gauss(0, SCORE_ERROR)) for speed in OFFICE]
    return Case(sizes, OFFICE, IDEAL_S, scores, **more)  # type: ignore[arg-type]


def lognormal(rng: random.Random, count: int, sigma: float) -> npt.NDArray[np.float64]:
    """Sizes of tasks."""
    return np.array([math.exp(rng.gauss(0, sigma)) for _ in range(count)])


def equal(rng: random.Random) -> Case:
    """1000 equal tasks."""
    return office(rng, np.ones(1000))


def spread(rng: random.Random) -> Case:
    """1000 tasks of lognormal length."""
    return office(rng, lognormal(rng, 1000, 1.0))


def few_equal(rng: random.Random) -> Case:
    """40 equal tasks, against the best assignment."""
    case = office(rng, np.ones(40))
    case.reference_s = best_of_equal(40, float(case.sizes[0]), OFFICE)
    return case


def few_spread(rng: random.Random) -> Case:
    """100 tasks of very different length, against a lower bound."""
    case = office(rng, lognormal(rng, 100, 1.5))
    case.reference_s = lower_bound(case.sizes, OFFICE)
    return case


def few_spread_estimated(rng: random.Random) -> Case:
    """The same with their work estimated."""
    case = few_spread(rng)
    case.works = case.sizes.copy()
    return case


def few_spread_roughly_estimated(rng: random.Random) -> Case:
    """The same with estimates that are some 20 % off."""
    case = few_spread(rng)
    case.works = case.sizes * np.array([math.exp(rng.gauss(0, 0.2)) for _ in case.sizes])
    return case


def wrong_score(rng: random.Random) -> Case:
    """One peer's score is fourfold or a quarter of what it should be."""
    case = equal(rng)
    liar = rng.randrange(4)
    case.scores[liar] *= rng.choice((4.0, 0.25))
    return case


def slowed(rng: random.Random) -> Case:
    """The fastest drops to a quarter at half-time."""
    case = equal(rng)
    half = IDEAL_S / 2
    case.happenings = [(half, 0, "speed", OFFICE[0] / 4)]
    case.reference_s = half + half * sum(OFFICE) / (sum(OFFICE) - OFFICE[0] * 3 / 4)
    return case


def lost(what: str) -> Callable[[random.Random], Case]:
    """The fastest goes at 30 %."""

    def make(rng: random.Random) -> Case:
        case = equal(rng)
        when = 0.3 * IDEAL_S
        case.happenings = [(when, 0, what, 0.0)]
        case.reference_s = when + 0.7 * IDEAL_S * sum(OFFICE) / sum(OFFICE[1:])
        return case

    return make


def frozen_beating(rng: random.Random) -> Case:
    """The same where all others beat."""
    case = lost("freeze")(rng)
    case.beats = True
    return case


def frozen_long(rng: random.Random) -> Case:
    """Equal tasks that take the fastest 20 s each; it freezes at 30 %, and no report says so. Against the best
    assignment of one who knew it."""
    size, count = 20.0 * OFFICE[0], rng.randrange(60, 121)
    scores = [speed * math.exp(rng.gauss(0, SCORE_ERROR)) for speed in OFFICE]
    when = 0.3 * count * size / sum(OFFICE)
    best = best_of_equal(count - int(when / 20.0), size, OFFICE[1:])
    return Case(np.full(count, size), OFFICE, best, scores, happenings=[(when, 0, "freeze", 0.0)], beats=True)


def woken(rng: random.Random) -> Case:
    """The fastest freezes at 30 % and wakes at 80 %."""
    case = lost("freeze")(rng)
    case.happenings = [*case.happenings, (0.8 * IDEAL_S, 0, "wake", 0.0)]
    missing = 0.5 * IDEAL_S * OFFICE[0]
    case.reference_s = IDEAL_S + missing / sum(OFFICE)
    return case


def best_of_equal(count: int, size: float, speeds: Sequence[float]) -> float:
    """The makespan of equal tasks when each goes where it ends first, which is the best."""
    ends = [(size / speed, size / speed) for speed in speeds]
    heapq.heapify(ends)
    end = 0.0
    for _ in range(count):
        end, each = ends[0]
        heapq.heapreplace(ends, (end + each, each))
    return end


def lower_bound(sizes: npt.NDArray[np.float64], speeds: Sequence[float]) -> float:
    """No assignment ends sooner: the k longest tasks on at most k machines, and all on all."""
    longest = np.sort(sizes)[::-1]
    bound = float(sizes.sum()) / sum(speeds)
    fastest = sorted(speeds, reverse=True)
    for count in range(1, len(speeds) + 1):
        bound = max(bound, float(longest[:count].sum()) / sum(fastest[:count]))
    return bound


CASES: Final[Mapping[str, Callable[[random.Random], Case]]] = {
    "equal": equal,
    "lognormal": spread,
    "few-equal": few_equal,
    "few-lognormal": few_spread,
    "few-estimated": few_spread_estimated,
    "few-estimated-20": few_spread_roughly_estimated,
    "wrong-score": wrong_score,
    "slowed": slowed,
    "killed": lost("kill"),
    "frozen-peer": lost("freeze"),
    "frozen-beating": frozen_beating,
    "frozen-long": frozen_long,
    "woken-peer": woken,
}
COMPARED: Final = (*STRATEGIES, "static", "pull", "prefetch")


def _case_play(name: str) -> Callable[[Run], None]:
    def play(run: Run) -> None:
        """Every scheduler on the same case."""
        for strategy in COMPARED:
            case = CASES[name](run.simulation.rng(name))
            if strategy in SIMPLE and any(what == "freeze" for _, _, what, _ in case.happenings):
                continue  # it would never end
            step, _ = play_case(case, strategy, run.simulation.seed)
            run.simulation.note(f"{strategy} {step.makespan_s!r} {step.messages}")
            run.sample(strategy, step.makespan_s / case.reference_s)
            if strategy not in SIMPLE:
                done = sum(worker.busy_work for worker in step.workers.values())
                run.sample("wasted", done / float(case.sizes.sum()) - 1)
                run.sample("finished tasks given again", float(step.given_again))

    return play


def shares_of_office(run: Run) -> None:
    """A thousand frames on the four machines: how many each gets, planned and really."""
    wanted = [1000 * speed / sum(OFFICE) for speed in (850.0, 620.0, 340.0, 200.0)]
    for strategy in STRATEGIES:
        case = equal(run.simulation.rng("office"))
        step, _ = play_case(case, strategy, run.simulation.seed)
        counts = list(step.counts.values())
        run.simulation.note(f"{strategy} {counts}")
        exact = make_scheduler(strategy, case)
        assert isinstance(exact, GridScheduler)
        for number, speed in enumerate(OFFICE):
            exact.peer_joined(PeerId(f"peer{number}"), 1, RatePrior(speed, 0.15), 0.0)
        planned = [share.items for share in exact.plan()]
        run.sample("off", max(abs(got / due - 1) for got, due in zip(counts, wanted, strict=True)))
        run.sample("off by plan", max(abs(got / due - 1) for got, due in zip(planned, wanted, strict=True)))


def slow_peer(run: Run) -> None:
    """The same step with and without a peer of speed 5 beside the four."""
    for name in ("equal", "lognormal", "few-equal", "few-estimated"):
        for strategy in STRATEGIES:
            without = CASES[name](run.simulation.rng(name))
            case = CASES[name](run.simulation.rng(name))
            case.speeds, case.scores = (*OFFICE, 5.0), [*case.scores, 5.0]
            before, _ = play_case(without, strategy, run.simulation.seed)
            after, _ = play_case(case, strategy, run.simulation.seed)
            run.simulation.note(f"{name} {strategy} {before.makespan_s!r} {after.makespan_s!r}")
            run.sample(f"{name} slower", after.makespan_s / before.makespan_s)


def near_data(run: Run) -> None:
    """Items whose data lie with the four by chance, most of them with the two slowest; moving takes twice as long as a
    task. And the same by a scheduler that does not know it."""
    for kind in ("equal", "lognormal"):
        for strategy in STRATEGIES:
            makespans = []
            for told in (True, False):
                rng = run.simulation.rng(kind)
                case = office(rng, np.ones(300) if kind == "equal" else lognormal(rng, 300, 1.0))
                case.near, case.told = uneven(rng, len(case.sizes), 2 * IDEAL_S * len(OFFICE) / len(case.sizes)), told
                step, _ = play_case(case, strategy, run.simulation.seed)
                makespans.append(step.makespan_s)
                run.sample(f"{kind} {'known' if told else 'unknown'}", step.makespan_s / case.reference_s)
            run.simulation.note(f"{kind} {strategy} {makespans}")
            run.sample(f"{kind} gain", makespans[0] / makespans[1])


def uneven(rng: random.Random, count: int, move_s: float) -> Nearness:
    """Data of items that lie with one peer each, most with the two slowest."""
    homes = rng.choices([PeerId(f"peer{number}") for number in range(len(OFFICE))], (1, 2, 3, 4), k=count)
    return Nearness({item: frozenset((home,)) for item, home in enumerate(homes)}, dict.fromkeys(range(count), move_s))


def large(run: Run) -> None:
    """A mesh of many peers of all speeds and a thousand small tasks for each; an ideal of about 40 s."""
    rng = np.random.default_rng(run.simulation.seed)
    speeds = np.exp(rng.normal(0.0, 0.5, run.size))
    sizes = np.exp(rng.normal(0.0, 0.5, 1000 * run.size))
    sizes *= 40.0 * float(speeds.sum()) / float(sizes.sum())
    scores = (speeds * np.exp(rng.normal(0.0, 0.1, run.size))).tolist()
    case = Case(sizes, tuple(speeds.tolist()), 40.0, scores)
    strategy = "Adaptive"
    began = time.process_time()
    step, scheduler = play_case(case, strategy, run.simulation.seed, check_each=0)
    run.sample("CPU per task, simulation included", (time.process_time() - began) / len(sizes) * 1e6)
    run.simulation.note(f"{strategy} {step.makespan_s!r} {step.messages}")
    run.sample(strategy, step.makespan_s / case.reference_s)
    run.sample("core per task", step.cpu_s / len(sizes) * 1e6)
    run.sample("messages", float(step.messages))
    assert isinstance(scheduler, GridScheduler)
    run.expect(bool(scheduler.done), "the step did not end")
    scheduler.check()


SIMPLE: Final = ("static", "pull", "prefetch")
_LIMITS: Final[Mapping[str, tuple[float, float | None, tuple[str, ...]]]] = {
    "equal": (1.006, 1.006, STRATEGIES),
    "lognormal": (1.012, None, STRATEGIES),
    "few-equal": (1.03, 1.03, STRATEGIES),
    "few-lognormal": (1.10, 1.5, ("Adaptive",)),
    "few-estimated": (1.05, 1.15, STRATEGIES),
    "few-estimated-20": (1.05, 1.15, STRATEGIES),
    "wrong-score": (1.02, 1.02, STRATEGIES),
    "slowed": (1.03, 1.03, STRATEGIES),
    "killed": (1.03, 1.03, STRATEGIES),
    "frozen-peer": (1.05, 1.05, STRATEGIES),
    "frozen-beating": (1.05, 1.05, STRATEGIES),
    "frozen-long": (1.05, 1.1, STRATEGIES),
    "woken-peer": (1.05, 1.05, STRATEGIES),
}
"""Of each case: the limits of the median and of the 95th percentile, and for which strategies."""


def _figures(name: str) -> tuple[Figure, ...]:
    median, worst, limited = _LIMITS[name]
    figures = []
    for strategy in COMPARED:
        held = strategy in limited
        figures.append(Figure(strategy, "median", "x", median if held else None))
        figures.append(Figure(strategy, "p95", "x", worst if held else None))
    return (
        *figures,
        Figure("wasted", "p95", "", 0.05),
        Figure("finished tasks given again", "sum", "", 0.0),
    )


_SUMMARIES: Final = {
    "equal": "1000 equal tasks on four machines",
    "lognormal": "1000 tasks of lognormal length, sigma 1",
    "few-equal": "40 equal tasks, against the best assignment",
    "few-lognormal": "100 tasks of lognormal length, sigma 1.5, against a lower bound of the best assignment",
    "few-estimated": "the same with their work estimated",
    "few-estimated-20": "the same with estimates that are 20 % wrong",
    "wrong-score": "1000 equal tasks, one score wrong fourfold",
    "slowed": "the fastest drops to a quarter at half-time",
    "killed": "the fastest is killed at 30 %",
    "frozen-peer": "the fastest freezes at 30 %",
    "frozen-beating": "the same with signs of life",
    "frozen-long": "tasks of 20 s with signs of life: the fastest freezes at 30 %, against the best of who knew it",
    "woken-peer": "the fastest freezes at 30 % and wakes at 80 %",
}
SCHEDULING: Final = (
    *(
        Scenario(f"grid-{name}", _SUMMARIES[name], _case_play(name), _figures(name), sizes=(4,), seeds=20)
        for name in CASES
    ),
    Scenario(
        "grid-office",
        "a thousand frames are shared out by speed",
        shares_of_office,
        (Figure("off", "max", "", 0.02), Figure("off by plan", "max", "", 0.02)),
        sizes=(4,),
        seeds=10,
    ),
    Scenario(
        "grid-slow-peer",
        "a peer of speed 5 beside the four never makes a step slower",
        slow_peer,
        tuple(
            Figure(f"{name} slower", statistic, "x", 1.01 if statistic == "max" and "equal" in name else None)
            for name in ("equal", "lognormal", "few-equal", "few-estimated")
            for statistic in ("median", "p95", "max")
        ),
        sizes=(5,),
        seeds=20,
    ),
    Scenario(
        "grid-near-data",
        "300 tasks whose data lie with one peer each, most with slow ones; moving takes twice as long as a task",
        near_data,
        tuple(
            Figure(f"{kind} {name}", "median", "x", limit)
            for kind in ("equal", "lognormal")
            for name, limit in (("known", 1.7), ("unknown", None), ("gain", 0.85))
        ),
        sizes=(4,),
        seeds=10,
    ),
    Scenario(
        "grid-large",
        "a thousand tasks for each of many peers",
        large,
        (
            Figure("Adaptive", "max", "x", 1.01),
            Figure("core per task", "max", "us"),
            Figure("CPU per task, simulation included", "max", "us"),
            Figure("messages", "max", ""),
        ),
        sizes=(100,),
    ),
)
"""All that concerns Grid steps; `grid-large --size 1000` is the million tasks."""
