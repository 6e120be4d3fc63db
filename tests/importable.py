"""Functions that peers can import by name, and one exception of their own."""

from __future__ import annotations

import threading
import time
from os import getpid as borrowed
from pathlib import Path

__all__ = ["borrowed"]


class Refused(Exception):
    """Takes two arguments, so that it cannot be made again from its text."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what} is refused: {why}")


class Point:
    """No native value of the codec."""

    def __init__(self, x: int) -> None:
        self.x = x

    def moved(self, by: int) -> Point:
        return Point(self.x + by)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and other.x == self.x

    __hash__ = None


def double(x):
    return x * 2


def joined(*parts, between=" "):
    return between.join(parts)


def broken(x):
    raise ZeroDivisionError(f"cannot divide {x}")


def refuses(what):
    raise Refused(what, "no reason")


def lock():
    return threading.Lock()


def held_until(file: str) -> str:
    """Returns when the file is there."""
    while not Path(file).exists():
        time.sleep(0.01)
    return file
