"""Plays scenarios: each seed by itself, in this process or in several, once or twice and compared."""

from __future__ import annotations

import logging
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final

import msgspec

from simulations.engine import Simulation
from simulations.scenario import Run
from simulations.scenarios import SCENARIOS

logging.getLogger("meshwit").addHandler(logging.NullHandler())  # what peers log goes wrong on purpose
TWICE_LIMIT_S: Final = 6 * 3600.0


class Task(msgspec.Struct, frozen=True):
    """One run to make."""

    scenario: str
    seed: int
    size: int
    duration_s: float
    trace: str = ""
    twice: bool = False
    settings: dict[str, float] = {}


class Played(msgspec.Struct, frozen=True):
    """What one run came to.

    Attributes:
        digest: the hash of its trace.
        cpu_s: what it took of one core.
        virtual_s: how long it was.
    """

    task: Task
    digest: str
    samples: dict[str, list[float]]
    faults: list[str]
    faults_count: int
    events: int
    virtual_s: float
    cpu_s: float


def play(task: Task) -> Played:
    """Plays one seed, twice if asked: the second time in a process that hashes differently."""
    played = _play_once(task)
    if not task.twice:
        return played
    again = _play_elsewhere(task)
    if again.digest == played.digest:
        return played
    fault = f"the same seed gave two runs: {played.digest} here, {again.digest} in a second process"
    return msgspec.structs.replace(played, faults=[fault, *played.faults], faults_count=played.faults_count + 1)


def play_all(tasks: Sequence[Task], processes: int) -> Iterator[Played]:
    """Plays all, in their order."""
    if processes <= 1 or len(tasks) <= 1:
        yield from map(play, tasks)
        return
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(play, tasks)


def _play_once(task: Task) -> Played:
    began = time.process_time()
    scenario = SCENARIOS[task.scenario]
    trace = Path(task.trace).open("w", encoding="utf-8") if task.trace else None  # noqa: SIM115
    simulation = Simulation(task.seed, trace)
    try:
        run = Run(simulation, task.size, task.duration_s, task.settings)
        scenario.play(run)
        digest = simulation.digest()
    finally:
        simulation.close()
        if trace is not None:
            trace.close()
    spent = time.process_time() - began
    return Played(
        task, digest, run.samples, run.faults, run.faults_count, simulation.events, simulation.now, round(spent, 3)
    )


def _play_elsewhere(task: Task) -> Played:
    """The same in a child whose string hashes, and with them the order of its sets, are others."""
    here = os.environ.get("PYTHONHASHSEED", "")
    root = str(Path(__file__).parent.parent)
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH", "")])])
    environment = {**os.environ, "PYTHONHASHSEED": "2" if here == "1" else "1", "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-m", "simulations.runner"],
        input=msgspec.json.encode(msgspec.structs.replace(task, twice=False, trace="")),
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
        timeout=TWICE_LIMIT_S,
    )
    return msgspec.json.decode(done.stdout, type=Played)


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(play(msgspec.json.decode(sys.stdin.buffer.read(), type=Task))))
