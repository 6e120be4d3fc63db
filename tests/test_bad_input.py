"""What goes wrong in a job, with real worker processes: a clear error with line, item and cause, and nothing lost.

After every fault the session goes on as if nothing had been.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import meshwit
from meshwit import events
from meshwit.client import load_program
from meshwit.plugins.discovery import installed
from meshwit.plugins.registry import Registry
from tests.mischief import Mischief

PATIENCE_S = 60.0
REGISTRY = Registry([*installed().controllers.values(), Mischief()])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that activities may use."""
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def whole_session(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[meshwit.Session]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        with meshwit.Session(workers=2, roots=[root], registry=REGISTRY) as made:
            yield made


@pytest.fixture
def session(whole_session: meshwit.Session) -> Iterator[meshwit.Session]:
    """The session; it must still work when the test has ended."""
    yield whole_session
    after = run(whole_session, "Job:Main() { IntCollection:ys = Grid.ForEach(x in [1, 2]) => Mischief.Double(x); }")
    assert after.variables == {"ys": [2, 4]}


def run(session: meshwit.Session, text: str, seen: list[events.JobEvent] | None = None) -> meshwit.Outcome:
    on_event = seen.append if seen is not None else None
    outcome = session.start(load_program(text, REGISTRY), on_event=on_event).wait(PATIENCE_S)
    assert outcome is not None, "the job did not end"
    return outcome


def step(activity: str, options: str = "", *, type: str = "IntCollection") -> str:
    """A step over 0 to 5 on line 4, whose item 3 is poison, after one that ends well."""
    return f"""Job:Main()
{{
    IntCollection:before = Grid.ForEach(x in [1, 2]) => Mischief.Double(x);
    {type}:ys = Grid.ForEach(x in Int.Range(0, 6){options}) => {activity};
}}
"""


def failure_of(outcome: meshwit.Outcome, *, item: int | None = 3, line: int = 4):
    """The failure, which names line and item; what was done before is still there."""
    assert outcome.state == "failed"
    error = outcome.error
    assert error is not None
    assert (error.line, error.failure.item) == (line, item)
    if item is not None:
        assert error.failure.item_text == str(item)
        assert outcome.variables == {"before": [2, 4], "ys": None}
        assert f"item {item}" in str(error)
    for done in outcome.partial.values():
        assert all(value == number for number, value in done.items())
        assert item not in done
    return error.failure


FAULTS = [
    ("Raise", "RuntimeError: no such luck"),
    ("RaiseOddly", "OddError"),
    ("Interrupt", "KeyboardInterrupt"),
    ("SysExit", r"sys\.exit\(enough\)"),
    ("Recurse", "recursion"),
    ("WrongType", "Mischief.WrongType returned what is no Int.*three"),
    ("Unsendable", "module"),
    ("HardExit", r"exit code 7 \(os._exit\)"),
    ("Crash", "SIGSEGV"),
]


@pytest.mark.parametrize(("activity", "said"), FAULTS, ids=[name for name, _ in FAULTS])
def test_a_task_that_misbehaves_is_named_with_its_cause(session, activity, said):
    kind = "Array" if activity == "Unsendable" else "IntCollection"
    failure = failure_of(run(session, step(f"Mischief.{activity}(x)", type=kind)))
    assert failure.activity == f"Mischief.{activity}"
    assert re.search(said, failure.message), failure.message
    assert failure.peer


@pytest.mark.parametrize("activity", [name for name, _ in FAULTS])
def test_the_others_are_computed_where_the_item_is_skipped(session, activity):
    """One poison item costs itself alone."""
    kind = "Array" if activity == "Unsendable" else "IntCollection"
    seen: list[events.JobEvent] = []
    text = step(f"Mischief.{activity}(x)", ', ProcessingOptions("Adaptive", OnError: "Skip")', type=kind)
    outcome = run(session, text, seen)
    assert outcome.state == "completed", str(outcome.error)
    assert outcome.variables["ys"] == [0, 1, 2, None, 4, 5]
    assert [each.failure.item for each in seen if isinstance(each, events.ItemFailed)] == [3]


def test_a_try_holds_whatever_a_task_does(session):
    text = """Job:Main()
    {
        String:told = "";
        Try { Int:a = Mischief.Raise(3); Trace(a); } Catch(String:error) { told = told + error + "|"; }
        Try { Int:b = Mischief.HardExit(3); Trace(b); } Catch(String:error) { told = told + error; }
    }"""
    outcome = run(session, text)
    assert outcome.state == "completed"
    first, second = outcome.variables["told"].split("|")
    assert "no such luck" in first
    assert "os._exit" in second


def test_the_remote_traceback_is_there_on_demand(session):
    failure = failure_of(run(session, step("Mischief.Raise(x)")))
    assert 'raise RuntimeError("no such luck")' in failure.traceback
    assert failure.worker in (0, 1)


def test_what_a_task_prints_is_told_and_does_no_harm(session, capfd):
    """Stdout of this process stays clean: it is data."""
    seen: list[events.JobEvent] = []
    outcome = run(session, step("Mischief.Print(x)"), seen)
    assert outcome.variables["ys"] == [0, 1, 2, 3, 4, 5]
    printed = {each.item: each.text for each in seen if isinstance(each, events.Printed)}
    assert sorted(printed) == [0, 1, 2, 3, 4, 5]
    assert "item 4" in printed[4]
    assert "raw" in printed[4]
    assert capfd.readouterr().out == ""


def test_what_a_failing_task_printed_stands_by_its_failure(session):
    failure = failure_of(run(session, step("Mischief.PrintAndRaise(x)")))
    assert "on my way down" in failure.output


def test_a_task_that_never_ends_meets_its_time_limit(session):
    options = ', ProcessingOptions("Adaptive", TimeLimit: 0.5)'
    failure = failure_of(run(session, step("Mischief.Spin(x)", options)))
    assert re.search(r"0\.5 ?s|time limit|longer", failure.message), failure.message


def test_a_task_that_takes_too_much_memory_meets_its_limit(session):
    options = ', ProcessingOptions("Adaptive", MemoryLimit: "400MB")'
    failure = failure_of(run(session, step("Mischief.Hoard(x)", options)))
    assert "memory" in failure.message


def test_limits_of_a_session_hold_for_every_task(root):
    with meshwit.Session(workers=1, roots=[root], registry=REGISTRY, task_time_limit_s=0.5) as strict:
        outcome = run(strict, "Job:Main()\n{\n\n    Int:x = Mischief.Spin(3);\n}")
        failure = failure_of(outcome, item=None)
        assert failure.activity == "Mischief.Spin"


def test_a_call_that_fails_names_its_line(session):
    text = "Job:Main()\n{\n    Int:a = 1;\n    Int:x = Mischief.Raise(a + 2);\n}"
    failure = failure_of(run(session, text), item=None)
    assert failure.message == "RuntimeError: no such luck"


def test_an_item_whose_file_is_missing_is_named_too(session):
    """Though files are read by the leader, not by a worker of the grid."""
    failure = failure_of(run(session, step('Files.ReadText("missing-" + x)', type="StringCollection")), item=0)
    assert "missing-0" in failure.message


def test_a_missing_file_is_named(session):
    failure = failure_of(run(session, 'Job:Main()\n{\n\n    String:t = Files.ReadText("no/such.txt");\n}'), item=None)
    assert "no/such.txt" in failure.message


def test_a_file_outside_the_allowed_folders_is_refused(session, root):
    failure = failure_of(run(session, 'Job:Main()\n{\n\n    String:t = Files.ReadText("/etc/passwd");\n}'), item=None)
    assert "outside" in failure.message
    assert str(root) in failure.message


def test_an_unreadable_image_is_named(session, root):
    pytest.importorskip("PIL")
    (root / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n not really")
    failure = failure_of(run(session, 'Job:Main()\n{\n\n    Image:i = Image.Open("broken.png");\n}'), item=None)
    assert failure.activity == "Image.Open"
    assert re.search("broken.png|image", failure.message), failure.message


def test_one_unreadable_image_among_many(session, root):
    pytest.importorskip("PIL")
    for number in range(6):
        (root / f"{number}.png").write_bytes(b"no picture")
    failure = failure_of(run(session, step('Image.Open(x + ".png")', type="ImageCollection")), item=0)
    assert failure.message


@pytest.mark.parametrize("call", ['String:s = Files.WriteText("big.txt", t);', "Blob:b = Blob(t);"])
def test_a_disk_that_takes_no_more_is_told_and_nothing_half_written_stays(tmp_path, call):
    """A limit of file sizes stands for the full disk."""
    resource = pytest.importorskip("resource")
    text = f'Job:Main()\n{{ String:t = "0123456789abcdef"; Loop(16) {{ t = t + t; }} Int:before = 7;\n\n{call} }}'
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))
    try:
        with meshwit.Session(workers=1, roots=[tmp_path], registry=REGISTRY) as session:
            outcome = run(session, text)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    failure = failure_of(outcome, item=None)
    assert "too large" in failure.message
    assert outcome.variables["before"] == 7
    assert list(tmp_path.iterdir()) == []


def test_ten_faults_are_told_at_once():
    """Every one with its own line."""
    faults = [
        "Int:a = missing;",
        "Strng:b;",
        "Matrx.GetRow(1);",
        "Byte:c = 300;",
        "If(23) { }",
        "Break;",
        "Color:d = Color(1, 2);",
        'Int:e = "text";',
        "Bool:f = 1 < true;",
        "Int:g = TimeSpan(1, 2, 3).Item9;",
    ]
    with pytest.raises(meshwit.ScriptError) as raised:
        meshwit.compile("Job:Main()\n{\n" + "\n".join(faults) + "\n}")
    text = raised.value.text
    lines = {text.count("\n", 0, each.span[0]) for each in raised.value.diagnostics if each.severity.value == "error"}
    assert lines == set(range(2, 12))
