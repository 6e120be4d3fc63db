"""Values of the language as plain JSON values.

Numbers, texts, lists and dictionaries stay what they are; NaN and the infinities become the texts `NaN`, `Infinity`
and `-Infinity`; a sparse matrix becomes its triplets; an array of more than `ELEMENTS_MAX` elements is only described.
What is nested deeper than `NESTING_MAX` or has more than `VALUES_MAX` values in all is left out, and says so. Anything
else becomes its text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sized
from typing import Any

import msgspec

from meshwit.blob import Blob
from meshwit.lang.text import INT_BITS_MAX, NESTING_MAX, text_of

ELEMENTS_MAX = 1_000_000
VALUES_MAX = 50_000_000


def json_value(value: Any, blob: Callable[[Blob], Any]) -> Any:
    """The value for `json.dumps(..., allow_nan=False)`; `blob` says what stands for a blob."""
    try:
        return _Maker(blob).made(value, 0)
    except _TooMuchError as reason:
        return {"omitted": str(reason)}


class _TooMuchError(Exception):
    """The value is not to be written out."""


class _Maker:
    """Makes one value, and counts: `a = [a, a]`, sixty times, is small in memory and endless when written out."""

    def __init__(self, blob: Callable[[Blob], Any]) -> None:
        self.blob = blob
        self.room = VALUES_MAX

    def made(self, value: Any, depth: int) -> Any:
        """See `json_value`. Raises _TooMuchError."""
        match value:
            case int() if value.bit_length() > INT_BITS_MAX:
                return text_of(value)
            case None | bool() | int() | str():
                return value
            case float():
                return value if math.isfinite(value) else _not_finite(value)
            case Blob():
                return self.blob(value)
            case list() | tuple():
                self._count(value, depth)
                return [self.made(item, depth + 1) for item in value]
            case dict():
                self._count(value, depth)
                return {str(key): self.made(item, depth + 1) for key, item in value.items()}
            case msgspec.Struct() if type(value).__str__ is msgspec.Struct.__str__:
                self._count(value.__struct_fields__, depth)
                return {name: self.made(getattr(value, name), depth + 1) for name in value.__struct_fields__}
        if hasattr(value, "dtype") and hasattr(value, "shape"):
            return self._array(value, depth)
        return text_of(value)

    def _count(self, values: Sized, depth: int) -> None:
        self.room -= len(values) + 1
        if self.room < 0:
            raise _TooMuchError(f"more than {VALUES_MAX} values")
        if depth >= NESTING_MAX:
            raise _TooMuchError(f"nested deeper than {NESTING_MAX}")

    def _array(self, value: Any, depth: int) -> Any:
        """A numpy scalar or array, or a scipy sparse matrix."""
        elements = getattr(value, "nnz", None)
        shape, omitted = list(value.shape), f"more than {ELEMENTS_MAX} elements"
        if (value.size if elements is None else elements) > ELEMENTS_MAX:
            return {"shape": shape, "dtype": str(value.dtype), "omitted": omitted}
        if elements is None:
            return self.made(value.tolist(), depth)
        triplets = value.tocoo()
        return {
            "shape": shape,
            "rows": triplets.row.tolist(),
            "columns": triplets.col.tolist(),
            "values": self.made(triplets.data.tolist(), depth + 1),
        }


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
