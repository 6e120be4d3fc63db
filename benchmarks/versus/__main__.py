"""The same work on meshwit and on others, on four machines of unlike speeds: `python -m benchmarks.versus`.

Machines are emulated: four workers of one slot, whose tasks sleep for their work over the machine's speed. What is
compared is thus how work is spread and what it costs to spread it, not how fast anything computes. The case `arrays`
has no machines: it compares how fast large values go to the workers and back, for meshwit between peers of one device
and, as between devices, by links alone. Systems take turns in one run, one at a time and each freshly started and
warmed up, in every other round in reverse. What is not installed is passed over; the extra `versus` installs what PyPI
has. The official figure: `--seconds 20 --rounds 5`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.options import end_on_signals, names
from benchmarks.versus.cases import CASES, SPEEDS, Case, ideal, works
from benchmarks.versus.contest import contestant, play
from benchmarks.versus.systems import SYSTEMS, missing
from benchmarks.versus.table import draw, row_of, table

STRATEGIES = ("", "Queued", "Balanced")
"""Of meshwit; it is adaptive by itself."""
Results = dict[tuple[str, str], list[dict[str, Any]]]


def one_round(system: str, cases: Sequence[Case], seconds: float, results: Results) -> None:
    """All cases on one system; after a harm, and after a loss, on a fresh one."""
    left = [
        (case, variant)
        for case in sorted(cases, key=lambda case: bool(case.harm))
        if not SYSTEMS[system].only or case.name in SYSTEMS[system].only
        for variant in (STRATEGIES if case.variants and system == "meshwit" else ("",))
    ]
    while left:
        with contestant(system) as made:
            while left:
                case, variant = left.pop(0)
                label = f"{system} {variant}".strip()
                told = play(made, case, seconds, variant)
                results[case.name, label].append(told)
                brief = {key: value for key, value in told.items() if key != "latencies"}
                print(f"{label}: {case.title}: {brief}", file=sys.stderr, flush=True)
                if case.harm or "stopped" in told or "failed" in told:
                    break


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=names(list(CASES)), default=list(CASES), help=",".join(CASES))
    parser.add_argument("--systems", type=names(list(SYSTEMS)), default=list(SYSTEMS), help=",".join(SYSTEMS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="that the work lasts at best")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write versus.json and versus.png here")
    options = parser.parse_args()
    end_on_signals()
    systems = []
    for name in options.systems:
        if what := missing(name):
            print(f"{name} is passed over: {what} is not installed", file=sys.stderr)
        else:
            systems.append(name)
    cases = [CASES[name] for name in options.cases]
    results: Results = defaultdict(list)
    try:
        for number in range(options.rounds):
            for system in reversed(systems) if number % 2 else systems:
                try:
                    one_round(system, cases, options.seconds, results)
                except RuntimeError as reason:
                    print(reason, file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("interrupted: what follows is what was measured so far", file=sys.stderr)
    rows = [
        row_of(CASES[case], label, ideal(CASES[case], works(CASES[case], options.seconds)), told)
        for (case, label), told in results.items()
    ]
    print(table(rows))
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        about = {"seconds": options.seconds, "rounds": options.rounds, "speeds": SPEEDS, "cores": os.cpu_count(),
                 "platform": platform.platform(), "python": platform.python_version(), "rows": rows}  # fmt: skip
        (options.out / "versus.json").write_text(json.dumps(about, indent=1))
        if not draw(rows, options.out / "versus.png"):
            print("no picture: matplotlib is not installed, or nothing was measured", file=sys.stderr)


if __name__ == "__main__":
    main()
