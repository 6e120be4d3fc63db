"""The parser on scripts that are right: which tree stands for which text."""

import pytest

from meshwit.lang.parser import parse
from meshwit.lang.tokens import SourceLimits
from meshwit.lang.tree import (
    ArrayLiteral,
    Assignment,
    Binary,
    Call,
    Composite,
    Declaration,
    Index,
    Literal,
    Member,
    Perform,
    Transform,
    Unary,
    Variable,
)


def statements(body: str):
    file, diagnostics = parse(f"Job:Main()\n{{\n{body}\n}}\n")
    assert diagnostics == []
    return file.jobs[0].body.statements


def statement(body: str):
    (only,) = statements(body)
    return only


def shape(node) -> object:
    """An expression with every operator's parentheses shown."""
    match node:
        case Literal(value):
            return value
        case Variable(name):
            return name
        case ArrayLiteral(items):
            return [shape(item) for item in items]
        case Member(target, name):
            return f"({shape(target)}).{name.text}"
        case Index(target, index):
            return f"({shape(target)})[{shape(index)}]"
        case Unary(operator, operand):
            return f"{operator}({shape(operand)})"
        case Binary(operator, left, right):
            return f"({shape(left)} {operator} {shape(right)})"
        case Call(name, arguments, binder):
            inner = [f"{binder.item.text} in {shape(binder.source)}"] if binder else []
            inner += [f"{a.name.text}: {shape(a.value)}" if a.name else str(shape(a.value)) for a in arguments]
            return f"{name.text}({', '.join(inner)})"
        case Transform(head, arrow):
            return f"{shape(head)} => {shape(arrow)}"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a + b * c - d", "((a + (b * c)) - d)"),
        ("(a + b) * c", "((a + b) * c)"),
        ("a || b && c == d < e + f", "(a || (b && (c == (d < (e + f)))))"),
        ("a - b - c", "((a - b) - c)"),
        ("-a * !b", "(-(a) * !(b))"),
        ("a - -3", "(a - -3)"),
        ("--3", "-(-3)"),
        ("-xs[0]", "-((xs)[0])"),
        ("x.Item1.Item2", "((x).Item1).Item2"),
        ("Matrix.GetRow(a, 0)[1].Item1", "((Matrix.GetRow(a, 0))[1]).Item1"),
        ("Matrix . GetRow ( a )", "Matrix.GetRow(a)"),
        ("F(G(x), y, samples: 64, deep: -1)", "F(G(x), y, samples: 64, deep: -1)"),
        ("F(x in xs, 3) => G(x)", "F(x in xs, 3) => G(x)"),
        ("H(F(x in xs) => G(x))", "H(F(x in xs) => G(x))"),
        ("in + Job", "(in + Job)"),
        ("F(in in in)", "F(in in in)"),
        ("(a < b) == (c < d)", "((a < b) == (c < d))"),
    ],
)
def test_expressions(source, expected):
    """Precedence, association, calls and members are those of LANGUAGE.md."""
    assert shape(statement(f"x = {source};").value) == expected


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("23", 23),
        ("07", 7),
        ("-7", -7),
        ("- 2147483648", -2147483648),
        ("2.5", 2.5),
        ("1e-3", 0.001),
        ("true", True),
        ("NULL", None),
        (r'"a\"b\\n\n\t"', 'a"b\\n\n\t'),
        (r'"\\\\"', "\\\\"),
        ('""', ""),
        ('"~ no comment ~"', "~ no comment ~"),
    ],
)
def test_literals(source, value):
    """A literal stands for its Python value, type included, and spans all of its text."""
    parsed = statement(f"x = {source};").value
    assert (parsed.value, type(parsed.value)) == (value, type(value))
    assert parsed.span[1] - parsed.span[0] == len(source)


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("Int:n;", Declaration),
        ("Int:n = Int(23);", Declaration),
        ("n = m + 1;", Assignment),
        ("F(1);", Perform),
        ("Break;", Perform),
        ("Foo.Bar;", Perform),
        ("F(x in xs) => A(x);", Perform),
        ("If(a) { }", Composite),
        ("Parallel.Invoke { }", Composite),
        ("Catch(String:error) { };", Composite),
    ],
)
def test_statements(source, kind):
    """Every form of LANGUAGE.md's table is read as what it is."""
    assert type(statement(source)) is kind


def test_calls_without_parentheses():
    """`Break;` and `Parallel.Invoke { }` are calls, and remember how they were written."""
    plain, block = statements("Foo.Bar; Parallel.Invoke { F(); }")
    assert (plain.call.name.text, plain.call.parenthesised) == ("Foo.Bar", False)
    assert (block.call.name.text, block.call.parenthesised) == ("Parallel.Invoke", False)


def test_catch_reads_as_argument_by_name():
    """The checker is promised an argument named `String` whose value is the variable."""
    (argument,) = statement("Catch(String:error) { }").call.arguments
    assert (argument.name.text, argument.value.name) == ("String", "error")


def test_job_heads():
    """Parameters have types and perhaps literal defaults; several jobs stand in order."""
    file, diagnostics = parse('Job:A(Int:n = -3, Array:x = [1, ["a"]], Color:c) { } Job:B() { }')
    assert diagnostics == []
    assert [job.name.text for job in file.jobs] == ["A", "B"]
    assert [(p.type.text, p.name.text) for p in file.jobs[0].parameters] == [
        ("Int", "n"),
        ("Array", "x"),
        ("Color", "c"),
    ]
    assert [p.default and shape(p.default) for p in file.jobs[0].parameters] == [-3, [1, ["a"]], None]


def test_spans_cover_what_was_written():
    """Parentheses belong to the operation they take part in; a statement has its `;`."""
    text = "Job:A() { x = (a + b) * F(c); }"
    file, _ = parse(text)
    (assignment,) = file.jobs[0].body.statements
    assert text[slice(*assignment.span)] == "x = (a + b) * F(c);"
    assert text[slice(*assignment.value.span)] == "(a + b) * F(c)"
    assert text[slice(*assignment.value.left.span)] == "a + b"
    assert text[slice(*assignment.value.operator_span)] == "*"
    assert text[slice(*file.jobs[0].span)] == text


def test_long_rows_and_deep_brackets_within_the_limits():
    """What the limits allow is read."""
    assert isinstance(statement("x = " + "(" * 99 + "a" + ")" * 99 + ";").value, Variable)
    assert isinstance(statement("x = " + " + ".join("a" * 100) + ";").value, Binary)
    statement("If(a) { " * 60 + "}" * 60)


def test_limits_are_settable():
    """A caller with less trust sets less."""
    _, diagnostics = parse("Job:A() { x = [1, 2, 3]; }", SourceLimits(array_items=2))
    assert [d.code for d in diagnostics] == ["WIT152"]
