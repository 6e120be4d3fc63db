"""Diagnostics as data: what is wrong, where, why, and what to write instead. Rendering is elsewhere (`render.py`).

Codes: WIT1xx syntax, WIT2xx names, WIT3xx types and values, WIT4xx structure, WIT5xx run time, WIT9xx warnings.
A code keeps its meaning for ever; `CODES` is the register and `docs/diagnostics.md` explains each.
"""

from __future__ import annotations

import enum

import msgspec

from meshwit.lang.tree import Span


class Severity(enum.Enum):
    """An error stops the script from running; a warning stops nothing."""

    ERROR = "error"
    WARNING = "warning"


class Diagnostic(msgspec.Struct, frozen=True):
    """One finding.

    Attributes:
        code: `WIT203`.
        message: one line, with names in backquotes, without the place: "unknown activity `Matrx.GetRow`".
        span: half-open character offsets into the source.
        label: what stands beside the underline: "did you mean `Matrix.GetRow`?"; may be empty.
        help: what to write instead, shown on a line of its own; may be empty.
    """

    code: str
    message: str
    span: Span
    label: str = ""
    help: str = ""
    severity: Severity = Severity.ERROR


class ScriptError(Exception):
    """A script has errors; nothing was run.

    Attributes:
        diagnostics: all findings of the file, errors and warnings, in source order.
        text: the source they point into.
        filename: how the source is named in messages.
    """

    def __init__(self, diagnostics: list[Diagnostic], text: str, filename: str) -> None:
        self.diagnostics = diagnostics
        self.text = text
        self.filename = filename
        errors = [d for d in diagnostics if d.severity is Severity.ERROR]
        first = errors[0] if errors else diagnostics[0]
        line = text.count("\n", 0, first.span[0]) + 1
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        super().__init__(f"{filename}:{line}: {first.code}: {first.message}{more}")


CODES: dict[str, str] = {
    # syntax
    "WIT101": "missing `;`",
    "WIT102": "bracket never closed",
    "WIT103": "bracket that closes nothing",
    "WIT104": "bracket closed by another kind",
    "WIT105": "missing value",
    "WIT106": "missing `,`",
    "WIT107": "unexpected text",
    "WIT108": "missing or dotted name",
    "WIT110": "unexpected character",
    "WIT111": "text never closed",
    "WIT112": "unknown escape in a text",
    "WIT113": "text between other quotes",
    "WIT114": "malformed number",
    "WIT115": "comment never closed",
    "WIT116": "comment of another language",
    "WIT120": "file without a job",
    "WIT121": "text outside a job",
    "WIT122": "malformed job",
    "WIT123": "malformed parameter",
    "WIT130": "declaration without `:`",
    "WIT131": "`=` in a value",
    "WIT132": "value thrown away",
    "WIT133": "change in place",
    "WIT134": "block without an activity",
    "WIT135": "word of another language",
    "WIT136": "operator of another language",
    "WIT137": "chained comparison",
    "WIT138": "argument by place after one by name",
    "WIT139": "misplaced `item in items`",
    "WIT140": "malformed transform",
    "WIT141": "call without parentheses",
    "WIT142": "reserved word as a name",
    "WIT143": "misplaced block",
    "WIT144": "job within a job",
    "WIT150": "script too large",
    "WIT151": "nested too deeply",
    "WIT152": "literal too large",
    "WIT153": "too many faults",
    # names
    "WIT201": "unknown variable",
    "WIT202": "unknown type",
    "WIT203": "unknown activity",
    "WIT204": "name that is taken",
    "WIT206": "unknown name of an argument",
    "WIT207": "unknown member",
    # types and values
    "WIT301": "literal that does not fit",
    "WIT302": "value of another type",
    "WIT303": "operator that does not work between these types",
    "WIT304": "missing or surplus argument",
    "WIT305": "argument of another type",
    "WIT306": "call that gives no value",
    "WIT307": "variable read before it has a value",
    "WIT308": "value that cannot be walked through",
    "WIT309": "value without items to pick",
    # structure
    "WIT401": "clause that continues nothing",
    "WIT402": "activity outside of a loop",
    "WIT403": "call of the wrong shape",
    "WIT404": "missing or surplus `item in items`",
    "WIT405": "activity that is not installed",
    # run time
    "WIT500": "failure while the job ran",
    # warnings
    "WIT901": "statement that is never reached",
    "WIT902": "result thrown away",
    "WIT903": "variable never read",
}
"""Code to short title, for `--explain` and the documentation."""
