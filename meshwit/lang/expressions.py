"""Expressions: recursive descent over brackets, operator precedence over an explicit stack.

Rows of operators need no recursion, and brackets are counted, so no script exhausts the stack. A written form that
means something in another language (`and`, `null`, `=` in a condition) is reported and read as what it means.
"""

from __future__ import annotations

from typing import NoReturn

from meshwit.lang.literals import LiteralParser
from meshwit.lang.recovery import OPERAND_START, BrokenStatementError
from meshwit.lang.tokens import CONSTANT, CONSTANTS, NAME, NUMBER, STRING
from meshwit.lang.tree import (
    Argument,
    ArrayLiteral,
    Binary,
    Binder,
    Call,
    Expression,
    Index,
    Literal,
    Member,
    Name,
    Transform,
    Unary,
    Variable,
)

RANKS = {"||": 1, "&&": 2} | dict.fromkeys(("==", "!="), 3) | dict.fromkeys(("<", "<=", ">", ">="), 4)
RANKS |= dict.fromkeys("+-", 5) | dict.fromkeys("*/%", 6)
_RELATIONAL = RANKS["<"]

_OPERATOR_WORDS = {"and": "&&", "or": "||", "AND": "&&", "OR": "||"}
_FOREIGN_VALUES = {
    **dict.fromkeys(("null", "Null", "None", "nil", "nullptr", "undefined"), "NULL"),
    **dict.fromkeys(("True", "TRUE"), "true"),
    **dict.fromkeys(("False", "FALSE"), "false"),
}
_CONDITIONALS = frozenset({"If", "ElseIf", "While"})


class ExpressionParser(LiteralParser):
    """Reads expressions at the cursor: each method leaves it behind what it read, or raises BrokenStatementError."""

    __slots__ = ()

    def value(self) -> Expression:
        """An expression at the root of a statement: `a + b`, or a transform `F(x in xs) => A(x)`."""
        first = self.pos
        value = self.expression()
        if self.kinds[self.pos] == "=>":
            value = self._transform(value)
        if self.pos - first > self.limits.expression_depth and _height(value) > self.limits.expression_depth:
            self._too_deep(first)
        return value

    def expression(self) -> Expression:
        """Operands joined by operators: what is pending waits on a stack until its right side is complete."""
        kinds, starts = self.kinds, self.starts
        begin = starts[self.pos]
        left = self._operand()
        pending: list[tuple[int, int, Expression, int]] = []
        length = 0
        while True:
            at = self.pos
            kind = kinds[at]
            rank = RANKS.get(kind, 0)
            if not rank and (kind == NAME or kind == "="):
                rank = self._meant_operator()
            while pending and pending[-1][0] >= rank:
                before, sign, operand, begin = pending.pop()
                span = (starts[sign], self.ends[sign])
                left = Binary(kinds[sign], operand, left, span, (begin, self.ends[at - 1]))
                if before == rank == _RELATIONAL:
                    self._report_chain(at)
            if not rank:
                return left
            length += 1
            if length > self.limits.expression_depth:
                self._too_deep(at)
            pending.append((rank, at, left, begin))
            self.pos = at + 1
            begin = starts[at + 1]
            left = self._operand()

    # --- operands ------------------------------------------------------------------------------------------------

    def _operand(self) -> Expression:
        """A value with the prefix operators before it, and the members and indices behind it."""
        pos = self.pos
        kind = self.kinds[pos]
        node: Expression
        if kind == NAME:
            following = self.kinds[pos + 1]
            if following == "(" or following == ".":
                node = self._named()
            elif self.texts[pos] in _FOREIGN_VALUES or self.texts[pos] == "not":
                return self._foreign_word()
            else:
                self.pos = pos + 1
                node = Variable(self.texts[pos], (self.starts[pos], self.ends[pos]))
        elif kind == NUMBER:
            node = self.number()
        elif kind == STRING:
            node = self.string()
        elif kind == CONSTANT:
            self.pos = pos + 1
            node = Literal(CONSTANTS[self.texts[pos]], (self.starts[pos], self.ends[pos]))
        elif kind == "(":
            node = self._group()
        elif kind == "[":
            node = self._array()
        elif kind == "-" or kind == "!":
            return self._prefixed()
        else:
            self._no_operand()
        following = self.kinds[self.pos]
        if following == "." or following == "[" or following == "(":
            return self._postfixed(node, self.starts[pos])
        return node

    def _named(self) -> Expression:
        """A dotted chain of names: a call's name if `(` follows, else a variable and its members."""
        first = self.pos
        kinds, texts = self.kinds, self.texts
        if kinds[first + 1] == "(" and texts[first] == "not":
            return self._foreign_word()
        last = first
        while kinds[last + 1] == "." and kinds[last + 2] == NAME:
            last += 2
        if last - first > 2 * self.limits.expression_depth:
            self._too_deep(first)
        self.pos = last + 1
        if kinds[last + 1] == "(":
            text = texts[first] if last == first else ".".join(texts[first : last + 1 : 2])
            return self._call(Name(text, (self.starts[first], self.ends[last])))
        begin = self.starts[first]
        node: Expression = Variable(texts[first], self.span(first))
        for part in range(first + 2, last + 1, 2):
            node = Member(node, Name(texts[part], self.span(part)), (begin, self.ends[part]))
        return node

    def _prefixed(self) -> Expression:
        """`-x`, `!x` and rows of them; a minus before a number is part of the number."""
        first = self.pos
        while self.kinds[self.pos] in ("-", "!"):
            self.pos += 1
        last = self.pos - 1
        if last - first >= self.limits.expression_depth:
            self._too_deep(first)
        operand = self._operand()
        if self.kinds[last] == "-" and type(operand) is Literal and self.kinds[last + 1] == NUMBER:
            assert isinstance(operand.value, int | float)
            operand = Literal(-operand.value, (self.starts[last], operand.span[1]))
            last -= 1
        for sign in range(last, first - 1, -1):
            operand = Unary(self.kinds[sign], operand, (self.starts[sign], self.ends[self.pos - 1]))
        return operand

    def _postfixed(self, node: Expression, begin: int) -> Expression:
        """Members and indices behind a value: `F(x).Item1`, `xs[0][1]`."""
        length = 0
        while True:
            pos = self.pos
            kind = self.kinds[pos]
            if kind == ".":
                if self.kinds[pos + 1] != NAME:
                    self.pos = pos + 1
                    self.fail("WIT108", "a name is missing after `.`", self.gap_before(pos + 1))
                self.pos = pos + 2
                node = Member(node, Name(self.texts[pos + 1], self.span(pos + 1)), (begin, self.ends[pos + 1]))
            elif kind == "[":
                self.open_bracket(pos)
                index = self.expression()
                self._close_bracket(pos)
                node = Index(node, index, (begin, self.ends[self.pos - 1]))
            elif kind == "(":
                if self.starts_line(pos):
                    return node
                self.fail("WIT107", "unexpected `(`: only an activity's name can be called", self.span(pos))
            else:
                return node
            length += 1
            if length > self.limits.expression_depth:
                self._too_deep(pos)

    def _group(self) -> Expression:
        """`( expression )`."""
        opener = self.pos
        self.open_bracket(opener)
        node = self.expression()
        self._close_bracket(opener)
        return node

    def _array(self) -> Expression:
        """`[a, b, ...]`."""
        opener = self.pos
        kinds = self.kinds
        self.open_bracket(opener)
        items: list[Expression] = []
        while kinds[self.pos] != "]":
            if len(items) >= self.limits.array_items:
                message = f"this array has more than {self.limits.array_items:,} items"
                self.fail("WIT152", message, self.span(opener), help="hand large data in as a job parameter")
            items.append(self.expression())
            kind = kinds[self.pos]
            if kind == ",":
                self.pos += 1
                if kinds[self.pos] == "]":
                    self.report_missing_value()
            elif kind != "]" and not self.item_goes_on(opener, list_of="the items"):
                break
        self.leave_bracket(opener)
        return ArrayLiteral(tuple(items), (self.starts[opener], self.ends[self.pos - 1]))

    def open_bracket(self, opener: int) -> None:
        """Passes an opening bracket."""
        self.pos = opener + 1
        self.openers.append(opener)
        if len(self.openers) > self.limits.expression_depth:
            self._too_deep(opener)

    def _close_bracket(self, opener: int) -> None:
        """Passes the bracket that closes a single expression."""
        if self.kinds[self.pos] != (")" if self.kinds[opener] == "(" else "]"):
            self.item_goes_on(opener, list_of="")
        self.leave_bracket(opener)

    def leave_bracket(self, opener: int) -> None:
        """Passes a closing bracket if it is there: if not, that has been reported."""
        if self.kinds[self.pos] == (")" if self.kinds[opener] == "(" else "]"):
            self.pos += 1
        self.openers.pop()

    # --- calls ---------------------------------------------------------------------------------------------------

    def _call(self, name: Name) -> Call:
        """The arguments of an activity; the cursor stands on `(`."""
        opener = self.pos
        kinds = self.kinds
        self.open_bracket(opener)
        arguments: list[Argument] = []
        binder: Binder | None = None
        named = False
        while kinds[self.pos] != ")":
            first = self.pos
            label: Name | None = None
            if kinds[first] == NAME:
                if kinds[first + 1] == ":" and self.texts[first + 3] != "in":
                    label = Name(self.texts[first], (self.starts[first], self.ends[first]))
                    self.pos = first + 2
                elif kinds[first + 1] in (NAME, ":"):
                    item = self._binder_item(opener)
                    if item is not None:
                        source = self.expression()
                        binder = Binder(item, source, (item.span[0], self.ends[self.pos - 1]))
                        if not self._next_item(opener):
                            break
                        continue
            value = self.expression()
            if kinds[self.pos] == "=>":
                value = self._transform(value)
            if label is None and named:
                self._report_positional(first)
            named = named or label is not None
            end = self.ends[self.pos - 1]
            goes_on = self._next_item(opener)
            if self.pos > first:
                arguments.append(Argument(value, label, (self.starts[first], end)))
            if not goes_on:
                break
        self.leave_bracket(opener)
        return Call(name, tuple(arguments), binder, True, (name.span[0], self.ends[self.pos - 1]))

    def _next_item(self, opener: int) -> bool:
        """Passes the `,` behind an argument; False where the list ends."""
        kind = self.kinds[self.pos]
        if kind == ",":
            self.pos += 1
            if self.kinds[self.pos] == ")":
                self.report_missing_value()
            return True
        return kind != ")" and self.item_goes_on(opener, list_of="the arguments")

    def _binder_item(self, opener: int) -> Name | None:
        """The item of `item in source`, the cursor then behind `in`; None if that is not what stands here."""
        first = self.pos
        kinds, texts = self.kinds, self.texts
        if texts[first + 1] == "in":
            item = first
        elif texts[first + 2] == "in" or texts[first + 3] == "in":
            item = first + 2 if kinds[first + 1] == ":" else first + 1
            message = "the item of a binder has no type: it follows from the collection"
            self.report("WIT139", message, self.span(first), help=f"write `{self.word(item)} in …`")
        elif kinds[first + 1] == NAME and first == opener + 1 and texts[opener - 1].endswith("ForEach"):
            message = "missing `in` between the item and its collection"
            help = f"write `{self.word(first)} in {self.word(first + 1)}`"
            self.report("WIT139", message, self.gap_before(first + 1), "expected `in`", help)
            self.pos = first + 1
            return Name(texts[first], self.span(first))
        else:
            return None
        if first != opener + 1:
            message = f"`{self.word(item)} in …` stands only as the first argument of a call"
            self.report("WIT139", message, self.span(item, item + 1))
        self.pos = item + 2
        return Name(texts[item], self.span(item))

    def _report_positional(self, first: int) -> None:
        message = "an argument by place follows one by name"
        self.report("WIT138", message, (self.starts[first], self.ends[self.pos - 1]), help="put it before, or name it")

    def _transform(self, head: Expression) -> Expression:
        """`=> Activity(...)` behind a head; the cursor stands on the arrow."""
        arrow = self.pos
        kinds = self.kinds
        if not isinstance(head, Call):
            help = "a transform is written `F(item in items) => Activity(item)`"
            self.report("WIT140", "`=>` stands behind a call", head.span, "this is not a call", help)
        self.pos = arrow + 1
        if kinds[arrow + 1] == "{":
            help = "for a block leave the arrow out: `F(item in items) { … }`"
            self.report("WIT140", "`=>` takes a call, not a block", self.span(arrow), help=help)
            return head
        called = self.expression()
        if not isinstance(called, Call):
            help = "write the activity's name and its arguments in parentheses: `=> Activity(item)`"
            if isinstance(head, Call):
                self.report("WIT140", "`=>` takes a call", called.span, "this is not a call", help)
            return head
        if isinstance(head, Call):
            return Transform(head, called, (head.span[0], called.span[1]))
        return called

    # --- what other languages write --------------------------------------------------------------------------------

    def _meant_operator(self) -> int:
        """The rank of `and`, `or`, or of `=` within brackets, each reported and replaced; 0 for anything else."""
        pos = self.pos
        word = self.texts[pos]
        if word in _OPERATOR_WORDS and self.kinds[pos + 1] in OPERAND_START:
            meant = _OPERATOR_WORDS[word]
            self.report("WIT136", f"`{word}` is no operator here", self.span(pos), f"did you mean `{meant}`?")
        elif word == "=" and self.openers and not self.declares_within(pos):
            meant = "=="
            opener = self.openers[-1]
            called = self.kinds[opener - 1] == NAME and self.texts[opener - 1] not in _CONDITIONALS
            argument = called and self.kinds[pos - 2] in ("(", ",")
            help = "an argument by name is written `name: value`" if argument else ""
            self.report("WIT131", "`=` does not compare", self.span(pos), "did you mean `==`?", help)
        elif word == "in" and self.openers and self.kinds[pos + 1] in OPERAND_START:
            message = "`in` stands only between a plain name and a collection, as the first argument of a call"
            self.fail("WIT139", message, self.span(pos), help="write `F(item in items)`")
        else:
            return 0
        self.kinds[pos] = meant
        return RANKS[meant]

    def _foreign_word(self) -> Expression:
        """`null`, `True`, `not x`, ... where a value is expected."""
        pos = self.pos
        word, span = self.texts[pos], self.span(pos)
        if word != "not":
            meant = _FOREIGN_VALUES[word]
            self.report("WIT135", f"`{word}` is written `{meant}` here", span, f"did you mean `{meant}`?")
            self.pos = pos + 1
            return Literal(CONSTANTS[meant], span)
        if self.kinds[pos + 1] not in OPERAND_START:
            self.pos = pos + 1
            return Variable(word, span)
        self.report("WIT136", "`not` is no operator here", span, "did you mean `!`?")
        self.kinds[pos] = "!"
        return self._prefixed()

    # --- faults --------------------------------------------------------------------------------------------------

    def _report_chain(self, at: int) -> None:
        help = "compare twice: `a < b && b < c`"
        self.report("WIT137", "comparisons cannot be chained", self.span(at), "second comparison", help)

    def _no_operand(self) -> NoReturn:
        """Reports that no value begins here, and why; raises."""
        pos = self.pos
        kind, span = self.kinds[pos], self.span(pos)
        if kind == "." and self.kinds[pos + 1] == NUMBER:
            self.fail("WIT114", "a number begins with a digit", span, help=f"write `0.{self.word(pos + 1)}`")
        if kind == "+":
            self.fail("WIT105", "a value is missing before `+`", span, help="a number takes no plus sign")
        if kind == ">" and self.kinds[pos - 1] == "<":
            self.fail("WIT136", "`<>` is no operator here", self.span(pos - 1, pos), "did you mean `!=`?")
        self.report_missing_value()
        raise BrokenStatementError

    def _too_deep(self, first: int) -> NoReturn:
        """Reports an expression that is nested too deeply or too long a row; raises."""
        message = f"this expression is too deep: more than {self.limits.expression_depth} levels or operators in a row"
        self.fail("WIT151", message, self.span(first), help="keep parts of it in variables")


def _height(root: Expression) -> int:
    """How deep a tree of expressions is, found without recursion."""
    height = 0
    level: list[Expression] = [root]
    while level:
        height += 1
        below: list[Expression] = []
        for node in level:
            match node:
                case Literal() | Variable():
                    pass
                case ArrayLiteral(items):
                    below.extend(items)
                case Member(target) | Unary(_, target):
                    below.append(target)
                case Index(target, index) | Binary(_, target, index):
                    below += target, index
                case Call(_, arguments, binder):
                    below.extend(argument.value for argument in arguments)
                    if binder is not None:
                        below.append(binder.source)
                case Transform(head, arrow):
                    below += head, arrow
        level = below
    return height
