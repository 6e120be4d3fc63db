"""The canonical layout of a script, for `meshwit fmt`.

The layout is made from the tokens, not from the tree, so that comments keep their places and numbers and texts stay as
written. Formatting changes white space and drops a stray `;`, nothing else: the tree stays the same but for its spans,
and a formatted text is left as it is.

Layout: four blanks, braces on lines of their own, at most one blank line between statements and just one between jobs.
A line past 100 columns breaks before its `=>`, then behind commas. A comment of several lines inside a statement moves
to the line above it.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from meshwit.lang.diagnostics import ScriptError
from meshwit.lang.parser import DEFAULT_LIMITS, parse
from meshwit.lang.tokens import CONSTANT, END, NAME, NUMBER, STRING, tokenize

WIDTH = 100
_INDENT = "    "
_CONTINUED = 2 * _INDENT
_COMMENT = "comment"

_ENDS_OPERAND = frozenset({NAME, NUMBER, STRING, CONSTANT, ")", "]"})
_NO_SPACE_BEFORE = frozenset(")],;.:")
_NO_SPACE_AFTER = frozenset("([.")

Word: TypeAlias = tuple[str, str]
"""A piece of a line: the blanks before it, and its text."""


class _Item(msgspec.Struct):
    """A token or a comment, with the white space before it counted in line breaks."""

    kind: str
    text: str
    start: int
    breaks: int


def format_source(text: str, filename: str = "<script>") -> str:
    """The script in canonical layout. Raises ScriptError if it does not parse."""
    text = text.replace("\r\n", "\n")
    _, diagnostics = parse(text)
    if diagnostics:
        raise ScriptError(diagnostics, text, filename)
    return _Layout(text, _items(text)).lines_of_file()


def _items(text: str) -> list[_Item]:
    """Tokens and comments in their order, without the `;` that end nothing."""
    tokens = tokenize(text, DEFAULT_LIMITS)
    marks = [*zip(tokens.starts, tokens.ends, tokens.kinds, strict=True)]
    marks = [mark for mark in marks if mark[2] != END]
    marks = sorted(marks + [(start, end, _COMMENT) for start, end in tokens.comments])
    items: list[_Item] = []
    behind = 0
    before = "{"
    for start, end, kind in marks:
        if kind == ";" and before in ("{", "}", ";"):
            continue
        items.append(_Item(kind, text[start:end], start, text.count("\n", behind, start)))
        behind = end
        if kind != _COMMENT:
            before = kind
    return items


class _Layout:
    """Lines in the making: what is complete in `lines`, and the statement that is being collected."""

    def __init__(self, text: str, items: list[_Item]) -> None:
        self.text = text
        self.items = items
        self.lines: list[str] = []
        self.depth = 0
        self.statement: list[_Item] = []
        self.fresh = True  # nothing stands yet in this block
        self.after_own_comment = False

    def lines_of_file(self) -> str:
        """The whole text."""
        for item in self.items:
            match item.kind:
                case "{":
                    self._flush(composite=True)
                    self._add("{")
                    self.depth += 1
                    self.fresh = True
                case "}":
                    self.depth -= 1
                    self._add("}")
                    self.fresh = False
                case ";":
                    self.statement.append(item)
                    self._flush(composite=False)
                case "comment" if not self.statement:
                    self._comment(item)
                case _:
                    self.statement.append(item)
        return "\n".join(self.lines) + "\n"

    def _add(self, line: str) -> None:
        self.lines.append(_INDENT * self.depth + line if line else "")
        self.after_own_comment = False

    def _blank_line(self, breaks: int) -> None:
        """The blank line before what begins a line, if there is to be one."""
        between_jobs = self.depth == 0 and not self.after_own_comment
        if not self.fresh and (breaks > 1 or between_jobs):
            self._add("")
        self.fresh = False

    def _comment(self, item: _Item) -> None:
        """A comment between statements: behind what stands on its line, or on a line of its own."""
        if not item.breaks and not self.fresh:
            self.lines[-1] += " " + item.text
        else:
            self._blank_line(item.breaks)
            self._own_comment(item)

    def _own_comment(self, item: _Item) -> None:
        """A comment on its own line; the lines within move with its first."""
        line_start = self.text.rfind("\n", 0, item.start) + 1
        first, *rest = item.text.split("\n")
        if rest and not self.text[line_start : item.start].strip():
            shift = len(_INDENT) * self.depth - (item.start - line_start)
            rest = [_shifted(line, shift) for line in rest]
        self._add("\n".join([first, *rest]))
        self.after_own_comment = True

    def _flush(self, *, composite: bool) -> None:
        """Writes the statement that was collected; `composite` says that a block follows."""
        statement = self.statement
        self.statement = []
        self._blank_line(statement[0].breaks)
        for item in statement:
            if item.kind == _COMMENT and "\n" in item.text:
                self._own_comment(item)
        words, arrow = _words([i for i in statement if i.kind != _COMMENT or "\n" not in i.text], composite=composite)
        room = WIDTH - len(_INDENT) * self.depth
        if arrow and _width(words) > room:
            self._fill(words[:arrow], room, "")
            self._fill(words[arrow:], room, _INDENT)
        else:
            self._fill(words, room, "")

    def _fill(self, words: list[Word], room: int, indent: str) -> None:
        """Writes words on one line, or on several broken behind commas."""
        line = indent
        for part in _parts(words):
            if len(line) + len(part) > room and line.strip():
                self._add(line)
                line = indent + _CONTINUED
            line += part.lstrip() if not line.strip() else part
        self._add(line)


def _parts(words: list[Word]) -> list[str]:
    """The words joined up to each comma: what is never broken."""
    parts = [""]
    for blanks, word in words:
        parts[-1] += blanks + word
        if word == ",":
            parts.append("")
    return parts


def _width(words: list[Word]) -> int:
    return sum(len(blanks) + len(word) for blanks, word in words)


def _shifted(line: str, shift: int) -> str:
    """A line moved right, or left as far as its blanks allow."""
    if shift >= 0:
        return " " * shift + line if line.strip() else line
    return line[min(-shift, len(line) - len(line.lstrip(" "))) :]


def _words(items: list[_Item], *, composite: bool) -> tuple[list[Word], int]:
    """The items of one statement with the blanks before each, and where its outermost `=>` is (0: nowhere)."""
    words: list[Word] = []
    arrow = brackets = 0
    is_job = items[0].text == "Job" and composite
    binds = composite and [item.kind for item in items[-5:]] == ["(", NAME, ":", NAME, ")"]
    tight = True  # whether what follows stands close to what is before
    kinds = ["", ""]  # the last two tokens; a binder's `in` counts as an operator
    for at, item in enumerate(items):
        kind = item.kind
        if kind == _COMMENT:
            words.append(("" if tight else " ", item.text))
            tight = False
            continue
        operand = kinds[-1] in _ENDS_OPERAND
        if kind == NAME and item.text == "in" and kinds[-1] == NAME:
            kind = "in"
        close = tight or kind in _NO_SPACE_BEFORE or (kind in ("(", "[") and operand)
        words.append(("" if close else " ", item.text))
        unary = kind == "!" or (kind == "-" and not operand)
        declares = kind == ":" and (is_job or not brackets or (binds and at == len(items) - 3))
        tight = kind in _NO_SPACE_AFTER or unary or declares
        brackets += (kind in ("(", "[")) - (kind in (")", "]"))
        if kind == "=>" and not brackets and not arrow:
            arrow = len(words) - 1
        kinds = [kinds[-1], kind]
    return words, arrow
