"""The job leader's decisions, as dialogues in virtual time."""

from __future__ import annotations

import uuid

import pytest
from leading import HERE, LedJob, grid

from meshwit import events
from meshwit.ids import PeerId
from meshwit.lang.limits import JobLimits
from meshwit.peer.job.steps import StepSettings


def kinds(job: LedJob) -> list[str]:
    """The events told, but for the statements reached."""
    return [type(event).__name__ for event in job.told if not isinstance(event, events.StatementReached)]


# --- from start to end -------------------------------------------------------------------------------------------


def test_a_job_that_asks_for_nothing_ends_as_it_starts():
    job = LedJob('Int:n = 1 + 2; Trace("n is " + n); Return(n, "x");')
    assert job.over
    assert (job.state, job.variables, job.leader.returned) == ("completed", {"n": 3}, [3, "x"])
    assert job.leader.trace == ["n is 3"]
    assert kinds(job) == ["JobStarted", "Traced", "Returned", "Completed"]
    assert job.told_of(events.Returned)[0].values == ("3", "x")
    assert job.takes() == []


def test_a_call_is_one_task():
    job = LedJob("Int:n = Lab.Double(21);")
    (batch,) = job.takes()
    assert (list(batch.numbers), batch.items) == ([0], [None])
    assert job.takes() == []
    job.returns(batch)
    assert (job.state, job.variables) == ("completed", {"n": 42})
    assert job.ended_steps == [(batch.step, False)]
    assert job.told_of(events.StepStarted, events.Progressed) == []


def test_results_are_in_the_order_of_the_items_whoever_returns_first():
    job = LedJob(grid(6))
    job.ends(5, 3, 4)
    assert job.variables == {"ys": None}
    job.ends(0, 1, 2)
    assert job.variables == {"ys": [0, 2, 4, 6, 8, 10]}
    assert job.ended_steps == [(1, False)]


def test_a_batch_may_come_back_in_parts():
    job = LedJob(grid(100, strategy="Queued"), slots=1)
    job.returns(*job.takes())
    batch = job.takes()[0]
    assert len(batch.numbers) > 3
    job.returns(batch, only=slice(0, 1))
    job.returns(batch, only=slice(1, 3))
    assert not set(batch.numbers[:3]) & set(job.holds("here"))
    assert set(batch.numbers[3:]) <= set(job.holds("here"))
    job.returns(batch, only=slice(3, None))
    assert job.works().variables == {"ys": [2 * number for number in range(100)]}


def test_what_an_arrow_captures_is_told_once_with_the_step():
    job = LedJob("Int:n = 5; IntCollection:ys = Grid.ForEach(x in [1, 2]) => Int(x + n);")
    (prepared,) = job.prepared.values()
    assert prepared.captured == [5]
    assert job.works().variables["ys"] == [6, 7]


def test_a_grid_over_nothing_is_nothing():
    job = LedJob(grid(0))
    assert (job.state, job.variables, job.prepared) == ("completed", {"ys": []}, {})


def test_steps_at_once_are_worked_on_at_once():
    job = LedJob(
        "Int:a = 0; Int:b = 0; Parallel.Invoke { a = Lab.Double(1); b = Lab.Double(2); } Int:c = Lab.Double(a + b);"
    )
    first, second = job.takes()
    job.returns(second)
    job.returns(first)
    assert job.works().variables == {"a": 2, "b": 4, "c": 12}


def test_a_step_withdrawn_is_dropped_and_what_runs_of_it_killed():
    """The first branch fails: the second never was."""
    job = LedJob("Try { Parallel.Invoke { Trace(Lab.Double(1)); Trace(Lab.Double(2)); } } Return(7);")
    first, second = job.takes()
    job.returns(first, failing={0: "no"})
    assert job.ended_steps == [(first.step, True), (second.step, True)]
    assert job.leader.returned == [7]


def test_chance_is_asked_for_here_and_recorded():
    job = LedJob("Guid:g = NewGuid(); Guid:h = g;")
    assert job.takes() == []
    drawn = uuid.uuid4()
    job.answers_inline(drawn)
    assert job.variables == {"g": drawn, "h": drawn}


def test_events_tell_the_lines_reached():
    job = LedJob('Int:a = Lab.Double(1);\nInt:b = 2;\nTrace("x");\nInt:c = Lab.Double(a);').works()
    assert [(each.line, each.text) for each in job.told_of(events.StatementReached)] == [
        (3, "Lab.Double(1)"),
        (6, "Lab.Double(a)"),
    ]
    assert [each.line for each in job.told_of(events.Traced)] == [5]
    assert job.variables["b"] == 2


def test_a_long_loop_lets_others_have_a_turn():
    job = LedJob("Int:n = 0; Loop(300) { n = n + 1; }", limits=JobLimits(steps_per_turn=100))
    turns = 0
    while job.leader.wants_turn:
        turns += 1
        job.hears(job.leader.turn(0.0))
    assert turns > 2
    assert (job.state, job.variables) == ("completed", {"n": 300})


def test_only_so_many_traces_are_kept():
    job = LedJob("Loop(10) { Trace(1); }", limits=JobLimits(trace_texts=4))
    assert job.leader.trace == ["1"] * 4
    assert len(job.told_of(events.Traced)) == 10


# --- failures ----------------------------------------------------------------------------------------------------


def test_a_failing_item_fails_the_job_and_names_itself_and_its_line():
    job = LedJob("Int:a = 1;\n" + grid(6, "Lab.Double(x + a)"))
    job.ends(3, 4, failing={4: "it broke"})
    failure = job.leader.failure
    assert (failure.message, failure.item, failure.item_text) == ("it broke", 4, "4")
    assert (failure.activity, failure.peer, failure.worker, failure.traceback) == ("Lab.Double", "here", 1, "Traceback")
    assert job.program.line_of(failure.span) == 4
    assert (job.state, job.ended_steps) == ("failed", [(1, True)])
    assert kinds(job)[-3:] == ["ItemFailed", "Progressed", "JobFailed"]
    job.ends(0, 1)
    assert job.variables == {"a": 1, "ys": None}


def test_a_long_item_is_shortened_in_its_failure():
    job = LedJob(f'StringCollection:ys = Grid.ForEach(x in ["{"long " * 200}"]) => String(x);')
    job.ends(0, failing={0: "no"})
    assert len(job.leader.failure.item_text) < 200


def test_what_is_done_stays_readable_when_a_step_fails():
    job = LedJob(grid(6))
    job.ends(0, 1, 2)
    job.ends(3, 4, 5, failing={3: "no"})
    assert job.leader.partial() == {"ys": {0: 0, 1: 2, 2: 4, 4: 8, 5: 10}}


def test_a_try_holds_a_failed_step_and_the_rest_goes_on():
    job = LedJob(
        f"String:told; Try {{ {grid(2)} Trace(ys); }} Catch(String:error) {{ told = error; }} Return(Lab.Double(4));"
    )
    job.ends(0, failing={0: "no"})
    job.works()
    assert (job.state, job.variables, job.leader.returned) == ("completed", {"told": "no"}, [8])


def test_unfinished_steps_of_one_place_are_all_readable():
    """A loop whose rounds fail one after another loses none of their results."""
    job = LedJob(f"ForEach(i in [1, 2]) {{\nTry {{ {grid(2)} Trace(ys); }}\n}}", slots=1)
    for step, item in ((1, 0), (2, 1)):
        job.ends(0, 1, step=step, failing={item: "no"})
    assert list(job.leader.partial().values()) == [{1: 2}, {0: 0}]


def test_skip_gives_null_for_the_item():
    job = LedJob(grid(4, OnError='"Skip"'))
    job.ends(0, 1, failing={1: "no"})
    job.ends(2, 3)
    assert (job.state, job.variables) == ("completed", {"ys": [0, None, 4, 6]})
    (failed,) = job.told_of(events.ItemFailed)
    assert (failed.failure.item, failed.retried) == (1, False)
    last = job.told_of(events.Progressed)[-1]
    assert (last.done, last.failed, last.total) == (4, 1, 4)


def test_a_failed_item_is_tried_again_as_often_as_said():
    job = LedJob(grid(3, Retries=2), slots=1)
    job.ends(0, 1, 2, failing={1: "first"})
    assert job.holds("here") == [1]
    job.ends(1, failing={1: "second"})
    job.ends(1)
    assert job.variables == {"ys": [0, 2, 4]}
    assert [each.retried for each in job.told_of(events.ItemFailed)] == [True, True]


def test_after_its_retries_an_item_has_failed():
    job = LedJob(grid(3, Retries=1), slots=1)
    job.ends(1, failing={1: "first"})
    job.ends(1, failing={1: "second"})
    assert (job.state, job.leader.failure.message) == ("failed", "second")


@pytest.mark.parametrize("kind", ["killed", "unloadable", "unencodable"])
def test_what_cannot_end_otherwise_is_not_tried_again(kind):
    """A task that kills its worker has had its second try in the pool."""
    job = LedJob(grid(3, Retries=5), slots=1)
    job.ends(1, failing={1: "gone"}, kind=kind)
    assert (job.state, job.leader.failure.item) == ("failed", 1)


def test_a_failed_call_names_no_item():
    job = LedJob("Int:n = Lab.Double(1);")
    job.ends(0, failing={0: "no"})
    assert (job.leader.failure.item, job.leader.failure.activity) == (None, "Lab.Double")
    assert job.told_of(events.ItemFailed) == []


def test_what_is_printed_and_who_dies_is_told():
    job = LedJob(grid(2), slots=1)
    job.ends(0, 1, printed={1: "hello"})
    (printed,) = job.told_of(events.Printed)
    assert (printed.item, printed.text, printed.activity, printed.peer) == (1, "hello", "Lab.Double", "here")
    job = LedJob(grid(2))
    job.hears(job.leader.worker_died(1, HERE, 3, "killed by signal 9", 0.0))
    (died,) = job.told_of(events.WorkerDied)
    assert (died.cause, died.peer) == ("killed by signal 9", "here")


# --- pause, cancel, put back -------------------------------------------------------------------------------------


def test_a_paused_job_gives_out_nothing_and_takes_what_comes():
    job = LedJob(f"{grid(4)} Int:n = Lab.Double(1);")
    job.takes()
    job.pauses()
    job.ends(0, 1)
    job.ends(2, 3)
    assert job.takes() == []
    assert job.variables == {"ys": None, "n": None}
    job.resumes()
    assert job.works().variables == {"ys": [0, 2, 4, 6], "n": 2}
    assert [kind for kind in kinds(job) if kind in ("Paused", "Resumed")] == ["Paused", "Resumed"]


def test_a_paused_job_does_not_wake_for_its_timers():
    job = LedJob("Pause(50); Int:n = 1;")
    job.pauses()
    assert job.leader.next_deadline() is None
    job.now = 2.0
    job.resumes()
    job.at(2.0)
    assert (job.state, job.variables) == ("completed", {"n": 1})


def test_pausing_twice_is_pausing_once():
    job = LedJob(grid(2))
    job.pauses()
    job.pauses()
    job.resumes()
    job.resumes()
    assert len(job.told_of(events.Paused, events.Resumed)) == 2


def test_a_cancelled_job_ends_now_and_keeps_what_it_has():
    job = LedJob(grid(6))
    job.ends(0, 1, 2)
    job.is_cancelled()
    assert (job.state, job.over, job.ended_steps) == ("cancelled", True, [(1, True)])
    assert kinds(job)[-1] == "Cancelled"
    assert job.leader.partial() == {"ys": {0: 0, 1: 2, 2: 4}}
    job.ends(3, 4, 5)
    job.joins("den")
    assert job.takes() == []
    assert job.leader.next_deadline() is None
    job.is_cancelled()
    job.pauses()
    job.resumes()
    assert kinds(job)[-1] == "Cancelled"


def test_a_pause_takes_back_what_has_not_begun_and_resume_goes_on():
    job = LedJob(grid(8))
    first, second, *_ = job.takes()
    job.begins(first, second)
    job.pauses()
    assert [sorted(ask.numbers) for ask in job.asked] == [[2, 3, 4, 5, 6, 7]]
    job.answers()
    assert job.holds("here") == [0, 1]
    job.ends(0, 1)
    assert job.takes() == []
    job.resumes()
    assert job.holds("here")
    assert job.works().variables == {"ys": [0, 2, 4, 6, 8, 10, 12, 14]}


def test_a_peer_that_joins_or_grants_during_a_pause_gets_nothing_until_it_ends():
    job = LedJob(grid(8, strategy="Queued"))
    job.pauses()
    job.answers()
    job.joins("den", 2)
    job.hears(job.leader.granted(1, PeerId("den"), 1, 0.0))
    assert not job.holds("den")
    job.resumes()
    assert job.holds("den")
    assert job.works().variables == {"ys": [0, 2, 4, 6, 8, 10, 12, 14]}


def test_items_given_back_run_again():
    job = LedJob(grid(8))
    job.begins(job.takes()[0])
    job.hears(job.leader.given_back(1, HERE, [2, 3], 0.0))
    job.ends(0, 1, 4, 5, 6, 7)
    assert sorted(number for batch in job.takes() for number in batch.numbers) == [2, 3]
    assert job.works().variables == {"ys": [0, 2, 4, 6, 8, 10, 12, 14]}


# --- who comes first ---------------------------------------------------------------------------------------------


def test_peers_are_told_the_priority_and_a_call_goes_before_the_tasks_of_steps():
    """The script waits for its one value."""
    step = grid(4, Priority=5).removeprefix("IntCollection:")
    usual = grid(4).removeprefix("IntCollection:").replace("ys", "zs")
    job = LedJob(
        "IntCollection:ys = []; IntCollection:zs = []; Int:n = 0; "
        f"Parallel.Invoke {{ {step} {usual} n = Lab.Double(3); }}"
    )
    assert [job.prepared[number].settings.priority for number in (1, 2, 3)] == [5, 0, 1]


@pytest.mark.parametrize("strategy", ["Adaptive", "Queued"])
def test_one_at_a_time_gives_a_peer_work_for_one_slot(strategy):
    """One item that runs and one ahead, whatever slots the peer has."""
    job = LedJob(grid(40, strategy=strategy, CanRunInParallelOnClient=False), workers={"here": 4, "den": 8})
    assert [len(job.holds(name)) for name in ("here", "den")] == [2, 2]
    assert job.prepared[1].settings.one_at_a_time
    job.joins("den", 3)
    job.hears(job.leader.granted(1, HERE, 2, 0.0))
    assert [len(job.holds(name)) for name in ("here", "den")] == [2, 2]
    assert job.works().variables == {"ys": [2 * number for number in range(40)]}


def test_the_longest_items_start_first():
    job = LedJob("IntCollection:ys = Grid.ForEach(x in [3, 9, 1, 9, 5]) => Lab.Weigh(x);", slots=1)
    started = []
    while batches := job.takes():
        started += [number for batch in batches for number in batch.numbers]
        job.returns(*batches)
    assert started == [1, 3, 4, 0, 2]
    assert job.variables == {"ys": [-3, -9, -1, -9, -5]}


def test_the_longest_first_still_have_their_places():
    job = LedJob(grid(5, "Lab.Weigh(x)"), slots=1)
    job.works()
    assert job.variables == {"ys": [0, -1, -2, -3, -4]}


def test_limits_of_the_script_go_before_those_of_the_device():
    defaults = StepSettings(timeout_s=9.0, memory_max_bytes=1000)
    own = LedJob(grid(2, TimeLimit=2.5, MemoryLimit='"2KiB"'), defaults=defaults).prepared[1].settings
    assert (own.timeout_s, own.memory_max_bytes) == (2.5, 2048)
    plain = LedJob(grid(2), defaults=defaults).prepared[1].settings
    assert (plain.timeout_s, plain.memory_max_bytes) == (9.0, 1000)


# --- time --------------------------------------------------------------------------------------------------------


def test_a_pause_of_the_script_ends_at_its_time():
    job = LedJob('Pause(1500, "for breath"); Int:n = 1;')
    assert job.leader.next_deadline() == 1.5
    assert job.told_of(events.Waited)[0].text == "for breath"
    assert job.at(1.4).state == "running"
    assert job.at(1.5).state == "completed"


def test_a_timer_counts_from_its_last_round():
    """A block that takes long does not shift the rounds after it."""
    job = LedJob("Int:n = 0; Timer(1000, 3000) { n = Lab.Double(n + 1); }")
    ticks = []
    for late in (0.2, 0.9, 0.0):
        ticks.append(job.leader.next_deadline())
        job.at(ticks[-1])
        job.now += late
        job.works()
        job.at(job.now)
    assert ticks == [1.0, 2.0, 3.0]
    assert job.sleeps_on().variables == {"n": 14}


def test_progress_is_told_at_most_ten_times_a_second():
    job = LedJob(grid(1000))
    for number in range(400):
        job.at(job.now + 0.001)
        job.ends(number, seconds=1.0)
    told = job.told_of(events.Progressed)
    assert 3 <= len(told) <= 4
    done, failed = told[-1].done, told[-1].failed
    assert 250 < done < 400
    assert failed == 0
    assert told[-1].total == 1000
    assert told[-1].rate == pytest.approx(1000, rel=0.05)
    assert told[-1].remaining_low_s <= told[-1].remaining_s <= told[-1].remaining_high_s
    assert told[-1].remaining_s == pytest.approx((1000 - done) / 2, rel=0.05)


def test_the_last_progress_tells_that_all_is_done():
    job = LedJob(grid(10)).works()
    (last,) = job.told_of(events.Progressed)
    assert (last.done, last.total, last.remaining_s) == (10, 10, 0.0)
    assert kinds(job)[-2:] == ["Progressed", "Completed"]


# --- the journal -------------------------------------------------------------------------------------------------

TWO_STEPS = f"{grid(4)} Int:n = Lab.Double(ys[3]); Guid:g = NewGuid(); Pause(10); Return(n);"


def test_a_restart_asks_nobody_for_what_is_known():
    job = LedJob(TWO_STEPS).works()
    job.answers_inline(uuid.uuid4())
    job.sleeps_on()
    again = LedJob(TWO_STEPS, journal=job.leader.journal)
    assert again.over
    assert (again.prepared, again.inline) == ({}, [])
    assert again.variables == job.variables
    assert again.leader.returned == job.leader.returned == [12]


def test_a_restart_computes_the_missing_items_only():
    job = LedJob(grid(6))
    job.ends(3, 4)
    job.ends(1)
    again = LedJob(grid(6), journal=job.leader.journal)
    assert again.holds("here") == [0, 2, 5]
    again.returns(*again.takes())
    assert again.variables == {"ys": [0, 2, 4, 6, 8, 10]}
    assert again.told_of(events.Progressed)[-1].done == 6


def test_a_restart_with_all_items_of_a_step_known_needs_no_worker():
    """The leader died between the last result and its note that the step is done."""
    job = LedJob(grid(4))
    job.ends(0, 1)
    job.ends(2)
    journal = job.leader.journal
    path = next(iter(journal.unfinished()))
    journal.record_items(path, [3], [6])
    again = LedJob(grid(4), journal=journal)
    assert (again.state, again.variables, again.takes()) == ("completed", {"ys": [0, 2, 4, 6]}, [])


def test_a_restart_holds_the_longest_first_too():
    body = "IntCollection:ys = Grid.ForEach(x in [3, 9, 1, 9, 5]) => Lab.Weigh(x);"
    job = LedJob(body, slots=1)
    job.ends(1)
    again = LedJob(body, slots=1, journal=job.leader.journal)
    assert list(again.takes()[0].numbers) == [3]
    assert again.leader.partial() == {"ys": {1: -9}}


def test_a_failure_that_was_held_is_remembered():
    body = f"String:told; Try {{ {grid(2)} Trace(ys); }} Catch(String:error) {{ told = error; }}"
    job = LedJob(body)
    job.ends(0, failing={0: "no"})
    again = LedJob(body, journal=job.leader.journal)
    assert (again.state, again.variables, again.prepared) == ("completed", {"told": "no"}, {})
