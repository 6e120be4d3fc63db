"""Why a job that was taken over cannot go on by itself: a person is asked. Core.

Items must not run twice, and nobody knows whether they ran; or what comes next works on files of another device.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from meshwit.lang.control import Failure
from meshwit.lang.wishes import CallWish, Path, SleepWish, StepWish, Wish
from meshwit.peer.job.journal import Journal
from meshwit.peer.job.making import activities_of, settings_of
from meshwit.peer.job.spreading import Spreading
from meshwit.peer.job.steps import StepSettings, TaskFault

Question: TypeAlias = tuple[Path, list[int], str]
"""Path of the step, its items, and the name of the peer that they went to."""
ITEMS_NAMED_MAX: Final = 5
SKIPPED: Final = TaskFault(
    "skipped", "it may have run when its leader was lost, and it was decided not to run it again"
)


def asked_of(
    wishes: Iterable[Wish], journal: Journal, spreading: Spreading, defaults: StepSettings
) -> list[tuple[CallWish | StepWish, Question]]:
    """What is to be asked about wishes made; not if a result has come early, or if a peer still has the item."""
    asked: list[tuple[CallWish | StepWish, Question]] = []
    for wish in wishes:
        doubtful = {} if isinstance(wish, SleepWish) else journal.doubtful(wish.path)
        if isinstance(wish, SleepWish) or not doubtful:
            continue
        settings, early = settings_of(wish, defaults), spreading.early
        sure = spreading.holding(wish.path, activities_of(wish), settings) | {*early.results(wish.path)}
        if settings.once and not early.answers(wish.path):
            left = {number: peer for number, peer in doubtful.items() if number not in sure}
            asked += [(wish, question) for question in _by_peer(wish.path, left)]
    return asked


def _by_peer(path: Path, doubtful: Mapping[int, str]) -> list[Question]:
    by_peer: dict[str, list[int]] = {}
    for number, peer in sorted(doubtful.items()):
        by_peer.setdefault(peer, []).append(number)
    return [(path, numbers, peer) for peer, numbers in by_peer.items()]


def kept_away(wishes: Iterable[Wish], submitter: str, job: str) -> Failure | None:
    """Why a job cannot go on where its files are not, `submitter` being where they are; None if it can."""
    for wish in wishes:
        if not isinstance(wish, SleepWish):
            local = next((each for each in activities_of(wish) if each.local), None)
            if local is not None:
                message = (
                    f"`{local.name}` works on files of {submitter}, where the job was submitted: it goes on there, "
                    f"with `meshwit resume {job}`"
                )
                return Failure(message, wish.span, local.name)
    return None


def held_by(asked: Sequence[tuple[CallWish | StepWish, Question]], job: str) -> Failure:
    """Why the job cannot go on, and what to do about it."""
    wish, (_, numbers, peer) = asked[0]
    activity = activities_of(wish)[0].name
    single = isinstance(wish, CallWish)
    more = sum(len(items) for _, (_, items, _) in asked) - len(numbers)
    what = "" if single else f" for {_items(numbers)}"
    message = (
        f"`{activity}` must not run twice, and nobody knows whether it ran{what} on {peer} when the job lost its leader"
        f"{f'; the same holds for {more} more' if more else ''}: `meshwit resume {job} --again` runs it again, "
        f"`meshwit resume {job} --skip` counts it as failed"
    )
    return Failure(message, wish.span, activity, None if single else numbers[0], peer=peer)


def _items(numbers: Sequence[int]) -> str:
    named = ", ".join(str(number) for number in numbers[:ITEMS_NAMED_MAX])
    left = len(numbers) - ITEMS_NAMED_MAX
    return f"item{'s' if len(numbers) > 1 else ''} {named}{f' and {left} more' if left > 0 else ''}"
