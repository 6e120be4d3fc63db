"""Whatever Python gives as one of the four types: lists, numpy arrays of any number type, scipy matrices of any format.

Nothing is guessed: ragged rows, texts, truth values and complex numbers are refused, with their place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from meshwit.lang.types import describe
from meshwit.lazy import lazy_module
from meshwit.plugins.matrices.sparse import SparseMatrix, SparseVector
from meshwit.plugins.variables.numbers import plain_number

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
else:
    np = lazy_module("numpy")

_EXACT_MAX = 2**53


def is_array(value: object) -> bool:
    """Whether `value` is a numpy array; asked of every value there is, so numpy is not imported for it."""
    kind = type(value)
    return kind.__module__ == "numpy" and hasattr(value, "dtype") and getattr(value, "ndim", 0) > 0


def is_floats(value: Any, dimensions: int) -> bool:
    """Whether `value` is an array of float64 in the machine's byte order with so many dimensions."""
    return (
        type(value).__name__ == "ndarray"
        and is_array(value)
        and value.ndim == dimensions
        and value.dtype.char == "d"
        and value.dtype.isnative
    )


def is_scipy(value: object) -> bool:
    """Whether `value` is a sparse matrix or array of scipy's."""
    return type(value).__module__.startswith("scipy.sparse") and hasattr(value, "tocsr")


def _is_scipy_row(value: Any) -> bool:
    return is_scipy(value) and (value.ndim == 1 or value.shape[0] == 1)


def named(value: object) -> str:
    """A matrix or vector in an error message, with its shape."""
    if isinstance(value, SparseMatrix):
        return f"a MatrixSparse of {value.rows} x {value.columns}"
    if isinstance(value, SparseVector):
        return f"a VectorSparse of length {value.length}"
    if is_floats(value, 2):
        return f"a Matrix of {value.shape[0]} x {value.shape[1]}"  # type: ignore[attr-defined]
    if is_floats(value, 1):
        return f"a Vector of length {len(value)}"  # type: ignore[arg-type]
    if is_array(value) or is_scipy(value):
        return f"an array of {value.dtype} with shape {value.shape}"  # type: ignore[attr-defined]
    return describe(value)


def floats_of(array: Any) -> Floats:
    """A numpy array of numbers as float64. Raises ValueError where it holds none, or would lose digits."""
    if array.dtype.kind == "O":
        return floats_of(np.array([_number(item, at) for at, item in enumerate(array.ravel())])).reshape(array.shape)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{named(array)} holds no real numbers")
    result: Floats = np.asarray(array, np.float64)
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8 and array.size:
        large = max(int(array.max()), -int(array.min()))
        if large > _EXACT_MAX and not all(float(item) == item for item in array.ravel().tolist()):
            raise ValueError(f"{named(array)} holds integers beyond 2^53, which lose digits as Double")
    return result


def _number(item: object, at: int) -> float:
    plain = plain_number(item)
    if isinstance(plain, (int, float)) and not isinstance(plain, bool):
        try:
            return float(plain)
        except OverflowError:
            raise ValueError(f"item {at}: {describe(plain)} does not fit Double") from None
    raise ValueError(f"item {at}: {describe(plain)} is no number")


def _numbers(values: Sequence[object]) -> Floats:
    if set(map(type, values)) == {float}:
        return np.array(values, np.float64)
    return np.array([_number(item, at) for at, item in enumerate(values)], np.float64)


def as_vector(value: Any) -> Floats:
    """One-dimensional float64. Raises ValueError with the reason."""
    if is_floats(value, 1):
        return value  # type: ignore[no-any-return]
    if isinstance(value, SparseVector):
        return value.toarray()
    if isinstance(value, (list, tuple)):
        return _numbers(value)
    if is_array(value) and value.ndim == 1:
        return floats_of(value)
    if _is_scipy_row(value):
        return as_sparse_vector(value).toarray()
    raise ValueError(f"{named(value)} is no Vector: an array of numbers is needed")


def as_matrix(value: Any) -> Floats:
    """Two-dimensional float64. Raises ValueError with the reason."""
    if is_floats(value, 2):
        return value  # type: ignore[no-any-return]
    if isinstance(value, SparseMatrix):
        return value.toarray()
    if isinstance(value, (list, tuple)):
        return _stacked(value)
    if is_array(value) and value.ndim == 2:
        return floats_of(value)
    if is_scipy(value) and value.ndim == 2:
        return as_sparse_matrix(value).toarray()
    raise ValueError(f"{named(value)} is no Matrix: an array of rows is needed, [[1, 2], [3, 4]]")


def _stacked(rows: Sequence[Any]) -> Floats:
    made: list[Floats] = []
    for position, row in enumerate(rows):
        try:
            made.append(as_vector(row))
        except ValueError as reason:
            raise ValueError(f"row {position} of a Matrix: {reason}") from None
        if len(made[-1]) != len(made[0]):
            raise ValueError(
                f"row {position} of a Matrix has {len(made[-1])} values, row 0 has {len(made[0])}: "
                "all rows must be equally long"
            )
    return np.array(made, np.float64) if made else np.zeros((0, 0))


def as_sparse_vector(value: Any) -> SparseVector:
    """A sparse vector. Raises ValueError with the reason."""
    if isinstance(value, SparseVector):
        return value
    if _is_scipy_row(value):
        return as_sparse_matrix(value.reshape(1, value.shape[-1])).row(0)
    if isinstance(value, (list, tuple)) or (is_array(value) and value.ndim == 1):
        return SparseVector.from_dense(as_vector(value))
    raise ValueError(f"{named(value)} is no VectorSparse: an array of numbers is needed")


def as_sparse_matrix(value: Any) -> SparseMatrix:
    """A sparse matrix. Raises ValueError with the reason."""
    if isinstance(value, SparseMatrix):
        return value
    if is_scipy(value) and value.ndim == 2:
        csr = value.tocsr()
        floats_of(csr.data)
        return SparseMatrix.from_scipy(csr)
    if isinstance(value, (list, tuple)) or (is_array(value) and value.ndim == 2):
        return SparseMatrix.from_dense(as_matrix(value))
    raise ValueError(f"{named(value)} is no MatrixSparse: a matrix is needed")
