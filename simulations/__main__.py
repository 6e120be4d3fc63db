"""Plays scenarios in virtual time and tells whether they reach their targets.

    python -m simulations                              all, within about five minutes
    python -m simulations --long                       all at full length: hours of peers, ten thousand of them
    python -m simulations killed --seeds 100           one, over the seeds 0 to 99
    python -m simulations traffic --size 10,100,1000   several sizes
    python -m simulations loss-5 --seed 7 --duration 600 --twice --trace trace.txt
    python -m simulations pulled --set suspicion_min_s=0.5

Ends with 1 if a target is missed, an invariant is broken, or with `--twice` the same seed gave two different runs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from simulations.report import as_data, as_table, passed
from simulations.runner import Task, play_all
from simulations.scenarios import SCENARIOS


def main(arguments: Sequence[str] | None = None) -> int:
    """Plays what is asked for; gives the exit status."""
    asked = _parser().parse_args(arguments)
    if asked.list:
        for scenario in SCENARIOS.values():
            print(f"{scenario.name:<16} {scenario.summary}")
        return 0
    unknown = [name for name in asked.scenario if name not in SCENARIOS]
    if unknown:
        print(f"there is no scenario {unknown[0]!r}; there are: {', '.join(SCENARIOS)}", file=sys.stderr)
        return 2
    settings = dict(asked.set or ())
    all_passed = True
    data = []
    for name in asked.scenario or SCENARIOS:
        scenario = SCENARIOS[name]
        first = asked.seed if asked.seed is not None else 0
        usual = (asked.long and scenario.long_seeds) or scenario.seeds
        seeds = asked.seeds or (1 if asked.seed is not None else usual)
        for size in asked.size or (asked.long and scenario.long_sizes) or scenario.sizes:
            tasks = [
                Task(name, seed, size, asked.duration or scenario.duration_s, asked.trace or "", asked.twice, settings)
                for seed in range(first, first + seeds)
            ]
            runs = list(play_all(tasks, asked.processes))
            all_passed &= passed(scenario, runs)
            if asked.json:
                data.append(as_data(scenario, size, runs))
            else:
                print(as_table(scenario, size, runs), flush=True)
    if asked.json:
        print(json.dumps(data, indent=2))
    return 0 if all_passed else 1


def _sizes(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


def _setting(text: str) -> tuple[str, float]:
    name, value = text.split("=")
    return name, float(value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m simulations", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scenario", nargs="*", help="names of scenarios; all if none is given")
    parser.add_argument("--list", action="store_true", help="tell which scenarios there are")
    parser.add_argument("--long", action="store_true", help="full length where the default is a short version")
    parser.add_argument("--seed", type=int, help="play this seed, or begin with it")
    parser.add_argument("--seeds", type=int, help="play so many seeds")
    parser.add_argument("--twice", action="store_true", help="play each seed twice and compare the traces")
    parser.add_argument("--size", type=_sizes, help="how many peers; several sizes with commas")
    parser.add_argument("--duration", type=float, help="virtual seconds, where a scenario has no length of its own")
    parser.add_argument(
        "--set", action="append", type=_setting, metavar="NAME=NUMBER", help="another value of a setting of the core"
    )
    parser.add_argument("--processes", type=int, default=1, help="play so many seeds at once")
    parser.add_argument("--trace", help="write the trace of the last run to this file")
    parser.add_argument("--json", action="store_true", help="figures as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
