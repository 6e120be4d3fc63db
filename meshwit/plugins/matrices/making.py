"""New matrices: out of values, tuples, chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from meshwit.lang.types import describe
from meshwit.lazy import lazy_module
from meshwit.plugins.matrices.convert import as_sparse_vector, as_vector
from meshwit.plugins.matrices.sparse import SparseMatrix, check_dense_size, index_type
from meshwit.plugins.variables.numbers import plain_number

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
else:
    np = lazy_module("numpy")


def check_shape(rows: int, columns: int) -> None:
    """Raises ValueError where one of them is negative."""
    if rows < 0 or columns < 0:
        raise ValueError(f"a matrix of {rows} x {columns} cannot be: neither may be negative")


def from_values(rows: int, columns: int, values: Any) -> Floats:
    """A matrix from all its values, row after row. Raises ValueError for a wrong number of them."""
    check_shape(rows, columns)
    numbers = as_vector(values)
    if len(numbers) != rows * columns:
        raise ValueError(f"a Matrix of {rows} x {columns} has {rows * columns} values, {len(numbers)} were given")
    return numbers.reshape(rows, columns)


def from_tuples(rows: int, columns: int, tuples: Sequence[Any]) -> SparseMatrix:
    """A sparse matrix from tuples (row index, row), or (row index, column index, value), in any order.

    Raises:
        ValueError: a tuple of another form, an index out of range or twice, a row of the wrong length.
    """
    check_shape(rows, columns)
    sizes = {len(item) if isinstance(item, (tuple, list)) else 0 for item in tuples}
    if not sizes:
        return SparseMatrix.from_dense(np.zeros((0, columns))) if not rows else _stacked(rows, columns, {})
    if sizes == {2}:
        return _stacked(rows, columns, _by_index(rows, columns, tuples))
    if sizes == {3}:
        return _from_elements(rows, columns, tuples)
    position, item = next((at, one) for at, one in enumerate(tuples) if not _is_form(one, sizes))
    raise ValueError(
        f"item {position} is {describe(item)}: a MatrixSparse is made of tuples (row index, row), "
        "or of tuples (row index, column index, value)"
    )


def _is_form(item: Any, sizes: set[int]) -> bool:
    return isinstance(item, (tuple, list)) and len(item) == (3 if 3 in sizes and 2 not in sizes else 2)


def _index(value: Any, count: int, what: str, position: int) -> int:
    plain = plain_number(value)
    if type(plain) is not int:
        raise ValueError(f"item {position}: the {what} is {describe(plain)}, it must be a whole number")
    if not 0 <= plain < count:
        raise ValueError(f"item {position}: {what} {plain} is outside 0 to {count - 1}")
    return plain


def _by_index(rows: int, columns: int, tuples: Sequence[Any]) -> dict[int, Any]:
    found: dict[int, Any] = {}
    for position, (given, row) in enumerate(tuples):
        index = _index(given, rows, "row index", position)
        if index in found:
            raise ValueError(f"item {position}: row {index} is given twice")
        try:
            vector = as_sparse_vector(row)
        except ValueError as reason:
            raise ValueError(f"item {position}: {reason}") from None
        if vector.length != columns:
            raise ValueError(f"item {position}: row {index} has length {vector.length}, the matrix {columns} columns")
        found[index] = vector
    return found


def _stacked(rows: int, columns: int, found: dict[int, Any]) -> SparseMatrix:
    counts = np.zeros(rows, np.int64)
    ordered = sorted(found)
    counts[ordered] = [len(found[index].values) for index in ordered]
    kind = index_type(max(rows, columns, int(counts.sum())))
    indptr = np.zeros(rows + 1, kind)
    np.cumsum(counts, out=indptr[1:])
    indices = np.concatenate([np.zeros(0, kind), *(found[index].indices for index in ordered)]).astype(kind)
    data = np.concatenate([np.zeros(0), *(found[index].values for index in ordered)])
    return SparseMatrix(rows, columns, data, indices, indptr)


def _from_elements(rows: int, columns: int, tuples: Sequence[Any]) -> SparseMatrix:
    row_of = np.array([_index(item[0], rows, "row index", at) for at, item in enumerate(tuples)])
    column_of = np.array([_index(item[1], columns, "column index", at) for at, item in enumerate(tuples)])
    values = as_vector([item[2] for item in tuples])
    order = np.lexsort((column_of, row_of))
    row_of, column_of, values = row_of[order], column_of[order], values[order]
    twice = np.flatnonzero((np.diff(row_of) == 0) & (np.diff(column_of) == 0))
    if len(twice):
        raise ValueError(f"row {row_of[twice[0]]}, column {column_of[twice[0]]} is given twice")
    kept = values != 0
    return SparseMatrix.from_sorted(rows, columns, row_of[kept], column_of[kept], values[kept])


def identity(size: int) -> Floats:
    """Ones on the diagonal, zeros elsewhere."""
    check_shape(size, size)
    check_dense_size(size, size)
    return np.eye(size)


def _generator(rows: int, columns: int, seed: int, density: float) -> np.random.Generator:
    check_shape(rows, columns)
    if not 0 <= density <= 1:
        raise ValueError(f"the density is {density}: it must be from 0 to 1")
    if seed < 0:
        raise ValueError(f"the seed is {seed}: it must not be negative")
    return np.random.default_rng(seed)


def random_dense(rows: int, columns: int, seed: int, density: float) -> Floats:
    """Numbers above 0 up to 1, and zeros with the probability `1 - density`; the same for the same seed."""
    chance = _generator(rows, columns, seed, density)
    check_dense_size(rows, columns)
    values = 1.0 - chance.random((rows, columns))
    return values if density == 1 else np.where(chance.random((rows, columns)) < density, values, 0.0)


def random_sparse(rows: int, columns: int, seed: int, density: float) -> SparseMatrix:
    """The same kind of matrix, in time that depends on the nonzeros and not on the size."""
    chance = _generator(rows, columns, seed, density)
    counts = chance.binomial(columns, density, rows)
    kind = index_type(max(rows, columns, int(counts.sum())))
    indptr = np.zeros(rows + 1, kind)
    np.cumsum(counts, out=indptr[1:])
    indices = np.empty(int(indptr[-1]), kind)
    for row, count in enumerate(counts.tolist()):
        indices[indptr[row] : indptr[row + 1]] = np.sort(chance.choice(columns, count, replace=False))
    return SparseMatrix(rows, columns, 1.0 - chance.random(len(indices)), indices, indptr)
