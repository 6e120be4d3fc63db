"""A process that measures one activity: ``python -m meshwit.peer.rate_process NAME``, started by `rate_apart` alone.

A peer does not do it itself: the arguments of a benchmark are made by code of its controller, which may load much,
take long or crash. The answer is one line of JSON on stdout, a `Rate` or a text that says why there is none. It ends
with its stdin.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading

import msgspec

from meshwit.peer.activity_bench import measure_alone
from meshwit.peer.rates import RateError, controller_versions
from meshwit.plugins.discovery import installed


def main() -> None:
    """Measure what the command line names."""
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a controller may print
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    try:
        registry = installed()
        found = registry.offer.activities.get(sys.argv[1])
        if found is None:
            raise RateError(f"there is no activity `{sys.argv[1]}`")
        version = controller_versions(registry).get(found.controller, "")
        answer = msgspec.json.encode(asyncio.run(measure_alone(registry, found.name, version)))
    except Exception as reason:  # whatever a controller of somebody else's may do when it is read
        told = str(reason) if isinstance(reason, RateError) else f"{type(reason).__name__}: {reason}"
        answer = msgspec.json.encode(told)
    with open(answers, "wb") as stream:
        stream.write(answer + b"\n")


def _end_with_stdin() -> None:
    sys.stdin.buffer.read()
    os._exit(1)  # its worker process sees its own stdin end


if __name__ == "__main__":
    main()
