"""Text: words and counts, patterns, joining, splitting and formatting."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from calling import Desk
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwit.lang.types import STRING_CHARS_MAX
from meshwit.plugins.text import Text

properties = settings(derandomize=True, max_examples=50, deadline=None)
text = Text()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, Text())


# --- words -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_text", "words"),
    [
        ("", []),
        ("  \n ", []),
        ("To be, or not to be.", ["to", "be", "or", "not", "to", "be"]),
        ("don't l’été rock 'n' roll", ["don't", "l'été", "rock", "n", "roll"]),
        ("snake_case _it_ 3.14", ["snake", "case", "it", "3", "14"]),
        ("Straße STRASSE", ["strasse", "strasse"]),
        ("e\u0301te\u0301 été", ["été", "été"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("Ünï Привет 東京", ["ünï", "привет", "東京"]),
    ],
)
def test_words(desk: Desk, given_text: str, words: list[str]) -> None:
    assert desk("Text.WordCount", given_text) == len(words)
    counts = dict(desk("Text.WordFrequencies", given_text))
    assert counts == {word: words.count(word) for word in words}


def test_frequencies_are_ordered_by_count_and_then_by_word(desk: Desk) -> None:
    counts = desk("Text.WordFrequencies", "b a c b C a d")
    assert counts == [("a", 2), ("b", 2), ("c", 2), ("d", 1)]
    assert desk("Text.WordFrequencies", "b a c b C a d", top=2) == [("a", 2), ("b", 2)]
    assert desk("Text.WordFrequencies", "a", top=0) == []
    with pytest.raises(ValueError, match="top is -1"):
        desk("Text.WordFrequencies", "a", -1)


@given(st.lists(st.text(alphabet="ab \n'É\u0301_9", max_size=30), max_size=6))
@properties
def test_merged_frequencies_are_those_of_the_whole(parts: list[str]) -> None:
    merged = text.MergeFrequencies([text.WordFrequencies(part) for part in parts])
    assert merged == text.WordFrequencies(" \n".join(parts))
    assert sum(count for _, count in merged) == sum(text.WordCount(part) for part in parts)


def test_merging_passes_over_skipped_items_and_refuses_others(desk: Desk) -> None:
    assert desk("Text.MergeFrequencies", [[("a", 1)], None, [("b", 2), ("a", 2)]]) == [("a", 3), ("b", 2)]
    assert desk("Text.MergeFrequencies", [[("a", 1)], [("b", 2)]], top=1) == [("b", 2)]
    for wrong in ([["a"]], [["a", 1]], [[("a", "1")]], [[("a", True)]], ["text"], [7]):
        with pytest.raises(ValueError, match="item 0"):
            desk("Text.MergeFrequencies", wrong)


# --- patterns ----------------------------------------------------------------------------------------------------


def test_search_gives_numbered_lines(desk: Desk) -> None:
    lines = "first\r\nSecond\nthird second\r"
    assert desk("Text.Search", lines, "second") == [(3, "third second")]
    assert desk("Text.Search", lines, "^second$", ignoreCase=True) == [(2, "Second")]
    assert desk("Text.Search", lines, "fourth") == []


def test_matches_and_replacements(desk: Desk) -> None:
    assert desk("Text.Matches", "a1 b22 c", r"([a-z])\d+") == ["a1", "b22"]
    assert desk("Text.ReplacePattern", "2025-07-18", r"(\d+)-(\d+)-(\d+)", r"\3.\2.\1") == "18.07.2025"
    assert desk("Text.ReplacePattern", "Aa", "a", "b", ignoreCase=True) == "bb"
    assert desk("Text.ReplacePattern", "abc", "", "-") == "-a-b-c-"
    assert desk("Text.Replace", "a.b.c", ".", "->") == "a->b->c"
    assert desk("Text.ReplacePattern", "ab", "(?P<x>a)|(b)", r"[\g<x>\2\\\t]") == "[a\\\t][b\\\t]"
    for wrong in (r"x\2", r"x\g<y>", r"x\q", "x\\"):
        with pytest.raises(ValueError, match=r"at character 2 of the replacement .* no such group"):
            desk("Text.ReplacePattern", "a", "(a)", wrong)
    with pytest.raises(ValueError, match="replaced is empty"):
        desk("Text.Replace", "a", "", "b")


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("a(b", "at character 2: missing \\), unterminated subpattern"),
        ("ab**", "at character 4: multiple repeat"),
        ("[a", "at character 1: unterminated character set"),
        ("a" * 1001, "1,001 characters; at most 1,000"),
        ("a{99999999999}", "too large"),
    ],
)
def test_a_wrong_pattern_says_where(desk: Desk, pattern: str, reason: str) -> None:
    for name in ("Text.Search", "Text.Matches"):
        with pytest.raises(ValueError, match=reason):
            desk(name, "text", pattern)


def test_a_doubtful_pattern_warns_nobody(desk: Desk) -> None:
    assert desk("Text.Matches", "[a]", "[[a]") == ["[", "a"]


def test_whatever_runs_patterns_has_a_time_limit_and_stays_out_of_the_leader(desk: Desk) -> None:
    for name in ("Text.Search", "Text.Matches", "Text.ReplacePattern"):
        activity = desk.offer.activities[name]
        assert activity.timeout_s == 60
        assert not activity.inline
    assert not desk.offer.activities["Text.WordFrequencies"].inline


# --- joining, splitting, formatting ------------------------------------------------------------------------------


def test_joining_takes_values_of_any_type(desk: Desk) -> None:
    assert desk("Text.Join", ", ", ["a", "b", "c"]) == "a, b, c"
    assert desk("Text.Join", "-", ["x"]) == "x"
    assert desk("Text.Join", "-", []) == ""
    assert desk("Text.Join", " ", [1, 2.0, True]) == "1 2.0 true"


@given(st.lists(st.text(alphabet="ab", max_size=4), min_size=1, max_size=6))
@properties
def test_splitting_undoes_joining(parts: list[str]) -> None:
    assert text.Split(text.Join(", ", list(parts)), ", ") == parts


def test_splitting(desk: Desk) -> None:
    assert desk("Text.Split", "a,,b", ",") == ["a", "", "b"]
    assert desk("Text.Split", "", ",") == [""]
    with pytest.raises(ValueError, match="separator is empty"):
        desk("Text.Split", "a", "")


@pytest.mark.parametrize(
    ("given_text", "lines"),
    [
        ("", []),
        ("a", ["a"]),
        ("a\n", ["a"]),
        ("a\r\nb\rc\n\n", ["a", "b", "c", ""]),
        ("a\x0bb\u2028c", ["a\x0bb\u2028c"]),
    ],
)
def test_lines(desk: Desk, given_text: str, lines: list[str]) -> None:
    assert desk("Text.Lines", given_text) == lines


@pytest.mark.parametrize(
    ("template", "values", "expected"),
    [
        ("{0} of {1}", (1, "two"), "1 of two"),
        ("{1}{0}{1}", ("a", "b"), "bab"),
        ("frame_{0:04}.png", (7,), "frame_0007.png"),
        ("{0:04}", (-7,), "-007"),
        ("[{0:5}]", ("ab",), "[   ab]"),
        ("{0:.2}", (3.14159,), "3.14"),
        ("{0:06.1}", (2.25,), "0002.2"),
        ("{{{0}}}", (True,), "{true}"),
        ("no place", (), "no place"),
        ("{0}", ([1, "a"],), '[1, "a"]'),
        ("{0}", ("{0}",), "{0}"),
    ],
)
def test_format(template: str, values: tuple[Any, ...], expected: str) -> None:
    assert text.Format(template, *values) == expected


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("a {1}", r"\{1\} at character 3 of .* only 1 values were given"),
        ("{0.__class__}", "is no place for a value"),
        ("{0[0]}", "is no place for a value"),
        ("{0!r}", "is no place for a value"),
        ("{}", "is no place for a value"),
        ("{name}", "is no place for a value"),
        ("{0:9999}", "is no place for a value"),
        ("{0:>{1}}", "is no place for a value"),
        ("a } b", "at character 3"),
        ("a { b", "at character 3"),
        ("{0:.2}", 'rounds numbers, the string "x" is none'),
    ],
)
def test_wrong_templates(template: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        text.Format(template, "x")


@given(st.text(alphabet="{}01:.!a", max_size=12))
@properties
def test_a_template_gives_a_text_or_a_clear_error(template: str) -> None:
    try:
        result = text.Format(template, "x", 1)
    except ValueError as reason:
        result = str(reason)
        if not re.search(r"at character \d+", result):
            raise
    assert isinstance(result, str)


def test_texts_are_bounded(desk: Desk) -> None:
    half = "a" * (STRING_CHARS_MAX // 2 + 1)
    for work in (
        lambda: text.Join("", [half, half]),
        lambda: text.Join(half, ["", "", ""]),
        lambda: text.Replace(half, "a", "bb"),
        lambda: text.ReplacePattern("a" * 2000, "a", "b" * 10_000),
        lambda: text.ReplacePattern("a" * 2000, "(a)", r"\1" + "b" * 10_000),
        lambda: text.Format("{0}{0}", half),
    ):
        with pytest.raises(ValueError, match="at most 16,777,216 are allowed"):
            work()


# --- one text ----------------------------------------------------------------------------------------------------


def test_the_small_ones(desk: Desk) -> None:
    assert desk("Text.Length", "été") == 3
    assert desk("Text.Upper", "straße") == "STRASSE"
    assert desk("Text.Lower", "ÉTÉ") == "été"
    assert desk("Text.Trim", " \ta b\n") == "a b"
    assert desk("Text.Contains", "abc", "bc") is True
    assert desk("Text.Contains", "abc", "B") is False
    assert desk("Text.StartsWith", "abc", "ab") is True
    assert desk("Text.EndsWith", "abc", "ab") is False


def test_a_blob_is_decoded_where_it_is_used(desk: Desk) -> None:
    blob = desk.blobs.put("\ufeffÉtat".encode(), "text/plain")
    assert desk("Text.Decode", blob) == "État"
    assert desk("Text.Decode", desk.blobs.put("État".encode("latin-1")), "latin-1") == "État"
    with pytest.raises(ValueError, match="is no text in utf-8"):
        desk("Text.Decode", desk.blobs.put(b"\xff\xfe\xfa"))
    for encoding in ("klingon", "hex"):
        with pytest.raises(ValueError, match="is no text encoding"):
            desk("Text.Decode", blob, encoding)
    assert not desk.offer.activities["Text.Decode"].local


def test_every_activity_has_words_for_authors(desk: Desk) -> None:
    for name, activity in desk.offer.activities.items():
        if name.startswith("Text."):
            assert activity.doc.split("\n")[0].endswith((".", ":"))
