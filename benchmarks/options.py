"""What command lines of benchmarks have in common."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Sequence
from types import FrameType
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
    """A request to end is as Ctrl-C: what was started is ended first. Further ones do not disturb that.

    What is ignored stays so: whoever started this wanted it (nohup).
    """
    numbers = {signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}
    heard = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]

    def end(_number: int, _frame: FrameType | None) -> None:
        for number in heard:
            # Not SIG_IGN, which the commands that end all would inherit.
            signal.signal(number, lambda _number, _frame: None)
        raise KeyboardInterrupt

    for number in heard:
        signal.signal(number, end)
