"""Literals: the Python values that numbers and texts stand for, within the limits of a source."""

from __future__ import annotations

import math

from meshwit.lang.recovery import Cursor
from meshwit.lang.tree import Literal, Span

_ESCAPES = {'"': '"', "\\": "\\", "n": "\n", "t": "\t"}


class LiteralParser(Cursor):
    """Reads numbers and texts at the cursor."""

    __slots__ = ()

    def number(self) -> Literal:
        """The number at the cursor: an int where only digits are written, else a float; 0 where it is too large."""
        pos = self.pos
        text, span = self.texts[pos], (self.starts[pos], self.ends[pos])
        limits = self.limits
        value: int | float = 0
        if text.isdigit():
            if len(text) <= limits.integer_digits:
                value = int(text)
            else:
                self._refuse_number(span, f"{len(text)} digits, {limits.integer_digits} is the most")
        elif len(text) > limits.decimal_chars:
            self._refuse_number(span, f"{len(text)} characters, {limits.decimal_chars} is the most")
        else:
            value = float(text)
            if math.isinf(value):
                self._refuse_number(span, "no type can hold it")
        self.pos = pos + 1
        return Literal(value, span)

    def _refuse_number(self, span: Span, why: str) -> None:
        self.report("WIT152", "this number is too large", span, why)

    def string(self) -> Literal:
        """The text at the cursor, without quotes and escapes."""
        pos = self.pos
        text, start = self.texts[pos], self.starts[pos]
        if len(text) > self.limits.string_chars + 2:
            message = f"this text is longer than {self.limits.string_chars:,} characters"
            self.report("WIT152", message, (start, start + 1), help="hand large data in as a job parameter")
        plain = text[1:-1]
        if "\\" in plain and text[0] == '"':
            plain = self._unescaped(plain, start + 1)
        self.pos = pos + 1
        return Literal(plain, (start, self.ends[pos]))

    def _unescaped(self, plain: str, start: int) -> str:
        """The text that is meant by one with escapes; the first unknown escape is reported."""
        parts = plain.split("\\")
        out = [parts[0]]
        at, position = 1, len(parts[0])
        while at < len(parts):
            part = parts[at]
            if not part and at + 1 < len(parts):  # `\\`: split leaves an empty part between the two
                out.append("\\" + parts[at + 1])
                position += 2 + len(parts[at + 1])
                at += 2
                continue
            if part[:1] in _ESCAPES:
                out.append(_ESCAPES[part[:1]] + part[1:])
            else:
                span = (start + position, start + position + 1 + len(part[:1]))
                escape = part[:1] if part[:1].isprintable() else "…"
                message = f"unknown escape `\\{escape}` in a text"
                self.report("WIT112", message, span, help=r"there are `\"`, `\\`, `\n`, `\t`; write `\\` for a `\`")
                out.append(part)
            position += 1 + len(part)
            at += 1
        return "".join(out)
