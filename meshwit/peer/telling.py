"""What a job came to, why it went as it went, and why an item failed: for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from meshwit.ids import PeerId
from meshwit.lang.control import Failure
from meshwit.outcome import JobError, JobState, Outcome
from meshwit.peer.job.leader import JobLeader
from meshwit.peer.job.steps import TaskFault
from meshwit.peer.job.stream import StreamLeader
from meshwit.peer.work.messages import Done

SELF_EXPLAINING: Final = {
    "", "ValueError", "OSError", "PermissionError", "FileNotFoundError", "meshwit.lang.control.Failed",
}  # fmt: skip
"""Exceptions whose message is a sentence for people; others are told with their name."""


def outcome_of(
    leader: JobLeader | StreamLeader, state: JobState | None = None, failure: Failure | None = None
) -> Outcome:
    """What a job came to; with another `state` and `failure`, where its leader did not live to see its end."""
    failure = failure if state is not None else leader.failure
    error = None
    if failure is not None:
        program = leader.program
        line = program.line_of(failure.span) if failure.span != (0, 0) else 0
        error = JobError(failure.message, line, failure, program.filename)
    return Outcome(
        state or leader.state, leader.variables(), leader.returned, leader.trace, error, leader.partial()
    )  # fmt: skip


def explained(leader: JobLeader | StreamLeader, item: int | None) -> list[str]:
    """Why a job, or one item of its latest Grid steps, ran where it did: sentences for people."""
    lines: list[str] = []
    names = leader.names
    for shown, step in leader.explanations.items():
        lines.append(f"step {shown}, {step.activity}: {step.done} of {step.total} items done")
        if item is not None:
            told = step.scheduler.explain(item) if item < step.total else [f"it has no item {item}"]
            lines += [f"  {_named(line, names)}" for line in told]
            continue
        for peer, count in sorted(step.done_by.items(), key=lambda each: -each[1]):
            lines.append(f"  {names.get(peer, peer)}: {count} items")
        lines += [f"  without {name}: {why}" for name, why in step.left_out.items()]
    return lines or ["it has taken no Grid step"]


def _named(text: str, names: Mapping[PeerId, str]) -> str:
    for peer, name in names.items():
        text = text.replace(peer, name)
    return text


def fault_of(done: Done, number: int) -> TaskFault:
    """Why an item that a peer reports as failed did so."""
    failure = done.failures[number]
    plain = failure.type in SELF_EXPLAINING
    message = failure.message if plain else f"{failure.type}: {failure.message}"
    return TaskFault(failure.kind, message, failure.traceback, done.outputs.get(number, "")[-2000:], done.worker)
