"""The lexer: source text to tokens, in one pass of one regular expression.

Tokens are parallel lists, not objects: a script of 10,000 lines has 100,000 of them. Comments are set aside for the
formatter. What is no token becomes a diagnostic here; where its meaning is plain (`&` for `&&`, `'text'`) the token
meant stands in its place, otherwise the index of the next token goes into `gaps` and the parser stays silent there.
"""

from __future__ import annotations

import re
import unicodedata

import msgspec

from meshwit.lang.diagnostics import Diagnostic
from meshwit.lang.tree import Span

# Kinds of tokens; a mark's kind is its own text: `(`, `=>`, `&&`.
NAME = "name"
NUMBER = "number"
STRING = "string"
CONSTANT = "constant"
END = "end"

LOOKAHEAD = 4
"""How many END tokens close the lists, so that the parser may look ahead without asking where the lists end."""

CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "NULL": None}

_MARKS = ("=>", "==", "!=", "<=", ">=", "&&", "||", *"()[]{};:,.=<>!+-*/%")
_KINDS = {mark: mark for mark in _MARKS} | dict.fromkeys(CONSTANTS, CONSTANT)


class SourceLimits(msgspec.Struct, frozen=True):
    """How large a script may be; beyond a limit there is a diagnostic, never an exception or an endless wait.

    Attributes:
        source_chars: length of the source text.
        string_chars: length of one string literal.
        array_items: items of one array literal.
        integer_digits: digits of one integer literal; what a type can hold is the checker's concern.
        decimal_chars: length of one number literal with a fraction or an exponent.
        block_depth: blocks within blocks. Too high and those who walk the tree exhaust the stack.
        expression_depth: expressions within expressions, and operators in one row; likewise.
        diagnostics: how many are reported before the parser gives up.
    """

    source_chars: int = 4 * 1024 * 1024
    string_chars: int = 1024 * 1024
    array_items: int = 100_000
    integer_digits: int = 40
    decimal_chars: int = 400
    block_depth: int = 64
    expression_depth: int = 100
    diagnostics: int = 1000


class Tokens(msgspec.Struct):
    """The tokens of one source text, as parallel lists closed by `LOOKAHEAD` tokens of kind END.

    Attributes:
        kinds: NAME, NUMBER, STRING, CONSTANT, END or the mark itself.
        texts: as written; a string has its quotes.
        starts: offset of the first character.
        ends: offset past the last character.
        comments: spans of the comments, tildes included.
        gaps: indices of tokens before which something unreadable was skipped (and reported).
        diagnostics: what was not readable.
    """

    kinds: list[str]
    texts: list[str]
    starts: list[int]
    ends: list[int]
    comments: list[Span]
    gaps: set[int]
    diagnostics: list[Diagnostic]


# Possessive quantifiers: nothing here may be matched in a second way, so nothing is tried a second time.
_TOKEN = re.compile(
    r"""
    [\s\ufeff]*+
    (?:
        ( [^\W\d]\w*+ | [(){}\[\];:,.] | => | [=!<>]=?+ | && | \|\| | -(?!>) | /(?![/*]) | [+*%] )
      | ( [0-9]++ (?:\.[0-9]++)?+ (?:[eE][+-]?[0-9]++)?+ (?![\w.]) )
      | ( "[^"\\\r\n]*+ (?:\\[^\r\n][^"\\\r\n]*+)*+" )
      | ( ~[^~]*+~ )
      | ( [^\s\ufeff] )
      | \Z
    )
    """,
    re.VERBOSE,
)
_WORD, _NUMBER, _STRING, _COMMENT, _FAULT = range(1, 6)

_UNREADABLE = re.compile(
    r"""
      (?P<comment>  //[^\r\n]*+ | \#[^\r\n]*+ | /\*(?s:.*?)(?:\*/|\Z) )
    | (?P<open>     ~[^~]*+ )
    | (?P<quotes>   '[^'\r\n]*+' | [\u201c\u201d\u201e][^"\u201c\u201d\u201e\r\n]*+["\u201c\u201d] )
    | (?P<string>   ["'\u201c\u201d\u201e] [^\r\n]*+ )
    | (?P<number>   [0-9](?:[eE][+-]|[\w.])*+ )
    | (?P<operator> -> | & | \| )
    | (?P<other>    [^\s\w(){}\[\];:,.=!<>+\-*/%~"'0-9&|]++ | . )
    """,
    re.VERBOSE,
)

_MEANT = {"->": "=>", "&": "&&", "|": "||"}


def tokenize(text: str, limits: SourceLimits) -> Tokens:
    """All tokens of `text`; never raises. A text past `limits.source_chars` gives END alone and its diagnostic."""
    tokens = Tokens([], [], [], [], [], set(), [])
    if len(text) > limits.source_chars:
        size = f"{len(text):,} characters"
        message = f"the script is too large: {size}, and {limits.source_chars:,} is the most"
        tokens.diagnostics.append(Diagnostic("WIT150", message, (0, 0), help="hand large data in as a job parameter"))
        tokens.gaps.add(0)
    else:
        resume: int | None = 0
        while resume is not None:
            resume = _scan(text, resume, tokens, limits)
    for _ in range(LOOKAHEAD):
        _append(tokens, END, "", len(text))
    return tokens


def _scan(text: str, position: int, tokens: Tokens, limits: SourceLimits) -> int | None:
    """Tokens from `position` to the first fault; returns where to go on behind it, None at the end of the text."""
    add_kind, add_text = tokens.kinds.append, tokens.texts.append
    add_start, add_end = tokens.starts.append, tokens.ends.append
    kind_of = _KINDS.get
    for match in _TOKEN.finditer(text, position):
        group = match.lastindex
        if group is None:
            return None
        start, end = match.span(group)
        if group == _WORD:
            word = match[_WORD]
            add_kind(kind_of(word, NAME))
        elif group == _COMMENT:
            tokens.comments.append((start, end))
            continue
        elif group == _FAULT:
            return _unreadable(text, start, tokens, limits)
        else:
            word = match[group]
            add_kind(NUMBER if group == _NUMBER else STRING)
        add_text(word)
        add_start(start)
        add_end(end)
    return None


def _append(tokens: Tokens, kind: str, text: str, start: int) -> None:
    tokens.kinds.append(kind)
    tokens.texts.append(text)
    tokens.starts.append(start)
    tokens.ends.append(start + len(text))


def _unreadable(text: str, start: int, tokens: Tokens, limits: SourceLimits) -> int | None:
    """Reports what stands at `start` and puts the token meant in its place; returns where the lexer goes on."""
    match = _UNREADABLE.match(text, start)
    assert match is not None, "the last alternative takes any character"
    kind, found, end = match.lastgroup, match[0], match.end()
    span = (start, end)
    match kind:
        case "comment":
            if found.startswith("/*") and not (len(found) > 3 and found.endswith("*/")):
                tokens.gaps.add(len(tokens.kinds))  # never closed: the rest of the file is gone
            fault = Diagnostic(
                "WIT116", f"`{found[: 1 if found[0] == '#' else 2]}` begins no comment here", (start, start + 1)
            )
            fault = msgspec.structs.replace(fault, help="comments stand between tildes: `~ ... ~`")
        case "open":
            fault = Diagnostic("WIT115", "this comment is never closed", (start, start + 1), "it begins here",
                               "comments stand between tildes: `~ ... ~`")  # fmt: skip
            tokens.gaps.add(len(tokens.kinds))
        case "quotes":
            fault = Diagnostic("WIT113", "text stands between straight double quotes", span,
                               help=f'write `"{found[1:-1]}"`' if len(found) < 60 else "")  # fmt: skip
            _append(tokens, STRING, found, start)
        case "string":
            # What closes the statement on the same line, and a comment behind it, were hardly meant as text.
            inside = found[1:].rstrip()
            if inside.endswith("~") and "~" in inside[:-1]:
                inside = inside[: inside.rindex("~", 0, -1)]
            found = found[0] + inside.rstrip(")];, \t")
            end = start + len(found)
            fault = Diagnostic("WIT111", "this text is never closed", (start, end), 'expected `"` on this line',
                               "a text may not span lines; `\\n` stands for a line break")  # fmt: skip
            _append(tokens, STRING, found, start)
        case "number":
            fault = Diagnostic("WIT114", f"`{found[:40]}` is not a number", span, help=_number_help(found))
            _append(tokens, NUMBER, "0", start)
            tokens.ends[-1] = end
        case "operator":
            tokens.gaps.add(len(tokens.kinds))
            fault = Diagnostic("WIT136", f"`{found}` is no operator here", span, f"did you mean `{_MEANT[found]}`?")
            _append(tokens, _MEANT[found], found, start)
        case _:
            fault = Diagnostic("WIT110", f"unexpected {_describe_characters(found)}", span, help=_other_help(found))
            tokens.gaps.add(len(tokens.kinds))
    tokens.diagnostics.append(fault)
    if len(tokens.diagnostics) >= limits.diagnostics:
        tokens.gaps.add(len(tokens.kinds))
        return None
    return end


def _number_help(found: str) -> str:
    """What to write instead of a malformed number."""
    compact = found.replace("_", "")
    if "_" in found and compact.isdecimal():
        return f"write `{compact}`"
    if found[:2] in ("0x", "0X", "0b", "0B", "0o", "0O"):
        return "write the number in decimal"
    if found[-1] == ".":
        return f"a digit must follow the point: `{found.rstrip('.')[:40]}.0`"
    if found[-1].isalpha() and found[:-1].replace(".", "", 1).isdecimal():
        return f"the declared type makes the kind of a number: `{found[:-1][:40]}`"
    return "numbers are written `23`, `2.5` or `1e-3`; a name may not begin with a digit"


def _describe_characters(found: str) -> str:
    if len(found) > 1:
        return f"characters `{found[:20]}`" if found.isprintable() else "characters that cannot be shown"
    if found.isascii() and found.isprintable():
        return f"character `{found}`"
    return f"character U+{ord(found):04X} ({unicodedata.name(found, 'no name').lower()})"


def _other_help(found: str) -> str:
    if found == "?":
        return "there is no `? :`; write `If(condition) { … } Else { … }`"
    if found == "^":
        return "there is no `^`; write the multiplication out"
    return ""
