"""What a watcher makes of events, in words."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from meshwit import events
from meshwit.cli.plain_progress import PlainProgress
from meshwit.cli.progress_state import ProgressState, estimate_text, lane_text, rate_text, step_text
from meshwit.cli.show_progress import LiveProgress
from meshwit.cli.terminal import duration_text, harmless, one_line
from meshwit.lang.control import Failure

FILM = [
    events.JobStarted(at=0.0, job="Film", workers=2),
    events.StatementReached(at=0.1, line=3, text="Grid.ForEach(frame in frames)"),
    events.StepStarted(at=0.1, step=0, activity="Renderer.RenderFrame", line=3, total=10),
    events.LanesChanged(
        at=0.2,
        lanes=(
            events.Lane(0, "running", "Renderer.RenderFrame", 3, tasks_done=2),
            events.Lane(1, "idle"),
        ),
    ),
    events.Progressed(
        at=2.0,
        step=0,
        done=4,
        failed=1,
        total=10,
        rate=2.0,
        remaining_s=40.0,
        remaining_low_s=35.2,
        remaining_high_s=50.0,
    ),
]


def followed(*more: events.JobEvent) -> ProgressState:
    state = ProgressState()
    for event in (*FILM, *more):
        state.fold(event)
    return state


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.949, "9.9 s"),
        (9.96, "10 s"),
        (59.7, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations_are_short(seconds, text):
    assert duration_text(seconds) == text


def test_an_estimate_has_a_range():
    assert estimate_text(40, 35.2, 50) == "about 40 s (35 to 50 s)"
    assert estimate_text(70, 50, 90) == "about 1 min 10 s (50 s to 1 min 30 s)"
    assert estimate_text(40, None, None) == "about 40 s"
    assert estimate_text(40, 40, 40) == "about 40 s"
    assert estimate_text(None, None, None) == ""


@pytest.mark.parametrize(("rate", "text"), [(9.8, "9.8/s"), (12_345, "12,345/s"), (0.075, "4.5/min"), (0.001, "3.6/h")])
def test_rates_have_a_fitting_unit(rate, text):
    assert rate_text(rate) == text


def test_a_step_is_followed():
    step = followed().steps[0]

    assert step_text(step) == "4 of 10 Renderer.RenderFrame, 1 failed, 2.0/s, about 40 s (35 to 50 s)"


def test_a_step_ends():
    state = followed(events.Progressed(at=6.1, step=0, done=10, failed=1, total=10, rate=2.0))

    assert step_text(state.steps[0]) == "10 of 10 Renderer.RenderFrame, 1 failed, took 6.0 s"


def test_steps_of_a_long_loop_do_not_pile_up():
    state = ProgressState()
    for number in range(1000):
        state.fold(events.StepStarted(at=number, step=number, activity="A", line=1, total=1))
        state.fold(events.Progressed(at=number, step=number, done=1, failed=0, total=1, rate=1.0))

    assert len(state.steps) <= 200
    assert 999 in state.steps


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (events.Traced(at=1, text="hello", line=4), "hello"),
        (events.Printed(at=1, activity="A.B", item=3, worker=0, text="x\ny\n"), "[A.B, item 3] x\n[A.B, item 3] y"),
        (
            events.WorkerDied(at=1, worker=1, cause="segmentation fault"),
            "worker 1 died (segmentation fault) and is replaced",
        ),
        (
            events.ItemFailed(
                at=1, failure=Failure("no such file", activity="A.B", item=3, item_text="7"), retried=True
            ),
            "A.B, item 3 (7): no such file; it runs again",
        ),
        (events.Paused(at=1), "paused"),
        (events.LeaderChanged(at=1, leader="otter"), "otter leads the job now"),
        (events.Completed(at=1), ""),
    ],
)
def test_events_in_words(event, said):
    assert ProgressState().fold(event) == said


def test_a_trace_cannot_steer_the_terminal():
    assert "\x1b" not in ProgressState().fold(events.Traced(at=1, text="\x1b[2J\x1b]0;x\x07\r", line=1))
    assert harmless("a\tb\nc") == "a\tb\nc"
    assert one_line("a\n  b\x1b", 10) == "a b\ufffd"
    assert one_line("x" * 1000, 10) == "x" * 9 + "…"


def test_what_other_devices_say_cannot_steer_the_terminal():
    bad = "\x1b[2J\nx"
    state = ProgressState()
    told = [
        state.fold(event)
        for event in (
            events.JobStarted(at=1, job=bad, workers=1),
            events.LeaderChanged(at=1, leader=bad),
            events.StepStarted(at=1, step=1, activity=bad, line=1, total=2),
            events.Printed(at=1, activity=bad, item=None, worker=0, text="x"),
            events.ItemFailed(at=1, failure=Failure(bad, activity=bad, item_text=bad), retried=False),
        )
    ]
    lanes = [lane_text(events.Lane(0, "running", bad)), lane_text(events.Lane(0, bad))]

    for text in (*told, *lanes, state.job, step_text(state.steps[1])):
        assert "\x1b" not in text and "\n" not in text


def test_when_the_leader_changes_ended_steps_stay_and_others_are_told_anew():
    state = followed(
        events.Progressed(at=6.0, step=0, done=10, failed=0, total=10, rate=2.0),
        events.StepStarted(at=6.1, step=1, activity="A.B", line=4, total=5),
        events.LeaderChanged(at=7.0, leader="otter"),
    )
    assert (list(state.steps), state.lanes) == ([0], ())

    # The new leader counts anew.
    state.fold(events.StepStarted(at=7.1, step=0, activity="A.B", line=4, total=5))
    state.fold(events.Progressed(at=7.2, step=0, done=3, failed=0, total=5, rate=1.0))
    assert [step_text(step) for step in state.steps.values()] == ["3 of 5 A.B, 1.0/s"]


def test_a_job_that_is_found_again_may_tell_everything_twice():
    state = followed(*FILM)

    assert [step_text(step) for step in state.steps.values()] == [step_text(step) for step in followed().steps.values()]


def test_a_log_goes_on_where_the_clock_of_a_job_went_back(capsys):
    progress = PlainProgress(every_s=10)
    for at in (100.0, 5.0, 6.0):
        progress(events.StepStarted(at=at, step=0, activity="A.B", line=3, total=10))
        progress(events.Progressed(at=at, step=0, done=4, failed=0, total=10, rate=1.0))

    assert capsys.readouterr().err.splitlines() == ["4 of 10 A.B, 1.0/s"] * 2


def test_a_log_tells_steps_now_and_then(capsys):
    progress = PlainProgress(every_s=10)
    for event in FILM:
        progress(event)
    assert capsys.readouterr().err == ""

    progress(events.Progressed(at=12.0, step=0, done=6, failed=0, total=10, rate=0.5))
    progress(events.Progressed(at=13.0, step=0, done=7, failed=0, total=10, rate=0.5))
    progress(events.Progressed(at=20.1, step=0, done=10, failed=0, total=10, rate=0.5))

    assert capsys.readouterr().err.splitlines() == [
        "6 of 10 Renderer.RenderFrame, 30.0/min",
        "10 of 10 Renderer.RenderFrame, took 20 s",
    ]


def test_a_watched_log_tells_statements(capsys):
    progress = PlainProgress(every_s=1, statements=True)
    for event in FILM:
        progress(event)

    assert capsys.readouterr().err.splitlines() == [
        "line 3: Grid.ForEach(frame in frames)",
        "4 of 10 Renderer.RenderFrame, 1 failed, 2.0/s, about 40 s (35 to 50 s)",
    ]


def test_the_live_view_shows_steps_lanes_and_what_goes_on(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr("sys.stderr", screen)
    progress = LiveProgress()
    for event in FILM:
        progress(event)
    screen.truncate(0)
    Console(file=screen, width=100).print(progress._drawn())
    shown = screen.getvalue()

    assert "4/10" in shown
    assert "about 40 s (35 to 50 s)" in shown
    assert "worker 0  Renderer.RenderFrame, item 3" in shown
    assert "worker 1  idle" in shown
    assert "Film" in shown
    assert "line 3" in shown
