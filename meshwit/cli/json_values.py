"""Values of the language as plain JSON values.

Numbers, texts, lists and dictionaries stay what they are; NaN and the infinities become the texts `NaN`, `Infinity`
and `-Infinity`; a sparse matrix becomes its triplets; an array of more than `ELEMENTS_MAX` elements is only described.
Anything else becomes its text.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec

from meshwit.blob import Blob
from meshwit.lang.text import text_of

ELEMENTS_MAX = 1_000_000


def json_value(value: Any, blob: Callable[[Blob], Any]) -> Any:
    """The value for `json.dumps(..., allow_nan=False)`; `blob` says what stands for a blob."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else _not_finite(value)
        case Blob():
            return blob(value)
        case list() | tuple():
            return [json_value(item, blob) for item in value]
        case dict():
            return {str(key): json_value(item, blob) for key, item in value.items()}
        case msgspec.Struct() if type(value).__str__ is msgspec.Struct.__str__:
            return {name: json_value(getattr(value, name), blob) for name in value.__struct_fields__}
    return _array(value, blob) if hasattr(value, "dtype") and hasattr(value, "shape") else text_of(value)


def _array(value: Any, blob: Callable[[Blob], Any]) -> Any:
    """A numpy scalar or array, or a scipy sparse matrix."""
    elements = getattr(value, "nnz", None)
    if (value.size if elements is None else elements) > ELEMENTS_MAX:
        return {"shape": list(value.shape), "dtype": str(value.dtype), "omitted": f"more than {ELEMENTS_MAX} elements"}
    if elements is None:
        return json_value(value.tolist(), blob)
    triplets = value.tocoo()
    return {
        "shape": list(value.shape),
        "rows": triplets.row.tolist(),
        "columns": triplets.col.tolist(),
        "values": json_value(triplets.data.tolist(), blob),
    }


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
