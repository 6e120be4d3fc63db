"""Text: words and their counts, search by pattern, joining and splitting.

Patterns are Python's regular expressions. There is no telling beforehand how long one takes (`(a+)+b` doubles its time
with each `a`), so what runs them has a time limit and is never done in the leader's own process; `(?>...)` and `a++`
keep a pattern from going back.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from meshwit.lang.text import text_of
from meshwit.lang.types import COLLECTION_ITEMS_MAX, STRING_CHARS_MAX, describe
from meshwit.plugins.annotations import Array, Blob, Bool, Int, Object, String, StringCollection, TupleCollection
from meshwit.plugins.controller import Controller, activity
from meshwit.plugins.text.patterns import compiled, replaced, replacement_parts
from meshwit.plugins.text.words import merged, ranked, words

PATTERN_TIMEOUT_S = 60.0
TEXT_BYTES_MAX = 4 * STRING_CHARS_MAX
"""No String is longer in any usual encoding."""
_LINE_END = re.compile(r"\r\n|\n|\r")
_PLACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_PLACE_INSIDE = re.compile(r"(\d{1,4})(?::(0?\d{0,3})(?:\.(\d{1,2}))?)?")


class Text(Controller):
    """Text: words, lines, patterns."""

    # --- words -------------------------------------------------------------------------------------------------

    @activity
    def WordCount(self, text: String) -> Int:
        """How many words a text has: runs of letters and digits of any script, `don't` being one."""
        return sum(1 for _ in words(text))

    @activity
    def WordFrequencies(self, text: String, top: Int | None = None) -> TupleCollection:
        """Tuples (word, count), the most frequent first and then by word; upper and lower case are one.

        With `top` only so many.
        """
        return ranked(Counter(words(text)), top)

    @activity
    def MergeFrequencies(self, collections: Array, top: Int | None = None) -> TupleCollection:
        """The sum of several results of Text.WordFrequencies, in the same order; NULL among them is passed over.

        With `top` only so many.
        """
        return ranked(merged(collections), top)

    # --- patterns ----------------------------------------------------------------------------------------------

    @activity(timeout_s=PATTERN_TIMEOUT_S)
    def Search(self, text: String, pattern: String, ignoreCase: Bool = False) -> TupleCollection:
        """Tuples (line number, line) of the lines in which a regular expression is found; lines count from 1."""
        found = compiled(pattern, ignoreCase)
        return [(number, line) for number, line in enumerate(_lines(text), 1) if found.search(line)]

    @activity(timeout_s=PATTERN_TIMEOUT_S)
    def Matches(self, text: String, pattern: String, ignoreCase: Bool = False) -> StringCollection:
        """All that a regular expression matches in a text, from left to right, none overlapping."""
        return [match[0] for match in compiled(pattern, ignoreCase).finditer(text)]

    @activity(timeout_s=PATTERN_TIMEOUT_S)
    def ReplacePattern(self, text: String, pattern: String, replacement: String, ignoreCase: Bool = False) -> String:
        r"""The text with all that a regular expression matches replaced.

        In the replacement `\1` is the first group, `\g<name>` one with a name, `\\` a backslash.
        """
        found = compiled(pattern, ignoreCase)
        return _assembled(replaced(text, found, replacement_parts(replacement, found)))

    # --- joining and splitting ---------------------------------------------------------------------------------

    @activity(inline=True)
    def Join(self, separator: String, values: Array) -> String:
        """The texts of the values, one after the other, with the separator between them."""
        texts = [text_of(value) for value in values]
        _check_size(sum(map(len, texts)) + len(separator) * max(0, len(texts) - 1))
        return separator.join(texts)

    @activity(inline=True)
    def Split(self, text: String, separator: String) -> StringCollection:
        """The parts of a text between the separators; a text without any is one part."""
        if not separator:
            raise ValueError("the separator is empty: Text.Lines and Text.Matches divide a text by other means")
        if text.count(separator) >= COLLECTION_ITEMS_MAX:
            raise ValueError(f"the text has more than {COLLECTION_ITEMS_MAX:,} parts")
        return text.split(separator)

    @activity(inline=True)
    def Lines(self, text: String) -> StringCollection:
        """The lines of a text without their ends; an end after the last line begins no other."""
        return _lines(text)

    @activity(inline=True)
    def Replace(self, text: String, old: String, new: String) -> String:
        """The text with each `old` replaced by `new`, both taken as they are."""
        if not old:
            raise ValueError("the text to be replaced is empty")
        _check_size(len(text) + text.count(old) * (len(new) - len(old)))
        return text.replace(old, new)

    @activity(inline=True)
    def Format(self, template: String, *values: Object) -> String:
        """The template with `{0}`, `{1}` replaced by the values' texts; `{0:04}` pads, `{0:.2}` rounds to two digits.

        `{{` and `}}` stand for braces.
        """
        return _assembled(_filled(template, values))

    @activity
    def Decode(self, blob: Blob, encoding: String = "utf-8") -> String:
        """The text that a blob holds: for files that were read by Files.Read and are worked on elsewhere."""
        if blob.size > TEXT_BYTES_MAX:
            raise ValueError(f"{blob} holds more than a String can: at most {STRING_CHARS_MAX:,} characters")
        return decode_text(blob.read(), encoding, str(blob))

    # --- one text ----------------------------------------------------------------------------------------------

    @activity(inline=True)
    def Length(self, text: String) -> Int:
        """How many characters a text has."""
        return len(text)

    @activity(inline=True)
    def Upper(self, text: String) -> String:
        """The text in upper case."""
        return _bounded(text.upper())

    @activity(inline=True)
    def Lower(self, text: String) -> String:
        """The text in lower case."""
        return _bounded(text.lower())

    @activity(inline=True)
    def Trim(self, text: String) -> String:
        """The text without white space at its ends."""
        return text.strip()

    @activity(inline=True)
    def Contains(self, text: String, part: String) -> Bool:
        """Whether a text contains another, letter for letter."""
        return part in text

    @activity(inline=True)
    def StartsWith(self, text: String, part: String) -> Bool:
        """Whether a text begins with another, letter for letter."""
        return text.startswith(part)

    @activity(inline=True)
    def EndsWith(self, text: String, part: String) -> Bool:
        """Whether a text ends with another, letter for letter."""
        return text.endswith(part)


def decode_text(data: bytes, encoding: str, what: str) -> str:
    """Bytes as a text, without the mark that some programs put before it. Raises ValueError with the reason."""
    try:
        text = data.decode("utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding)
    except LookupError:
        raise ValueError(
            f'"{encoding}" is no text encoding: there are "utf-8", "latin-1", "utf-16" and others'
        ) from None
    except UnicodeError as reason:
        raise ValueError(f"{what} is no text in {encoding}: {reason}") from None
    return _bounded(text)


def _check_size(characters: int) -> None:
    if characters > STRING_CHARS_MAX:
        raise ValueError(f"a text of {characters:,} characters; at most {STRING_CHARS_MAX:,} are allowed")


def _bounded(text: str) -> str:
    _check_size(len(text))
    return text


def _assembled(parts: Iterable[str]) -> str:
    """The parts as one text; what would be too long is refused before it fills the memory."""
    taken: list[str] = []
    size = 0
    for part in parts:
        size += len(part)
        _check_size(size)
        taken.append(part)
    return "".join(taken)


def _lines(text: str) -> list[str]:
    lines = _LINE_END.split(text)
    return lines[:-1] if not lines[-1] else lines


def _filled(template: str, values: tuple[Any, ...]) -> Iterator[str]:
    end = 0
    for place in _PLACE.finditer(template):
        yield template[end : place.start()]
        yield _place_text(template, place, values)
        end = place.end()
    yield template[end:]


def _place_text(template: str, place: re.Match[str], values: tuple[Any, ...]) -> str:
    if place[0] in ("{{", "}}"):
        return place[0][0]
    at = place.start() + 1
    inside = _PLACE_INSIDE.fullmatch(place[1]) if place[1] is not None else None
    if inside is None:
        raise ValueError(
            f"{place[0]} at character {at} of {describe(template)} is no place for a value: write {{0}}, {{1}}, "
            "{0:04} or {0:.2}; a brace is written twice"
        )
    number, width, digits = int(inside[1]), inside[2] or "", inside[3]
    if number >= len(values):
        raise ValueError(f"{place[0]} at character {at} of {describe(template)}: only {len(values)} values were given")
    value = values[number]
    text = text_of(value)
    if digits is not None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{place[0]} at character {at} rounds numbers, {describe(value)} is none")
        text = f"{value:.{digits}f}"
    if width.startswith("0"):
        return text.zfill(int(width))
    return text.rjust(int(width or "0"))
