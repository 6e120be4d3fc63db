"""Why an item ran where it did, in words, out of the books of its step."""

from __future__ import annotations

from typing import Final

from meshwit.peer.sched.ledger import ItemState, Ledger, Reason
from meshwit.peer.sched.pending import Pending

_WORDS: Final = {
    Reason.SHARE: "it had room, and the item was next",
    Reason.LONGEST: "the item was the longest left, and this peer would end it in time",
    Reason.FITS: "the item was the longest that would end there before the step",
    Reason.END_GAME: "the others would have ended it later",
    Reason.AGAIN: "it came back from another peer, and this one had room",
    Reason.DUPLICATE: "a second run, since the first was expected to end last and this peer was free",
    Reason.MOVED: "moved, since where it was it would have held up the step, and little was lost",
    Reason.NEAR: "it has the data of the item",
    Reason.FETCHED: "it has not the data, but moving them takes less than waiting for a peer that has them",
    Reason.LEARNING: "first items go to everybody, to learn how long they take",
    Reason.ADOPTED: "it was running it when this leader took over, or had it next",
}


def reasons(ledger: Ledger, pending: Pending, item: int) -> list[str]:
    """One sentence for each time that the item was given to a peer; then where it is now, if not finished."""
    if not 0 <= item < len(ledger.states):
        return [f"there is no item {item}"]
    numbers = ledger.given(item)
    texts = [_given(ledger, number) for number in numbers]
    if item in pending:
        texts.append("waits for a peer")
    elif ledger.states[item] == ItemState.ASIDE:
        texts.append("set aside: it is not run again")
    elif ledger.states[item] == ItemState.FINISHED and not numbers:
        texts.append("its result was known before")
    return texts


def _given(ledger: Ledger, number: int) -> str:
    reason = Reason(ledger.batch_reason[number])
    peer = ledger.peers[ledger.batch_peer[number]]
    expected = ledger.batch_expected[number]
    length = f", expected to take {expected:.3g} s" if expected == expected else ""
    return f"given to {peer} in batch {number}{length}: {_WORDS[reason]}"
