"""One contestant in a process of its own: `python -m benchmarks.versus.host NAME`, so that one that hangs can be ended.

Lines of JSON: tells `{"ready": true}`; is asked `{"works": [...], "variant": "", "measures": "makespan"}`;
tells `{"started": true}` when the work begins and `{"seconds": ...}`, `{"latencies": [...]}` or `{"failed": "..."}`.
Ends with its input.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys

from benchmarks.versus.systems import SYSTEMS


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # what contestants print must not stand among the answers

    def tell(**what: object) -> None:
        answers.write(json.dumps(what) + "\n")
        answers.flush()

    system = SYSTEMS[sys.argv[1]]()
    with contextlib.ExitStack() as stack:
        system.start(stack)
        tell(ready=True)
        for line in sys.stdin:
            asked = json.loads(line)
            try:
                if asked["measures"] == "bytes":
                    tell(seconds=system.doubled(len(asked["works"])))
                elif asked["measures"] == "latency":
                    tell(latencies=system.one_by_one(len(asked["works"])))
                else:
                    seconds = system.run(asked["works"], asked["variant"], lambda: tell(started=True))
                    tell(seconds=seconds)
            except Exception as reason:
                tell(failed=f"{type(reason).__name__}: {reason}"[:300])


if __name__ == "__main__":
    main()
