"""Scripts without measure: each ends, in time, with words a reader understands.

A script comes from anyone who may submit one, so nothing written in it may hang a peer, exhaust its memory or end its
process. Every script here runs in a process of its own under a time limit and, where the system can, a memory limit: a
hang, a crash or a killed process is a failed test and not a failed test run. Whether a limit is found while compiling
("refused") or while running ("failed") is said where it matters.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import NamedTuple

import pytest

from meshwit.lang.limits import DEFAULT_LIMITS

TIMEOUT_S = 60
MEMORY_BYTES_MAX = 8 * 2**30
DEPTH = 5_000
STEPS_FEW = 100_000

BOUND = f"""
import json
import sys

try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, ({MEMORY_BYTES_MAX}, {MEMORY_BYTES_MAX}))
except ImportError:
    pass
"""
CHILD = f"""{BOUND}
import meshwit

try:
    outcome = meshwit.run(sys.stdin.buffer.read().decode())
except meshwit.ScriptError as refusal:
    errors = [each for each in refusal.diagnostics if each.severity.value == "error"]
    ending = ["refused", [each.message + " " + each.label + " " + each.help for each in errors], None, []]
else:
    error = outcome.error
    said, line = ([error.message], error.line) if error else ([], None)
    ending = [outcome.state.value, said, line, outcome.returned]
print()
print(json.dumps(ending, default=str))
"""
CHILD_OF_FEW_STEPS = f"""{BOUND}
from machine import Machine, compiled
from meshwit.lang.limits import JobLimits

text = sys.stdin.buffer.read().decode()
ended = Machine(compiled(text), limits=JobLimits(steps={STEPS_FEW})).interpreter
why = ended.failure
said, line = ([why.message], text.count(chr(10), 0, why.span[0]) + 1) if why else ([], None)
print(json.dumps([ended.state.value, said, line, list(ended.returned)], default=str))
"""
"""The interpreter alone, with a limit that is reached soon: the usual one takes a loop some 20 s."""


class Ending(NamedTuple):
    """How a script ended: its state or "refused", what was said, the line of the failure, what was returned."""

    state: str
    said: list[str]
    line: int | None
    returned: list[object]


def run_apart(text: str, child: str = CHILD) -> Ending:
    """Run a script in a process of its own; a hang or a crash of this process fails the test."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [os.getcwd(), *sys.path]))}
    try:
        ended = subprocess.run(
            [sys.executable, "-c", child], input=text.encode(), capture_output=True, timeout=TIMEOUT_S, env=environment
        )
    except subprocess.TimeoutExpired:
        pytest.fail(f"still running after {TIMEOUT_S} s")
    assert ended.returncode == 0, f"ended with {ended.returncode}: {ended.stderr.decode(errors='replace')[-2000:]}"
    return Ending(*json.loads(ended.stdout.decode().splitlines()[-1]))


def job(body: str) -> str:
    """A script of one job with this body, which begins on line 3."""
    return f"Job:Main()\n{{\n{body}\n}}\n"


def assert_says(ending: Ending, regex: str) -> None:
    """The words name the limit, and no inner error of ours shines through."""
    said = "\n".join(ending.said)
    assert re.search(regex, said, re.IGNORECASE), said
    assert not re.search(r"RecursionError|MemoryError|OverflowError|Traceback|maximum recursion|decimal\.\w+", said), (
        said
    )


@pytest.mark.parametrize(
    "body",
    [
        "    While(true) { }",
        "    Int:n = 0; While(true) { n = n + 1; n = n - 1; }",
        "    While(true) { While(true) { Break; } }",
        "    While(true) { Continue; }",
        "    Loop(2000000000) { }",
        "    While(true) { Try { Int(5); } Catch(String:error) { Trace(error); } }",
    ],
)
def test_a_loop_without_end_fails(body: str) -> None:
    """A loop that does nothing but turn reaches a limit of steps, and the failure names it and the line."""
    ending = run_apart(job(body), CHILD_OF_FEW_STEPS)
    assert ending.state == "failed"
    assert ending.line == 3
    assert_says(ending, f"{STEPS_FEW:,} steps")


def test_a_loop_without_end_fails_in_time() -> None:
    """The limit that a job has where nothing else is said is reached before anybody loses patience."""
    ending = run_apart(job("    While(true) { }"))
    assert ending.state == "failed"
    assert ending.line == 3
    assert_says(ending, f"{DEFAULT_LIMITS.steps:,} steps")


def test_the_limit_leaves_room_for_work() -> None:
    """Twenty thousand rounds are nothing unusual."""
    ending = run_apart(job("    Int:n = 0;\n    Loop(20000) { n = n + 1; }\n    Return(n);"))
    assert ending == Ending("completed", [], None, [20000])


def test_a_try_does_not_hold_the_limit() -> None:
    """Who runs into the limit cannot catch it and go on turning."""
    ending = run_apart(
        job(
            '    While(true) { Try { While(true) { } } Catch(String:error) { Bool:said = error != ""; Trace(said); } }'
        ),
        CHILD_OF_FEW_STEPS,
    )
    assert ending.state == "failed"


@pytest.mark.parametrize(
    "text",
    [
        "Job:Main()\n{\n    Main();\n}\n",
        "Job:Main()\n{\n    Ping(0);\n}\nJob:Ping(Int:n)\n{\n    Pong(n);\n}\nJob:Pong(Int:n)\n{\n    Ping(n);\n}\n",
        "Job:Main()\n{\n    Int:n = Deeper(0);\n}\nJob:Deeper(Long:n)\n{\n    Return(1 + Deeper(n + 1));\n}\n",
        "Job:Main()\n{\n    Parallel.ForEach(x in [1]) { Main(); }\n}\n",
        "Job:Main()\n{\n    Array:a = ForEach(x in [1]) => Deeper(x);\n}\n"
        "Job:Deeper(Int:n)\n{\n    Array:b = ForEach(y in [n]) => Deeper(y);\n    Return(b);\n}\n",
    ],
    ids=["itself", "each other", "in an expression", "in a parallel block", "in a transform"],
)
def test_a_recursion_without_end_fails(text: str) -> None:
    """A job that calls itself for ever reaches a limit of depth."""
    ending = run_apart(text)
    assert ending.state == "failed"
    assert_says(ending, "recurs|deep|depth|nest|step|calls")


def test_a_recursion_of_some_depth_works() -> None:
    """Fifty calls inside one another are nothing unusual."""
    text = (
        "Job:Main()\n{\n    Return(Sum(50));\n}\n"
        "Job:Sum(Int:n)\n{\n    If(n == 0) { Return(0); }\n    Return(n + Sum(n - 1));\n}\n"
    )
    assert run_apart(text) == Ending("completed", [], None, [1275])


NESTED = {
    "parentheses": job("    Int:n = " + "(" * DEPTH + "1" + ")" * DEPTH + ";"),
    "parentheses not closed": job("    Int:n = " + "(" * DEPTH + "1;"),
    "brackets": job("    Array:a = " + "[" * DEPTH + "]" * DEPTH + ";"),
    "brackets not closed": job("    Array:a = " + "[" * DEPTH + ";"),
    "blocks": job("Invoke() { " * DEPTH + "}" * DEPTH),
    "blocks not closed": job("Invoke() { " * DEPTH),
    "conditions": job("If(true) { " * DEPTH + "}" * DEPTH),
    "loops": job("Loop(1) { " * DEPTH + "}" * DEPTH),
    "calls": job("    Int:n = " + "Int(" * DEPTH + "1" + ")" * DEPTH + ";"),
    "signs": job("    Int:m = 1;\n    Int:n = " + "- " * DEPTH + "m;"),
    "negations": job("    Bool:b = " + "!" * DEPTH + "true;"),
    "indices": job("    Array:a = [0];\n    Object:n = " + "a[" * DEPTH + "0" + "]" * DEPTH + ";"),
}


@pytest.mark.parametrize("kind", NESTED)
def test_deep_nesting_is_refused(kind: str) -> None:
    """Five thousand levels are a diagnostic, not a crash of the parser, the checker or the interpreter."""
    ending = run_apart(NESTED[kind])
    assert ending.state == "refused"
    assert_says(ending, "deep|nest|level")
    assert len(ending.said) <= 3


@pytest.mark.parametrize(
    "body",
    [
        "    Int:n = " + "(" * 30 + "1" + ")" * 30 + ";",
        "    Array:a = " + "[" * 30 + "]" * 30 + ";",
        "Invoke() { " * 30 + "}" * 30,
        "    Bool:b = " + "!" * 30 + "true;",
    ],
    ids=["parentheses", "brackets", "blocks", "negations"],
)
def test_thirty_levels_are_fine(body: str) -> None:
    """The limit is far from what anybody writes."""
    assert run_apart(job(body)).state == "completed"


LONG = {
    "sum": job("    Return(" + " + ".join(["1"] * DEPTH) + ");"),
    "text": job("    String:s = " + " + ".join(['"a"'] * DEPTH) + ";\n    Return(" + str(DEPTH) + ");"),
    "conjunction": job("    Bool:b = " + " && ".join(["true"] * DEPTH) + ";\n    Return(" + str(DEPTH) + ");"),
    "array": job("    Array:a = [" + ", ".join(["1"] * DEPTH) + "];\n    Return(a.Count);"),
    "statements": job("    Int:n = 0;\n" + "    n = n + 1;\n" * DEPTH + "    Return(n);"),
    "branches": job(
        f"    Int:n = {DEPTH};\n    If(n == 0) {{ Return(0); }}\n"
        + "".join(f"    ElseIf(n == {i}) {{ Return({i}); }}\n" for i in range(1, DEPTH + 1))
    ),
}


@pytest.mark.parametrize("kind", LONG)
def test_long_is_not_deep(kind: str) -> None:
    """Five thousand of a thing beside one another are no nesting: they work, or a diagnostic says why not."""
    ending = run_apart(LONG[kind])
    if ending.state == "refused":
        assert_says(ending, "deep|nest|level|long|many|limit")
    else:
        assert ending == Ending("completed", [], None, [DEPTH])


def test_many_statements_work() -> None:
    """A long script, at least, is an ordinary one."""
    assert run_apart(LONG["statements"]).returned == [DEPTH]


@pytest.mark.parametrize(
    ("declaration", "regex"),
    [
        ("Int:n = " + "9" * 10_000 + ";", "Int|large"),
        ("ULong:n = " + "9" * 100_000 + ";", "ULong|large"),
        ("Byte:n = -" + "9" * 10_000 + ";", "Byte|large"),
        ("Double:x = 1e999999;", "Double|range|large|big"),
        ("Decimal:d = 1e999999999;", "Decimal|range|large|big"),
        ("Int:n = 1e999999999;", "Int|range|large|big"),
        ('TimeSpan:t = "' + "9" * 10_000 + ':00:00";', "TimeSpan"),
        ('DateTime:d = "' + "9" * 10_000 + '/01/01";', "DateTime"),
        ('Guid:g = "' + "0" * 100_000 + '";', "Guid"),
        ('Color:c = "#' + "F" * 100_000 + '";', "Color"),
    ],
    ids=["Int", "ULong", "Byte", "Double", "Decimal", "Int with exponent", "TimeSpan", "DateTime", "Guid", "Color"],
)
def test_a_huge_literal_is_refused(declaration: str, regex: str) -> None:
    """A literal of any length is out of range like one that is one too large, and the words do not repeat it whole."""
    ending = run_apart(job(f"    {declaration}"))
    assert ending.state == "refused"
    assert_says(ending, regex)
    assert len(ending.said) == 1
    assert len(ending.said[0]) < 2_000


def test_a_huge_name_is_refused_or_fine() -> None:
    """A name of a million letters gets a diagnostic that does not repeat it whole, whatever it suggests."""
    ending = run_apart(job("    " + "a" * 1_000_000 + "();"))
    assert ending.state == "refused"
    assert all(len(said) < 2_000 for said in ending.said)


def test_a_long_text_is_a_text() -> None:
    """A text of a million characters is no fault."""
    ending = run_apart(job('    String:s = "' + "x" * 1_000_000 + '";\n    Bool:there = s != "";\n    Return(there);'))
    assert ending == Ending("completed", [], None, [True])


def test_a_text_that_doubles_for_ever_fails() -> None:
    """Forty doublings would be a terabyte: a limit of size says so before the memory is gone."""
    ending = run_apart(job('    String:s = "x";\n    While(true)\n    {\n        s = s + s;\n    }'))
    assert ending.state == "failed"
    assert ending.line == 6
    assert_says(ending, "long|large|size|limit|memory|characters|bytes")


def test_a_collection_that_grows_for_ever_fails() -> None:
    """An array that holds itself twice, again and again, is small in memory and endless in its text."""
    ending = run_apart(job("    Array:a = [1];\n    Loop(60) { a = [a, a]; }\n    Trace(a);"))
    if ending.state == "failed":
        assert_says(ending, "long|large|size|limit|memory|elements|deep|nest")


def test_an_enormous_range_ends() -> None:
    """Two thousand million numbers: made when asked for, or refused by a limit, never the end of the process."""
    ending = run_apart(job("    ForEach(i in Int.Range(0, 2000000000)) { Break; }\n    Return(1);"))
    if ending.state == "failed":
        assert_says(ending, "long|large|size|limit|memory|elements|many")
    else:
        assert ending == Ending("completed", [], None, [1])


def test_a_decimal_that_squares_for_ever_fails() -> None:
    """Overflow of the declared type is an error for Decimal too."""
    ending = run_apart(job("    Decimal:d = 10;\n    Loop(200)\n    {\n        d = d * d;\n    }"))
    assert ending.state == "failed"
    assert ending.line == 6
    assert_says(ending, "overflow|range|large|big")
