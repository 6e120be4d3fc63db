"""Streams and their leader, without peers or processes: items that come one after another, outcomes that go at once."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from meshwit.ids import PeerId
from meshwit.lang.arrows import activities_in, pack
from meshwit.lang.item_calls import item_call
from meshwit.lang.task import load_task
from meshwit.outcome import JobState
from meshwit.peer.job import stream
from meshwit.peer.job.effects import AskForItems, Assign, Deliver, DropItems, Effect, EndStep, JobEnded, PrepareStep
from meshwit.peer.job.steps import StepSettings, TaskFault
from meshwit.peer.job.stream import StreamLeader, stream_settings
from meshwit.peer.job.workers import Worker
from tests.peer.job.leading import GIB, OFFER, peer


class Led:
    """A stream that is led; peers run what they hold when told to."""

    def __init__(self, *workers: Worker, activity: str = "Lab.Double", unconditional: bool = False, **settings: Any):
        task = item_call(OFFER, activity)
        wanted = stream_settings(activities_in(task), settings.pop("requires", ""), settings.pop("retries", 0),
                                 StepSettings())  # fmt: skip
        self.leader = StreamLeader(
            task, OFFER, wanted, workers=workers, numbers=itertools.count(1), unconditional=unconditional
        )
        self.now = 0.0
        self.outcomes: dict[int, Any] = {}
        self.held: dict[str, dict[int, Any]] = {}
        self.cancelled: list[str] = []
        self.ended = False
        self.function: Any = None
        self.hears(self.leader.start(0.0))

    def hears(self, effects: list[Effect]) -> None:
        self.leader.check()
        for effect in effects:
            match effect:
                case PrepareStep(peer=who):
                    self.held[who] = {}
                    self.function = load_task(pack(effect.task), [], OFFER, OFFER.implementation)
                case Assign(peer=who, numbers=numbers, items=items):
                    self.held[who] |= dict(zip(numbers, items, strict=True))
                case DropItems(peer=who, numbers=numbers):
                    for number in numbers:
                        self.held[who].pop(number, None)
                case AskForItems(peer=who, step=step):
                    self.hears(self.leader.given_back(step, who, [], self.now))
                case Deliver(outcomes=outcomes):
                    assert not self.outcomes.keys() & {number for number, _ in outcomes}, "each is delivered once"
                    self.outcomes |= dict(outcomes)
                case EndStep(peer=who, cancel=True):
                    self.cancelled.append(who)
                case JobEnded():
                    self.ended = True

    def appends(self, *items: Any) -> None:
        self.hears(self.leader.append(items, self.now))

    def runs(self, who: str = "here", count: int = 10**9) -> None:
        """A peer runs what it holds, one item after another."""
        while self.held.get(who) and count:
            count -= 1
            self.now += 0.01
            number = next(iter(self.held[who]))
            item = self.held[who].pop(number)
            fault, value = {}, None
            try:
                value = self.function(item)
            except Exception as reason:
                fault = {number: TaskFault("raised", str(reason))}
            self.hears(self.leader.results(1, PeerId(who), [number], [value], [0.01], fault, {}, 0, self.now))

    def closes(self) -> None:
        self.hears(self.leader.close(self.now))


def test_outcomes_go_out_as_they_come_and_the_stream_waits_for_more():
    led = Led(peer("here", 2))
    led.appends(1, 2, 3)
    led.runs()
    assert led.outcomes == {0: 2, 1: 4, 2: 6}
    assert led.leader.state is JobState.RUNNING

    led.appends(4)
    led.runs()
    assert led.outcomes[3] == 8
    led.closes()
    assert led.ended and led.leader.state is JobState.COMPLETED


def test_a_closed_stream_ends_with_its_last_outcome_and_takes_nothing_more():
    led = Led(peer("here"))
    led.appends(1, 2)
    led.closes()
    assert not led.ended
    led.runs()
    assert led.ended and led.outcomes == {0: 2, 1: 4}
    with pytest.raises(RuntimeError, match="closed"):
        led.leader.append([3], led.now)


def test_a_failed_item_is_an_outcome_and_ends_nothing():
    led = Led(peer("here"))
    led.appends(1, "no number", 3)
    led.closes()
    led.runs()
    assert (led.outcomes[0], led.outcomes[2]) == (2, 6)
    assert isinstance(led.outcomes[1], TaskFault) and "Int" in led.outcomes[1].message
    assert led.leader.state is JobState.COMPLETED


def test_a_failed_item_is_tried_again_before_it_is_an_outcome():
    led = Led(peer("here"), retries=1)
    led.appends(1)
    fault = {0: TaskFault("raised", "broken")}
    led.hears(led.leader.results(1, PeerId("here"), [0], [None], [0.1], fault, {}, 0, 0.1))
    assert led.outcomes == {}
    led.runs()
    assert led.outcomes == {0: 2}


def test_in_flight_is_bounded_and_the_rest_waits_in_order(monkeypatch):
    monkeypatch.setattr(stream, "IN_FLIGHT_MAX", 10)
    led = Led(peer("here"))
    led.appends(*range(100))
    assert led.leader.in_flight == 10
    assert led.leader.waiting >= 90
    led.runs(count=5)
    assert led.leader.in_flight == 10
    led.closes()
    led.runs()
    assert led.outcomes == {number: 2 * number for number in range(100)}
    assert list(led.outcomes) == sorted(led.outcomes)


def test_what_was_delivered_is_not_kept():
    led = Led(peer("here"))
    led.appends(1, 2)
    led.runs()
    step = led.leader.explanations[1]
    assert step.items == [None, None] and step.values == [None, None]


def test_what_a_lost_peer_had_runs_elsewhere():
    led = Led(peer("here"), peer("there"))
    led.appends(*range(20))
    assert led.held["there"]
    del led.held["there"]
    led.hears(led.leader.worker_left(PeerId("there"), led.now))
    led.closes()
    led.runs()
    assert led.outcomes == {number: 2 * number for number in range(20)}


def test_a_peer_that_comes_later_gets_items():
    led = Led(peer("here"))
    led.appends(*range(50))
    led.hears(led.leader.worker_joined(peer("there"), led.now))
    assert led.held["there"]


def test_a_cancelled_stream_kills_what_runs_and_delivers_nothing_more():
    led = Led(peer("here"))
    led.appends(1, 2)
    led.hears(led.leader.cancel(led.now))
    assert led.ended and led.cancelled == ["here"]
    led.runs()
    assert led.outcomes == {}
    led.appends(3)


def test_a_paused_stream_gives_nothing_out_until_it_goes_on():
    led = Led(peer("here"))
    led.hears(led.leader.pause(led.now))
    led.appends(1)
    assert not led.held.get("here")
    led.hears(led.leader.resume(led.now))
    led.runs()
    assert led.outcomes == {0: 2}


def test_a_stream_that_nobody_can_run_fails_and_says_why():
    led = Led(peer("here", capabilities={"memory": GIB}), activity="Lab.Heavy")
    assert led.ended and led.leader.state is JobState.FAILED
    assert led.leader.failure is not None and "Lab.Heavy" in led.leader.failure.message


def test_this_device_runs_an_unconditional_stream_whatever_it_requires():
    led = Led(peer("here", capabilities={}), peer("there", capabilities={}), requires="python.pickle",
              unconditional=True)  # fmt: skip
    led.appends(*range(20))
    assert set(led.held) == {"here"}


def test_a_stream_that_its_last_peer_refuses_fails():
    led = Led(peer("here"))
    led.appends(1)
    led.hears(led.leader.refused(1, PeerId("here"), "it is tired", led.now))
    assert led.leader.state is JobState.FAILED
    assert "it is tired" in led.leader.failure.message


def test_an_item_is_spread_over_the_arguments_where_there_are_several():
    task = item_call(OFFER, "Int.Range")
    assert load_task(pack(task), [], OFFER, OFFER.implementation)((2, 5)) == [2, 3, 4]


@pytest.mark.parametrize(("name", "count", "why"), [
    ("Lab.Nothing", None, "no activity"), ("If", None, "cannot be called for items"),
    ("Lab.Read", None, "cannot be called for items"), ("Lab.Double", 3, "3 arguments"),
])  # fmt: skip
def test_what_cannot_be_called_for_items_is_refused(name, count, why):
    with pytest.raises(ValueError, match=why):
        item_call(OFFER, name, count)


def test_reports_of_a_peer_that_was_never_given_the_stream_change_nothing():
    led = Led(peer("here"))
    led.appends(1, 2)
    den, forged = PeerId("den"), [-1, -1]
    effects = led.leader.results(1, den, [0, 1], forged, [0.1, 0.1], {}, {0: "hello"}, 0, 0.0)
    effects += led.leader.given_back(1, den, [0, 1], 0.0)
    effects += led.leader.begun(1, den, range(4), 0.0)
    effects += led.leader.granted(1, den, 8, 0.0)
    effects += led.leader.refused(1, den, "no", 0.0)
    effects += led.leader.worker_died(1, den, 3, "killed by signal 9", 0.0)
    assert effects == []
    led.runs()
    assert led.outcomes == {0: 2, 1: 4}
