"""Who gets what is said of jobs: nobody works on for a leader that was overruled."""

from __future__ import annotations

from types import SimpleNamespace

from meshwit.ids import PeerId
from meshwit.peer.correspondence import Correspondence
from meshwit.peer.succession.messages import AskJob
from meshwit.peer.succession.records import Term
from meshwit.peer.work.messages import Open, Refused
from simulations.virtual_loop import run_virtually

ME, OLD, NEW = PeerId("me"), PeerId("old"), PeerId("new")


def said_by(works_for: set[tuple[PeerId, str]], terms: dict[str, Term], scene) -> list[tuple[PeerId, object]]:
    """What a peer says that works for these leaders and knows these terms."""
    said: list[tuple[PeerId, object]] = []

    async def play() -> None:
        letters = Correspondence(ME, lambda peer, message, _buffers: said.append((peer, message)))
        letters.working = SimpleNamespace(host=SimpleNamespace(jobs=lambda: works_for))
        letters.kept = SimpleNamespace(keeping=SimpleNamespace(term=terms.get, linked=lambda _peer: None))
        scene(letters)

    run_virtually(play())
    return said


def test_who_worked_for_a_leader_that_was_overruled_asks_the_one_that_leads_now_when_it_is_linked():
    terms = {"job": Term(2, 0, NEW), "other": Term(1, 0, OLD)}
    works_for = {(OLD, "job"), (OLD, "other")}
    assert said_by(works_for, terms, lambda letters: letters.linked(NEW)) == [(NEW, AskJob("job"))]
    assert said_by(works_for, terms, lambda letters: letters.linked(OLD)) == []


def test_who_hears_of_a_new_leader_from_others_asks_it_if_it_works_for_another():
    term = Term(2, 0, NEW)
    told = said_by({(OLD, "job")}, {"job": term}, lambda letters: letters.led_by("job", term, False))
    assert told == [(NEW, AskJob("job"))]
    assert said_by({(NEW, "job")}, {"job": term}, lambda letters: letters.led_by("job", term, False)) == []
    assert said_by(set(), {"job": term}, lambda letters: letters.led_by("job", term, False)) == []


def opened(epoch: int, job: str = "job") -> Open:
    return Open(7, job, b"", path=(1,), epoch=epoch)


def test_a_leader_that_woke_after_another_had_taken_over_has_no_step_opened():
    """Nobody would ever close it: the one that leads has ended the job, or does not know of it."""
    known = {"job": Term(2, 0, NEW)}
    hosted: list[tuple[PeerId, Open]] = []

    def scene(letters: Correspondence) -> None:
        letters.working.received = lambda peer, message, _buffers: hosted.append((peer, message))
        for peer, message in ((OLD, opened(1)), (NEW, opened(2)), (OLD, opened(3)), (OLD, opened(1, "unknown"))):
            letters.received(peer, message, [])
        letters.received(OLD, opened(0), [])  # not kept: nobody takes it over

    told = said_by(set(), known, scene)
    assert told == [(OLD, Refused(7, "another peer leads this job now"))]
    assert hosted == [(NEW, opened(2)), (OLD, opened(3)), (OLD, opened(1, "unknown")), (OLD, opened(0))]
