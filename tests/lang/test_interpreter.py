"""The interpreter as a core: wishes have paths, answers may come in any order, and a replay comes to the same point."""

from __future__ import annotations

import random

import pytest
from machine import Ending, Machine, answer, compiled, main

from meshwit.lang.interpreter import State
from meshwit.lang.limits import JobLimits
from meshwit.lang.wishes import SleepWish, StepWish

SQUARE = "Job:Square(Int:x) { Int:y = Work.Add(x, 0); Return(y * y % 97); }"
SCRIPTS = {
    "calls": "Int:a = Work.Add(1, 2); Int:b = Work.Add(a, Work.Add(a, a)); Return(b);",
    "loops": """
        Int:s = 0;
        ForEach(i in Int.Range(0, 4)) { Loop(2) { s = Work.Add(s, i); If(s == 7) { Continue; } s = s + 1; } }
        While(s < 90) { s = Work.Add(s, 30); If(s == 60) { Break; } }""",
    "branches": """
        Int:a = 1;
        If(Work.Add(a, 1) == 3) { a = 10; } ElseIf(Work.Add(a, 1) == 2) { a = Work.Add(a, 20); } Else { a = 30; }""",
    "sum over branches": "Int:s = 0; Parallel.ForEach(i in Int.Range(0, 6)) { s = s + Work.Add(i, i); }",
    "last writer": "Int:last = 0; Parallel.ForEach(i in Int.Range(0, 6)) { last = Work.Add(i, 1); }",
    "text in order": """
        String:t = "";
        Parallel.ForEach(i in Int.Range(0, 5)) { Int:d = Work.Add(i, 1); t = t + d; t = t + ","; }""",
    "statements at once": """
        Int:a = 0; Int:b = 0; Int:c = 0;
        Parallel.Invoke { a = Work.Add(1, 1); b = Work.Add(2, 2); c = c + a * b; Loop(2) { c = Work.Add(c, 1); } }""",
    "nested parallel blocks": """
        Int:s = 0; String:t = "";
        Parallel.ForEach(i in Int.Range(0, 3)) {
            Int:mine = 0;
            Parallel.ForEach(j in Int.Range(0, 3)) { mine = mine + Work.Add(i, j); t = t + i + j + " "; }
            Parallel.Invoke { s = s + mine; s = Work.Add(s, mine); }
        }""",
    "called jobs": """
        Int:s = 0;
        Parallel.ForEach(i in Int.Range(0, 4)) { s = s + Square(i + Square(1)); }
        Int:last = Square(Square(2));""",
    "grids": """
        Int:n = 3;
        IntCollection:xs = Grid.ForEach(x in Int.Range(0, 4)) => Work.Add(x, n);
        IntCollection:ys = []; IntCollection:zs = [];
        Parallel.Invoke {
            ys = Grid.ForEach(x in xs) => Work.Add(x, 1);
            zs = Grid.ForEach(x in xs) => Work.Add(x, xs[0]);
        }
        Array:squares = Grid.ForEach(x in ys) => Square(x);""",
    "time": """
        Int:n = 0;
        Parallel.Invoke {
            Timer(10, 30) { n = n + 1; }
            Delay(5) { n = n * 10; }
            Pause(7, "a while");
        }""",
    "held failures": """
        String:log = "";
        Parallel.ForEach(i in Int.Range(0, 5)) {
            Try { Int:h = Work.Half(i); log = log + h; } Catch(String:error) { log = log + "(" + error + ")"; }
        }""",
    "recorded chance": "Guid:a = NewGuid(); Guid:b = NewGuid(); Bool:same = a == b; Return(a);",
}
CUT_SHORT = {
    "the lowest failure is told": """
        String:told = ""; Int:done = 0;
        Try { Parallel.ForEach(i in Int.Range(0, 6)) { Int:h = Work.Half(i); done = done + 1; } }
        Catch(String:error) { told = error; }""",
    "a failure fails the job": "Int:s = 0; Parallel.ForEach(i in Int.Range(0, 6)) { s = s + Work.Half(i); }",
    "break": """
        Int:s = 0;
        Parallel.ForEach(i in Int.Range(0, 6)) { If(Work.Add(i, 0) == 3) { Break; } s = s + i; }""",
    "break out of statements": """
        Int:s = 0; Int:t = 0;
        Loop(3) { Parallel.Invoke { s = s + 1; If(Work.Add(s, 0) == 2) { Break; } t = Work.Add(t, 5); } }""",
    "continue past statements": """
        Int:s = 0; Int:t = 0;
        Loop(3) { Parallel.Invoke { s = s + 1; If(Work.Add(s, 0) == 2) { Continue; } t = Work.Add(t, 5); } }""",
    "return from a branch": """
        Int:s = 0;
        Parallel.ForEach(i in Int.Range(0, 6)) { If(Work.Add(i, 0) == 2) { Return(i, s); } s = s + i; }""",
    "what a later branch did alone never was": """
        Int:a = 1; Int:b = 1;
        Try { Parallel.Invoke { a = Work.Half(3); b = 5; Invoke { b = Work.Add(b, 1); } } }
        Catch(String:error) { Trace(error); }""",
    "nor when another block is around": """
        Int:v = 0; String:log = "";
        Parallel.ForEach(i in Int.Range(0, 3)) {
            Try { Parallel.Invoke { If(Work.Add(i, 0) == 1) { Trace("boom", true); } v = v + 10; } }
            Catch(String:error) { log = log + error + v; }
        }""",
    "a grid that fails beside another": """
        String:told = ""; IntCollection:xs = [];
        Try {
            Parallel.Invoke {
                xs = Grid.ForEach(x in Int.Range(0, 4)) => Work.Half(x);
                xs = Grid.ForEach(x in Int.Range(0, 4)) => Work.Add(x, 1);
            }
        } Catch(String:error) { told = error; }""",
}
ALL = SCRIPTS | CUT_SHORT


def script(name: str) -> str:
    return f"Job:Main() {{ {ALL[name]} }} {SQUARE}"


def in_order(name: str) -> Ending:
    """The same script with nothing at once, answered one by one."""
    return Machine(compiled(script(name).replace("Parallel.", ""))).run()


# --- paths, order and replay -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_the_order_of_answers_does_not_matter(name):
    """Variables, what was returned and the failure are those of a run in which nothing is at once."""
    program, expected = compiled(script(name)), in_order(name)
    if name == "recorded chance":
        expected = Machine(program).run()
    for seed in range(40):
        assert Machine(program).run(random.Random(seed)) == expected


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_order_asks_for_the_same_paths(name):
    program = compiled(script(name))
    first = Machine(program)
    first.run()
    for seed in range(20):
        machine = Machine(program)
        machine.run(random.Random(seed))
        assert machine.paths == first.paths
        assert not machine.withdrawn


@pytest.mark.parametrize("name", CUT_SHORT)
def test_what_is_needed_in_order_is_needed_in_every_order(name):
    """Where branches are cut short, an order may ask for more than another, never for less."""
    program = compiled(script(name))
    needed = set.intersection(*[_asked(program, seed) for seed in range(30)])
    last = Machine(program, known={path: answer for path, answer in _recording(program, 31).items() if path in needed})
    assert not last.running


def _asked(program, seed):
    machine = Machine(program)
    machine.run(random.Random(seed))
    return machine.paths


def _recording(program, seed):
    machine = Machine(program)
    machine.run(random.Random(seed))
    return machine.recorded


@pytest.mark.parametrize("name", ALL)
def test_a_replay_of_any_prefix_comes_to_the_same_point_and_end(name):
    """Stopped after each answer: what waits, the variables, and, from there on, the end are the same."""
    program = compiled(script(name))
    for seed in range(4):
        rng = random.Random(seed)
        machine = Machine(program)
        while machine.running:
            replay = Machine(program, known=dict(machine.recorded))
            assert set(replay.pending) == set(machine.pending)
            assert replay.ending() == machine.ending()
            machine.answer(rng.choice(list(machine.pending)))
        replay = Machine(program, known=dict(machine.recorded))
        assert replay.ending() == machine.ending()


@pytest.mark.parametrize("name", ALL)
def test_a_replay_with_all_answers_asks_nobody(name):
    program = compiled(script(name))
    machine = Machine(program)
    machine.run(random.Random(5))
    replay = Machine(program, known=machine.recorded)
    assert not replay.running
    assert replay.ending() == machine.ending()
    assert set(replay.answered) <= set(machine.answered)


def test_a_replay_goes_on_elsewhere_with_other_orders():
    """What one leader knew of any moment is enough for the next one to come to the same end."""
    program, expected = compiled(script("nested parallel blocks")), in_order("nested parallel blocks")
    for seed in range(30):
        rng = random.Random(seed)
        machine = Machine(program)
        for _ in range(rng.randrange(12)):
            machine.answer(rng.choice(list(machine.pending)))
        assert Machine(program, known=machine.recorded).run(rng) == expected


def test_each_round_has_a_path_of_its_own():
    machine = Machine(main("Loop(3) { Loop(2) { Int:x = Work.Add(1, 1); Trace(x); } }"))
    machine.run()
    assert len(machine.paths) == 6


def test_traces_come_in_the_order_of_the_script_where_nothing_is_at_once():
    machine = Machine(main('Int:n = Work.Add(1, 1); Trace("a" + n); Loop(2) { Trace("b"); } Trace("c");'))
    machine.run()
    assert machine.traced == ["a2", "b", "b", "c"]


def test_a_recorded_guid_is_the_same_in_a_replay():
    program = main("Guid:a = NewGuid(); Int:n = Work.Add(1, 1); Return(a, n);")
    machine = Machine(program)
    (path,) = machine.pending
    machine.answer(path)
    replay = Machine(program, known=machine.recorded)
    assert replay.interpreter.variables()["a"] == machine.interpreter.variables()["a"] is not None


def test_answers_to_nothing_are_ignored():
    """An answer that comes twice, or for a path that nobody asked for, changes nothing."""
    machine = Machine(main("Int:a = Work.Add(1, 1); Int:b = Work.Add(a, 1);"))
    (path,) = machine.pending
    machine.answer(path)
    machine.interpreter.resolve(path, 50)
    machine.interpreter.resolve((9, 9, 9), 50)
    assert machine.run().variables == {"a": 2, "b": 3}


# --- parallel blocks ---------------------------------------------------------------------------------------------


def test_calls_of_branches_are_asked_for_at_once():
    """The call need not wait for its turn; adding its result does."""
    machine = Machine(main("Int:s = 0; Parallel.ForEach(i in Int.Range(0, 3)) { s = s + Work.Add(i, 1); }"))
    assert machine.asks() == [("Work.Add", 0, 1), ("Work.Add", 1, 1), ("Work.Add", 2, 1)]
    machine.answer_call("Work.Add", 2, 1)
    machine.answer_call("Work.Add", 1, 1)
    assert machine.interpreter.variables() == {"s": 0}
    machine.answer_call("Work.Add", 0, 1)
    assert machine.ending() == Ending("completed", {"s": 6}, [], None)


def test_a_call_that_needs_what_branches_share_waits_for_its_turn():
    machine = Machine(main("Int:s = 1; Parallel.ForEach(i in Int.Range(0, 3)) { s = Work.Add(s, i); }"))
    assert machine.asks() == [("Work.Add", 1, 0)]
    assert machine.run().variables == {"s": 4}


def test_a_branch_of_its_own_does_not_wait():
    """Variables that one branch alone uses need no turn."""
    machine = Machine(
        main("""
        Int:a = 0; Int:b = 0;
        Parallel.Invoke { a = Work.Add(1, 1); Invoke { b = Work.Add(2, 2); b = Work.Add(b, 1); } }
        """)
    )
    machine.answer_call("Work.Add", 2, 2)
    machine.answer_call("Work.Add", 4, 1)
    assert machine.interpreter.variables() == {"a": 0, "b": 5}
    assert machine.run().variables == {"a": 2, "b": 5}


def test_steps_of_branches_are_asked_for_at_once():
    machine = Machine(compiled(script("grids")))
    (first,) = machine.pending
    machine.answer(first)
    assert [type(wish) for wish in machine.pending.values()] == [StepWish, StepWish]


def test_later_branches_are_withdrawn_when_one_fails():
    """The lowest failing branch is the one told, and wishes of the branches after it are taken back."""
    machine = Machine(main("Parallel.ForEach(i in [2, 5, 4, 3]) { Int:h = Work.Half(i); Trace(h); }"))
    machine.answer_call("Work.Half", 3)
    assert machine.running
    machine.answer_call("Work.Half", 5)
    assert machine.asks() == [("Work.Half", 2)]
    assert len(machine.withdrawn) == 1
    machine.answer_call("Work.Half", 2)
    assert machine.ending() == Ending("failed", {}, [], "5 is odd")


def test_a_return_withdraws_what_else_runs():
    machine = Machine(main("Parallel.Invoke { If(Work.Add(1, 1) == 2) { Return(1); } Pause(1000); Pause(2000); }"))
    assert [type(wish) for wish in list(machine.pending.values())[1:]] == [SleepWish, SleepWish]
    machine.answer_call("Work.Add", 1, 1)
    assert len(machine.withdrawn) == 2
    assert machine.ending() == Ending("completed", {}, [1], None)


def test_a_block_cut_short_takes_its_inner_blocks_with_it():
    machine = Machine(
        main("""
        Parallel.Invoke {
            Int:h = Work.Half(3);
            Parallel.ForEach(i in Int.Range(0, 3)) { Parallel.ForEach(j in Int.Range(0, 2)) { Trace(Work.Add(i, j)); } }
        }
        """)
    )
    assert len(machine.pending) == 7
    machine.answer_call("Work.Half", 3)
    assert len(machine.withdrawn) == 6
    assert machine.ending().message == "3 is odd"


def test_a_branch_stopped_while_it_waits_for_an_outer_turn_stays_stopped():
    """Its turn in the outer block comes when it is long gone."""
    machine = Machine(
        main("""
        Int:s = 0;
        Parallel.ForEach(i in Int.Range(0, 2)) {
            Int:x = Work.Add(i, 10);
            Try { Parallel.Invoke { x = Work.Half(i + x); s = s + 1; } } Catch(String:error) { Trace(error); }
            s = s + x;
        }
        """)
    )
    machine.answer_call("Work.Add", 1, 10)
    machine.answer_call("Work.Half", 12)
    machine.answer_call("Work.Add", 0, 10)
    machine.answer_call("Work.Half", 10)
    assert machine.ending() == Ending("completed", {"s": 13}, [], None)

    machine = Machine(
        main("""
        Int:s = 0;
        Parallel.ForEach(i in Int.Range(0, 2)) {
            Try { Parallel.Invoke { Trace(Work.Half(i)); s = s + 1; } } Catch(String:error) { Trace(error); }
            s = s + Work.Add(i, 10);
        }
        """)
    )
    machine.answer_call("Work.Half", 1)
    machine.run(random.Random(0))
    assert machine.ending() == Ending("completed", {"s": 22}, [], None)


def test_of_two_failures_in_a_statement_the_first_is_told():
    """Though the second call is made ahead, while the first waits for its turn."""
    body = """
        String:told = ""; Int:s = 1;
        Parallel.ForEach(i in Int.Range(0, 2)) {
            Try { s = Work.Half(s) + Work.Half(i * 2 + 3); } Catch(String:error) { told = told + error + ";"; }
        }
    """
    machine = Machine(main(body))
    assert machine.run(random.Random(1)).variables["told"] == "1 is odd;1 is odd;"


def test_a_failed_call_that_is_not_reached_does_not_count():
    """`&&` stops before it."""
    body = """
        Int:s = 1;
        Parallel.ForEach(i in Int.Range(0, 2)) { If(s == 0 && Work.Half(1) == 0) { s = 9; } s = s + 1; }
    """
    assert Machine(main(body)).run(random.Random(1)).variables == {"s": 3}


# --- Grid steps that must run at the leader ------------------------------------------------------------------------


def halving(items: str, options: str = 'ProcessingOptions("Adaptive")'):
    """A step whose call is a job, which cannot be sent to others."""
    step = f"Array:hs = Grid.ForEach(x in {items}, {options}) => Halve(x);"
    return compiled(f"Job:Main() {{ {step} }} Job:Halve(Int:x) {{ Int:h = Work.Half(x); Return(h); }}")


def test_an_item_that_fails_at_the_leader_is_named():
    """A job cannot be sent to others; its failing item is named all the same."""
    machine = Machine(halving("[2, 5, 7]"))
    machine.run(random.Random(2))
    failure = machine.interpreter.failure
    assert (failure.message, failure.item, failure.item_text) == ("5 is odd", 1, "5")


def test_an_item_is_skipped_at_the_leader_too():
    options = 'ProcessingOptions("Adaptive", OnError: "Skip")'
    machine = Machine(halving("[2, 5, 8]", options))
    assert machine.run(random.Random(2)).variables == {"hs": [1, None, 4]}


def test_an_item_is_tried_again_at_the_leader_too():
    """Each attempt has wishes of its own."""
    options = 'ProcessingOptions("Adaptive", Retries: 2)'
    machine = Machine(halving("[2, 5]", options))
    assert machine.run().message == "5 is odd"
    assert len(machine.paths) == 4


# --- limits ------------------------------------------------------------------------------------------------------


def test_at_most_so_many_branches_at_a_time():
    """The rest follow as others end; the order of ends does not matter."""
    program = main("Int:s = 0; Parallel.ForEach(i in Int.Range(0, 1000)) { s = s + Work.Add(1, 0); }")
    machine, rng, most = Machine(program), random.Random(3), 0
    assert len(machine.pending) == 256
    while machine.running:
        most = max(most, len(machine.pending))
        machine.answer(rng.choice(list(machine.pending)))
    assert most == 256
    assert machine.ending().variables == {"s": 1000}


def test_branches_beyond_the_window_come_first_when_they_must():
    """With a window of one, branches run one after another."""
    program = main("Int:s = 0; Parallel.ForEach(i in Int.Range(0, 4)) { s = s + Work.Add(i, 0); }")
    machine = Machine(program, limits=JobLimits(branches=1))
    assert machine.asks() == [("Work.Add", 0, 0)]
    assert machine.run().variables == {"s": 6}


def test_a_job_that_takes_too_many_steps_fails_and_no_try_holds_it():
    program = main("Try { While(true) { } } Catch(String:error) { Trace(error); }")
    machine = Machine(program, limits=JobLimits(steps=1000))
    assert machine.ending().state == "failed"
    assert "more than 1,000 steps" in machine.ending().message
    assert machine.traced == []


@pytest.mark.parametrize(
    "body",
    [
        "String:u = s + s;",
        'Bool:b = (s + "x") == (s + "x");',
        "Bool:b = list == list;",
        "Object:o = list; Bool:b = o == list;",
        'String:u = "" + list;',
        "ForEach(item in list) { Break(); }",
    ],
)
def test_operations_on_large_values_count_by_their_size(body):
    """Ten statements on large values are many steps; on small ones they are ten."""
    large = 'String:s = "xxxxxxxx"; Loop(14) { s = s + s; } IntCollection:list = Int.Range(0, 100000);'
    small = 'String:s = "xxxxxxxx"; IntCollection:list = Int.Range(0, 10);'
    script = "Job:Main() {{ {} Loop(10) {{ {} }} }}"
    limits = JobLimits(steps=200)
    assert Machine(compiled(script.format(small, body)), limits=limits).ending().state == "completed"
    ending = Machine(compiled(script.format(large, body)), limits=limits).ending()
    assert "more than 200 steps" in ending.message


def test_too_many_steps_withdraw_what_waits():
    program = main("Parallel.Invoke { Pause(1000); While(true) { } }")
    machine = Machine(program, limits=JobLimits(steps=1000))
    assert machine.ending().state == "failed"
    assert len(machine.withdrawn) == 1
    assert machine.pending == {}


def test_jobs_call_each_other_only_so_deep():
    text = "Job:Main(Int:n) { If(n > 0) { Main(n - 1); } Return(n); }"
    limits = JobLimits(job_depth=10)
    assert Machine(compiled(text), 10, limits=limits).ending().state == "completed"
    ending = Machine(compiled(text), 11, limits=limits).ending()
    assert ending.state == "failed"
    assert "more than 10 deep" in ending.message


def test_a_long_loop_lets_others_have_a_turn():
    """It breathes, and comes to the same end."""
    program = main("Int:n = 0; Loop(1000) { n = n + 1; }")
    machine = Machine(program, limits=JobLimits(steps_per_turn=100))
    assert machine.turns > 10
    assert machine.ending().variables == {"n": 1000}


def test_out_of_breath_only_where_it_stopped_early():
    interpreter = Machine(main("Int:n = Work.Add(1, 1);")).interpreter
    assert not interpreter.out_of_breath
    assert not interpreter.ready


def test_an_ended_job_wants_nothing():
    machine = Machine(main("Return(1);"))
    interpreter = machine.interpreter
    assert interpreter.state is State.COMPLETED
    assert interpreter.advance() == []
    assert not interpreter.ready
    assert interpreter.waiting() == []


def test_answers_are_functions_of_their_wishes():
    """The examiner itself: what it answers does not depend on when it is asked."""
    machine = Machine(main("Int:a = Work.Add(3, 4); Trace(a);"))
    (wish,) = machine.calls()
    assert answer(wish) == answer(wish) == (7, None)
