"""`meshwit up` as a process, with a peer that has no mesh behind it: `fake_up.py --home FOLDER --name NAME ...`."""

from __future__ import annotations

import sys

from meshwit.cli import up
from meshwit.cli.app import main
from tests.fake_peer import RunnableFake


def run() -> None:
    """All of the command line is the real one but for what `up` makes."""
    up._make = lambda: RunnableFake
    sys.argv[1:1] = ["up"]
    main()


if __name__ == "__main__":
    run()
