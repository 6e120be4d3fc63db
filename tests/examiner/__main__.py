"""An examination of any length: `python -m tests.examiner --jobs 2000 --seed 7`."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.examiner.examining import PAUSE_S, examine


def main() -> None:
    """Examine, and tell how it went."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--jobs", type=int, default=1000)
    reader.add_argument("--seed", type=int, default=1)
    reader.add_argument("--peers", type=int, default=5)
    reader.add_argument("--pause", type=float, default=PAUSE_S, help="seconds between two disturbances, on average")
    reader.add_argument("--keep", type=Path, help="a folder that stays, with all that the peers wrote")
    options = reader.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        if options.keep is not None:
            folder = options.keep
            folder.mkdir(parents=True)
        print(examine(folder, options.jobs, options.seed, options.peers, options.pause))


if __name__ == "__main__":
    main()
