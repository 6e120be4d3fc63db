"""The job leader's decisions, as dialogues in virtual time."""

from __future__ import annotations

import uuid

import pytest
from leading import LedJob, grid

from meshwit import events
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
    first, second = job.takes()
    job.returns(second)
    assert job.variables == {"ys": None}
    job.returns(first)
    assert job.variables == {"ys": [0, 2, 4, 6, 8, 10]}
    assert job.ended_steps == [(first.step, False)]


def test_a_batch_may_come_back_in_parts():
    job = LedJob(grid(6), slots=1)
    batch = job.takes_one()
    job.returns(batch, only=slice(0, 1))
    job.returns(batch, only=slice(1, 4))
    assert job.state == "running"
    job.returns(batch, only=slice(4, 6))
    assert job.variables == {"ys": [0, 2, 4, 6, 8, 10]}


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
    assert (second.step, True) in job.ended_steps
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
    first, second = job.takes()
    job.returns(second, failing={4: "it broke"})
    failure = job.leader.failure
    assert (failure.message, failure.item, failure.item_text) == ("it broke", 4, "4")
    assert (failure.activity, failure.peer, failure.worker, failure.traceback) == ("Lab.Double", "here", 1, "Traceback")
    assert job.program.line_of(failure.span) == 4
    assert (job.state, job.ended_steps) == ("failed", [(first.step, True)])
    assert kinds(job)[-3:] == ["ItemFailed", "Progressed", "JobFailed"]
    job.returns(first)
    assert job.variables == {"a": 1, "ys": None}


def test_a_long_item_is_shortened_in_its_failure():
    job = LedJob(f'StringCollection:ys = Grid.ForEach(x in ["{"long " * 200}"]) => String(x);')
    job.returns(job.takes_one(), failing={0: "no"})
    assert len(job.leader.failure.item_text) < 200


def test_what_is_done_stays_readable_when_a_step_fails():
    job = LedJob(grid(6))
    first, second = job.takes()
    job.returns(first)
    job.returns(second, failing={3: "no"})
    assert job.leader.partial() == {"ys": {0: 0, 1: 2, 2: 4, 4: 8, 5: 10}}


def test_a_try_holds_a_failed_step_and_the_rest_goes_on():
    job = LedJob(
        f"String:told; Try {{ {grid(2)} Trace(ys); }} Catch(String:error) {{ told = error; }} Return(Lab.Double(4));"
    )
    job.returns(job.takes_one(), failing={0: "no"})
    job.works()
    assert (job.state, job.variables, job.leader.returned) == ("completed", {"told": "no"}, [8])


def test_unfinished_steps_of_one_place_are_all_readable():
    """A loop whose rounds fail one after another loses none of their results."""
    job = LedJob(f"ForEach(i in [1, 2]) {{\nTry {{ {grid(2)} Trace(ys); }}\n}}", slots=1)
    for item in (0, 1):
        job.returns(job.takes_one(), failing={item: "no"})
    assert list(job.leader.partial().values()) == [{1: 2}, {0: 0}]


def test_skip_gives_null_for_the_item():
    job = LedJob(grid(4, OnError='"Skip"'))
    first, second = job.takes()
    job.returns(first, failing={1: "no"})
    job.returns(second)
    assert (job.state, job.variables) == ("completed", {"ys": [0, None, 4, 6]})
    (failed,) = job.told_of(events.ItemFailed)
    assert (failed.failure.item, failed.retried) == (1, False)
    last = job.told_of(events.Progressed)[-1]
    assert (last.done, last.failed, last.total) == (4, 1, 4)


def test_a_failed_item_is_tried_again_as_often_as_said():
    job = LedJob(grid(3, Retries=2), slots=1)
    job.returns(job.takes_one(), failing={1: "first"})
    again = job.takes_one()
    assert list(again.numbers) == [1]
    job.returns(again, failing={1: "second"})
    job.returns(job.takes_one())
    assert job.variables == {"ys": [0, 2, 4]}
    assert [each.retried for each in job.told_of(events.ItemFailed)] == [True, True]


def test_after_its_retries_an_item_has_failed():
    job = LedJob(grid(3, Retries=1), slots=1)
    job.returns(job.takes_one(), failing={1: "first"})
    job.returns(job.takes_one(), failing={1: "second"})
    assert (job.state, job.leader.failure.message) == ("failed", "second")


@pytest.mark.parametrize("kind", ["killed", "unloadable", "unencodable"])
def test_what_cannot_end_otherwise_is_not_tried_again(kind):
    """A task that kills its worker has had its second try in the pool."""
    job = LedJob(grid(3, Retries=5), slots=1)
    job.returns(job.takes_one(), failing={1: "gone"}, kind=kind)
    assert (job.state, job.leader.failure.item) == ("failed", 1)


def test_a_failed_call_names_no_item():
    job = LedJob("Int:n = Lab.Double(1);")
    job.returns(job.takes_one(), failing={0: "no"})
    assert (job.leader.failure.item, job.leader.failure.activity) == (None, "Lab.Double")
    assert job.told_of(events.ItemFailed) == []


def test_what_is_printed_and_who_dies_is_told():
    job = LedJob(grid(2), slots=1)
    job.returns(job.takes_one(), printed={1: "hello"})
    (printed,) = job.told_of(events.Printed)
    assert (printed.item, printed.text, printed.activity) == (1, "hello", "Lab.Double")
    job = LedJob(grid(2))
    job.hears(job.leader.worker_died(3, "killed by signal 9", 0.0))
    assert job.told_of(events.WorkerDied)[0].cause == "killed by signal 9"


# --- pause, cancel, put back -------------------------------------------------------------------------------------


def test_a_paused_job_gives_out_nothing_and_takes_what_comes():
    job = LedJob(f"{grid(4)} Int:n = Lab.Double(1);")
    first, second = job.takes()
    job.pauses()
    job.returns(first)
    job.returns(second)
    assert not job.leader.has_work
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
    first, second = job.takes()
    job.returns(first)
    job.is_cancelled()
    assert (job.state, job.over, job.ended_steps) == ("cancelled", True, [(first.step, True)])
    assert kinds(job)[-1] == "Cancelled"
    assert job.leader.partial() == {"ys": {0: 0, 1: 2, 2: 4}}
    job.returns(second)
    assert job.takes() == []
    assert job.leader.next_deadline() is None
    job.is_cancelled()
    job.pauses()
    job.resumes()
    assert kinds(job)[-1] == "Cancelled"


def test_items_put_back_are_given_out_again_first():
    job = LedJob(grid(8), slots=2)
    first = job.takes_one()
    job.returns(first, only=slice(0, 1))
    job.puts_back(first, [2, 3])
    again = job.takes_one()
    assert list(again.numbers) == [2, 3]
    job.returns(first, only=slice(1, 2))
    job.returns(again)
    assert job.works().variables == {"ys": [0, 2, 4, 6, 8, 10, 12, 14]}


def test_a_batch_put_back_whole_is_nobodys():
    job = LedJob(grid(4))
    first = job.takes_one()
    job.puts_back(first, [0, 1])
    job.returns(first)
    assert job.works().variables == {"ys": [0, 2, 4, 6]}


# --- who comes first ---------------------------------------------------------------------------------------------


def test_a_step_of_higher_priority_goes_first():
    low, high = grid(4, Priority=1).replace("ys", "low"), grid(4, Priority=5).replace("ys", "high")
    low, high = low.removeprefix("IntCollection:"), high.removeprefix("IntCollection:")
    job = LedJob(f"IntCollection:low = []; IntCollection:high = []; Parallel.Invoke {{ {low} {high} }}")
    steps = [batch.step for batch in job.takes()]
    assert steps == [2, 2, 1, 1]


def test_a_call_goes_before_the_tasks_of_steps():
    """The script waits for its one value."""
    step = grid(4).removeprefix("IntCollection:")
    job = LedJob(f"IntCollection:ys = []; Int:n = 0; Parallel.Invoke {{ {step} n = Lab.Double(3); }}")
    assert [len(batch.items) for batch in job.takes()] == [1, 2, 2]


def test_one_at_a_time_is_one_batch_at_a_time():
    job = LedJob(grid(4, CanRunInParallelOnClient=False))
    (first,) = job.takes()
    assert job.takes() == []
    job.returns(first)
    assert len(job.takes()) == 1


def test_the_longest_items_start_first():
    job = LedJob("IntCollection:ys = Grid.ForEach(x in [3, 9, 1, 9, 5]) => Lab.Weigh(x);", slots=1)
    started = []
    while batches := job.takes(1):
        started += batches[0].numbers
        job.returns(batches[0])
    assert started == [1, 3, 4, 0, 2]
    assert job.variables == {"ys": [-3, -9, -1, -9, -5]}


def test_the_longest_first_in_one_batch_still_have_their_places():
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
    job = LedJob(grid(1000, strategy="Queued"))
    for _ in range(400):
        job.at(job.now + 0.001)
        job.returns(job.takes_one(), seconds=1.0)
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
    first, second = job.takes()
    job.returns(second, only=slice(0, 2))
    job.returns(first, only=slice(1, 2))
    again = LedJob(grid(6), journal=job.leader.journal)
    batches = again.takes()
    assert sorted(n for batch in batches for n in batch.numbers) == [0, 2, 5]
    for batch in batches:
        again.returns(batch)
    assert again.variables == {"ys": [0, 2, 4, 6, 8, 10]}
    assert again.told_of(events.Progressed)[-1].done == 6


def test_a_restart_with_all_items_of_a_step_known_needs_no_worker():
    """The leader died between the last result and its note that the step is done."""
    job = LedJob(grid(4))
    first, second = job.takes()
    job.returns(first)
    job.returns(second, only=slice(0, 1))
    journal = job.leader.journal
    path = next(iter(journal.unfinished()))
    journal.record_items(path, [3], [6])
    again = LedJob(grid(4), journal=journal)
    assert (again.state, again.variables, again.takes()) == ("completed", {"ys": [0, 2, 4, 6]}, [])


def test_a_restart_holds_the_longest_first_too():
    body = "IntCollection:ys = Grid.ForEach(x in [3, 9, 1, 9, 5]) => Lab.Weigh(x);"
    job = LedJob(body, slots=1)
    job.returns(job.takes_one())
    again = LedJob(body, slots=1, journal=job.leader.journal)
    assert list(again.takes_one().numbers) == [3]
    assert again.leader.partial() == {"ys": {1: -9}}


def test_a_failure_that_was_held_is_remembered():
    body = f"String:told; Try {{ {grid(2)} Trace(ys); }} Catch(String:error) {{ told = error; }}"
    job = LedJob(body)
    job.returns(job.takes_one(), failing={0: "no"})
    again = LedJob(body, journal=job.leader.journal)
    assert (again.state, again.variables, again.prepared) == ("completed", {"told": "no"}, {})


def test_steps_of_one_priority_share_the_slots():
    low, high = (grid(4).replace("ys", name).removeprefix("IntCollection:") for name in ("a", "b"))
    job = LedJob(f"IntCollection:a = []; IntCollection:b = []; Parallel.Invoke {{ {low} {high} }}")
    assert [batch.step for _ in range(4) for batch in job.takes(1)] == [1, 2, 1, 2]
