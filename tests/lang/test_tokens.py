"""The lexer: what becomes which token, where it stands, and what is said about what is no token."""

import pytest

from meshwit.lang.parser import DEFAULT_LIMITS
from meshwit.lang.tokens import END, LOOKAHEAD, SourceLimits, tokenize


def kinds(text: str) -> list[str]:
    return tokenize(text, DEFAULT_LIMITS).kinds[:-LOOKAHEAD]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Int:n = 07;", ["name", ":", "name", "=", "number", ";"]),
        ("a<=b==c=>d", ["name", "<=", "name", "==", "name", "=>", "name"]),
        ("!a&&b||c!=-1e-3", ["!", "name", "&&", "name", "||", "name", "!=", "-", "number"]),
        ('"a\\"~b" ~ "c ~ true', ["string", "constant"]),
        ("t.Item1[0]", ["name", ".", "name", "[", "number", "]"]),
        ("größe _x NULL null", ["name", "name", "constant", "name"]),
        ("\ufeffx\u00a0y", ["name", "name"]),
        ("", []),
    ],
)
def test_kinds(text, expected):
    """Every mark, word and literal is told apart; comments and white space leave no token."""
    assert kinds(text) == expected


def test_places_are_those_of_the_source():
    """Text, start and end agree, so that spans point at what was written."""
    text = 'Job:A()\n{\n  x = "é" + 2.5; ~ note ~\n}\n'
    tokens = tokenize(text, DEFAULT_LIMITS)
    assert [text[a:b] for a, b in zip(tokens.starts, tokens.ends, strict=True)] == tokens.texts
    assert [text[a:b] for a, b in tokens.comments] == ["~ note ~"]
    assert tokens.kinds[-LOOKAHEAD:] == [END] * LOOKAHEAD


@pytest.mark.parametrize(
    ("text", "code", "marked"),
    [
        ("x = @@;", "WIT110", "@@"),
        ('x = "abc;', "WIT111", '"abc'),
        ('F("abc);', "WIT111", '"abc'),
        ("x = 'abc';", "WIT113", "'abc'"),
        ("x = “abc”;", "WIT113", "“abc”"),
        ("x = 12abc;", "WIT114", "12abc"),
        ("x = 1.;", "WIT114", "1."),
        ("x = 1e-;", "WIT114", "1e-"),
        ("x ~ open", "WIT115", "~"),
        ("// note", "WIT116", "/"),
        ("# note", "WIT116", "#"),
        ("/* a \n b */ x", "WIT116", "/"),
        ("a & b", "WIT136", "&"),
        ("a -> b", "WIT136", "->"),
    ],
)
def test_faults(text, code, marked):
    """What is no token is reported once, at the characters that are wrong."""
    (fault,) = tokenize(text, DEFAULT_LIMITS).diagnostics
    assert (fault.code, text[slice(*fault.span)]) == (code, marked)


@pytest.mark.parametrize(
    ("text", "help"),
    [
        ("1_000", "write `1000`"),
        ("0xFF", "write the number in decimal"),
        ("1.", "a digit must follow the point: `1.0`"),
        ("10L", "the declared type makes the kind of a number: `10`"),
        ("'abc'", 'write `"abc"`'),
    ],
)
def test_help_names_the_fix(text, help):
    """The help line holds what to write instead."""
    assert tokenize(text, DEFAULT_LIMITS).diagnostics[0].help == help


def test_what_is_meant_stands_in_its_place():
    """A wrong sign with a plain meaning does not hide what follows it."""
    assert kinds("a & b | 'c' -> d") == ["name", "&&", "name", "||", "string", "=>", "name"]


def test_unnameable_character_is_named_by_its_number():
    """A character that cannot be seen is told by number and name."""
    (fault,) = tokenize("\u200b", DEFAULT_LIMITS).diagnostics
    assert fault.message == "unexpected character U+200B (zero width space)"


def test_source_too_large():
    """A text past the limit is refused before it is read."""
    tokens = tokenize("x" * 11, SourceLimits(source_chars=10))
    assert [d.code for d in tokens.diagnostics] == ["WIT150"]
    assert set(tokens.kinds) == {END}


@pytest.mark.parametrize(
    "text", [" " * 300_000, '"' + ")x" * 150_000, "~" * 300_001, "1" * 300_000 + "x", "\\" * 300_000]
)
def test_hostile_texts_take_linear_time(text):
    """None of these may be scanned more than once; a quadratic lexer would not come back."""
    tokenize(text, DEFAULT_LIMITS)
