"""Requirement expressions: what a device must have or be to run something.

    gpu.cuda and memory >= 8GiB and (site == 'berlin' or not battery)

Grammar, ours; keywords in lower case, `not` binds weaker than a comparison, as in Python:

    requirement := [or]                     empty text: nothing is required
    or          := and ("or" and)*
    and         := not ("and" not)*
    not         := "not" not | "(" or ")" | name | name operator value | value operator name
    operator    := "==" | "!=" | "<" | "<=" | ">" | ">="
    value       := text in ' or " | number | version (3.11.2) | size (8GiB) | true | false

A name alone means that the device has it: known, and neither false, zero, empty nor "no". What is not known meets
nothing, and neither does a value of another kind than the one asked for; only `not` turns that around.

Versions are told apart to the precision that is asked for: 3.11.7 is `== 3.11` and `<= 3.11`, not `> 3.11`. Two
texts are equal only letter by letter, and are in order only as versions.

Nothing here raises on any capability, wherever it came from.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, ClassVar, Final, TypeAlias

import msgspec

from meshwit.bench.sizes import exact_size, parse_size, rough_size

LENGTH_MAX = 2_000
"""Characters of a requirement, as given and as `str` writes it."""
DEPTH_MAX = 50
"""Parentheses and `not`s inside each other."""

_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_MIRRORED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_RESERVED: Final = frozenset({"and", "or", "not", "true", "false"})
_NAME: Final = re.compile(r"[^\W\d][\w-]*(?:\.[\w-]+)*")
_VERSION: Final = re.compile(r"v?([0-9]{1,18}(?:\.[0-9]{1,18}){0,15})(?:[-+.~_]?[A-Za-z][\w.+~-]*|[-+~_][\w.+~-]*)?")

# --- values ----------------------------------------------------------------------------------------------------


class Number(msgspec.Struct, frozen=True):
    """A number or version as it was written: 3.10 is not 3.1."""

    digits: str

    def __str__(self) -> str:
        return self.digits


class Size(msgspec.Struct, frozen=True):
    """A size in bytes."""

    size: int

    def __str__(self) -> str:
        return exact_size(self.size)


class Text(msgspec.Struct, frozen=True):
    """A text; it holds one kind of quotes at most, since there are no escapes."""

    text: str

    def __str__(self) -> str:
        quote = '"' if "'" in self.text else "'"
        return f"{quote}{self.text}{quote}"


class Truth(msgspec.Struct, frozen=True):
    """`true` or `false`."""

    value: bool

    def __str__(self) -> str:
        return "true" if self.value else "false"


Value: TypeAlias = Number | Size | Text | Truth


# --- requirements ----------------------------------------------------------------------------------------------


class Requirement(msgspec.Struct, frozen=True):
    """What a device must have or be. `str` gives a text that reads back as an equal requirement."""

    binds: ClassVar[int] = 3
    """How tightly, for parentheses: 0 `or`, 1 `and`, 2 `not`, 3 the rest."""

    def met_by(self, capabilities: Mapping[str, object]) -> bool:
        """Whether a device of these capabilities meets it."""
        return self._holds(capabilities)

    def lacks(self, capabilities: Mapping[str, object]) -> list[str]:
        """In words, what a device of these capabilities lacks; empty if and only if it meets the requirement."""
        return [] if self._holds(capabilities) else self._lacking(capabilities)

    def _holds(self, capabilities: Mapping[str, object]) -> bool:
        raise NotImplementedError

    def _lacking(self, capabilities: Mapping[str, object]) -> list[str]:
        raise NotImplementedError

    def _within(self, binds: int) -> str:
        return f"({self})" if self.binds < binds else str(self)


class Every(Requirement, frozen=True):
    """All of the parts, two or more; without any it requires nothing."""

    parts: tuple[Requirement, ...] = ()
    binds: ClassVar[int] = 1

    def _holds(self, capabilities: Mapping[str, object]) -> bool:
        return all(part._holds(capabilities) for part in self.parts)

    def _lacking(self, capabilities: Mapping[str, object]) -> list[str]:
        return [words for part in self.parts for words in part.lacks(capabilities)]

    def __str__(self) -> str:
        return " and ".join(part._within(2) for part in self.parts)


class Some(Requirement, frozen=True):
    """One of the parts, two or more."""

    parts: tuple[Requirement, ...]
    binds: ClassVar[int] = 0

    def _holds(self, capabilities: Mapping[str, object]) -> bool:
        return any(part._holds(capabilities) for part in self.parts)

    def _lacking(self, capabilities: Mapping[str, object]) -> list[str]:
        return [", or else ".join(" and ".join(part._lacking(capabilities)) for part in self.parts)]

    def __str__(self) -> str:
        return " or ".join(part._within(1) for part in self.parts)


class Not(Requirement, frozen=True):
    """The opposite."""

    part: Requirement
    binds: ClassVar[int] = 2

    def _holds(self, capabilities: Mapping[str, object]) -> bool:
        return not self.part._holds(capabilities)

    def _lacking(self, capabilities: Mapping[str, object]) -> list[str]:
        has = "it"
        if isinstance(self.part, Compare):
            has = described(capabilities.get(self.part.name), self.part.value)
        return [f"{self}: this device has {has}"]

    def __str__(self) -> str:
        return f"not {self.part._within(2)}"


class Has(Requirement, frozen=True):
    """The device has it, or it is so."""

    name: str

    def _holds(self, capabilities: Mapping[str, object]) -> bool:
        return _is_so(capabilities.get(self.name))

    def _lacking(self, capabilities: Mapping[str, object]) -> list[str]:
        return [f"{self}: none"]

    def __str__(self) -> str:
        return self.name


class Compare(Requirement, frozen=True):
    """A capability compares to a value."""

    name: str
    symbol: str
    value: Value

    def _holds(self, capabilities: Mapping[str, object]) -> bool:
        sides = _comparable(capabilities.get(self.name), self.value, ordered=self.symbol not in ("==", "!="))
        return sides is not None and _OPERATORS[self.symbol](*sides)

    def _lacking(self, capabilities: Mapping[str, object]) -> list[str]:
        return [f"{self}: this device has {described(capabilities.get(self.name), self.value)}"]

    def __str__(self) -> str:
        return f"{self.name} {self.symbol} {self.value}"


NOTHING: Final = Every()
"""Requires nothing."""


def all_of(requirements: Iterable[Requirement]) -> Requirement:
    """Joined with `and`: what is asked for twice is asked for once."""
    parts: dict[Requirement, None] = {}
    for one in requirements:
        parts.update(dict.fromkeys(one.parts if isinstance(one, Every) else (one,)))
    return next(iter(parts)) if len(parts) == 1 else Every(tuple(parts))


def _any_of(requirements: Iterable[Requirement]) -> Requirement:
    parts: dict[Requirement, None] = {}
    for one in requirements:
        parts.update(dict.fromkeys(one.parts if isinstance(one, Some) else (one,)))
    return next(iter(parts)) if len(parts) == 1 else Some(tuple(parts))


# --- capabilities ----------------------------------------------------------------------------------------------


def _is_so(value: object) -> bool:
    match value:
        case bool():
            return value
        case int() | float():
            return value != 0
        case str():
            return value.strip().lower() not in ("", "0", "false", "no")
        case list() | tuple() | dict():
            return len(value) > 0
    return False


def _comparable(given: object, wanted: Value, *, ordered: bool) -> tuple[Any, Any] | None:
    """A capability and a wanted value as two that Python compares; None where they are of different kinds."""
    match wanted, given:
        case Truth(value=value), bool():
            return None if ordered else (given, value)
        case Truth(), str():
            known = given.strip().lower() in ("true", "false") and not ordered
            return (given.strip().lower(), str(wanted)) if known else None
        case _, bool():
            return None
        case Text(text=text), str():
            return _versions(given, text) if ordered else (given, text)
        case Number(digits=digits), str():
            return _versions(given, digits)
        case Number(digits=digits), int() | float():
            return (given, _number(digits)) if digits.count(".") <= 1 else None
        case Size(size=size), int() | float():
            return given, size
        case Size(size=size), str():
            try:
                return parse_size(given), size
            except ValueError:
                return None
    return None


def _number(digits: str) -> int | float:
    return float(digits) if "." in digits else int(digits)


def _versions(given: str, wanted: str) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Both as versions, to the precision of `wanted`."""
    found, asked = _VERSION.fullmatch(given.strip()), _VERSION.fullmatch(wanted.strip())
    if found is None or asked is None:
        return None
    precise = tuple(int(part) for part in asked[1].split("."))
    known = tuple(int(part) for part in found[1].split("."))
    return (*known, *(0,) * len(precise))[: len(precise)], precise


def described(given: object, wanted: Value) -> str:
    """A capability in words, as far as they matter beside what is wanted."""
    match given:
        case None:
            return "none"
        case bool():
            return str(Truth(given))
        case int() | float():
            if isinstance(wanted, Size) and 0 <= given < 2**63:
                return _told_apart(given, wanted.size)
            return f"{given}" if isinstance(given, float) or abs(given) < 2**63 else "a number beyond 64 bits"
        case str():
            shown = "".join(one if one.isprintable() else "?" for one in given[:60])
            return f"'{shown}'" if len(given) <= 60 else f"'{shown}…'"
    return "something else"


def _told_apart(given: float, wanted: int) -> str:
    """A size in words, precise enough not to look like the other one: 7.98 GiB are not 8.0."""
    for digits in (1, 2, 3):
        if given == wanted or rough_size(given, digits) != rough_size(wanted, digits):
            return rough_size(given, digits)
    return f"{given} B"


# --- reading ---------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def parse_requirement(text: str) -> Requirement:
    """The requirement that a text describes; `NOTHING` for an empty one.

    Raises:
        ValueError: with the position, counted from 1, and what was expected there.
    """
    if len(text) > LENGTH_MAX:
        raise ValueError(f"a requirement has at most {LENGTH_MAX:,} characters, this one has {len(text):,}")
    found = _Reader(text).requirement()
    if len(str(found)) > LENGTH_MAX:
        raise ValueError(f"a requirement has at most {LENGTH_MAX:,} characters, this one, written out, has more")
    return found


def is_name(text: str) -> bool:
    """Whether a requirement can name a capability so."""
    return _NAME.fullmatch(text) is not None and text not in _RESERVED


_TOKEN: Final = re.compile(
    rf"""(?P<name>{_NAME.pattern})
    |(?P<number>[0-9]+(?:\.[0-9]+)*(?:\s+[KMGTkmgt]?[iI]?[bB](?![\w.-])|[\w.]*))
    |(?P<text>'[^']*'|"[^"]*")
    |(?P<symbol>==|!=|<=|>=|<|>|\(|\))""",
    re.VERBOSE,
)
_VALUE: Final = "a value (a number, a size such as 8GiB, or a text in quotes)"


class _Token(msgspec.Struct, frozen=True):
    kind: str
    """`name`, `word` (a keyword), `number`, `text`, `symbol` or `end`."""
    text: str
    at: int


class _Reader:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._scan())
        self._next = 0
        self._depth = 0

    def requirement(self) -> Requirement:
        if self._token.kind == "end":
            return NOTHING
        found = self._or()
        if self._token.kind != "end":
            raise self._expected("`and`, `or` or the end")
        return found

    # tokens

    def _scan(self) -> Iterable[_Token]:
        at = 0
        while at < len(self._text):
            if self._text[at].isspace():
                at += 1
                continue
            found = _TOKEN.match(self._text, at)
            if found is None:
                raise self._unreadable(at)
            kind = str(found.lastgroup)
            yield _Token("word" if kind == "name" and found[0] in _RESERVED else kind, found[0], at)
            at = found.end()
        yield _Token("end", "", at)

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, *texts: str) -> str:
        """The next token, if it is one of these words or symbols."""
        token = self._token
        if token.kind in ("word", "symbol") and token.text in texts:
            self._next += 1
            return token.text
        return ""

    # rules

    def _or(self) -> Requirement:
        parts = [self._and()]
        while self._take("or"):
            parts.append(self._and())
        return _any_of(parts)

    def _and(self) -> Requirement:
        parts = [self._not()]
        while self._take("and"):
            parts.append(self._not())
        return all_of(parts)

    def _not(self) -> Requirement:
        if self._take("not"):
            self._descend()
            found: Requirement = Not(self._not())
            self._depth -= 1
            return found
        if self._take("("):
            self._descend()
            found = self._or()
            if not self._take(")"):
                raise self._expected('`and`, `or` or ")"')
            self._depth -= 1
            return found
        return self._condition()

    def _descend(self) -> None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            at = self._tokens[self._next - 1].at
            raise self._fault(at, f"it is nested more than {DEPTH_MAX} deep")

    def _condition(self) -> Requirement:
        token = self._token
        if token.kind == "name":
            self._next += 1
            symbol = self._take(*_OPERATORS)
            return Compare(token.text, symbol, self._value()) if symbol else Has(token.text)
        value = self._value('what is required: a name such as memory, `not` or "("')
        symbol = self._take(*_OPERATORS)
        if not symbol:
            raise self._expected(f"a comparison (one of {' '.join(_OPERATORS)})")
        if self._token.kind != "name":
            raise self._expected("the name of what to compare")
        name = self._token.text
        self._next += 1
        return Compare(name, _MIRRORED[symbol], value)

    def _value(self, expected: str = _VALUE) -> Value:
        token = self._token
        match token.kind:
            case "text":
                value: Value = Text(token.text[1:-1])
            case "number":
                value = self._quantity(token)
            case "word" if token.text in ("true", "false"):
                value = Truth(token.text == "true")
            case _:
                hint = f"; write '{token.text}' if that is the text meant" if token.kind == "name" else ""
                raise self._expected(expected, hint)
        self._next += 1
        return value

    def _quantity(self, token: _Token) -> Value:
        if re.fullmatch(r"[0-9]+(\.[0-9]+)*", token.text):
            return Number(token.text)
        try:
            return Size(parse_size(token.text))
        except ValueError:
            raise self._expected("a number, or a size such as 8GiB or 500MB") from None

    # faults

    def _expected(self, what: str, hint: str = "") -> ValueError:
        token = self._token
        found = f"found {_quoted(token.text)}" if token.kind != "end" else "but it ends there"
        return self._fault(token.at, f"expected {what}, {found}{hint}")

    def _unreadable(self, at: int) -> ValueError:
        character = self._text[at]
        if character in "'\"":
            return self._fault(at, f"the text that begins there never ends: expected another {character}")
        if character == "=":
            return self._fault(at, "expected ==, found =")
        return self._fault(at, f"expected a name, a value or a comparison, found {_quoted(character)}")

    def _fault(self, at: int, what: str) -> ValueError:
        return ValueError(f"{_quoted(self._text)} is no requirement: at character {at + 1}, {what}")


def _quoted(text: str) -> str:
    shown = "".join(one if one.isprintable() else "?" for one in text[:60])
    return f'"{shown}"' if len(text) <= 60 else f'"{shown}…"'
