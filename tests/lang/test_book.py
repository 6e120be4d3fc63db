"""The book of the language: every example of every chapter is compiled, run, and must end as it says itself.

A chapter is a file `book/*.wit`. A line `~--- title ---~` opens an example, which is a whole script. What is expected
stands in comments of the form `~ kind: text ~`, on the line it is about:

=================  ====================================================================================================
`error: regex`     the compiler refuses this line, and its words (message, label, help) match; there is no other error
`fails: regex`     the job fails while it runs, on this line, and the message matches
`wrong: regex`     either of the two: the script is wrong here, and the language leaves open when that is noticed
`warning: regex`   the compiler warns about this line; there is no other warning
`warnings: n`      the compiler warns n times
`trace: text`      the next text traced; the texts of an example are all that is traced, in this order
`traced: list`     all that is traced, in whatever order (only where branches run at once)
`var name: value`  the variable of the entry job's outer block, when the job has ended
`absent: name`     no such variable can be read by the caller
`returned: list`   the values given to `Return`
`state: text`      how the job ended; `completed` unless a failure is expected
`with: arguments`  what the job is called with: a list of positional values or a dictionary of named ones
`job: name`        the job to start, instead of the first
=================  ====================================================================================================

Values are Python literals (and `Decimal`, `datetime`, `timedelta`, `timezone`, `UUID`, `array`, `Color`), compared with
their types: `2` is not `2.0` and `1` is not `True`. Regular expressions ignore case. A tilde in a value is `\\x7e`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import pytest

import meshwit

BOOK = Path(__file__).parent / "book"
TITLE = re.compile(r"^~--- (?P<title>.+) ---~$", re.MULTILINE)
EXPECTATION = re.compile(r"~\s*(?P<kind>[a-z]+)(?:[ ]+(?P<name>\w+))?\s*:\s*(?P<text>[^~\n]*?)\s*~")
NAMED_KINDS = frozenset({"var"})
VALUE_KINDS = frozenset({"var", "returned", "traced", "with", "warnings"})
REGEX_KINDS = frozenset({"error", "fails", "wrong", "warning"})
KINDS = NAMED_KINDS | VALUE_KINDS | REGEX_KINDS | {"trace", "absent", "state", "job"}


class Color(NamedTuple):
    """A colour as an expectation writes it; compared with any object that has these four parts."""

    r: int
    g: int
    b: int
    a: int = 255


VOCABULARY = {
    "Color": Color,
    "Decimal": Decimal,
    "UUID": UUID,
    "array": np.array,
    "datetime": datetime,
    "timedelta": timedelta,
    "timezone": timezone,
}


class Expectation(NamedTuple):
    """One comment `~ kind name: text ~` and the line of the chapter it stands on."""

    line: int
    kind: str
    name: str
    text: str

    @property
    def value(self) -> Any:
        """The text as a Python value; the book is our own text, so evaluating it is no risk."""
        return eval(self.text, dict(VOCABULARY))


@dataclass(frozen=True)
class Example:
    """One script of a chapter, padded with empty lines so that its line numbers are those of the chapter."""

    chapter: str
    title: str
    text: str
    expectations: tuple[Expectation, ...]

    def __str__(self) -> str:
        return f"{self.chapter}::{self.title}"

    def expected(self, *kinds: str) -> list[Expectation]:
        """Its expectations of these kinds, in the order of the lines."""
        return [each for each in self.expectations if each.kind in kinds]


def read_expectations(text: str) -> Iterable[Expectation]:
    """All expectations of a text; a comment that looks like one but is of no known kind is an error of the book."""
    for number, line in enumerate(text.splitlines(), start=1):
        for match in EXPECTATION.finditer(line):
            kind, name, words = match["kind"], match["name"] or "", match["text"]
            if kind not in KINDS or bool(name) != (kind in NAMED_KINDS):
                raise ValueError(f"line {number}: `{match[0]}` is no expectation of the book")
            yield Expectation(number, kind, name, words)


def read_chapter(chapter: str, text: str) -> list[Example]:
    """The examples of one chapter's text."""
    titles = list(TITLE.finditer(text))
    ends = [*(title.start() for title in titles[1:]), len(text)]
    examples = []
    for title, end in zip(titles, ends, strict=True):
        padded = "\n" * text.count("\n", 0, title.start()) + text[title.start() : end]
        examples.append(Example(chapter, title["title"], padded, tuple(read_expectations(padded))))
    return examples


def read_book(folder: Path = BOOK) -> list[Example]:
    """The examples of all chapters, in order."""
    chapters = sorted(folder.glob("*.wit"))
    return [each for path in chapters for each in read_chapter(path.stem, path.read_text(encoding="utf-8"))]


def same(actual: Any, expected: Any) -> bool:
    """Whether a value is the expected one, its type and the types inside it included."""
    match expected:
        case Color():
            parts = [getattr(actual, part, None) for part in "rgba"]
            return parts == list(expected)
        case np.ndarray():
            return isinstance(actual, np.ndarray) and np.array_equal(actual, expected)
        case bool() | None:
            return actual is expected
        case list() | tuple():
            return (
                isinstance(actual, type(expected))
                and len(actual) == len(expected)
                and all(same(*pair) for pair in zip(actual, expected, strict=True))
            )
        case datetime():
            return isinstance(actual, datetime) and actual == expected and actual.utcoffset() == expected.utcoffset()
        case _:
            return isinstance(actual, type(expected)) and not isinstance(actual, bool) and actual == expected


def matches(regex: str, words: str) -> bool:
    """Whether the words of a diagnostic or failure say what was expected of them."""
    return re.search(regex, words, re.IGNORECASE | re.DOTALL) is not None


def check_diagnostics(example: Example, diagnostics: Sequence[Any], expected: Sequence[Expectation]) -> None:
    """Exactly the expected lines are reported, as often as expected, each in the expected words."""
    found = sorted(
        (example.text.count("\n", 0, each.span[0]) + 1, f"{each.message}\n{each.label}\n{each.help}")
        for each in diagnostics
    )
    assert [line for line, _ in found] == [each.line for each in expected], f"reported: {found}"
    for each in expected:
        assert any(line == each.line and matches(each.text, words) for line, words in found), f"{each} in {found}"


def check_warnings(example: Example, warnings: Sequence[Any]) -> None:
    """Warnings are compared where the example speaks of them; elsewhere they may come or not."""
    if expected := example.expected("warning"):
        check_diagnostics(example, warnings, expected)
    for count in example.expected("warnings"):
        assert len(warnings) == count.value, [each.message for each in warnings]


def check_outcome(example: Example, outcome: Any) -> None:
    """State, failure, trace, variables and returned values are as the example says."""
    failures = example.expected("fails", "wrong")
    states = [each.text for each in example.expected("state")] or ["failed" if failures else "completed"]
    assert [outcome.state] == states, str(outcome.error)
    for failure in failures:
        assert outcome.error.line == failure.line, str(outcome.error)
        assert matches(failure.text, outcome.error.message), str(outcome.error)
    if unordered := example.expected("traced"):
        assert sorted(outcome.trace) == sorted(unordered[0].value)
    else:
        assert outcome.trace == [each.text for each in example.expected("trace")]
    for variable in example.expected("var"):
        actual = outcome.variables[variable.name]
        assert same(actual, variable.value), f"{variable.name} is {actual!r}, not {variable.text}"
    for variable in example.expected("absent"):
        assert variable.text not in outcome.variables
    for returned in example.expected("returned"):
        assert same(outcome.returned, returned.value), f"returned {outcome.returned!r}, not {returned.text}"


@pytest.mark.parametrize("example", read_book(), ids=str)
def test_example(example: Example) -> None:
    """The language is what the book says it is."""
    try:
        program = meshwit.compile(example.text)
    except meshwit.ScriptError as refusal:
        errors = [each for each in refusal.diagnostics if each.severity.value == "error"]
        check_diagnostics(example, errors, example.expected("error", "wrong"))
        return
    assert not example.expected("error"), "compiled, although the example is wrong"
    check_warnings(example, program.warnings)
    given = example.expected("with")
    arguments = given[0].value if given else []
    positional, named = ([], arguments) if isinstance(arguments, dict) else (arguments, {})
    jobs = [each.text for each in example.expected("job")]
    check_outcome(example, meshwit.run(example.text, *positional, job=jobs[0] if jobs else None, **named))


def test_every_example_expects_something() -> None:
    """An example without an expectation would pass whatever the language did."""
    assert [str(each) for each in read_book() if not set(each.expectations) - set(each.expected("with", "job"))] == []


def test_titles_are_unique() -> None:
    """Two examples of one name would be one test id, and a report could not say which failed."""
    ids = [str(each) for each in read_book()]
    assert sorted(ids) == sorted(set(ids))


def test_every_expectation_can_be_read() -> None:
    """A value or a regular expression with a slip in it is a fault of the book, not of the language."""
    for example in read_book():
        for each in example.expectations:
            if each.kind in VALUE_KINDS:
                assert each.value is not None or each.kind == "var", f"{example}, line {each.line}"
            if each.kind in REGEX_KINDS:
                re.compile(each.text)


def test_no_chapter_loses_text() -> None:
    """Every job of a chapter belongs to an example: a misspelt title line would merge two examples into one."""
    for path in sorted(BOOK.glob("*.wit")):
        text = path.read_text(encoding="utf-8")
        assert len(TITLE.findall(text)) == len(re.findall(r"^~-+", text, re.MULTILINE)), path.name
        assert "Job:" not in text[: TITLE.search(text).start()], path.name


def test_an_expectation_is_read_with_its_line() -> None:
    """The reader itself: several on one line, prose beside them, tildes inside a string."""
    text = 'a\nTrace("x ~ y"); ~ prose ~ ~ trace: [1, 2] ~ ~ var n: 3 ~\n'
    assert list(read_expectations(text)) == [Expectation(2, "trace", "", "[1, 2]"), Expectation(2, "var", "n", "3")]


@pytest.mark.parametrize("slip", ["~ tracee: 1 ~", "~ var: 1 ~", "~ trace n: 1 ~"])
def test_a_slip_in_an_expectation_is_noticed(slip: str) -> None:
    """A misspelt kind must not silently become prose."""
    with pytest.raises(ValueError, match="no expectation"):
        list(read_expectations(slip))


@pytest.mark.parametrize(
    ("actual", "expected", "equal"),
    [
        (2, 2, True),
        (2, 2.0, False),
        (True, 1, False),
        (1, True, False),
        (None, None, True),
        ([1, [2]], [1, [2]], True),
        ([1], (1,), False),
        ([1.0], [1], False),
        (np.array([1.0, 2.0]), np.array([1, 2]), True),
        ([1.0, 2.0], np.array([1, 2]), False),
        (datetime(2025, 7, 18), datetime(2025, 7, 18, tzinfo=UTC), False),
        (Color(1, 2, 3, 4), Color(1, 2, 3), False),
    ],
)
def test_values_are_compared_with_their_types(actual: Any, expected: Any, equal: bool) -> None:
    """A Double that should have been an Int is a fault, although Python calls the two equal."""
    assert same(actual, expected) is equal
