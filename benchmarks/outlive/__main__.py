"""What it takes and costs that jobs outlive their leader: `python -m benchmarks.outlive`.

Peers are processes of their own, `meshwit up` on this device with one slot each, and tasks sleep: on one machine it is
measured how soon and how well others go on, not how fast anything computes. A lost peer is lost with its worker
processes; a frozen one stands still, as one whose cable was pulled. The figures stand beside their targets. Jobs are
submitted, and followed by a peer that is not lost. The official figures: `--runs 100 --minutes 60`, and nothing else
runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.options import end_on_signals, names
from benchmarks.outlive import costs, losses, soak
from benchmarks.outlive.figures import Figure, figure, table
from meshwit.peer.control.api import PeerError

CASES = (*losses.LOSSES, "safety", "soak")


def options_of(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=names(CASES), default=list(CASES), help=",".join(CASES))
    parser.add_argument("--runs", type=int, default=10, help="losses of each kind")
    parser.add_argument("--peers", type=int, default=8, help="of which some are lost")
    parser.add_argument("--items", type=int, default=400, help="of a job in which they are")
    parser.add_argument("--item-ms", type=float, default=100.0, help="that each takes")
    parser.add_argument("--rounds", type=int, default=7, help="of what standbys cost")
    parser.add_argument("--tasks", type=int, default=1000, help="of 10 ms, in each of these rounds")
    parser.add_argument("--noops", type=int, default=100_000, help="tasks that do nothing, in each of these rounds")
    parser.add_argument("--minutes", type=float, default=10.0, help="of small jobs")
    parser.add_argument("--jobs", type=int, default=0, help="so many small jobs instead")
    parser.add_argument("--kills", type=float, default=0.1, help="share of small jobs in which a worker is killed")
    parser.add_argument("--keep-s", type=float, default=10.0, help="how long outcomes of small jobs are kept")
    parser.add_argument("--patience", type=float, default=120.0, help="seconds until a job counts as hanging")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave homes, logs and notes here")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write all that was measured here, as JSON")
    return parser.parse_args(words)


def one_case(case: str, options: argparse.Namespace) -> tuple[list[Figure], list[dict[str, Any]]]:
    """The figures of a case, and what they were made of."""
    if case in losses.LOSSES:
        return losses.measure(losses.LOSSES[case], options)
    return costs.measure(options) if case == "safety" else soak.measure(options)


def main() -> None:
    options = options_of()
    end_on_signals()
    figures: list[Figure] = []
    raw: dict[str, list[dict[str, Any]]] = {}
    try:
        for case in options.cases:
            try:
                found, raw[case] = one_case(case, options)
            except (TimeoutError, RuntimeError, PeerError) as reason:
                found = [figure(case, str(reason)[:90], "failed")]
            figures += found
            print(f"{table(found)}\n", flush=True)
    except KeyboardInterrupt:
        print("interrupted: what follows is what was measured so far", file=sys.stderr)
    if len(options.cases) > 1:
        print(table(figures))
    if options.out is not None:
        asked = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
        about = {"options": asked, "cores": os.cpu_count(), "platform": platform.platform(),
                 "python": platform.python_version(), "figures": figures, "runs": raw}  # fmt: skip
        options.out.write_text(json.dumps(about, indent=1))


if __name__ == "__main__":
    main()
