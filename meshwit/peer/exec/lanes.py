"""What a worker process does, for whoever watches: read off its progress page, without a message to it."""

from __future__ import annotations

from collections.abc import Sequence

from meshwit.events import Lane
from meshwit.peer.exec.pool_ledger import RunRecord
from meshwit.peer.exec.progress import Progress


def lane(
    slot: int,
    worked: tuple[int, float],
    run: RunRecord | None,
    at: Progress | None,
    activity: str,
    numbers: Sequence[int],
) -> Lane:
    """The lane of one slot.

    Args:
        slot: its index.
        worked: tasks done so far, and the seconds that they took.
        run: what its worker was given and has not finished, if anything.
        at: what its progress page says.
        activity: what the run applies.
        numbers: the item numbers of the run's batch.
    """
    done, busy_s = worked
    if run is None or at is None:
        return Lane(slot, "idle", tasks_done=done, busy_s=busy_s)
    item = None
    if at.serial == run.serial and at.position < len(run.positions) and numbers:
        item = numbers[run.positions[at.position]]
    return Lane(slot, "running" if at.serial else "starting", activity, item, done, busy_s)
