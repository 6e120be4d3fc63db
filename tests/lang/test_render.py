"""How diagnostics are shown: the exact text, since people read it and tools parse it."""

import msgspec
import pytest

from meshwit.lang.diagnostics import Diagnostic, Severity
from meshwit.lang.render import LineIndex, render, to_json

TEXT = "\n" * 8 + "    Vector:row = Matrx.GetRow(a, 0);\n"
START = TEXT.index("Matrx")
UNKNOWN = Diagnostic("WIT203", "unknown activity `Matrx.GetRow`", (START, START + 12), "did you mean `Matrix.GetRow`?")


def underline(text: str, span: tuple[int, int]) -> tuple[str, str]:
    """The shown line and what stands under it."""
    rows = render(Diagnostic("WIT107", "m", span), text, "f.wit").split("\n")
    return rows[3].split("| ", 1)[1], rows[4].split("| ", 1)[1]


def test_the_shape_is_that_of_the_language_page():
    """LANGUAGE.md shows this very block."""
    assert render(UNKNOWN, TEXT, "multiply.wit").split("\n") == [
        "error[WIT203]: unknown activity `Matrx.GetRow`",
        "  --> multiply.wit:9:18",
        "   |",
        " 9 |     Vector:row = Matrx.GetRow(a, 0);",
        "   |                  ^^^^^^^^^^^^ did you mean `Matrix.GetRow`?",
    ]


def test_help_and_wide_gutter():
    """The help line follows, and line numbers of any width keep the bars in one column."""
    text = "\n" * 999 + "x = ;"
    shown = render(Diagnostic("WIT105", "m", (len(text) - 1,) * 2, "", "write a value"), text, "f.wit")
    assert shown.split("\n")[1:] == [
        "    --> f.wit:1000:5",
        "     |",
        "1000 | x = ;",
        "     |     ^",
        "     = help: write a value",
    ]


def test_severity_is_a_word():
    """Without colour nothing is lost: the words are the same."""
    warning = msgspec.structs.replace(UNKNOWN, severity=Severity.WARNING, code="WIT901")
    assert render(warning, TEXT, "f").startswith("warning[WIT901]: ")
    colored = render(warning, TEXT, "f", color=True)
    plain = colored
    for code in ("\x1b[0m", "\x1b[1m", "\x1b[1;33m", "\x1b[1;34m"):
        plain = plain.replace(code, "")
    assert plain == render(warning, TEXT, "f")
    assert colored != plain


@pytest.mark.parametrize(
    ("text", "span", "line", "under"),
    [
        ("\tab = c;", (1, 3), "    ab = c;", "    ^^"),
        ('x = "日本" + y;', (4, 8), 'x = "日本" + y;', "    ^^^^^^"),
        ('x = "日本" + y;', (11, 12), 'x = "日本" + y;', "             ^"),
        ("e\u0301 = y;", (5, 6), "e\u0301 = y;", "    ^"),
        ("a;\nb +\nc;", (3, 8), "b +", "^^^ …"),
        ("a;\r\nb;", (0, 2), "a;", "^^"),
        ("x", (1, 1), "x", " ^"),
        ("", (0, 0), "", "^"),
        ("a\x1b[31mb", (6, 7), "a\ufffd[31mb", "      ^"),
    ],
)
def test_underline_stands_under_the_span(text, span, line, under):
    """Tabs, wide and combining characters, ends of lines and of the file; no control character reaches a terminal."""
    if text == "":
        assert render(Diagnostic("WIT120", "m", span), text, "f").split("\n")[3:] == [" 1 |", "   | ^"]
    else:
        shown, marks = underline(text, span)
        assert marks == under
        assert shown == line


def test_long_lines_are_clipped_around_the_span():
    """A line of any length is shown in part, the span still under its text."""
    text = "a" * 500 + "XYZ" + "b" * 500
    line, marks = underline(text, (500, 503))
    assert line[0] == line[-1] == "…"
    assert len(line) <= 102
    assert line[marks.index("^") : marks.rindex("^") + 1] == "XYZ"


def test_a_span_outside_the_text_is_pulled_in():
    """A wrong span spoils no message."""
    assert "f:1:2" in render(Diagnostic("WIT107", "m", (5, 9)), "x", "f")


def test_json():
    """For programs: lines and columns from 1, the end exclusive."""
    assert to_json(UNKNOWN, TEXT, "multiply.wit") == {
        "code": "WIT203",
        "severity": "error",
        "message": "unknown activity `Matrx.GetRow`",
        "file": "multiply.wit",
        "line": 9,
        "column": 18,
        "end_line": 9,
        "end_column": 30,
        "label": "did you mean `Matrix.GetRow`?",
        "help": "",
    }


def test_line_index():
    """Offsets at line starts, line breaks and the end of the text."""
    index = LineIndex("ab\n\ncd")
    assert [index.locate(i) for i in range(7)] == [(1, 1), (1, 2), (1, 3), (2, 1), (3, 1), (3, 2), (3, 3)]
    assert [index.line(n) for n in (1, 2, 3)] == ["ab", "", "cd"]
