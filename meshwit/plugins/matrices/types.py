"""The four types as the language sees them: literals, members, items, text, wire form.

Dense values are numpy arrays, which the codec carries by itself. Between sparse and dense no digit is lost, so each
takes the other where only the value tells its type; where types are written, scripts say `Matrix.ToDense`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from meshwit.codec import WireType
from meshwit.lang.offer import Operator
from meshwit.lang.text import float_text
from meshwit.lang.types import Member, ScriptType
from meshwit.plugins.matrices import arithmetic, convert
from meshwit.plugins.matrices.sparse import SparseMatrix, SparseVector

_NUMBERS = ("Byte", "SByte", "Short", "UShort", "Int", "UInt", "Long", "ULong", "Float", "Double")
_SHOWN = 6


class _Numeric(ScriptType):
    """What the four have in common: `convert_from` takes whatever may be meant."""

    convert_from: Callable[[Any], object]

    def coerce(self, value: object) -> object:
        return value if self.holds(value) else type(self).convert_from(value)

    def equals(self, left: Any, right: Any) -> bool:
        return arithmetic.equal(left, right)

    def text(self, value: Any) -> str:
        return str(value)


def _counts(**given: Callable[[Any], int]) -> Mapping[str, Member]:
    return {name: Member("Int", get) for name, get in given.items()}


def _checked(index: int, count: int, what: str) -> int:
    if not 0 <= index < count:
        raise IndexError(f"there is no {what} {index}: there are {count}, counted from 0")
    return index


class _VectorType(_Numeric):
    """Numbers, one after the other."""

    name = "Vector"
    element = "Double"
    literal_forms = "an array of numbers, [1, 2.5, -3]"
    widens_from = frozenset({"Array", *(f"{name}Collection" for name in _NUMBERS if name not in ("Long", "ULong"))})
    members = _counts(Length=len, Count=len)
    convert_from = staticmethod(convert.as_vector)

    def holds(self, value: object) -> bool:
        return convert.is_floats(value, 1)

    def item(self, value: Any, index: int) -> object:
        return float(value[_checked(index, len(value), "item")])

    def items(self, value: Any) -> Iterable[object]:
        return value.tolist()  # type: ignore[no-any-return]

    def text(self, value: Any) -> str:
        return f"Vector of {len(value)}: {_row_text(value)}"


class _MatrixType(_Numeric):
    """Rows of numbers, all equally long."""

    name = "Matrix"
    element = "Vector"
    literal_forms = "an array of rows, [[1, 2], [3, 4]]"
    widens_from = frozenset({"Array", "VectorCollection"})
    members = _counts(Rows=lambda value: value.shape[0], Columns=lambda value: value.shape[1])
    convert_from = staticmethod(convert.as_matrix)

    def holds(self, value: object) -> bool:
        return convert.is_floats(value, 2)

    def item(self, value: Any, index: int) -> object:
        return value[_checked(index, len(value), "row")]

    def items(self, value: Any) -> Iterable[object]:
        return list(value)

    def text(self, value: Any) -> str:
        rows = [_row_text(row) for row in value[:_SHOWN]] + ["…"] * (len(value) > _SHOWN)
        return f"Matrix of {value.shape[0]} x {value.shape[1]}: [{', '.join(rows)}]"


class _VectorSparseType(_Numeric):
    """A vector of which only the nonzeros are kept."""

    name = "VectorSparse"
    element = "Double"
    literal_forms = "an array of numbers, [0, 2.5, 0]"
    members = _counts(
        Length=lambda value: value.length,
        Count=lambda value: value.length,
        NonZeros=lambda value: len(value.values),
    )
    convert_from = staticmethod(convert.as_sparse_vector)
    # Checked on arrival as a matrix of one row: one check serves both.
    wire = WireType(
        "VectorSparse",
        SparseVector,
        lambda value: [value.length, value.indices, value.values],
        lambda data: _vector_from_wire(*data),
    )

    def holds(self, value: object) -> bool:
        return isinstance(value, SparseVector)

    def item(self, value: Any, index: int) -> object:
        return value.item(_checked(index, value.length, "item"))

    def items(self, value: Any) -> Iterable[object]:
        return value.toarray().tolist()  # type: ignore[no-any-return]


class _MatrixSparseType(_Numeric):
    """A matrix of which only the nonzeros are kept, row by row."""

    name = "MatrixSparse"
    element = "VectorSparse"
    literal_forms = "an array of rows, [[0, 2], [3, 0]]"
    members = _counts(
        Rows=lambda value: value.rows,
        Columns=lambda value: value.columns,
        NonZeros=lambda value: len(value.data),
    )
    convert_from = staticmethod(convert.as_sparse_matrix)
    wire = WireType(
        "MatrixSparse",
        SparseMatrix,
        lambda value: [value.rows, value.columns, value.data, value.indices, value.indptr],
        lambda data: SparseMatrix.from_parts(*data),
    )

    def holds(self, value: object) -> bool:
        return isinstance(value, SparseMatrix)

    def item(self, value: Any, index: int) -> object:
        return value.row(_checked(index, value.rows, "row"))

    def items(self, value: Any) -> Iterable[object]:
        return list(value.each_row())


TYPES = (_VectorType(), _MatrixType(), _VectorSparseType(), _MatrixSparseType())


def scalar_operators() -> Iterator[Operator]:
    """`2 * m`, `m * 2`, `m / 2` and `-m`: they cost no more than sending `m` away would, so they are done in place."""
    for kind in TYPES:
        yield Operator("-", "", kind.name, kind.name, lambda _, right: arithmetic.scaled(right, -1.0))
        for number in _NUMBERS:
            yield Operator("*", kind.name, number, kind.name, arithmetic.scaled)
            yield Operator("*", number, kind.name, kind.name, lambda left, right: arithmetic.scaled(right, left))
            yield Operator("/", kind.name, number, kind.name, arithmetic.divided)


def _row_text(row: Any) -> str:
    shown = [float_text(value) for value in row[:_SHOWN].tolist()]
    return f"[{', '.join(shown)}{', …' if len(row) > _SHOWN else ''}]"


def _vector_from_wire(length: int, indices: Any, values: Any) -> SparseVector:
    row = SparseMatrix.from_parts(1, length, values, indices, _ends(indices))
    return SparseVector(length, row.indices, row.data)


def _ends(indices: Any) -> Any:
    ends = indices[:0].copy()
    ends.resize(2)
    ends[1] = len(indices)
    return ends
