"""Sparse matrices and vectors: plain arrays in canonical CSR form, immutable.

Canonical: column numbers rise strictly within a row and no zero is stored, so that equal values have equal arrays and
the stored numbers are the nonzeros. Whatever comes from outside is brought into that form or refused; what comes from
another process is checked in full, because scipy reads beyond its arrays where indices lie.

They are classes of our own, not scipy's, so that a peer which only passes them on never imports scipy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from meshwit.lazy import lazy_module

if TYPE_CHECKING:
    import numpy as np
    import scipy.sparse as sp
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Indices: TypeAlias = NDArray[np.int32] | NDArray[np.int64]
else:
    np = lazy_module("numpy")
    sp = lazy_module("scipy.sparse")

DENSE_VALUES_MAX = 2**30
"""Values of a dense matrix that is made out of less than its own size of input: 8 GiB."""


def check_dense_size(rows: int, columns: int) -> None:
    """Raises ValueError where a dense matrix of that size would be out of all proportion."""
    if rows * columns > DENSE_VALUES_MAX:
        raise ValueError(
            f"a dense matrix of {rows} x {columns} has more than {DENSE_VALUES_MAX:,} values: use a MatrixSparse"
        )


def index_type(largest: int) -> Any:
    """The dtype that scipy itself would use for indices up to `largest`: with any other it copies them each time."""
    return np.int32 if largest < 2**31 else np.int64


@dataclass(frozen=True, slots=True, eq=False)
class SparseVector:
    """`length` numbers, those not named being zero.

    Attributes:
        length: of the vector.
        indices: where the nonzeros are, rising.
        values: the nonzeros.
    """

    length: int
    indices: Indices
    values: Floats

    @classmethod
    def from_dense(cls, values: Floats) -> SparseVector:
        """The nonzeros of a dense vector."""
        indices = np.flatnonzero(values)
        return cls(len(values), indices.astype(index_type(len(values))), values[indices])

    @classmethod
    def from_pairs(cls, length: int, indices: Indices, values: Floats) -> SparseVector:
        """A vector from its nonzeros in any order. Raises ValueError for an index twice or out of range."""
        if len(indices) != len(values):
            raise ValueError(f"{len(indices)} indices but {len(values)} values: one value for each index is needed")
        order = np.argsort(indices, kind="stable")
        indices, values = indices[order].astype(index_type(length)), values[order]
        if len(indices) and (indices[0] < 0 or indices[-1] >= length):
            wrong = indices[0] if indices[0] < 0 else indices[-1]
            raise ValueError(f"index {wrong} is outside a vector of length {length}")
        twice = np.flatnonzero(np.diff(indices) == 0)
        if len(twice):
            raise ValueError(f"index {indices[twice[0]]} is given twice")
        kept = values != 0
        return cls(length, indices, values) if kept.all() else cls(length, indices[kept], values[kept])

    def toarray(self) -> Floats:
        """As a dense vector."""
        check_dense_size(1, self.length)
        result = np.zeros(self.length)
        result[self.indices] = self.values
        return result

    def item(self, index: int) -> float:
        """One value, zero or not."""
        at = int(np.searchsorted(self.indices, index))
        return float(self.values[at]) if at < len(self.indices) and self.indices[at] == index else 0.0

    def as_row(self) -> Any:
        """As scipy's `csr_array` of one row, sharing the arrays: for reading only."""
        ends = np.array([0, len(self.indices)], self.indices.dtype)
        return _marked(sp.csr_array((self.values, self.indices, ends), shape=(1, self.length)))

    def as_column(self) -> Any:
        """As scipy's `csc_array` of one column, sharing the arrays: for reading only."""
        return self.as_row().T

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SparseVector):
            return NotImplemented
        return (
            self.length == other.length
            and np.array_equal(self.indices, other.indices)
            and np.array_equal(self.values, other.values)
        )

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        nonzeros = zip(self.indices[:_SHOWN].tolist(), self.values[:_SHOWN].tolist(), strict=True)
        shown = [f"[{index}]={value!r}" for index, value in nonzeros]
        return f"VectorSparse of {self.length}{_listed(shown, len(self.values))}"


@dataclass(frozen=True, slots=True, eq=False)
class SparseMatrix:
    """A matrix in compressed rows: row i has the columns `indices[indptr[i]:indptr[i + 1]]` and so many of `data`."""

    rows: int
    columns: int
    data: Floats
    indices: Indices
    indptr: Indices

    @classmethod
    def from_scipy(cls, matrix: Any) -> SparseMatrix:
        """From a two-dimensional sparse matrix or array of any format; the original stays as it is."""
        csr = sp.csr_array(matrix)
        if csr.dtype != np.float64:
            csr = csr.astype(np.float64)
        if not csr.has_canonical_format or np.count_nonzero(csr.data) != csr.nnz:
            csr = csr.copy()
            csr.sum_duplicates()
            csr.eliminate_zeros()
        rows, columns = csr.shape
        kind = index_type(max(rows, columns, csr.nnz))
        return cls(rows, columns, csr.data[: csr.nnz], csr.indices[: csr.nnz].astype(kind), csr.indptr.astype(kind))

    @classmethod
    def from_dense(cls, matrix: Floats) -> SparseMatrix:
        """The nonzeros of a dense matrix."""
        row_of, column_of = np.nonzero(matrix)
        return cls.from_sorted(matrix.shape[0], matrix.shape[1], row_of, column_of, matrix[row_of, column_of])

    @classmethod
    def from_sorted(cls, rows: int, columns: int, row_of: Any, column_of: Any, values: Floats) -> SparseMatrix:
        """From nonzeros that are in order of rows and then columns, none twice."""
        kind = index_type(max(rows, columns, len(values)))
        indptr = np.zeros(rows + 1, kind)
        np.cumsum(np.bincount(row_of, minlength=rows), out=indptr[1:])
        return cls(rows, columns, values, column_of.astype(kind), indptr)

    @classmethod
    def from_parts(cls, rows: int, columns: int, data: Any, indices: Any, indptr: Any) -> SparseMatrix:
        """From arrays that nobody vouches for. Raises ValueError unless they are a canonical matrix."""
        nonzeros = len(data)
        right = (
            all(part.ndim == 1 for part in (data, indices, indptr))
            and data.dtype == np.float64
            and {indices.dtype, indptr.dtype} <= {np.dtype(np.int32), np.dtype(np.int64)}
            and min(rows, columns) >= 0
            and len(indices) == nonzeros
            and len(indptr) == rows + 1
            and indptr[0] == 0
            and indptr[-1] == nonzeros
            and bool(np.all(np.diff(indptr) >= 0))
            and (nonzeros == 0 or (indices.min() >= 0 and indices.max() < columns))
        )
        if right and nonzeros > 1:
            rising = np.diff(indices) > 0
            starts = indptr[(indptr > 0) & (indptr < nonzeros)]
            rising[starts - 1] = True
            right = bool(rising.all())
        if not right or not np.all(data):
            raise ValueError(f"these arrays are no sparse matrix of {rows} x {columns} in canonical form")
        return cls(rows, columns, data, indices, indptr)

    @property
    def csr(self) -> Any:
        """As scipy's `csr_array`, sharing the arrays: for reading only."""
        made = sp.csr_array((self.data, self.indices, self.indptr), shape=(self.rows, self.columns))
        return _marked(made)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.columns

    def toarray(self) -> Floats:
        """As a dense matrix."""
        check_dense_size(self.rows, self.columns)
        result = np.zeros((self.rows, self.columns))
        result[np.repeat(np.arange(self.rows), np.diff(self.indptr)), self.indices] = self.data
        return result

    def row(self, index: int) -> SparseVector:
        """One row, sharing the arrays."""
        part = slice(int(self.indptr[index]), int(self.indptr[index + 1]))
        return SparseVector(self.columns, self.indices[part], self.data[part])

    def each_row(self) -> Iterator[SparseVector]:
        """All rows, in order."""
        return (self.row(index) for index in range(self.rows))

    def column(self, index: int) -> SparseVector:
        """One column; looks at all nonzeros."""
        at = np.flatnonzero(self.indices == index)
        row_of = np.searchsorted(self.indptr, at, side="right") - 1
        return SparseVector(self.rows, row_of.astype(index_type(self.rows)), self.data[at])

    def transposed(self) -> SparseMatrix:
        """Rows and columns exchanged."""
        return SparseMatrix.from_scipy(self.csr.T)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SparseMatrix):
            return NotImplemented
        return self.shape == other.shape and all(
            np.array_equal(getattr(self, part), getattr(other, part)) for part in ("indptr", "indices", "data")
        )

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        row_of = np.searchsorted(self.indptr, np.arange(min(_SHOWN, len(self.data))), side="right") - 1
        nonzeros = zip(row_of.tolist(), self.indices.tolist()[:_SHOWN], self.data[:_SHOWN].tolist(), strict=True)
        shown = [f"[{row}, {column}]={value!r}" for row, column, value in nonzeros]
        return f"MatrixSparse of {self.rows} x {self.columns}{_listed(shown, len(self.data))}"


_SHOWN = 6


def _listed(shown: list[str], count: int) -> str:
    if not count:
        return ", all zero"
    return f", {count} not zero: " + ", ".join(shown) + (", …" if count > len(shown) else "")


def _marked(made: Any) -> Any:
    """Tells scipy that the order is right: it would sort in place, and the arrays may be read-only."""
    made.has_sorted_indices = True
    made.has_canonical_format = True
    return made
