"""The formatter: the canonical layout, no comment lost, nothing changed but white space."""

import pytest

from meshwit.lang.diagnostics import ScriptError
from meshwit.lang.format import format_source


def body(text: str) -> str:
    """The statements of a formatted job, without the job's frame and indent."""
    lines = format_source(f"Job:A(){{{text}\n}}").splitlines()
    assert lines[:2] == ["Job:A()", "{"]
    assert lines[-1] == "}"
    return "\n".join(line.removeprefix("    ") for line in lines[2:-1])


def test_the_example_of_the_language_page():
    """Head, braces, indent and operators as LANGUAGE.md writes them."""
    source = """~ a comment ~
    Job : RenderAnimation ( FrameCollection : frames,Int:n=3 ) { ImageCollection:images=Grid.ForEach(frame in
    frames)=>Renderer.RenderFrame(frame); If(!a&&n*(2+-1)>=-n){Break ;} Else { } }
    Job:B(){}"""
    assert (
        format_source(source)
        == """\
~ a comment ~
Job:RenderAnimation(FrameCollection:frames, Int:n = 3)
{
    ImageCollection:images = Grid.ForEach(frame in frames) => Renderer.RenderFrame(frame);
    If(!a && n * (2 + -1) >= -n)
    {
        Break;
    }
    Else
    {
    }
}

Job:B()
{
}
"""
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x=xs [0] . Item1 ;", "x = xs[0].Item1;"),
        ("F( a,samples :64 );", "F(a, samples: 64);"),
        ("Catch( String : e ) { }", "Catch(String:e)\n{\n}"),
        ("F(x in (xs));F(x in [1]);F(x in -y);", "F(x in (xs));\nF(x in [1]);\nF(x in -y);"),
        ("Parallel . Invoke{F();} ; ;", "Parallel.Invoke\n{\n    F();\n}"),
        ("x = 07 - - 1.50;", "x = 07 - -1.50;"),
        ("a=1;\n\n\n\nb=2;\nc=3;", "a = 1;\n\nb = 2;\nc = 3;"),
        ("\n\nIf(a){\n\nb=1;\n\n}\n\n", "If(a)\n{\n    b = 1;\n}"),
    ],
)
def test_layout(source, expected):
    """White space is made canonical, up to one blank line is kept, numbers stay as written."""
    assert body(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("\n~ lead ~\na = 1;", "~ lead ~\na = 1;"),
        ("a = 1; ~ trail ~ ~ two ~\nb = 2;", "a = 1; ~ trail ~ ~ two ~\nb = 2;"),
        ("a = 1;\n~ own ~ b = 2;", "a = 1;\n~ own ~\nb = 2;"),
        ("If(a) { ~ nothing ~ } ~ after ~", "If(a)\n{\n    ~ nothing ~\n} ~ after ~"),
        ("If(a) ~ why ~ { }", "If(a) ~ why ~\n{\n}"),
        ("F(~ a ~ a, ~ b ~ b ~ c ~);", "F(~ a ~ a, ~ b ~ b ~ c ~);"),
        ("F(a, ~ b\nc ~ b);", "~ b\nc ~\nF(a, b);"),
        ("\n  ~ a\n    b ~\nx = 1;", "~ a\n  b ~\nx = 1;"),
        ("a = 1;\n\n~ end ~", "a = 1;\n\n~ end ~"),
    ],
)
def test_comments_keep_their_places(source, expected):
    """Before, behind, alone in a block, among arguments; one of several lines moves above its statement."""
    assert body(source) == expected


def test_comments_around_jobs():
    """A comment belongs to the job it stands before or behind."""
    source = "~ file ~\n\n~ a ~\nJob:A(){} ~ behind ~\n~ b ~\nJob:B(){}\n~ end ~"
    frame = "\n{\n}"
    assert (
        format_source(source) == f"~ file ~\n\n~ a ~\nJob:A(){frame} ~ behind ~\n\n~ b ~\nJob:B(){frame}\n\n~ end ~\n"
    )


def test_long_lines_break_before_the_arrow_then_behind_commas():
    """No line that can be broken passes 100 columns."""
    call = "Renderer.RenderFrame(frame, " + ", ".join(f"argument{i}" for i in range(12)) + ")"
    text = body(f"ImageCollection:images = Grid.ForEach(frame in frames, Queued) => {call};")
    assert text.split("\n")[0] == "ImageCollection:images = Grid.ForEach(frame in frames, Queued)"
    assert text.split("\n")[1].startswith("    => Renderer.RenderFrame(frame, argument0,")
    assert text.split("\n")[2].startswith("            argument")
    assert all(len(line) <= 96 for line in text.split("\n"))


def test_a_faulty_script_is_left_alone():
    """There is no layout for what does not parse; the faults are handed on."""
    with pytest.raises(ScriptError, match=r"a.wit:1: WIT105"):
        format_source("Job:A() { x = ; }", "a.wit")
