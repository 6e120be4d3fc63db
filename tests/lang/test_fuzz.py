"""Any text at all: the front end of the language neither fails nor hangs, and formatting changes no meaning."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwit.lang.diagnostics import CODES
from meshwit.lang.format import format_source
from meshwit.lang.parser import parse
from meshwit.lang.render import render, to_json

SCRIPT = """~ two jobs ~
Job:Main(IntCollection:xs, Int:n = -3, Array:a = [1, "a", [2.0, NULL]])
{
    Int:x; ~ later ~
    x = (n + 2) * -xs[0] % 7;
    If(x >= 10 && !done || n == 3) { Trace("v\\t" + x, false); } Else { ~ none ~ }

    ~ over
      lines ~
    ImageCollection:images = Grid.ForEach(frame in frames, "Queued", retries: 3)
        => Renderer.RenderFrame(frame, t.Item1, [1, 2]);
    Parallel.Invoke { F(~ c ~ G(x), H(y in xs) => K(y)).Item1.F(); };
    Try { Break; } Catch(String:error) { Return(error, 1e-3); }
}
Job:Other() { Matrix.GetRow(a, 0); }
""".replace(").Item1.F(); }", "); }")

MARKS = "( ) [ ] { } ; : , . = => == != < <= > >= && || ! + - * / % -> & ~ ' \" \\ @ # // /* ?"
NAMES = 'Job job Main in x xs Int If Else else for return not and null true NULL 1 2.5 07 1e9 "a" ~c~'
PHRASES = ["\n", "Job:A() {", "Int:x = ", "F(x in xs) => G(x);"]
WORDS = [*MARKS.split(" "), *NAMES.split(" "), *PHRASES]

bounded = settings(max_examples=120, derandomize=True, deadline=None, database=None)


def meaning(node: object) -> object:
    """A tree without its spans."""
    if isinstance(node, msgspec.Struct):
        fields = [(f, meaning(getattr(node, f))) for f in node.__struct_fields__ if not f.endswith("span")]
        return type(node).__name__, fields
    return [meaning(item) for item in node] if isinstance(node, tuple) else (type(node).__name__, node)


def check(text: str) -> None:
    """What holds for every text."""
    file, diagnostics = parse(text)
    for fault in diagnostics:
        assert 0 <= fault.span[0] <= fault.span[1] <= len(text)
        assert fault.code in CODES
        assert fault.message
        assert fault.message.isprintable()
        assert render(fault, text, "f.wit", color=False).count("\n") == (5 if fault.help else 4)
        assert to_json(fault, text, "f.wit")["line"] >= 1
    assert diagnostics == sorted(diagnostics, key=lambda fault: fault.span)
    if diagnostics:
        return
    formatted = format_source(text)
    again, none = parse(formatted)
    assert none == []
    assert meaning(again) == meaning(file)
    assert format_source(formatted) == formatted
    assert comments(formatted) == comments(text)


def comments(text: str) -> list[str]:
    """The comments' words, white space aside; sorted, since one may move above its statement."""
    return sorted(" ".join(part.split()) for part in "".join(text.split('"')[::2]).split("~")[1::2])


def test_the_script_itself():
    """The text that is mutated below is a good one, else nothing would be tested."""
    assert parse(SCRIPT)[1] == []
    check(SCRIPT)


@bounded
@given(st.text(max_size=200))
def test_random_text(text):
    """Characters of any kind."""
    check(text)
    check(f"Job:A() {{ {text} }}")


@bounded
@given(st.lists(st.sampled_from(WORDS), max_size=60), st.sampled_from(["", " "]))
def test_token_soup(words, blank):
    """Tokens in any order, within a job and without one."""
    soup = blank.join(words)
    check(soup)
    check(f"Job:A() {{ {soup} }}")


@bounded
@given(st.data())
def test_mutations(data):
    """A good script with stretches cut, doubled, or replaced."""
    text = SCRIPT
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 12)))
        piece = data.draw(st.sampled_from(["", text[start:end] * 2, *WORDS]))
        text = text[:start] + piece + text[end:]
    check(text)


@bounded
@given(st.data())
def test_layout_of_good_scripts(data):
    """A good script with its white space, and comments, thrown about."""
    gaps = [" ", "\n", "\n\n\n", "\t", " ~ c ~ ", "\n~ c\n  d ~\n", " ~ e ~\n"]
    pieces = SCRIPT.replace("~ two jobs ~", "").split(" ")
    text = "".join(p + data.draw(st.sampled_from(gaps)) if '"' not in p and "~" not in p else p + " " for p in pieces)
    check(text)


@bounded
@given(st.integers(0, len(SCRIPT)))
def test_truncations(length):
    """A file that was not written to its end."""
    check(SCRIPT[:length])
