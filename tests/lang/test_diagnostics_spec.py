"""What a wrong script is told: every fault, once, at the right words, with the way out.

The book holds the single faults and their lines; here stand what concerns a whole report (all faults of a file at once,
spans, codes, suggestions, nothing that merely follows from another fault) and what no example line can hold (files that
end too early). Source: the language's description, section Diagnostics.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import meshwit

CODE = re.compile(r"WIT\d{3}")
TOKEN_LIST = re.compile(r"\b[A-Z]{3,}(_[A-Z]+)*\b.*,.*\b[A-Z]{3,}\b|expect\w* (one of|\{)|mismatched|extraneous|viable")


@dataclass(frozen=True)
class Fault:
    """One faulty statement: the words that the span underlines, or at least touches, and what the report says."""

    statement: str
    words: str
    says: str
    exact: bool = True


FAULTS = [
    Fault("Int:a = 1 + ;", "+ ;", "", exact=False),
    Fault("Int b = 2;", "Int b", "Int:b", exact=False),
    Fault("Vector:c = Matrx.GetRow(m, 0);", "Matrx.GetRow", r"Matrx\.GetRow.*Matrix\.GetRow"),
    Fault('Strng:d = "x";', "Strng", "Strng.*String"),
    Fault("Trace(totl);", "totl", "totl.*total"),
    Fault("Byte:e = 300;", "300", "Byte"),
    Fault('If(23) { Trace("never"); }', "23", "Bool"),
    Fault("Color:f = Color(1, 2);", "Color(1, 2)", r"Color\(", exact=False),
    Fault("Squre(3);", "Squre", "Squre.*Square"),
    Fault('ProcessingOptions:g = ProcessingOptions("Queued", Retrys: 2);', "Retrys", "Retrys.*Retries"),
]

HEAD = "Job:Main()\n{\n    Matrix:m = [[1, 2], [3, 4]];\n    Int:total = 1;\n"
TAIL = "}\n\nJob:Square(Int:x)\n{\n    Return(x * x);\n}\n"
TEN_FAULTS = HEAD + "".join(f"    {fault.statement}\n" for fault in FAULTS) + TAIL

SOUND = """Job:Main(IntCollection:frames)
{
    ~ every frame on some peer ~
    TupleCollection:done = Grid.ForEach(frame in frames, "Queued") => Tuple(frame, frame * 2);
    Int:sum = 0;
    ForEach(entry in done)
    {
        If(entry.Item1 % 2 == 0 && entry.Item2 > 4) { Continue; }
        Try { sum = sum + entry.Item2; } Catch(String:error) { Trace("lost: " + error); }
    }
    Return(sum, Twice(sum));
}
Job:Twice(Int:n) { Return(n * 2); }
"""
PIECES = [
    *re.findall(r'\w+|"[^"]*"|\S', SOUND),
    "Matrix",
    "1e999",
    '"',
    "~",
    "=>",
    "[",
    "]",
    "-",
    "99999999999",
    "é",
    "\n",
]


def compiled_errors(text: str) -> list[Any]:
    """The errors of a script, without its warnings; none if it compiles."""
    try:
        meshwit.compile(text)
    except meshwit.ScriptError as refusal:
        return [each for each in refusal.diagnostics if each.severity.value == "error"]
    return []


def words_of(diagnostic: Any) -> str:
    """All that a diagnostic says, for a regular expression."""
    return f"{diagnostic.message}\n{diagnostic.label}\n{diagnostic.help}"


def says(regex: str, diagnostic: Any) -> bool:
    """Whether a diagnostic says what is expected of it."""
    return re.search(regex, words_of(diagnostic), re.IGNORECASE | re.DOTALL) is not None


def assert_well_formed(text: str, diagnostics: list[Any]) -> None:
    """Whatever the script was: a code, a message, and a span that lies inside the text."""
    for each in diagnostics:
        start, end = each.span
        assert CODE.fullmatch(each.code), each.code
        assert each.message.strip(), each.code
        assert 0 <= start <= end <= len(text), (each.span, len(text))


def at_statement(fault: Fault) -> tuple[int, int]:
    """Where the statement of a fault stands in `TEN_FAULTS`."""
    start = TEN_FAULTS.index(fault.statement)
    return start, start + len(fault.statement)


def diagnostic_of(fault: Fault) -> Any:
    """The one error whose span begins within the statement of a fault."""
    start, end = at_statement(fault)
    found = [each for each in compiled_errors(TEN_FAULTS) if start <= each.span[0] <= end]
    assert len(found) == 1, [each.message for each in found]
    return found[0]


def test_ten_faults_are_ten_errors() -> None:
    """All faults of a file are reported at once, and nothing besides them."""
    errors = compiled_errors(TEN_FAULTS)
    lines = sorted(TEN_FAULTS.count("\n", 0, each.span[0]) + 1 for each in errors)
    assert lines == list(range(5, 15)), [(each.code, each.message) for each in errors]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.statement)
def test_the_span_points_at_the_right_words(fault: Fault) -> None:
    """The underlined words are the ones to change: the name, the literal, or a part of the broken statement."""
    diagnostic = diagnostic_of(fault)
    start, end = diagnostic.span
    if fault.exact:
        assert TEN_FAULTS[start:end] == fault.words
    else:
        first = TEN_FAULTS.index(fault.words, at_statement(fault)[0])
        assert start <= first + len(fault.words)
        assert end >= first


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.statement)
def test_the_words_name_the_fault_and_the_way_out(fault: Fault) -> None:
    """An unknown name gets the nearest known one, a type mismatch both types, a wrong call the forms there are."""
    diagnostic = diagnostic_of(fault)
    assert says(fault.says, diagnostic), words_of(diagnostic)


def test_errors_are_well_formed() -> None:
    """Codes, messages and spans are there for every kind of fault."""
    errors = compiled_errors(TEN_FAULTS)
    assert errors
    assert_well_formed(TEN_FAULTS, errors)


def test_nothing_is_said_as_a_list_of_tokens() -> None:
    """A reader is told what to write, not what the parser would have accepted."""
    for each in compiled_errors(TEN_FAULTS):
        assert not TOKEN_LIST.search(words_of(each)), words_of(each)


def test_a_code_names_one_kind_of_fault() -> None:
    """Equal faults have equal codes; an unknown name and a wrong type do not."""
    by_statement = {fault.statement: diagnostic_of(fault).code for fault in FAULTS}
    assert by_statement["Byte:e = 300;"] != by_statement["Trace(totl);"]
    first, second = compiled_errors("Job:Main() { Fuu(); Baar(); }")
    assert first.code == second.code


def test_the_example_of_the_description() -> None:
    """The report printed in the language's description is the report that is made."""
    text = (
        "Job:Multiply(Matrix:a)\n{\n    Vector:row = Matrx.GetRow(a, 0);\n"
        "    Vector:col = Matrix.GetColumn(a, 0);\n    Return(row, col);\n}\n"
    )
    (error,) = compiled_errors(text)
    assert error.code == "WIT203"
    assert error.message == "unknown activity `Matrx.GetRow`"
    assert text[slice(*error.span)] == "Matrx.GetRow"
    assert "did you mean `Matrix.GetRow`?" in words_of(error)


@pytest.mark.parametrize(
    ("statement", "misspelt", "meant"),
    [
        ("IntCollection:xs = Int.Rnge(0, 3);", "Int.Rnge", "Int.Range"),
        ("Vector:v = Matrix.GetCollumn(m, 0);", "Matrix.GetCollumn", "Matrix.GetColumn"),
        ("Puase(5);", "Puase", "Pause"),
        ("Guid:g = NewGiud();", "NewGiud", "NewGuid"),
        ("Lnog:l = 5;", "Lnog", "Long"),
        ("DateTimeColection:d = [];", "DateTimeColection", "DateTimeCollection"),
        ("Trace(tota);", "tota", "total"),
        ("totall = 2;", "totall", "total"),
        ("Int:n = Sqare(2);", "Sqare", "Square"),
        ('ProcessingOptions:o = ProcessingOptions("Queued", MaxClient: 2);', "MaxClient", "MaxClients"),
        ('ProcessingOptions:o = ProcessingOptions("Queued", Requres: "gpu");', "Requres", "Requires"),
        ('ProcessingOptions:o = "Adaptiv";', "Adaptiv", "Adaptive"),
        ("Int:n = Square(xx: 2);", "xx", r"\bx\b"),
    ],
)
def test_the_nearest_known_name_is_offered(statement: str, misspelt: str, meant: str) -> None:
    """Activities, types, variables, jobs, options, their values and parameters: each from the names of its own kind."""
    errors = compiled_errors(f"{HEAD}    {statement}\n{TAIL}")
    pattern = rf"{re.escape(misspelt)}\b.*did you mean.*{meant}"
    assert any(says(pattern, each) for each in errors), [words_of(each) for each in errors]


def test_nothing_is_offered_where_nothing_is_near() -> None:
    """A far-fetched suggestion misleads more than none."""
    (error,) = compiled_errors("Job:Main() { Zzyzxqwv(1); }")
    assert "did you mean" not in words_of(error).lower()


@pytest.mark.parametrize(
    "body",
    [
        "Flot:f = 1.5; Double:g = f + 1; Trace(g); Trace(f);",
        "Int:n = Fuu(1); Int:m = n + 1; Trace(m);",
        "Int:n = 1 + unknwn * 2; If(n > 0) { Trace(n); }",
        "ForEach(x in unknwn) { Int:n = x + 1; Trace(n); }",
        "Tuple:t = Fuu(1); Int:n = t.Item1; Trace(n);",
        "IntCollection:ys = Grid.ForEach(x in unknwn) => Int(x); Trace(ys.Count);",
        "IntCollection:ys = ForEach(x in [1]) => Fuu(x); Int:n = ys[0]; Trace(n);",
        "If(unknwn) { Trace(1); } ElseIf(true) { Trace(2); } Else { Trace(3); }",
        "While(unknwn == 3) { Break; }",
        "Whlie(true) { Break; }",
        'String:s = "a" + unknwn; Trace(s);',
    ],
)
def test_an_unknown_name_is_reported_once(body: str) -> None:
    """What follows from an unknown name is not a second fault."""
    errors = compiled_errors(f"Job:Main()\n{{\n    {body}\n}}\n")
    assert len(errors) == 1, [words_of(each) for each in errors]


@pytest.mark.parametrize(
    ("text", "regex"),
    [
        ("", "job"),
        ("   \n\n", "job"),
        ("~ only a comment ~", "job"),
        ("Job:Main()\n{\n    Int:n = 1;\n", r"\}"),
        ("Job:Main()\n{\n    If(true)\n    {\n        Trace(1);\n}\n", r"\}"),
        ("Job:Main()\n{\n    Trace(1);\n}\n}\n", r"\}"),
        ("Job:Main()\n{\n    ~ no end of it\n    Trace(1);\n}\n", "comment|\x7e"),
        ('Job:Main()\n{\n    Trace("no end of it', '"|string|text'),
        ("Job:Main(", r"\)|parameter"),
        ("Job", "job|:"),
        ("Job:Main()", r"\{|block"),
        ("Trace(1);", "job"),
    ],
    ids=[
        "nothing",
        "white space",
        "only a comment",
        "job not closed",
        "inner block not closed",
        "closed twice",
        "comment not closed",
        "text not closed",
        "parameters not closed",
        "only the word",
        "no block",
        "no job",
    ],
)
def test_files_that_end_too_early_or_too_late(text: str, regex: str) -> None:
    """A file cut off anywhere gets an error that says what is missing."""
    errors = compiled_errors(text)
    assert errors
    assert_well_formed(text, errors)
    assert any(says(regex, each) for each in errors), [words_of(each) for each in errors]


def test_a_sound_script_has_neither_errors_nor_warnings() -> None:
    """The script that the properties below break is whole itself."""
    assert meshwit.compile(SOUND).warnings == []


def test_warnings_stand_beside_the_program() -> None:
    """Warnings have the shape of errors, say so, and point at the words they are about."""
    text = "Job:Main()\n{\n    Invoke()\n    {\n        Int:unused = 1;\n    }\n    Int(5);\n}\n"
    warnings = meshwit.compile(text).warnings
    assert_well_formed(text, warnings)
    assert [each.severity.value for each in warnings] == ["warning", "warning"]
    assert "unused" in text[slice(*sorted(warnings, key=lambda each: each.span)[0].span)]


def test_a_script_error_is_an_exception_that_can_be_read() -> None:
    """Who only prints the exception still learns what is wrong."""
    with pytest.raises(meshwit.ScriptError) as caught:
        meshwit.compile("Job:Main() { Trace(totl); }")
    assert "totl" in str(caught.value)


def test_run_refuses_what_compile_refuses() -> None:
    """Nothing of a wrong script runs, not even what stands before the fault."""
    with pytest.raises(meshwit.ScriptError):
        meshwit.run('Job:Main()\n{\n    Trace("before");\n    Trace(totl);\n}\n')


def test_spans_count_characters() -> None:
    """Umlauts, ideographs and emoji before the fault shift nothing."""
    text = 'Job:Main()\n{\n    Trace("Grüße 世界 🎬"); Trace(totl);\n}\n'
    (error,) = compiled_errors(text)
    assert text[slice(*error.span)] == "totl"


def test_windows_line_ends_change_nothing() -> None:
    """A file from Windows has the same faults at the same words."""
    text = TEN_FAULTS.replace("\n", "\r\n")
    errors = compiled_errors(text)
    assert len(errors) == len(FAULTS)
    assert {"Matrx.GetRow", "Strng", "totl", "300", "23"} <= {text[slice(*each.span)] for each in errors}


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_compiled_or_refused(text: str) -> None:
    """No text whatever ends in anything but a program or diagnostics."""
    assert_well_formed(text, compiled_errors(text))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=60))
def test_any_row_of_words_is_compiled_or_refused(pieces: list[str]) -> None:
    """Nor does any row of the language's own words, which gets deeper into the compiler."""
    text = "Job:Main() { " + " ".join(pieces) + " }"
    assert_well_formed(text, compiled_errors(text))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(SOUND)), st.integers(0, 12), st.sampled_from(["", *PIECES]))
def test_any_small_damage_is_compiled_or_refused(start: int, length: int, piece: str) -> None:
    """Nor does a sound script with one slip in it."""
    text = SOUND[:start] + piece + SOUND[start + length :]
    assert_well_formed(text, compiled_errors(text))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(SOUND)))
def test_a_script_cut_off_is_refused_with_few_errors(end: int) -> None:
    """While somebody types, the rest of the file is missing: that is one fault or two, not a flood."""
    assert len(compiled_errors(SOUND[:end])) <= 3
