"""The controller of matrices and vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from meshwit.lazy import lazy_module
from meshwit.plugins.annotations import (
    Array,
    Double,
    DoubleCollection,
    Int,
    IntCollection,
    Long,
    Script,
    TupleCollection,
)
from meshwit.plugins.controller import Controller, Declared, activity
from meshwit.plugins.matrices import arithmetic, making
from meshwit.plugins.matrices.arithmetic import AnyMatrix, AnyVector, Value, shape_of
from meshwit.plugins.matrices.convert import as_matrix, as_sparse_matrix, as_sparse_vector, named
from meshwit.plugins.matrices.forms import each_form, forms
from meshwit.plugins.matrices.sparse import SparseMatrix, SparseVector
from meshwit.plugins.matrices.types import TYPES, scalar_operators

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
else:
    np = lazy_module("numpy")

Vector = Annotated["Floats", Script("Vector")]
Matrix = Annotated["Floats", Script("Matrix")]
VectorSparse = Annotated[SparseVector, Script("VectorSparse")]
MatrixSparse = Annotated[SparseMatrix, Script("MatrixSparse")]

_BENCHMARK_SIZE = 1000


def _benchmark_row() -> tuple[int, SparseVector, SparseMatrix]:
    matrix = making.random_sparse(_BENCHMARK_SIZE, _BENCHMARK_SIZE, 1, 0.05)
    return 0, matrix.row(0), matrix


class Matrices(Controller):
    """Matrices and vectors of Double, dense and sparse. Indices count from 0."""

    prefix = "Matrix"
    types = TYPES
    operators = tuple(scalar_operators())
    modules = ("numpy", "scipy")
    extra = "matrices"

    def declared(self) -> Iterator[tuple[Callable[..., Any], Declared]]:
        """Every activity in each of its forms."""
        for method, note in super().declared():
            yield from each_form(method, note)

    # --- constructors ------------------------------------------------------------------------------------------

    @activity(name="Matrix", inline=True)
    def matrix(self, rows: Int, cols: Int, values: DoubleCollection) -> Matrix:
        """A matrix from all its values, row after row, or from an array of its rows, or from a sparse one."""
        return making.from_values(rows, cols, values)

    @activity(name="Matrix", inline=True)
    def matrix_from_vector(self, rows: Int, cols: Int, values: Vector) -> Matrix:
        """A matrix from all its values, row after row."""
        return making.from_values(rows, cols, values)

    @activity(name="Matrix", inline=True)
    def matrix_from_rows(self, rows: Array) -> Matrix:
        """A matrix from its rows, all equally long."""
        return as_matrix(rows)

    @activity(name="Matrix", inline=True)
    def matrix_from_sparse(self, matrix: MatrixSparse) -> Matrix:
        """A dense matrix from a sparse one."""
        return matrix.toarray()

    @activity(name="Vector", inline=True)
    def vector(self, values: DoubleCollection) -> Vector:
        """A vector from its values, or from a sparse one."""
        return np.array(values, np.float64)

    @activity(name="Vector", inline=True)
    def vector_from_sparse(self, vector: VectorSparse) -> Vector:
        """A dense vector from a sparse one."""
        return vector.toarray()

    @activity(name="MatrixSparse")
    def sparse_matrix(self, rows: Int, cols: Int, tuples: TupleCollection) -> MatrixSparse:
        """A sparse matrix from tuples (row index, row) or (row index, column index, value); what is missing is zero."""
        return making.from_tuples(rows, cols, tuples)

    @activity(name="MatrixSparse")
    def sparse_matrix_from_dense(self, matrix: Matrix) -> MatrixSparse:
        """A sparse matrix from a dense one."""
        return as_sparse_matrix(matrix)

    @activity(name="VectorSparse", inline=True)
    def sparse_vector(self, length: Int, indices: IntCollection, values: DoubleCollection) -> VectorSparse:
        """A sparse vector from the places of its nonzeros and their values, or from a dense one."""
        if length < 0:
            raise ValueError(f"a vector of length {length} cannot be: it must not be negative")
        return SparseVector.from_pairs(length, np.array(indices, np.int64), np.array(values, np.float64))

    @activity(name="VectorSparse", inline=True)
    def sparse_vector_from_dense(self, vector: Vector) -> VectorSparse:
        """A sparse vector from a dense one."""
        return as_sparse_vector(vector)

    @activity
    def Identity(self, size: Int) -> Matrix:
        """The matrix of `size` rows and columns with ones on its diagonal and zeros elsewhere."""
        return making.identity(size)

    @activity
    def Random(self, rows: Int, cols: Int, seed: Long, density: Double = 1.0) -> Matrix:
        """Random numbers above 0 up to 1, the same for the same seed; a part `1 - density` of them is zero."""
        return making.random_dense(rows, cols, seed, density)

    @activity(name="MatrixSparse.Random")
    def random_sparse(self, rows: Int, cols: Int, seed: Long, density: Double = 0.1) -> MatrixSparse:
        """A sparse matrix in which a part `density` is random numbers above 0 up to 1, the same for the same seed."""
        return making.random_sparse(rows, cols, seed, density)

    @activity
    @forms("MatrixSparse -> Matrix", "Matrix -> Matrix", "VectorSparse -> Vector", "Vector -> Vector")
    def ToDense(self, matrix: Value) -> Floats:
        """The same numbers as a dense Matrix or Vector."""
        return arithmetic.dense(matrix)

    @activity
    @forms(
        "Matrix -> MatrixSparse",
        "MatrixSparse -> MatrixSparse",
        "Vector -> VectorSparse",
        "VectorSparse -> VectorSparse",
    )
    def ToSparse(self, matrix: Value) -> SparseMatrix | SparseVector:
        """The same numbers as a MatrixSparse or VectorSparse."""
        vector = len(shape_of(matrix)) == 1
        return as_sparse_vector(matrix) if vector else as_sparse_matrix(matrix)

    # --- rows and columns --------------------------------------------------------------------------------------

    @activity(inline=True)
    @forms("Matrix -> Int", "MatrixSparse -> Int")
    def RowCount(self, matrix: AnyMatrix) -> int:
        """How many rows a matrix has."""
        return int(matrix.shape[0])

    @activity(inline=True)
    @forms("Matrix -> Int", "MatrixSparse -> Int")
    def ColumnCount(self, matrix: AnyMatrix) -> int:
        """How many columns a matrix has."""
        return int(matrix.shape[1])

    @activity(inline=True)
    @forms("Matrix, Int -> Vector", "MatrixSparse, Int -> VectorSparse")
    def GetRow(self, matrix: AnyMatrix, index: int) -> AnyVector:
        """One row of a matrix, counted from 0."""
        _check_range(matrix, 0, index, 1)
        return matrix.row(index) if isinstance(matrix, SparseMatrix) else matrix[index]

    @activity
    @forms("Matrix, Int, Int -> VectorCollection", "MatrixSparse, Int, Int -> VectorSparseCollection")
    def GetRows(self, matrix: AnyMatrix, startIndex: int = 0, count: int | None = None) -> list[AnyVector]:
        """The rows of a matrix in order: all of them, or `count` of them from `startIndex` on."""
        return _rows(matrix, *_range(matrix, 0, startIndex, count))

    @activity
    @forms("Matrix, Int -> Vector", "MatrixSparse, Int -> VectorSparse")
    def GetColumn(self, matrix: AnyMatrix, index: int) -> AnyVector:
        """One column of a matrix, counted from 0."""
        _check_range(matrix, 1, index, 1)
        return matrix.column(index) if isinstance(matrix, SparseMatrix) else matrix[:, index]

    @activity
    @forms("Matrix, Int, Int -> VectorCollection", "MatrixSparse, Int, Int -> VectorSparseCollection")
    def GetColumns(self, matrix: AnyMatrix, startIndex: int = 0, count: int | None = None) -> list[AnyVector]:
        """The columns of a matrix in order: all of them, or `count` of them from `startIndex` on."""
        part = _range(matrix, 1, startIndex, count)
        return _rows(matrix.transposed() if isinstance(matrix, SparseMatrix) else matrix.T, *part)

    @activity
    @forms("Matrix -> Matrix", "MatrixSparse -> MatrixSparse")
    def Transpose(self, matrix: AnyMatrix) -> AnyMatrix:
        """The matrix with its rows as columns."""
        return matrix.transposed() if isinstance(matrix, SparseMatrix) else matrix.T

    # --- arithmetic --------------------------------------------------------------------------------------------

    @activity(operator="*", work=arithmetic.product_work)
    @forms(
        "Matrix, Matrix -> Matrix",
        "MatrixSparse, MatrixSparse -> MatrixSparse",
        "Matrix, MatrixSparse -> Matrix",
        "MatrixSparse, Matrix -> Matrix",
        "Matrix, Vector -> Vector",
        "MatrixSparse, Vector -> Vector",
        "Matrix, VectorSparse -> Vector",
        "MatrixSparse, VectorSparse -> VectorSparse",
    )
    def Multiply(self, left: AnyMatrix, right: Value) -> Value:
        """The product of two matrices, of a matrix and a vector, or of either and a number; also written `a * b`."""
        return arithmetic.product(left, right)

    @activity(name="Matrix.Multiply")
    @forms(
        "Matrix, Double -> Matrix",
        "MatrixSparse, Double -> MatrixSparse",
        "Vector, Double -> Vector",
        "VectorSparse, Double -> VectorSparse",
    )
    def multiply_by_number(self, left: Value, right: float) -> Value:
        """Every value times a number."""
        return arithmetic.scaled(left, right)

    @activity(name="Matrix.Multiply")
    @forms(
        "Double, Matrix -> Matrix",
        "Double, MatrixSparse -> MatrixSparse",
        "Double, Vector -> Vector",
        "Double, VectorSparse -> VectorSparse",
    )
    def multiply_number_by(self, left: float, right: Value) -> Value:
        """Every value times a number."""
        return arithmetic.scaled(right, left)

    @activity(operator="+")
    @forms(
        "Matrix, Matrix -> Matrix",
        "MatrixSparse, MatrixSparse -> MatrixSparse",
        "Matrix, MatrixSparse -> Matrix",
        "MatrixSparse, Matrix -> Matrix",
    )
    def Add(self, left: AnyMatrix, right: AnyMatrix) -> Value:
        """The sum of two matrices of the same shape, value by value; also written `a + b`."""
        return arithmetic.added(left, right)

    @activity(operator="-")
    @forms(
        "Matrix, Matrix -> Matrix",
        "MatrixSparse, MatrixSparse -> MatrixSparse",
        "Matrix, MatrixSparse -> Matrix",
        "MatrixSparse, Matrix -> Matrix",
    )
    def Subtract(self, left: AnyMatrix, right: AnyMatrix) -> Value:
        """The difference of two matrices of the same shape, value by value; also written `a - b`."""
        return arithmetic.subtracted(left, right)

    @activity
    @forms(
        "Matrix, Matrix, Double -> Bool",
        "MatrixSparse, MatrixSparse, Double -> Bool",
        "Matrix, MatrixSparse, Double -> Bool",
        "MatrixSparse, Matrix, Double -> Bool",
    )
    def Equals(self, left: AnyMatrix, right: AnyMatrix, tolerance: float = 0.0) -> bool:
        """Whether two matrices have the same shape and no values that differ by more than the tolerance."""
        return arithmetic.equal(left, right, tolerance)

    @activity(name="Vector.Add", operator="+")
    @forms(
        "Vector, Vector -> Vector",
        "VectorSparse, VectorSparse -> VectorSparse",
        "Vector, VectorSparse -> Vector",
        "VectorSparse, Vector -> Vector",
    )
    def add_vectors(self, left: AnyVector, right: AnyVector) -> Value:
        """The sum of two vectors of the same length, value by value; also written `a + b`."""
        return arithmetic.added(left, right)

    @activity(name="Vector.Subtract", operator="-")
    @forms(
        "Vector, Vector -> Vector",
        "VectorSparse, VectorSparse -> VectorSparse",
        "Vector, VectorSparse -> Vector",
        "VectorSparse, Vector -> Vector",
    )
    def subtract_vectors(self, left: AnyVector, right: AnyVector) -> Value:
        """The difference of two vectors of the same length, value by value; also written `a - b`."""
        return arithmetic.subtracted(left, right)

    @activity(name="Vector.Dot")
    @forms(
        "Vector, Vector -> Double",
        "VectorSparse, VectorSparse -> Double",
        "Vector, VectorSparse -> Double",
        "VectorSparse, Vector -> Double",
    )
    def dot(self, left: AnyVector, right: AnyVector) -> float:
        """The sum of the products of the values at the same place of two vectors of the same length."""
        return arithmetic.dot(left, right)

    @activity(name="Vector.Norm")
    @forms("Vector -> Double", "VectorSparse -> Double")
    def norm(self, vector: AnyVector) -> float:
        """The Euclidean length of a vector: the root of the sum of its squares."""
        return float(np.linalg.norm(arithmetic.numbers_of(vector)))

    @activity(name="Vector.Sum")
    @forms("Vector -> Double", "VectorSparse -> Double")
    def total(self, vector: AnyVector) -> float:
        """The sum of the values of a vector."""
        return float(np.sum(arithmetic.numbers_of(vector)))

    @activity(name="GustavsonMultiply", work=arithmetic.combination_work, benchmark=_benchmark_row)
    @forms(
        "Int, VectorSparse, MatrixSparse -> Tuple",
        "Int, Vector, MatrixSparse -> Tuple",
        "Int, VectorSparse, Matrix -> Tuple",
        "Int, Vector, Matrix -> Tuple",
    )
    def gustavson(self, rowIndex: int, row: AnyVector, matrix: AnyMatrix) -> tuple[int, AnyVector]:
        """One row of a matrix product: (rowIndex, row * matrix), the row sparse where the matrix is."""
        return rowIndex, arithmetic.combined_rows(row, matrix)


def _check_range(matrix: AnyMatrix, axis: int, start: int, count: int) -> None:
    there = matrix.shape[axis]
    if start < 0 or count < 0 or start + count > there:
        what = ("row", "column")[axis]
        wanted = f"{what} {start}" if count == 1 else f"{count} {what}s from {start} on"
        raise ValueError(f"{named(matrix)} has no {wanted}: its {what}s are counted from 0 to {there - 1}")


def _range(matrix: AnyMatrix, axis: int, start: int, count: int | None) -> tuple[int, int]:
    given = matrix.shape[axis] - start if count is None else count
    _check_range(matrix, axis, start, given)
    return start, start + given


def _rows(matrix: AnyMatrix, start: int, stop: int) -> list[AnyVector]:
    if isinstance(matrix, SparseMatrix):
        return [matrix.row(index) for index in range(start, stop)]
    return list(matrix[start:stop])
