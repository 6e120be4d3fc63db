"""A process that measures: ``python -m meshwit.bench.probe_process``, started by `crew` and by nobody else.

Orders come as lines of JSON on stdin, answers go as lines of JSON to stdout; it ends with its stdin. It says it is
ready once everything is imported and warm.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import msgspec

from meshwit.bench.workload import Mix, copy_rounds, unit_rounds

READY: Final = "ready"


class Compute(msgspec.Struct, frozen=True, tag=True):
    """Measure CPU work: answered with the units per second of each round."""

    count: int
    round_s: float
    limit_s: float


class Copy(msgspec.Struct, frozen=True, tag=True):
    """Measure copies of memory: answered with the GB/s of each."""

    array_bytes: int
    count: int
    limit_s: float


Order = Compute | Copy


def answer(order: Order, mix: Mix) -> list[float]:
    """Do as ordered."""
    match order:
        case Compute(count=count, round_s=round_s, limit_s=limit_s):
            return unit_rounds(mix.unit, count, round_s, limit_s)
        case Copy(array_bytes=array_bytes, count=count, limit_s=limit_s):
            return copy_rounds(array_bytes, count, limit_s)


def main() -> None:
    """Serve until stdin ends."""
    mix = Mix()
    mix.unit()
    _say(READY)
    decoder: Any = msgspec.json.Decoder(Order)
    for line in sys.stdin.buffer:
        _say(answer(decoder.decode(line), mix))


def _say(what: object) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
