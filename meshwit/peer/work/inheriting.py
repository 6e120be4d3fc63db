"""What whoever takes a job over hears of it from a peer that works, and what becomes of the steps that it goes on with.
Core."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec

from meshwit.peer.work.effects import Effect, Forget, Say
from meshwit.peer.work.hosted import HostedStep, Term
from meshwit.peer.work.messages import Begun, GivenBack, Open, Ready, Redone, span
from meshwit.peer.work.orphans import HELD_NUMBERS_MAX, Orphans, Told
from meshwit.peer.work.retained import Retained


def told_of(job: str, term: Term, orphans: Orphans, retained: Retained) -> list[Effect]:
    """All that is here of a job and its leader has not heard."""
    epoch, _, leader = term
    held = [Say(leader, each) for each in orphans.tell(job, leader, retained.serial)]
    redone = [
        Say(
            leader,
            Redone(
                *each.key,
                each.done.items,
                each.done.header,
                each.done.blobs,
                each.origin.epoch,
                each.origin.leader,
                each.origin.since,
            ),
            each.buffers,
        )
        for each in retained.unsaid(job, term)
    ]
    return [*held, *redone, Say(leader, Ready(job, epoch))]


def may_adopt(told: Told | None, opened: Open) -> bool:
    """Whether a leader was told of all batches that it adopts."""
    return {old for old, _ in opened.adopted} <= set(() if told is None else told.batches)


def keep_adopted(step: HostedStep, opened: Open) -> list[Effect]:
    """Batches that are adopted get their new numbers; the others of the step are wanted no more."""
    effects: list[Effect] = []
    numbers = dict(opened.adopted)
    step.queue = deque(waiting for waiting in step.queue if waiting.batch.batch in numbers)
    for waiting in step.queue:
        batch = numbers[waiting.batch.batch]
        waiting.batch = msgspec.structs.replace(waiting.batch, step=opened.step, batch=batch)
    for number, running in step.running.items():
        running.wanted = running.wanted and running.number in numbers
        if running.wanted:
            running.number = numbers[running.number]
        else:
            effects.append(Forget(number, list(running.left())))
    return effects


def gone_since(step: HostedStep | None, told: Told, opened: Open) -> list[int]:
    """The items of adopted batches that were under way when their new leader was told so, and are no longer."""
    gone: set[int] = set()
    for old, _ in opened.adopted:
        items = {item for each in told.batches[old] for item in each}
        gone |= items if step is None else items - step.left_of(old)
    return sorted(gone)


def said_since(step: HostedStep, told: Told, gone: Sequence[int], retained: Retained) -> list[Effect]:
    """What has come of adopted batches since their new leader was told of them: results; the other items it has back.

    What came of others it does not want: they may rest on answers that were lost.
    """
    effects: list[Effect] = []
    left = set(gone)
    adopted = {item for old, _ in step.opened.adopted for each in told.batches[old] for item in each}
    for kept in retained.since(step.key, told.serial):
        if not adopted.issuperset(kept.done.items.numbers):
            continue
        step.sent += 1
        kept.mark, kept.said_to = (step.opening, step.sent), step.term
        left.difference_update(kept.done.items.numbers)
        done = msgspec.structs.replace(kept.done, step=step.opened.step, number=step.sent)
        effects.append(Say(step.leader, done, kept.buffers))
    back = sorted(left)
    for at in range(0, len(back), HELD_NUMBERS_MAX):
        effects.append(Say(step.leader, GivenBack(step.opened.step, span(back[at : at + HELD_NUMBERS_MAX]))))
    return effects


def begun_of(step: HostedStep) -> list[Effect]:
    """What has begun already."""
    begun = [batch.number for batch in step.running.values() if batch.begun and batch.wanted]
    return [Say(step.leader, Begun(step.opened.step, begun))] if begun else []
