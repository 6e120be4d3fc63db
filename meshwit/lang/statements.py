"""Statements and blocks, and what other languages write in their place.

A broken statement is reported once and left out of its block; reading goes on at the next one.
"""

from __future__ import annotations

from meshwit.lang.expressions import ExpressionParser
from meshwit.lang.recovery import OPERAND_START, BrokenStatementError
from meshwit.lang.tokens import CONSTANT, END, NAME, NUMBER, STRING, SourceLimits, Tokens
from meshwit.lang.tree import (
    Assignment,
    Binary,
    Block,
    Call,
    Composite,
    Declaration,
    Expression,
    Index,
    Member,
    Name,
    Perform,
    Statement,
    Transform,
    Variable,
)

_FOREIGN_STARTS = frozenset({"else", "Else", "for", "For", "return", "Return"})
_TYPELESS = frozenset({"var", "let", "const", "auto"})
_TAKES_ARGUMENTS = frozenset({"Return", "return", "Trace", "Pause", "Delay", "print"})
_ARITHMETIC = frozenset("+-*/%")


class StatementParser(ExpressionParser):
    """Reads statements at the cursor.

    Attributes:
        job_opener: index of the `{` of the job being read.
        depth: how many blocks are open.
    """

    __slots__ = ("depth", "job_opener")

    def __init__(self, text: str, tokens: Tokens, limits: SourceLimits) -> None:
        super().__init__(text, tokens, limits)
        self.depth = 0
        self.job_opener = 0

    # --- blocks --------------------------------------------------------------------------------------------------

    def block(self) -> Block:
        """`{ statements }`; the cursor stands on the brace. Raises nothing: a broken statement is left out."""
        opener = self.pos
        kinds, texts = self.kinds, self.texts
        self.pos = opener + 1
        self.depth += 1
        if self.depth > self.limits.block_depth:
            return self._too_deep_block(opener)
        statements: list[Statement] = []
        while True:
            pos = self.pos
            kind = kinds[pos]
            if kind == "}":
                self.pos = pos + 1
                break
            if kind == END or (texts[pos] in ("Job", "job") and self.begins_job(pos)):
                if kind != END and self._skip_inner_job():
                    continue
                self._report_open_block()
                break
            try:
                statement = self._statement()
                if statement is not None:
                    statements.append(statement)
            except BrokenStatementError:
                self._synchronise(pos)
        self.depth -= 1
        return Block(tuple(statements), (self.starts[opener], self.ends[self.pos - 1]))

    def _too_deep_block(self, opener: int) -> Block:
        """Reports a block that is too deep within others, and skips it."""
        message = f"blocks stand more than {self.limits.block_depth} deep in each other"
        self.report("WIT151", message, self.span(opener), help="make a job of the inner ones and call it")
        open_braces = 1
        while open_braces and self.kinds[self.pos] != END:
            open_braces += {"{": 1, "}": -1}.get(self.kinds[self.pos], 0)
            self.pos += 1
        self.depth -= 1
        return Block((), self.span(opener, self.pos - 1))

    def _skip_inner_job(self) -> bool:
        """Where the layout shows that a job was meant within a job, reports it and reads it for its own faults."""
        pos = self.pos
        if not self.starts_line(pos) or self.indent(pos) <= self.indent(self.job_opener):
            return False
        self.report("WIT144", "a job stands within a job", self.span(pos), help="jobs stand beside each other")
        self.pos += 1
        while self.kinds[self.pos] not in ("{", "}", END) and not self.begins_job(self.pos):
            self.pos += 1
        if self.kinds[self.pos] == "{":
            self.block()
        return True

    def _report_open_block(self) -> None:
        """Reports that a block is never closed; once, however many are open."""
        if self.depth > 1:
            return  # the job's own block reports, at the brace that the layout accuses
        opener = self.unclosed_brace(self.job_opener)
        here = f"found {self.shown(self.pos)} before its `}}`"
        self.reported = -1
        self.report("WIT102", "this `{` is never closed", self.span(opener), here)

    def _synchronise(self, began: int) -> None:
        """After a broken statement, skips to where the next one can begin; `began` is where the broken one did."""
        kinds = self.kinds
        depth = len(self.openers)
        while True:
            pos = self.pos
            kind = kinds[pos]
            if kind in ("}", END):
                break
            if kind == "{":
                self.openers.clear()
                self.block()  # read for its own faults
                break
            if pos > began and (self.begins_statement(pos) or self.begins_job(pos)):
                break
            self.pos = pos + 1
            if kind == ";":
                break
            if kind in ("(", "["):
                depth += 1
                self.openers.append(pos)
            elif kind in (")", "]") and depth:
                depth -= 1
                self.openers.pop()
        self.openers.clear()

    # --- statements ----------------------------------------------------------------------------------------------

    def _statement(self) -> Statement | None:
        """One statement; None for a stray `;`, or where a fault has left nothing to keep."""
        pos = self.pos
        kind = self.kinds[pos]
        if kind == NAME:
            following = self.kinds[pos + 1]
            if following == ":":
                return self._declaration()
            if following == "=":
                return self._assignment()
            if self.texts[pos] in _FOREIGN_STARTS:
                self._foreign_start()
            elif following in _ARITHMETIC:
                self._refuse_shorthand()
            if following not in ("(", ";", ".", "{") and not self.starts_line(pos + 1):
                if following == NAME and self.kinds[pos + 2] in ("=", ";"):
                    return self._declaration_without_colon()
                if following in (NUMBER, STRING, CONSTANT):
                    self._fail_no_parentheses()
        elif kind == ";":
            self.pos = pos + 1
            return None
        elif kind == "{":
            return self._bare_block()
        elif kind not in OPERAND_START:
            self._fail_no_statement()
        return self._performed()

    def _declaration(self) -> Declaration:
        """`Type:name;` or `Type:name = value;`."""
        pos = self.pos
        starts, ends = self.starts, self.ends
        type_name = Name(self.texts[pos], (starts[pos], ends[pos]))
        self.pos = pos + 2
        if self.kinds[pos + 2] == NAME:
            name = Name(self.texts[pos + 2], (starts[pos + 2], ends[pos + 2]))
            self.pos = pos + 3
        else:
            name = self.plain_name("the variable's name")
        return self._declared(type_name, name)

    def plain_name(self, what: str) -> Name:
        """A name without dots, to be declared."""
        pos = self.pos
        kind = self.kinds[pos]
        if kind == CONSTANT:
            message = f"`{self.texts[pos]}` is a value and cannot be {what}"
            self.report("WIT142", message, self.span(pos), help="choose another name")
        elif kind != NAME:
            label = f"expected a name, found {self.shown(pos)}"
            self.fail("WIT108", f"{what} is missing", self.gap_before(pos), label)
        self.pos = pos + 1
        if self.kinds[pos + 1] == "." and self.kinds[pos + 2] == NAME:
            message = f"{what} has no dots"
            self.report("WIT108", message, self.span(pos, pos + 2), help="names are letters, digits and `_`")
            while self.kinds[self.pos] == "." and self.kinds[self.pos + 1] == NAME:
                self.pos += 2
        return Name(self.texts[pos], (self.starts[pos], self.ends[pos]))

    def _declared(self, type_name: Name, name: Name) -> Declaration:
        """The rest of a declaration, behind its name."""
        value: Expression | None = None
        if self.kinds[self.pos] == "=":
            began = self.pos
            self.pos += 1
            try:
                value = self.value()
                end = self.end_statement()
            except BrokenStatementError:
                self._synchronise(began)
                end = self.ends[self.pos - 1]
        else:
            end = self.end_statement()
        return Declaration(type_name, name, value, (type_name.span[0], end))

    def _assignment(self) -> Assignment:
        """`name = value;`."""
        pos = self.pos
        name = Name(self.texts[pos], (self.starts[pos], self.ends[pos]))
        self.pos = pos + 2
        value = self.value()
        return Assignment(name, value, (name.span[0], self.end_statement()))

    def _performed(self) -> Statement | None:
        """A call, a transform or a composite; any other expression is no statement."""
        first = self.pos
        start = self.starts[first]
        value = self.value()
        kind = self.kinds[self.pos]
        called = value if isinstance(value, Call | Transform) else self._unparenthesised(first, value)
        if called is None or kind == "=":
            self._refuse_value(first, value)
            return None
        if kind == "{" and isinstance(called, Call):
            body = self.block()
            return Composite(called, body, (start, body.span[1]))
        return Perform(called, (start, self.end_statement()))

    def _unparenthesised(self, first: int, value: Expression) -> Call | None:
        """`Break` or `Foo.Bar` as a call without parentheses; None if the value is no dotted chain of names."""
        last = self.pos - 1
        if self.kinds[self.pos] in (";", "{", "}", END) or self.starts_line(self.pos):
            names = self.kinds[first : last + 1 : 2]
            if all(kind == NAME for kind in names) and isinstance(value, Variable | Member):
                return Call(Name(".".join(self.texts[first : last + 1 : 2]), value.span), (), None, False, value.span)
        return None

    def _bare_block(self) -> Composite:
        """`{ … }` without a head, read as `Invoke() { … }`."""
        at = self.span(self.pos)
        self.report("WIT134", "a block stands behind an activity", at, help="write `Invoke() { … }`")
        body = self.block()
        return Composite(Call(Name("Invoke", at), (), None, False, at), body, body.span)

    # --- what is no statement ------------------------------------------------------------------------------------

    def _refuse_value(self, first: int, value: Expression) -> None:
        """Reports an expression that stands as a statement, and passes it."""
        kind = self.kinds[self.pos]
        span = self.span(first, self.pos - 1)
        if kind == "=" and isinstance(value, Member | Index):
            help = "build a new value and assign that to the variable"
            self.fail("WIT133", "values cannot be changed in place", span, "part of a value", help)
        if kind == "=":
            self.fail("WIT133", "only a variable can be assigned to", span, "this is not a variable")
        if kind == ":" and isinstance(value, Member):
            self.fail("WIT108", "a type's name has no dots", span)
        if self.starts_line(self.pos) or kind in (";", "}", END):
            compared = isinstance(value, Binary) and value.operator == "==" and isinstance(value.left, Variable)
            label = "did you mean `=`?" if compared else ""
            help = "keep it, `Type:name = …;`, or give it to an activity"
            self.report("WIT132", "this computes a value and throws it away", span, label, help)
        self.end_statement()

    def _foreign_start(self) -> None:
        """`else if`, `for (…; …; …)`, `return x`: reported and skipped, or left for what it is."""
        pos = self.pos
        word, following = self.texts[pos].lower(), self.kinds[pos + 1]
        if word == "else" and following == NAME and self.texts[pos + 1].lower() == "if":
            self.report("WIT135", "an alternative with a condition is one word", self.span(pos, pos + 1),
                        "did you mean `ElseIf`?")  # fmt: skip
            self.pos = pos + 1
            self.texts[pos + 1] = "ElseIf"
        elif word == "for" and following == "(":
            behind = self.behind_brackets(pos + 1)
            if ";" in self.kinds[pos + 1 : behind]:
                help = "write `ForEach(i in IntRange(0, n)) { … }` or `Loop(n) { … }`"
                self.report("WIT135", "there is no counting `for`", self.span(pos), help=help)
                self.pos = behind
                raise BrokenStatementError
        elif word == "return" and following not in ("(", ";", "{", "}", END) and not self.starts_line(pos + 1):
            self._fail_no_parentheses()

    def _refuse_shorthand(self) -> None:
        """Reports `x += 1` and `x++`."""
        pos = self.pos
        sign, following = self.kinds[pos + 1], self.kinds[pos + 2]
        if self.starts[pos + 2] == self.ends[pos + 1] and following in ("=", sign):
            if following == sign and self.kinds[pos + 3] in OPERAND_START:
                return
            name = self.word(pos)
            by = "…" if following == "=" else "1"
            message = f"there is no `{sign}{following}`"
            self.fail("WIT133", message, self.span(pos, pos + 2), help=f"write `{name} = {name} {sign} {by};`")

    def _declaration_without_colon(self) -> Declaration:
        """`Int n = 3;`, or `Return x;`, which looks the same."""
        pos = self.pos
        if self.texts[pos] in _TAKES_ARGUMENTS:
            self._fail_no_parentheses()
        self.report_no_colon(pos)
        self.pos = pos + 2
        return self._declared(Name(self.texts[pos], self.span(pos)), Name(self.texts[pos + 1], self.span(pos + 1)))

    def report_no_colon(self, pos: int) -> None:
        """Reports `Type name`, the type at `pos`."""
        type_name, name = self.word(pos), self.word(pos + 1)
        value = " = …" if self.kinds[pos + 2] == "=" else ""
        if type_name in _TYPELESS:
            message, type_name = "a variable is declared with its type", "Type"
        else:
            message = "missing `:` between type and name"
        self.report("WIT130", message, self.span(pos, pos + 1), help=f"write `{type_name}:{name}{value}`")

    def _fail_no_parentheses(self) -> None:
        pos = self.pos
        name = "Return" if self.texts[pos] == "return" else self.word(pos)
        message = f"missing parentheses after `{self.word(pos)}`"
        self.fail("WIT141", message, self.gap_before(pos + 1), "expected `(`", f"write `{name}(…);`")

    def _fail_no_statement(self) -> None:
        """Reports a token that begins no statement."""
        pos = self.pos
        kind = self.kinds[pos]
        if kind in (")", "]"):
            self.fail("WIT103", f"this `{kind}` closes nothing", self.span(pos))
        if kind == "=>":
            help = "remove the `;` before it" if self.kinds[pos - 1] == ";" else ""
            self.fail("WIT140", "`=>` stands behind a call", self.span(pos), "nothing stands before it", help)
        self.fail("WIT107", f"unexpected {self.shown(pos)}: no statement begins so", self.span(pos))
