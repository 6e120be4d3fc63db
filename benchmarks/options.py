"""What command lines of benchmarks have in common."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Sequence
from typing import Any


def names(known: Sequence[str]) -> Any:
    """A parser of names with commas between them."""

    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := set(chosen) - set(known):
            raise argparse.ArgumentTypeError(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(known)}")
        return chosen

    return parse


def end_on_signals() -> None:
    """A request to end is as Ctrl-C: what was started is ended first."""
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        signal.signal(number, signal.default_int_handler)
