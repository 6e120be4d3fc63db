"""Limits that keep a script from hanging or exhausting the peer that leads it."""

from __future__ import annotations

import msgspec


class JobLimits(msgspec.Struct, frozen=True):
    """Limits of one run of a job at its leader.

    Attributes:
        steps: statements and operations of control flow; a loop that never ends fails after so many, some 20 s. Too
            low stops honest loops, too high lets a mistake occupy the leader for longer.
        steps_per_turn: after so many steps without a wish the job lets others have a turn, about 10 ms.
        job_depth: jobs calling jobs.
        branches: branches of one parallel block that run at a time; the rest follow.
        trace_texts: texts kept for the outcome; more are counted, not kept.
    """

    steps: int = 10_000_000
    steps_per_turn: int = 10_000
    job_depth: int = 100
    branches: int = 256
    trace_texts: int = 100_000


DEFAULT_LIMITS = JobLimits()
