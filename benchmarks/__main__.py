"""All benchmarks, and one table of what they were to reach: `python -m benchmarks`."""

from __future__ import annotations

from benchmarks.arrays import doubled_arrays
from benchmarks.call_latency import call_latency
from benchmarks.noop_tasks import noop_tasks
from benchmarks.ratio import main
from benchmarks.startup import startup

if __name__ == "__main__":
    main([noop_tasks, call_latency, doubled_arrays, startup], __doc__)
