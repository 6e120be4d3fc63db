"""Seeds that once failed, and why: what was mended must stay so. Tests play them first."""

from __future__ import annotations

from typing import Final

KNOWN_SEEDS: Final[tuple[tuple[str, int, str], ...]] = (
    ("takeover", 157, "results kept by workers rested on an answer that the successor drew anew"),
    ("takeover", 435, "the same, with the answer of a call"),
    ("takeover", 194, "a leader that began anew was taken for one that leads: nobody else could resume its job"),
    ("takeover", 228, "the same"),
    ("takeover", 2011, "the same, where it had answered who led by a lower term"),
    ("takeover", 219, "two leaders that both ended a job while they were apart never told each other"),
    ("takeover", 12, "what a standby had sent, and nobody answered, was remembered for ever"),
    ("takeover", 37, "a job that ended while its leader's disk was full was never let go"),
    ("takeover", 93, "who worked for a leader that was overruled while they were apart never heard of the job's end"),
    ("takeover", 380, "a leader that woke after its job had ended opened a step that nobody ever closed"),
    ("takeover", 20203, "what a standby had said it has was taken back by an older word of it that came twice"),
    ("takeover", 5028, "a disk that had been full once was never written again: what waited for it waited for ever"),
    ("takeover", 5054, "the same: the outcome was not on the leader's disk"),
    ("takeover", 6055, "a worker told a leader what came of batches that this one had not adopted"),
    ("takeover", 8185, "an outcome that was overruled counted after all had begun anew"),
    ("takeover", 8345, "two ends of a job, by leaders apart, both remained when all had begun anew"),
    ("takeover", 8492, "who resumed a job did not ask others for what they had: tasks that must not run twice did"),
    ("takeover", 1544, "a step that changed hands was given to the pool before the pool knew of it"),
    ("takeover", 1699, "a device that lacked a part of a job's history told an outcome without it"),
    ("takeover", 443, "a peer with a part of a job's history heard of its end and never got the rest"),
    ("takeover", 560, "a standby whose leader died before it was named was waited for, and nobody had the job resumed"),
)
"""Scenario, seed, what was wrong."""
