"""Products, sums and comparisons of matrices and vectors, dense or sparse in any mixture.

Values are never changed in place: those that came over the wire are read-only, and all of them are shared. Numbers
follow IEEE 754, as matrix libraries do: what is too large becomes infinite, nothing raises.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from meshwit.lazy import lazy_module
from meshwit.plugins.matrices.convert import named
from meshwit.plugins.matrices.sparse import SparseMatrix, SparseVector

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
else:
    np = lazy_module("numpy")

Value: TypeAlias = "Floats | SparseMatrix | SparseVector"
AnyMatrix: TypeAlias = "Floats | SparseMatrix"
AnyVector: TypeAlias = "Floats | SparseVector"


def shape_of(value: Value) -> tuple[int, ...]:
    """Rows and columns of a matrix, the length of a vector."""
    return (value.length,) if isinstance(value, SparseVector) else value.shape


def dense(value: Value) -> Floats:
    """The value as a numpy array."""
    return value.toarray() if isinstance(value, (SparseMatrix, SparseVector)) else value


def product(left: AnyMatrix, right: Value) -> Value:
    """Matrix times matrix or column vector: sparse where both are. Raises ValueError where the shapes do not meet."""
    if shape_of(left)[1] != shape_of(right)[0]:
        rows = "rows" if len(shape_of(right)) == 2 else "values"
        raise ValueError(
            f"{named(left)} times {named(right)} is not defined: "
            f"{shape_of(left)[1]} columns on the left need as many {rows} on the right"
        )
    result: Value
    with np.errstate(all="ignore"):
        if isinstance(right, SparseVector):
            if isinstance(left, SparseMatrix):
                return SparseMatrix.from_scipy(left.csr @ right.as_column()).column(0)
            result = left[:, right.indices] @ right.values
        elif isinstance(left, SparseMatrix):
            if isinstance(right, SparseMatrix):
                return SparseMatrix.from_scipy(left.csr @ right.csr)
            result = left.csr @ right
        else:
            result = left @ (right.csr if isinstance(right, SparseMatrix) else right)
    return result


def combined_rows(row: AnyVector, matrix: AnyMatrix) -> AnyVector:
    """Gustavson's row: the rows of `matrix` that the nonzeros of `row` choose, each times its nonzero, summed.

    Sparse where the matrix is. Source: Gustavson, "Two fast algorithms for sparse matrices", TOMS 4 (1978).
    """
    if shape_of(row)[0] != matrix.shape[0]:
        raise ValueError(
            f"{named(row)} cannot choose rows of {named(matrix)}: it must have one value for each of "
            f"{matrix.shape[0]} rows"
        )
    chosen = row if isinstance(row, SparseVector) else SparseVector.from_dense(row)
    with np.errstate(all="ignore"):
        if isinstance(matrix, SparseMatrix):
            return SparseMatrix.from_scipy(chosen.as_row() @ matrix.csr).row(0)
        return chosen.values @ matrix[chosen.indices]


def _summed(left: Value, right: Value, sign: int) -> Value:
    if shape_of(left) != shape_of(right):
        word = "plus" if sign > 0 else "minus"
        raise ValueError(f"{named(left)} {word} {named(right)} is not defined: both must have the same shape")
    with np.errstate(all="ignore"):
        if isinstance(left, SparseMatrix) and isinstance(right, SparseMatrix):
            return SparseMatrix.from_scipy(left.csr + right.csr if sign > 0 else left.csr - right.csr)
        if isinstance(left, SparseVector) and isinstance(right, SparseVector):
            one, other = left.as_row(), right.as_row()
            return SparseMatrix.from_scipy(one + other if sign > 0 else one - other).row(0)
        return dense(left) + dense(right) if sign > 0 else dense(left) - dense(right)


def added(left: Value, right: Value) -> Value:
    """The sum, value by value: sparse where both are. Raises ValueError where the shapes differ."""
    return _summed(left, right, 1)


def subtracted(left: Value, right: Value) -> Value:
    """The difference, value by value: sparse where both are. Raises ValueError where the shapes differ."""
    return _summed(left, right, -1)


def _on_values(value: Value, compute: Callable[[Floats], Floats]) -> Value:
    """The value with `compute` done to its numbers; zeros that a sparse one gains are dropped."""
    with np.errstate(all="ignore"):
        if isinstance(value, SparseVector):
            return SparseVector.from_pairs(value.length, value.indices, compute(value.values))
        if isinstance(value, SparseMatrix):
            data = compute(value.data)
            made = SparseMatrix(value.rows, value.columns, data, value.indices, value.indptr)
            return made if data.all() else SparseMatrix.from_scipy(made.csr)
        return compute(value)


def scaled(value: Value, factor: float) -> Value:
    """Every number times the factor; zeros of a sparse value stay zero."""
    return _on_values(value, lambda numbers: numbers * float(factor))


def divided(value: Value, divisor: float) -> Value:
    """Every number divided. Raises ValueError for a divisor of zero."""
    if divisor == 0:
        raise ValueError(f"{named(value)} divided by zero")
    return _on_values(value, lambda numbers: numbers / float(divisor))


def dot(left: AnyVector, right: AnyVector) -> float:
    """The sum of the products of values at the same place. Raises ValueError where the lengths differ."""
    if shape_of(left) != shape_of(right):
        raise ValueError(f"{named(left)} and {named(right)} have no dot product: both must have the same length")
    with np.errstate(all="ignore"):
        if isinstance(left, SparseVector) and isinstance(right, SparseVector):
            _, here, there = np.intersect1d(left.indices, right.indices, assume_unique=True, return_indices=True)
            return float(left.values[here] @ right.values[there])
        if isinstance(left, SparseVector):
            return float(left.values @ dense(right)[left.indices])
        if isinstance(right, SparseVector):
            return float(left[right.indices] @ right.values)
        return float(left @ right)


def numbers_of(value: Value) -> Floats:
    """All numbers that may be other than zero."""
    if isinstance(value, SparseVector):
        return value.values
    return value.data if isinstance(value, SparseMatrix) else value


def equal(left: Value, right: Value, tolerance: float = 0.0) -> bool:
    """Whether shapes are the same and no two numbers differ by more than the tolerance. NaN equals nothing."""
    if not tolerance >= 0 or math.isinf(tolerance):
        raise ValueError(f"the tolerance is {tolerance}: it must be a number from 0 on")
    if shape_of(left) != shape_of(right):
        return False
    sparse = isinstance(left, (SparseMatrix, SparseVector))
    if sparse and type(left) is type(right):
        if not tolerance or left == right:
            return bool(left == right)
        return bool(np.all(np.abs(numbers_of(subtracted(left, right))) <= tolerance))
    one, other = dense(left), dense(right)
    if not tolerance:
        return bool(np.array_equal(one, other))
    with np.errstate(all="ignore"):
        return bool(np.all((one == other) | (np.abs(one - other) <= tolerance)))


def product_work(left: Any, right: Any) -> float:
    """Multiplications that a product takes, roughly."""
    if isinstance(left, SparseMatrix):
        return float(len(left.data)) * max(1.0, numbers_of(right).size / max(1, shape_of(right)[0]))
    return float(left.size) * max(1.0, numbers_of(right).size / max(1, shape_of(right)[0]))


def combination_work(row_index: int, row: Any, matrix: Any) -> float:
    """Multiplications that a Gustavson row takes, roughly."""
    chosen = len(row.values) if isinstance(row, SparseVector) else int(np.count_nonzero(row))
    return float(chosen * max(1.0, numbers_of(matrix).size / max(1, matrix.shape[0])))
