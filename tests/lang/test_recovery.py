"""Faulty scripts: every fault gives one diagnostic at its place, and the next fault is still found."""

import pytest

from meshwit.lang.diagnostics import CODES
from meshwit.lang.parser import parse
from meshwit.lang.tokens import SourceLimits


def faults(text: str, limits: SourceLimits | None = None) -> list[tuple[str, str]]:
    """Code and marked text; of what is missing, the place is shown as `before|`."""
    _, diagnostics = parse(text, limits or SourceLimits())
    shown = []
    for fault in diagnostics:
        start, end = fault.span
        shown.append((fault.code, text[start:end] if end > start else text[:start].split()[-1] + "|"))
    return shown


IN_A_BODY = [
    # ends of statements
    ("Int:n = 3\nn = 4;", [("WIT101", "3|")]),
    ("F(x)\nG(y);", [("WIT101", "F(x)|")]),
    ("If(x) { y = 1 }", [("WIT101", "1|")]),
    ("Break", [("WIT101", "Break|")]),
    ("x = 3);", [("WIT103", ")")]),
    ("x = 3 4;", [("WIT107", "4")]),
    ("x = a b;", [("WIT107", "b")]),
    ("T:x = F(a) { y = ; }", [("WIT143", "{"), ("WIT105", "=|")]),
    # brackets
    ("F(1, 2;\nx = ;", [("WIT102", "("), ("WIT105", "=|")]),
    ("F(1, 2\nInt:x = ;", [("WIT102", "("), ("WIT105", "=|")]),
    ("F(a,\nInt:c = 3;", [("WIT102", "(")]),
    ("x = [1, 2;", [("WIT102", "[")]),
    ("x = (1 + 2;", [("WIT102", "(")]),
    ("If(a { x = ; }", [("WIT102", "("), ("WIT105", "=|")]),
    ("F([1, 2);", [("WIT102", "[")]),
    ("F(1];", [("WIT104", "]")]),
    (") x = 3;", [("WIT103", ")")]),
    # values
    ("x = ;", [("WIT105", "=|")]),
    ("Int:x =\nInt:y = 3;", [("WIT105", "=|")]),
    ("x = 5 + ;", [("WIT105", "+|")]),
    ("F(a,);", [("WIT105", "F(a,|")]),
    ("x = +5;", [("WIT105", "+")]),
    ("x = .5;", [("WIT114", ".")]),
    ('x = "C:\\dir";', [("WIT112", "\\d")]),
    ("F(1 2 3);", [("WIT106", "F(1|")]),
    ('x = "\\d"\ny = 1', [("WIT112", "\\d"), ("WIT101", '"\\d"|'), ("WIT101", "1|")]),
    ("x = a.;", [("WIT108", "a.|")]),
    ("x = F(a)(b);", [("WIT107", "(")]),
    ("x = 1e999;", [("WIT152", "1e999")]),
    # what is no statement
    ("a + b;", [("WIT132", "a + b")]),
    ("a == 3;", [("WIT132", "a == 3")]),
    ("t.Item1 = 3;", [("WIT133", "t.Item1")]),
    ("xs[0] = 1;", [("WIT133", "xs[0]")]),
    ("F(x) = 1;", [("WIT133", "F(x)")]),
    ("x += 1;", [("WIT133", "x +=")]),
    ("x++;", [("WIT133", "x++")]),
    ("{ x = ; }", [("WIT134", "{"), ("WIT105", "=|")]),
    ("return x;", [("WIT141", "return|")]),
    ('Trace "a";', [("WIT141", "Trace|")]),
    # declarations
    ("Int n = 3;", [("WIT130", "Int n")]),
    ("var n = 3;", [("WIT130", "var n")]),
    ("Int:true = 3;", [("WIT142", "true")]),
    ("Int: = 3;", [("WIT108", "Int:|")]),
    ("a.b:c = 3;", [("WIT108", "a.b")]),
    # operators
    ("If(a = 3) { }", [("WIT131", "=")]),
    ("x = y = z;", [("WIT131", "=")]),
    ("x = a and not b or c;", [("WIT136", "and"), ("WIT136", "not"), ("WIT136", "or")]),
    ("x = a & b;", [("WIT136", "&")]),
    ("x = a <> b;", [("WIT136", "<>")]),
    ("x = y->z;", [("WIT136", "->")]),
    ("x = a ? b : c;", [("WIT110", "?")]),
    ("If(a < b < c) { }", [("WIT137", "<")]),
    # calls
    ("F(a: 1, 2);", [("WIT138", "2")]),
    ("F(a, x in xs);", [("WIT139", "x in")]),
    ("ForEach(Int:x in xs) { }", [("WIT139", "Int")]),
    ("ForEach(x xs) { y = ; }", [("WIT139", "ForEach(x|"), ("WIT105", "=|")]),
    ("ForEach(int x in xs) { }", [("WIT139", "int")]),
    ("x = F((x in xs));", [("WIT139", "in")]),
    ("F(x in xs) => x;", [("WIT140", "x")]),
    ("F(x in xs) => { y = ; }", [("WIT140", "=>"), ("WIT105", "=|")]),
    ("xs => F(x);", [("WIT140", "xs")]),
    ("F(x in xs) => G(x) => H(x);", [("WIT140", "=>")]),
    ("T:x = F(x in xs);\n=> G(x);", [("WIT140", "=>")]),
    # words of other languages
    ("x = null;", [("WIT135", "null")]),
    ("x = True || None;", [("WIT135", "True"), ("WIT135", "None")]),
    ("else if (x) { }", [("WIT135", "else if")]),
    ("for (int i = 0; i < 3; i++) { x = ; }", [("WIT135", "for"), ("WIT105", "=|")]),
    ("// a b c\nx = 1; # d\n/* e */ y = 2;", [("WIT116", "/"), ("WIT116", "#"), ("WIT116", "/")]),
    # texts
    ('x = "abc;\ny = ;', [("WIT111", '"abc'), ("WIT105", "=|")]),
    ('x = "abc; ~ note ~\ny = ;', [("WIT111", '"abc'), ("WIT105", "=|")]),
    ("x = @;", [("WIT110", "@")]),
    ("x = $y;", [("WIT110", "$")]),
]


@pytest.mark.parametrize(("body", "expected"), IN_A_BODY, ids=[body for body, _ in IN_A_BODY])
def test_fault_in_a_body(body, expected):
    """Codes and places of the usual slips; what follows a slip is read as if it had not been."""
    assert faults(f"Job:M()\n{{\n{body}\n}}\nJob:N() {{ }}\n") == expected


IN_A_FILE = [
    ("", [("WIT120", "")]),
    ("~ only a comment ~", [("WIT120", "")]),
    ("x = 3;\ny = 4;", [("WIT121", "x = 3;\ny = 4;")]),
    ("Job:A() { }\nx = 3; Job:B() { y = ; }", [("WIT121", "x = 3;"), ("WIT105", "=|")]),
    ("Job:A() { } }", [("WIT103", "}")]),
    ("job:A() { x = ; }", [("WIT135", "job"), ("WIT105", "=|")]),
    ("Job A() { }", [("WIT122", "Job|")]),
    ("Job:A { }", [("WIT122", "Job:A|")]),
    ("Job:A(); { }", [("WIT122", ";")]),
    ("Job:A()", [("WIT122", "Job:A()|")]),
    ("Job:() { x = ; }", [("WIT108", "Job:|"), ("WIT105", "=|")]),
    ("Job:A.B() { }", [("WIT108", "A.B")]),
    ("Job:A(Int n, b) { x = ; }", [("WIT130", "Int n"), ("WIT123", "b"), ("WIT105", "=|")]),
    ("Job:A(Int:n = m) { }", [("WIT123", "m")]),
    ("Job:A(Int:n { }", [("WIT102", "(")]),
    ("Job:A() { x = 1;", [("WIT102", "{")]),
    ("Job:A() { F(1", [("WIT102", "{"), ("WIT102", "(")]),
    ("Job:A() { If(x) { Job:B() { y = ; }", [("WIT102", "{"), ("WIT105", "=|")]),
    ("Job:A() {\n  Job:B() { x = ; }\n  y = ;\n}", [("WIT144", "Job"), ("WIT105", "=|"), ("WIT105", "=|")]),
    ("Job:A() { x = ; ~ open", [("WIT105", "=|"), ("WIT115", "~")]),
    ("Job:A() { F(/* open", [("WIT116", "/")]),
]


@pytest.mark.parametrize(("text", "expected"), IN_A_FILE, ids=[repr(text) for text, _ in IN_A_FILE])
def test_fault_in_a_file(text, expected):
    """Slips around jobs, and the ends of files."""
    _, diagnostics = parse(text)
    if expected and expected[0][1] == "":
        assert [(d.code, d.span) for d in diagnostics] == [(expected[0][0], (0, 0))]
    else:
        assert faults(text) == expected


def test_missing_brace_is_blamed_on_the_layout():
    """Of the open braces the one is shown whose block the indentation ends early."""
    text = "Job:A()\n{\n    If(x)\n    {\n        a = 1;\n    b = 2;\n}\nJob:B()\n{\n}\n"
    _, (fault,) = parse(text)
    assert fault.code == "WIT102"
    assert fault.span[0] == text.index("{", text.index("If"))


def test_ten_faults_give_ten_diagnostics():
    """No fault hides another, none is told twice."""
    text = """
    Job:A(Int:n)
    {
        Int m = 3;
        m = ;
        If(m = 3)
        {
            Trace("a)
        }
        x = (1 + 2;
        F(a b);
        t.Item1 = 4;
        y = null;
        z = 3
        G(1, 2]
    }
    """
    codes = [code for code, _ in faults(text)]
    assert codes == [
        "WIT130", "WIT105", "WIT131", "WIT111", "WIT101", "WIT102", "WIT106", "WIT133", "WIT135", "WIT101", "WIT104",
        "WIT101",
    ]  # fmt: skip


def test_broken_declaration_stays_known():
    """A variable whose value cannot be read is declared all the same: its later uses are no faults."""
    file, _ = parse("Job:A() { Int:x = 3 +; y = x; }")
    declaration, _ = file.jobs[0].body.statements
    assert (declaration.name.text, declaration.value) == ("x", None)


@pytest.mark.parametrize(
    "body",
    [
        "If(a) {" * 70 + "}" * 70,
        "x = " + "(" * 5000 + "a" + ")" * 5000 + ";",
        "x = " + "[" * 5000 + "]" * 5000 + ";",
        "x = " + "F(" * 5000 + ")" * 5000 + ";",
        "x = " + "-" * 5000 + "a;",
        "x = a" + " + a" * 5000 + ";",
        "x = a" + ".b" * 5000 + ";",
        "x = a" + "[0]" * 5000 + ";",
        "x = (a" + " + a" * 90 + ")" + " + a" * 20 + ";",
    ],
)
def test_too_deep(body):
    """Depth is a diagnostic, never an exhausted stack, and it is told once."""
    assert [code for code, _ in faults(f"Job:A() {{ {body} }}")] == ["WIT151"]


def test_literals_past_their_limits():
    """Texts, arrays and numbers have limits of their own."""
    limits = SourceLimits(string_chars=3, array_items=2, integer_digits=4, decimal_chars=5)
    body = 'a = "abcd"; b = [1, 2, 3]; c = 12345; d = 1.2345; e = [1, 2]; f = "abc"; g = 1234;'
    assert [code for code, _ in faults(f"Job:A() {{ {body} }}", limits)] == ["WIT152"] * 4


def test_too_many_faults_end_the_search():
    """A file of rubbish gives the limit and one more line that says so."""
    for rubbish in ("x = ; " * 50, "@ " * 50):
        codes = [code for code, _ in faults(f"Job:A() {{ {rubbish} }}", SourceLimits(diagnostics=10))]
        assert len(codes) == 11
        assert codes[-1] == "WIT153"


def test_codes_are_registered():
    """Every code these tables expect has a title."""
    expected = {code for _, found in IN_A_BODY + IN_A_FILE for code, _ in found}
    assert expected <= CODES.keys()
