"""Reading on after a fault: the parser's cursor, its reports and the places where it takes up again.

One fault is to give one diagnostic. Hence: one report for one token; none where the lexer has reported already; and
after a fault that breaks a statement off, nothing more until the next `;`, `}`, block, or line that begins a statement.
"""

from __future__ import annotations

from typing import NoReturn

from meshwit.lang.diagnostics import Diagnostic
from meshwit.lang.tokens import CONSTANT, END, NAME, NUMBER, STRING, SourceLimits, Tokens
from meshwit.lang.tree import Span

CLOSER = {"(": ")", "[": "]", "{": "}"}
OPERAND_START = frozenset({NAME, NUMBER, STRING, CONSTANT, "(", "[", "!", "-"})

_SEARCH_TOKENS = 200
_SEARCHED_TOKENS = 200_000
"""How far one guess looks ahead, and all guesses of a file: bounds, so that no hostile text takes long."""

_MEANS = {
    NUMBER: "number",
    STRING: "text",
    CONSTANT: "value",
}


class BrokenStatementError(Exception):
    """The statement cannot be read on; what is wrong has been reported."""


class TooManyFaultsError(Exception):
    """The limit of diagnostics is reached."""


class Cursor:
    """A position in the tokens, and the diagnostics so far.

    Attributes:
        pos: index of the next token.
        openers: indices of the `(` and `[` that are open within the current statement.
        reported: index of the last token that got a report.
        no_commas: index of the last bracket that was reported to lack commas.
        searches_left: how many more tokens guesses may look at.
    """

    __slots__ = (
        "diagnostics",
        "ends",
        "gaps",
        "kinds",
        "limits",
        "no_commas",
        "openers",
        "pos",
        "reported",
        "searches_left",
        "starts",
        "text",
        "texts",
    )

    def __init__(self, text: str, tokens: Tokens, limits: SourceLimits) -> None:
        self.text = text
        self.kinds = tokens.kinds
        self.texts = tokens.texts
        self.starts = tokens.starts
        self.ends = tokens.ends
        self.gaps = tokens.gaps
        self.diagnostics = tokens.diagnostics
        self.limits = limits
        self.pos = 0
        self.openers: list[int] = []
        self.reported = -1
        self.no_commas = -1
        self.searches_left = _SEARCHED_TOKENS

    # --- reporting -----------------------------------------------------------------------------------------------

    def report(self, code: str, message: str, span: Span, label: str = "", help: str = "") -> None:
        """Adds a diagnostic, unless the current token has one already or unreadable text stands before it."""
        if self.reported == self.pos or self.pos in self.gaps:
            return
        self.reported = self.pos
        if len(self.diagnostics) >= self.limits.diagnostics:
            raise TooManyFaultsError
        self.diagnostics.append(Diagnostic(code, message, span, label, help))

    def fail(self, code: str, message: str, span: Span, label: str = "", help: str = "") -> NoReturn:
        """Reports and gives the statement up."""
        self.report(code, message, span, label, help)
        raise BrokenStatementError

    def span(self, first: int, last: int | None = None) -> Span:
        """The characters of a token, or from one token to another."""
        return self.starts[first], self.ends[first if last is None else last]

    def gap_before(self, pos: int) -> Span:
        """The empty span behind the token before `pos`: where something is missing."""
        end = self.ends[pos - 1] if pos else 0
        return end, end

    def shown(self, pos: int) -> str:
        """A token as messages name it."""
        kind, text = self.kinds[pos], self.word(pos)
        if kind == END:
            return "the end of the file"
        return f"the {_MEANS[kind]} `{text}`" if kind in _MEANS else f"`{text}`"

    def word(self, pos: int) -> str:
        """A token's text, cut to what a message can hold."""
        text = self.texts[pos]
        if len(text) > 40:
            text = f"{text[:37]}…"
        return text if text.isprintable() else "…"

    # --- what stands where ---------------------------------------------------------------------------------------

    def starts_line(self, pos: int) -> bool:
        """Whether a token is the first of its line."""
        return pos == 0 or "\n" in self.text[self.ends[pos - 1] : self.starts[pos]]

    def indent(self, pos: int) -> int:
        """The width of the blanks that begin a token's line."""
        line = self.text.rfind("\n", 0, self.starts[pos]) + 1
        head = self.text[line : self.starts[pos]]
        return len(head) - len(head.lstrip())

    def begins_job(self, pos: int) -> bool:
        """Whether a job's head stands at `pos`, perhaps misspelt: `Job:Name(`, `job:Name(`, `Job Name(`."""
        word, kinds = self.texts[pos], self.kinds
        if kinds[pos] != NAME or word.lower() != "job":
            return False
        name = pos + 2 if kinds[pos + 1] == ":" else pos + 1
        headed = kinds[name] == NAME and kinds[name + 1] in ("(", "{")
        return headed or (word == "Job" and kinds[pos + 1] == ":")

    def begins_statement(self, pos: int) -> bool:
        """Whether a line begins at `pos` with what is surely a statement, even if brackets before it are open."""
        kinds = self.kinds
        if kinds[pos] != NAME or not self.starts_line(pos):
            return False
        following = kinds[pos + 1]
        if following == ":":
            return kinds[pos + 2] == NAME and kinds[pos + 3] in ("=", ";")
        if following == "=" or (following == ";" and not self.openers):
            return True
        while kinds[pos + 1] == "." and kinds[pos + 2] == NAME:
            pos += 2
        if kinds[pos + 1] != "(":
            return False
        return not self.openers or kinds[self.behind_brackets(pos + 1)] in (";", "{", "=>")

    def behind_brackets(self, opener: int) -> int:
        """The token behind the bracket that closes `opener`, or where a block ends or the search is given up."""
        depth = 0
        until = min(opener + _SEARCH_TOKENS, opener + self.searches_left, len(self.kinds))
        for pos in range(opener, until):
            self.searches_left -= 1
            kind = self.kinds[pos]
            if kind in ("(", "["):
                depth += 1
            elif kind in (")", "]"):
                depth -= 1
            elif kind in ("{", "}", END):
                return pos
            if depth <= 0:
                return pos + 1
        return opener

    # --- missing ends --------------------------------------------------------------------------------------------

    def end_statement(self) -> int:
        """Passes the `;` that ends a statement, or reports it missing; returns the statement's end."""
        pos = self.pos
        if self.kinds[pos] == ";":
            self.pos = pos + 1
            return self.ends[pos]
        self._statement_goes_on()
        return self.ends[self.pos - 1]

    def _statement_goes_on(self) -> None:
        """A statement is complete, but there is no `;`."""
        pos, kinds = self.pos, self.kinds
        kind = kinds[pos]
        if kind == ":" and kinds[pos - 1] == NAME and self.starts_line(pos - 1):
            self.pos = pos = pos - 1  # a declaration, swallowed as the value that is missing before it
            self.report_missing_value()
        elif kind in ("}", END) or self.starts_line(pos) or self._declares_or_assigns(pos):
            if kind in (")", "]", "=", "=>", ":"):
                self._fail_unexpected()
            self.report("WIT101", "missing `;` after this statement", self.gap_before(pos), "expected `;`")
        else:
            self._fail_unexpected()

    def declares_within(self, pos: int) -> bool:
        """Whether the `=` at `pos` ends `Type:name =` on a line of its own, which an open bracket has swallowed."""
        return self.kinds[pos] == "=" and self.kinds[pos - 2] == ":" and self.starts_line(pos - 3)

    def _declares_or_assigns(self, pos: int) -> bool:
        return self.kinds[pos] == NAME and self.kinds[pos + 1] in (":", "=")

    def _fail_unexpected(self) -> NoReturn:
        """Something stands behind a complete value where the statement should end."""
        pos = self.pos
        kind, span = self.kinds[pos], self.span(self.pos)
        if kind in (")", "]"):
            self.fail("WIT103", f"this `{kind}` closes nothing", span)
        if kind in OPERAND_START:
            message = f"{self.shown(pos)} follows a value without an operator"
            self.fail("WIT107", message, span, help="end the statement with `;`, or write an operator between the two")
        if kind == "=":
            self.fail("WIT131", "unexpected `=` in a value", span, "did you mean `==`?")
        if kind == "=>":
            self.fail("WIT140", "a second `=>` in one statement", span, help="keep the first result in a variable")
        if kind == "{":
            self.fail("WIT143", "a block cannot stand here", span, help="only a call that stands alone has a block")
        self.fail("WIT107", f"unexpected {self.shown(pos)} after this value", span, help="a statement ends with `;`")

    def report_missing_value(self) -> None:
        """Reports that a value is missing before the current token."""
        pos = self.pos
        behind = f" after {self.shown(pos - 1)}" if pos else ""
        label = f"expected a value, found {self.shown(pos)}"
        self.report("WIT105", f"a value is missing{behind}", self.gap_before(pos), label)

    def item_goes_on(self, opener: int, *, list_of: str) -> bool:
        """An item within brackets is complete, but neither `,` nor the closer follows.

        Returns True where a comma is missing and the list goes on, False where the closer is taken as given.
        """
        pos = self.pos
        kind, closer = self.kinds[pos], CLOSER[self.kinds[opener]]
        if kind in (")", "]"):
            if any(CLOSER[self.kinds[outer]] == kind for outer in self.openers[:-1]):
                self.report_unclosed(opener)
            else:
                message = f"this `{self.kinds[opener]}` is closed by `{kind}`"
                self.report("WIT104", message, self.span(pos), f"expected `{closer}`")
                self.pos += 1
            return False
        if kind in (";", "{", "}", END) or self.begins_statement(pos) or self.begins_job(pos):
            self.report_unclosed(opener)
            return False
        if self.declares_within(pos):
            self.pos = pos - 3  # `F(a,` and on the next line `Type:name =`, read as an argument by name
            self.report_unclosed(opener)
            return False
        if kind in OPERAND_START and list_of and kind != "-":
            if self.no_commas != opener:
                self.no_commas = opener
                message = f"missing `,` between {list_of}"
                self.report("WIT106", message, self.gap_before(pos), f"expected `,` before {self.shown(pos)}")
            return True
        if kind == ":":
            self.fail("WIT107", "unexpected `:`", self.span(pos), help="an argument by name is written `name: value`")
        what = " follows a value without an operator" if kind in OPERAND_START else " is unexpected here"
        return self.fail("WIT107", self.shown(pos) + what, self.span(pos), f"expected `{closer}`")

    def report_unclosed(self, opener: int) -> None:
        """Reports a `(` or `[` that is never closed, at the bracket."""
        kind = self.kinds[opener]
        here = f"found {self.shown(self.pos)} before its `{CLOSER[kind]}`"
        self.report("WIT102", f"this `{kind}` is never closed", self.span(opener), here)

    def unclosed_brace(self, opener: int) -> int:
        """Which `{` since `opener` most likely lacks its `}`: the first whose `}` is indented less than its line.

        The innermost open brace is where the fault shows, the layout tells where it is.
        """
        stack: list[tuple[int, int]] = []
        indent = 0
        for pos in range(opener, self.pos):
            first = self.starts_line(pos)
            if first or pos == opener:
                indent = self.indent(pos)
            kind = self.kinds[pos]
            if kind == "{":
                stack.append((pos, indent))
            elif kind == "}" and stack:
                opened, opened_indent = stack.pop()
                if first and indent < opened_indent:
                    return opened
        return stack[-1][0] if stack else opener
