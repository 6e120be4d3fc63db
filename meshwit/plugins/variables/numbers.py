"""The numeric types and their operators.

An operator on two types works in the smallest type that holds both with nothing lost; integers beside floating
point work in Double, as in C#. Overflow and division by zero are errors, never wraps or infinities.
"""

from __future__ import annotations

import decimal
import math
import operator
import struct
from collections.abc import Callable, Iterator
from typing import Any

from meshwit.lang.offer import Operator
from meshwit.lang.text import float_text
from meshwit.lang.types import ScriptType, describe

DECIMAL_MAX = decimal.Decimal(2**96 - 1)
_DECIMAL = decimal.Context(prec=28)


def plain_number(value: object) -> object:
    """A numpy scalar as the Python number it stands for; anything else as it is."""
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        return value.item()  # type: ignore[attr-defined]
    return value


def _digits(value: Any) -> Any:
    """A number as it is; a text without the white space around it, if Python alone would not read it. ValueError."""
    if isinstance(value, str):
        if "_" in value:
            raise ValueError(f"{describe(value)} is no number")
        return value.strip()
    return value


class IntegerType(ScriptType):
    """Whole numbers in a range, both ends included."""

    def __init__(self, name: str, low: int, high: int, widens_from: str = "") -> None:
        self.name = name
        self.low = low
        self.high = high
        self.widens_from = frozenset(widens_from.split())
        self.literal_forms = f"a whole number from {low} to {high}"

    def holds(self, value: object) -> bool:
        return type(value) is int and self.low <= value <= self.high

    def coerce(self, value: object) -> object:
        if type(value) is not int:
            raise ValueError(f"{describe(value)} is no {self.name}, which holds whole numbers")
        if not self.low <= value <= self.high:
            raise ValueError(f"{describe(value)} does not fit {self.name}, which holds {self.low} to {self.high}")
        return value

    def literal(self, value: object) -> object:
        if type(value) is float:
            if not value.is_integer():
                raise ValueError(f"{value} has a fraction, {self.name} holds whole numbers")
            value = int(value)
        return self.coerce(value)

    def adopt(self, value: object, blobs: Any) -> object:
        if type(value) is int and self.low <= value <= self.high:
            return value
        return self.coerce(plain_number(value))

    def explicit(self, value: object) -> int:
        """`Int(x)`: fractions are cut toward zero, text is read."""
        if isinstance(value, str):
            try:
                value = int(_digits(value))
            except ValueError:
                raise ValueError(f"{describe(value)} is no whole number") from None
        elif isinstance(value, (float, decimal.Decimal)):
            if not math.isfinite(value):
                raise ValueError(f"{value} is no whole number")
            value = int(value)
        elif isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{self.name} can be made of a number or a text, not of {describe(value)}")
        return self.coerce(value)  # type: ignore[return-value]


class FloatingType(ScriptType):
    """Binary floating point of 32 or 64 bits."""

    def __init__(self, name: str, bits: int, widens_from: str) -> None:
        self.name = name
        self.bits = bits
        self.widens_from = frozenset(widens_from.split())
        self.literal_forms = "a number"

    def holds(self, value: object) -> bool:
        return type(value) is float

    def coerce(self, value: object) -> object:
        if type(value) is float:
            return self.rounded(value)
        if type(value) is not int:
            raise ValueError(f"{describe(value)} is no {self.name}, which holds numbers")
        try:
            result = self.rounded(float(value))
        except OverflowError:
            raise ValueError(f"{describe(value)} does not fit {self.name}") from None
        if result != value:
            raise ValueError(f"{value} loses digits as {self.name}: write {self.name}(...) if that is meant")
        return result

    def literal(self, value: object) -> object:
        if type(value) is int:
            try:
                return self.rounded(float(value))
            except OverflowError:
                raise ValueError(f"{describe(value)} does not fit {self.name}") from None
        return self.coerce(value)

    def adopt(self, value: object, blobs: Any) -> object:
        return self.coerce(plain_number(value))

    def rounded(self, value: float) -> float:
        """The nearest number that the type has. Raises ValueError beyond its range."""
        if self.bits == 64:
            return value
        try:
            result: float = struct.unpack("<f", struct.pack("<f", value))[0]
        except OverflowError:
            raise ValueError(f"{value} does not fit {self.name}, which ends at 3.4e38") from None
        return result

    def explicit(self, value: object) -> float:
        """`Double(x)`: the nearest number; text is read."""
        if isinstance(value, bool) or not isinstance(value, (int, float, str, decimal.Decimal)):
            raise ValueError(f"{self.name} can be made of a number or a text, not of {describe(value)}")
        try:
            result = self.rounded(float(_digits(value)))
            if math.isfinite(result):
                return result
            raise ValueError(f"{describe(value)} is no finite number")
        except OverflowError:
            raise ValueError(f"{describe(value)} does not fit {self.name}") from None
        except ValueError:
            raise ValueError(f"{describe(value)} is no number that fits {self.name}") from None

    def text(self, value: Any) -> str:
        if self.bits == 32 and math.isfinite(value):
            for digits in range(6, 10):
                short = float(f"{value:.{digits}g}")
                if self.rounded(short) == value:
                    return float_text(short)
        return float_text(value)


class DecimalType(ScriptType):
    """Decimal numbers of 28 digits, for money and the like."""

    name = "Decimal"
    widens_from = frozenset(["Byte", "SByte", "Short", "UShort", "Int", "UInt", "Long", "ULong"])
    literal_forms = "a number"

    def holds(self, value: object) -> bool:
        return isinstance(value, decimal.Decimal)

    def coerce(self, value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, (int, decimal.Decimal)):
            raise ValueError(f"{describe(value)} is no Decimal: write Decimal(...) if that is meant")
        return self.bounded(decimal.Decimal(value))

    def literal(self, value: object) -> object:
        return self.bounded(decimal.Decimal(repr(value))) if type(value) is float else self.coerce(value)

    def bounded(self, value: decimal.Decimal) -> decimal.Decimal:
        """The value, if it is within range. Raises ValueError."""
        if not value.is_finite() or abs(value) > DECIMAL_MAX:
            raise ValueError(f"{describe(float(value))} is out of the range of Decimal, which ends at 7.9e28")
        return value

    def explicit(self, value: object) -> decimal.Decimal:
        """`Decimal(x)`: the decimal that the number's text says."""
        if isinstance(value, bool) or not isinstance(value, (int, float, str, decimal.Decimal)):
            raise ValueError(f"Decimal can be made of a number or a text, not of {describe(value)}")
        try:
            return self.bounded(decimal.Decimal(repr(value) if isinstance(value, float) else _digits(value)))
        except decimal.InvalidOperation:
            raise ValueError(f"{describe(value)} is no number") from None

    def text(self, value: Any) -> str:
        return format(value, "f")


INTEGERS = (
    IntegerType("Byte", 0, 255),
    IntegerType("SByte", -128, 127),
    IntegerType("Short", -(2**15), 2**15 - 1, "Byte SByte"),
    IntegerType("UShort", 0, 2**16 - 1, "Byte"),
    IntegerType("Int", -(2**31), 2**31 - 1, "Byte SByte Short UShort"),
    IntegerType("UInt", 0, 2**32 - 1, "Byte UShort"),
    IntegerType("Long", -(2**63), 2**63 - 1, "Byte SByte Short UShort Int UInt"),
    IntegerType("ULong", 0, 2**64 - 1, "Byte UShort UInt"),
)
FLOATS = (
    FloatingType("Float", 32, "Byte SByte Short UShort"),
    FloatingType("Double", 64, "Byte SByte Short UShort Int UInt Float"),
)
DECIMAL = DecimalType()
NUMBERS: tuple[IntegerType | FloatingType | DecimalType, ...] = (*INTEGERS, *FLOATS, DECIMAL)


def common_type(left: ScriptType, right: ScriptType) -> ScriptType | None:
    """The type in which an operator on two numbers works, or None if they do not mix (Decimal and binary)."""
    floating = isinstance(left, FloatingType) or isinstance(right, FloatingType)
    for candidate in FLOATS if floating else (*INTEGERS, DECIMAL):
        if all(side is candidate or side.name in candidate.widens_from for side in (left, right)):
            return candidate
    return FLOATS[1] if floating and DECIMAL not in (left, right) else None


def _truncated_quotient(left: int, right: int) -> int:
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _integer_divide(left: int, right: int) -> int:
    if right == 0:
        raise ValueError(f"{left} divided by zero")
    return _truncated_quotient(left, right)


def _integer_remainder(left: int, right: int) -> int:
    if right == 0:
        raise ValueError(f"{left} divided by zero")
    return left - right * _truncated_quotient(left, right)


def _float_divide(left: float, right: float) -> float:
    if right == 0:
        raise ValueError(f"{left} divided by zero")
    return left / right


def _float_remainder(left: float, right: float) -> float:
    if right == 0:
        raise ValueError(f"{left} divided by zero")
    return math.fmod(left, right)


def _decimal_divide(left: decimal.Decimal, right: decimal.Decimal) -> decimal.Decimal:
    if right == 0:
        raise ValueError(f"{left} divided by zero")
    return _DECIMAL.divide(left, right)


def _decimal_remainder(left: decimal.Decimal, right: decimal.Decimal) -> decimal.Decimal:
    if right == 0:
        raise ValueError(f"{left} divided by zero")
    return _DECIMAL.remainder(left, right)


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_INTEGER: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _integer_divide,
    "%": _integer_remainder,
}
_FLOATING: dict[str, Callable[[Any, Any], Any]] = {**_INTEGER, "/": _float_divide, "%": _float_remainder}
_DECIMALS: dict[str, Callable[[Any, Any], Any]] = {
    "+": _DECIMAL.add,
    "-": _DECIMAL.subtract,
    "*": _DECIMAL.multiply,
    "/": _decimal_divide,
    "%": _decimal_remainder,
}


def _checked(kind: IntegerType, symbol: str, compute: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    low, high, name = kind.low, kind.high, kind.name

    def apply(left: int, right: int) -> int:
        result: int = compute(left, right)
        if low <= result <= high:
            return result
        raise ValueError(f"overflow: {left} {symbol} {right} does not fit {name}, which holds {low} to {high}")

    return apply


def _floating(kind: FloatingType, symbol: str, compute: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def apply(left: float, right: float) -> float:
        try:
            result = kind.rounded(float(compute(float(left), float(right))))
        except OverflowError:
            raise ValueError(f"overflow: {left} {symbol} {right} does not fit {kind.name}") from None
        if math.isinf(result) and not (math.isinf(left) or math.isinf(right)):
            raise ValueError(f"overflow: {left} {symbol} {right} does not fit {kind.name}")
        return result

    return apply


def _decimals(symbol: str, compute: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def apply(left: Any, right: Any) -> Any:
        try:
            return DECIMAL.bounded(compute(decimal.Decimal(left), decimal.Decimal(right)))
        except decimal.DecimalException:
            raise ValueError(f"overflow: {left} {symbol} {right} does not fit Decimal") from None

    return apply


def _arithmetic(kind: ScriptType, symbol: str) -> Callable[[Any, Any], Any]:
    if isinstance(kind, IntegerType):
        return _checked(kind, symbol, _INTEGER[symbol])
    if isinstance(kind, FloatingType):
        return _floating(kind, symbol, _FLOATING[symbol])
    return _decimals(symbol, _DECIMALS[symbol])


def _negated(kind: ScriptType) -> Callable[[Any, Any], Any]:
    minus = _arithmetic(kind, "-")
    if isinstance(kind, FloatingType):
        return lambda _, right: -right
    return lambda _, right: minus(0, right)


def numeric_operators() -> Iterator[Operator]:
    """All operators between numbers; negation has no left side."""
    arithmetic = {(kind.name, symbol): _arithmetic(kind, symbol) for kind in NUMBERS for symbol in _INTEGER}
    for left in NUMBERS:
        yield Operator("-", "", left.name, left.name, _negated(left))
        for right in NUMBERS:
            common = common_type(left, right)
            if common is None:
                continue
            for symbol in _INTEGER:
                yield Operator(symbol, left.name, right.name, common.name, arithmetic[common.name, symbol])
            for symbol, compare in _COMPARISONS.items():
                yield Operator(symbol, left.name, right.name, "Bool", compare)


def comparisons(name: str) -> Iterator[Operator]:
    """Order and equality between two values of one type whose Python values compare."""
    for symbol, compare in _COMPARISONS.items():
        yield Operator(symbol, name, name, "Bool", compare)


def number_range(kind: ScriptType, start: Any, stop: Any, step: Any, items_max: int) -> list[Any]:
    """`<Numeric>.Range`: start, start + step, ... before stop. Raises ValueError."""
    if step == 0:
        raise ValueError("the step of a range must not be zero")
    if isinstance(kind, IntegerType):
        count = max(0, -((start - stop) // step))  # len(range(...)) takes no more than 63 bits
    else:
        exact = (stop - start) / step
        if isinstance(exact, float) and not math.isfinite(exact):
            raise ValueError(f"a range from {start} to {stop} by {step} is too large: at most {items_max:,} items")
        count = max(0, math.ceil(exact))
    if count > items_max:
        raise ValueError(f"a range of {count:,} items is too large: at most {items_max:,} are allowed")
    if isinstance(kind, IntegerType):
        return list(range(start, stop, step))
    return [kind.coerce(start + step * position) for position in range(count)]
