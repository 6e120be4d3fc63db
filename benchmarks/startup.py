"""From nothing to something, and what idling costs: `python -m benchmarks.startup`.

Whole processes, from their start to their end: `meshwit --help`, and `meshwit run` of a script with a Grid step,
beside scripts that do the same with others. Then the memory of an idle peer, and how long a script of 10,000 lines
takes to be compiled and to be made ready to run. Bytecode is cached, as it is after an installation.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import meshwit
from benchmarks.long_script import long_script
from benchmarks.ratio import Verdict, at_most, main, measure, report, row_of
from meshwit.lang.interpreter import Interpreter

TINY = "Job:Main() { LongCollection:results = Grid.ForEach(item in [1, 2, 3]) => Long(item); }\n"
LINES = 10_000
ARGUMENTS = {
    "python, does nothing": ["-c", "pass"],
    "meshwit --help": ["-m", "meshwit", "--help"],
    "meshwit run tiny.wit": ["-m", "meshwit", "run", "tiny.wit"],
    "ProcessPoolExecutor": ["executor_tiny.py"],
    "joblib (loky)": ["joblib_tiny.py"],
    "dask.distributed": ["dask_tiny.py"],
}
SOURCES = {
    "tiny.wit": TINY,
    "executor_tiny.py": """\
import concurrent.futures, multiprocessing
if __name__ == "__main__":
    with concurrent.futures.ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        assert list(pool.map(int, [1, 2, 3])) == [1, 2, 3]
""",
    "joblib_tiny.py": """\
import joblib
assert joblib.Parallel(n_jobs=-1)(joblib.delayed(int)(item) for item in [1, 2, 3]) == [1, 2, 3]
""",
    "dask_tiny.py": """\
import distributed
if __name__ == "__main__":
    with distributed.Client(threads_per_worker=1, dashboard_address=None) as client:
        assert client.gather(client.map(int, [1, 2, 3])) == [1, 2, 3]
""",
    "idle.py": f"""\
import time
import psutil
import meshwit

def rss(processes):
    return sum(process.memory_info().rss for process in processes)

if __name__ == "__main__":
    me = psutil.Process()
    with meshwit.Session(idle_s=0.2) as session:
        assert session.run({TINY!r}).variables["results"] == [1, 2, 3]
        working = me.children(recursive=True)
        print(rss([me]), rss(working), len(working))
        while me.children(recursive=True):
            time.sleep(0.05)
        print(rss([me]))
""",
}


def startup(options: argparse.Namespace) -> list[Verdict]:
    with tempfile.TemporaryDirectory() as folder:
        for name, source in SOURCES.items():
            (Path(folder) / name).write_text(source)
        verdicts = [*_processes(Path(folder), options.rounds), *_memory(Path(folder))]
    return [*verdicts, *_compiling(options.rounds)]


def _run(folder: Path, arguments: list[str]) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    root = str(Path(__file__).parents[1])
    environment |= {"PYTHONPATH": root, "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout


def _processes(folder: Path, rounds: int) -> list[Verdict]:
    optional = {"joblib (loky)": "joblib", "dask.distributed": "distributed"}

    def process(arguments: list[str]) -> Callable[[], object]:
        return lambda: _run(folder, arguments)

    contestants = {
        name: process(arguments)
        for name, arguments in ARGUMENTS.items()
        if name not in optional or importlib.util.find_spec(optional[name])
    }
    reference = "meshwit run tiny.wit"
    ordered = {reference: contestants[reference]} | contestants
    rows = measure(ordered, rounds=rounds, work=1, unit="/s")
    report("whole processes, from start to end", rows)
    verdicts = []
    for name, what, limit in (
        ("meshwit run tiny.wit", "`meshwit run tiny.wit`, from nothing to its end", 1.0),
        ("meshwit --help", "`meshwit --help`", 0.3),
    ):
        row = row_of(rows, name)
        assert row is not None
        verdicts.append(at_most(what, limit, row["median_s"], "s"))
    return verdicts


def _memory(folder: Path) -> list[Verdict]:
    working, idle = _run(folder, ["idle.py"]).splitlines()
    own, workers, count = (int(word) for word in working.split())
    print(f"resident after a first job: {own / 1e6:.1f} MB, and {workers / 1e6:.1f} MB in {count} worker processes")
    print(f"resident once these have ended: {int(idle) / 1e6:.1f} MB\n")
    return [at_most("an idle peer, resident", 80, int(idle) / 1e6, "MB")]


def _compiling(rounds: int) -> list[Verdict]:
    verdicts = []
    for what, text in (
        (f"compiling {LINES:,} lines in many jobs", long_script(LINES, 200)),
        (f"compiling {LINES:,} lines in one job", long_script(LINES)),
    ):
        program, seconds = _timed(lambda text=text: meshwit.compile(text), rounds)  # type: ignore[misc]
        verdicts.append(at_most(what, 1.0, seconds, "s"))
    _, seconds = _timed(lambda: Interpreter(program, "Work1", [1]), rounds)
    verdicts.append(at_most("the same job made ready to run", 1.0, seconds, "s"))
    return verdicts


def _timed(call: Callable[[], object], rounds: int) -> tuple[object, float]:
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - started)
    return result, statistics.median(times)


if __name__ == "__main__":
    main([startup], __doc__)
