"""Matrices and vectors: conversions, wire forms, and every operation against numpy and scipy."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from meshwit.codec import CodecError
from meshwit.lang.offer import Form
from meshwit.plugins.matrices import Matrices, SparseMatrix, SparseVector
from meshwit.plugins.matrices.convert import as_matrix, as_sparse_matrix, as_sparse_vector, as_vector
from meshwit.plugins.registry import Registry
from meshwit.plugins.variables import Variables

REGISTRY = Registry([Variables(), Matrices()])
OFFER = REGISTRY.offer
CODEC = REGISTRY.codec()
properties = settings(derandomize=True, max_examples=25, deadline=None)


def form_of(name: str, *types: str) -> tuple[int, Form]:
    """The first form whose leading parameters have these types."""
    for index, form in enumerate(OFFER.activities[name].forms):
        if [one.type for one in form.parameters[: len(types)]] == list(types):
            return index, form
    raise LookupError(f"{name}{types}")


def type_name(value: object) -> str:
    kind = OFFER.type_of(value)
    return "TupleCollection" if kind.name == "Array" else kind.name


def call(name: str, *values: Any) -> Any:
    """Calls the form that the values' types choose, with values as they arrive in a worker; checks the result."""
    index, form = form_of(name, *(type_name(value) for value in values))
    function = OFFER.implementation(name, index)
    assert function is not None
    result = function(*(arrived(value) for value in values))
    assert form.returns is not None
    return OFFER.types[form.returns].adopt(result, None)


def arrived(value: object) -> Any:
    """The value after a trip to another process, where arrays are read-only and lie in buffers of others."""
    header, buffers = CODEC.encode(value)
    return CODEC.decode(header, [bytes(buffer) for buffer in buffers])


def numbers(*shape: int) -> st.SearchStrategy[Any]:
    """Matrices with many zeros, of whole numbers so that sums are exact in any order."""
    return arrays(np.float64, shape, elements=st.sampled_from([0.0, 0.0, 0.0, 1.0, -2.0, 3.0]))


@st.composite
def chains(draw: st.DrawFn) -> tuple[Any, Any]:
    """Two matrices that can be multiplied."""
    rows, inner, columns = (draw(st.integers(1, 6)) for _ in range(3))
    return draw(numbers(rows, inner)), draw(numbers(inner, columns))


# --- types -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Vector", np.array([1.0, 2.5])),
        ("Matrix", np.array([[1.0, 2.5], [0.0, 4.0]])),
        ("VectorSparse", as_sparse_vector([0, 2, 0])),
        ("MatrixSparse", as_sparse_matrix([[0, 2], [0, 0]])),
        ("Vector", np.zeros(0)),
        ("Matrix", np.zeros((0, 3))),
    ],
)
def test_a_value_is_known_by_its_class_and_crosses(name: str, value: Any) -> None:
    assert OFFER.type_of(value).name == name
    back = arrived(value)
    assert OFFER.types[name].holds(back)
    assert OFFER.types[name].equals(value, back)


def test_large_values_cross_beside_the_header() -> None:
    matrix = OFFER.types["MatrixSparse"].coerce(scipy.sparse.random_array((400, 400), density=0.5, format="coo"))
    header, buffers = CODEC.encode(matrix)
    assert len(buffers) == 2
    assert len(header) < 5000


@given(chains())
@properties
def test_sparse_and_dense_convert_without_loss(pair: tuple[Any, Any]) -> None:
    dense = pair[0]
    sparse = arrived(as_sparse_matrix(dense))
    expected = scipy.sparse.csr_array(dense)
    assert np.array_equal(sparse.toarray(), dense)
    assert np.array_equal(sparse.data, expected.data)
    assert np.array_equal(sparse.indices, expected.indices)
    assert np.array_equal(sparse.indptr, expected.indptr)
    assert as_sparse_matrix(expected) == sparse
    assert [row.toarray().tolist() for row in sparse.each_row()] == dense.tolist()


@pytest.mark.parametrize("kind", ["bsr", "coo", "csc", "csr", "dia", "dok", "lil"])
def test_every_scipy_format_is_taken(kind: str) -> None:
    dense = np.array([[0, 2, 0], [3, 0, 4]])
    for make in (scipy.sparse.csr_array, scipy.sparse.csr_matrix):
        given_matrix = make(dense).asformat(kind)
        assert np.array_equal(OFFER.types["MatrixSparse"].adopt(given_matrix, None).toarray(), dense)
        assert np.array_equal(OFFER.types["Matrix"].adopt(given_matrix, None), dense)


def test_what_scipy_has_twice_is_summed_and_its_zeros_go() -> None:
    coo = scipy.sparse.coo_array(([1.0, 2.0, 0.0], ([0, 0, 1], [1, 1, 0])), shape=(2, 2))
    assert as_sparse_matrix(coo) == as_sparse_matrix([[0, 3], [0, 0]])
    assert coo.nnz == 3


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.uint64, ">f8"])
def test_arrays_of_any_number_type_become_float64(dtype: Any) -> None:
    given_array = np.array([[1, 2], [3, 4]], dtype)
    matrix = OFFER.types["Matrix"].coerce(given_array)
    assert OFFER.types["Matrix"].holds(matrix)
    assert matrix.tolist() == [[1, 2], [3, 4]]
    assert OFFER.types["Vector"].coerce(given_array[0]).tolist() == [1, 2]
    assert OFFER.types["VectorSparse"].coerce(given_array[0]).toarray().tolist() == [1, 2]


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("Vector", [1, "two"], 'item 1: the string "two" is no number'),
        ("Vector", [1, True], "item 1: true is no number"),
        ("Vector", [1, None], "item 1: NULL is no number"),
        ("Vector", [10**400], "does not fit Double"),
        ("Vector", 3, "3 is no Vector"),
        ("Vector", np.zeros((1, 3)), "a Matrix of 1 x 3 is no Vector"),
        ("Vector", np.array([True]), "no real numbers"),
        ("Vector", np.array([1j]), "no real numbers"),
        ("Vector", np.array([2**53 + 1]), "lose digits"),
        ("Matrix", [1, 2, 3], "row 0 of a Matrix: 1 is no Vector"),
        ("Matrix", [[1, 2], [3]], "row 1 of a Matrix has 1 values, row 0 has 2"),
        ("Matrix", [[1, 2], [3, "x"]], "row 1 of a Matrix: item 1"),
        ("Matrix", "text", 'the string "text" is no Matrix'),
        ("Matrix", np.zeros((2, 2, 2)), r"shape \(2, 2, 2\) is no Matrix"),
        ("MatrixSparse", [[1], [1, 2]], "equally long"),
        ("MatrixSparse", scipy.sparse.csr_array(np.array([[1j]])), "no real numbers"),
        ("VectorSparse", [[1, 2]], "is no number"),
        ("VectorSparse", np.zeros((2, 2)), "is no VectorSparse"),
        ("VectorSparse", scipy.sparse.csr_array(np.eye(2)), "is no VectorSparse"),
    ],
)
def test_what_is_none_of_them_is_refused_with_the_reason(name: str, value: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        OFFER.types[name].literal(value)


def test_literals() -> None:
    assert OFFER.types["Vector"].literal([1, 2.5, -3]).tolist() == [1.0, 2.5, -3.0]
    assert OFFER.types["Vector"].literal([]).tolist() == []
    assert OFFER.types["Matrix"].literal([[1, 2], [3, 4]]).tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert OFFER.types["MatrixSparse"].literal([[0, 2]]).toarray().tolist() == [[0.0, 2.0]]
    assert OFFER.types["VectorSparse"].literal([0, 2]) == SparseVector.from_dense(np.array([0.0, 2.0]))


def test_between_sparse_and_dense_only_a_value_decides() -> None:
    assert not OFFER.assignable("Matrix", "MatrixSparse")
    assert not OFFER.assignable("MatrixSparse", "Matrix")
    assert OFFER.assignable("Object", "Matrix")
    assert OFFER.types["Matrix"].coerce(as_sparse_matrix([[0, 2]])).tolist() == [[0, 2]]
    assert OFFER.types["Vector"].coerce(as_sparse_vector([0, 2])).tolist() == [0, 2]
    assert OFFER.types["VectorSparse"].coerce(scipy.sparse.csr_array([[0, 2]])) == as_sparse_vector([0, 2])
    assert OFFER.types["Vector"].coerce(scipy.sparse.coo_array([0.0, 2.0])).tolist() == [0, 2]


def test_collections_of_numbers_are_vectors_too() -> None:
    for collection in ("DoubleCollection", "IntCollection", "Array"):
        assert OFFER.assignable(collection, "Vector")
    assert not OFFER.assignable("StringCollection", "Vector")
    assert not OFFER.assignable("LongCollection", "Vector")
    assert OFFER.assignable("VectorCollection", "Matrix")
    assert OFFER.types["Matrix"].coerce([np.ones(2), np.zeros(2)]).tolist() == [[1, 1], [0, 0]]


def test_members_items_and_walking() -> None:
    matrix, vector = np.arange(6.0).reshape(2, 3), np.array([4.0, 0.0, 5.0])
    shown = {
        "Matrix": (matrix, {"Rows": 2, "Columns": 3}),
        "MatrixSparse": (as_sparse_matrix(matrix), {"Rows": 2, "Columns": 3, "NonZeros": 5}),
        "Vector": (vector, {"Length": 3, "Count": 3}),
        "VectorSparse": (as_sparse_vector(vector), {"Length": 3, "Count": 3, "NonZeros": 2}),
    }
    for name, (value, members) in shown.items():
        kind = OFFER.types[name]
        assert {member: kind.members[member].get(value) for member in kind.members} == members
        with pytest.raises(IndexError, match="there are"):
            kind.item(value, 3)
        with pytest.raises(IndexError):
            kind.item(value, -1)
    for name in ("Vector", "VectorSparse"):
        kind, value = OFFER.types[name], shown[name][0]
        assert [kind.item(value, at) for at in range(3)] == [4.0, 0.0, 5.0]
        assert list(kind.items(value)) == [4.0, 0.0, 5.0]
        assert all(type(item) is float for item in kind.items(value))
    for name, element in (("Matrix", "Vector"), ("MatrixSparse", "VectorSparse")):
        kind, value = OFFER.types[name], shown[name][0]
        assert OFFER.types[element].holds(kind.item(value, 1))
        assert [as_vector(row).tolist() for row in kind.items(value)] == matrix.tolist()


def test_text_is_short() -> None:
    texts = [OFFER.types[OFFER.type_of(value).name].text(value) for value in (
        np.array([1.0, 2.5]),
        np.arange(1000.0),
        np.arange(4.0).reshape(2, 2),
        np.zeros((1000, 1000)),
        as_sparse_vector([0, 2.5]),
        as_sparse_matrix([[0, 0], [0, 2.5]]),
        as_sparse_matrix(np.eye(100)),
        as_sparse_matrix([[0, 0]]),
    )]  # fmt: skip
    assert texts[0] == "Vector of 2: [1.0, 2.5]"
    assert texts[1] == "Vector of 1000: [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, …]"
    assert texts[2] == "Matrix of 2 x 2: [[0.0, 1.0], [2.0, 3.0]]"
    assert texts[3].startswith("Matrix of 1000 x 1000: [[0.0, 0.0")
    assert texts[4] == "VectorSparse of 2, 1 not zero: [1]=2.5"
    assert texts[5] == "MatrixSparse of 2 x 2, 1 not zero: [1, 1]=2.5"
    assert texts[6].startswith("MatrixSparse of 100 x 100, 100 not zero: [0, 0]=1.0, [1, 1]=1.0")
    assert texts[7] == "MatrixSparse of 1 x 2, all zero"
    assert max(map(len, texts)) < 400


def test_collections_of_vectors_can_be_compared_and_kept_in_tuples() -> None:
    kind = OFFER.types["VectorCollection"]
    one, other = [np.ones(2), np.zeros(2), None], [np.ones(2), np.zeros(2), None]
    assert kind.equals(one, other)
    assert not kind.equals(one, [np.ones(2), np.ones(2), None])
    assert not kind.equals(one, [np.ones(2), None, None])
    index, row = OFFER.types["Tuple"].adopt((np.int64(3), np.ones(2)), None)
    assert type(index) is int
    assert row.tolist() == [1.0, 1.0]


MALFORMED: list[tuple[str, list[Any]]] = [
    ("column beyond the matrix", [2, 2, [1.0, 2.0], [0, 2], [0, 1, 2]]),
    ("negative column", [2, 2, [1.0, 2.0], [0, -1], [0, 1, 2]]),
    ("columns not rising", [2, 2, [1.0, 2.0], [1, 0], [0, 2, 2]]),
    ("column twice", [2, 2, [1.0, 2.0], [1, 1], [0, 2, 2]]),
    ("rows end too late", [2, 2, [1.0, 2.0], [0, 1], [0, 1, 3]]),
    ("rows go back", [2, 2, [1.0, 2.0], [0, 1], [0, 3, 2]]),
    ("too few rows", [3, 2, [1.0, 2.0], [0, 1], [0, 1, 2]]),
    ("fewer columns than values", [2, 2, [1.0, 2.0], [0], [0, 1, 2]]),
    ("a zero", [2, 2, [1.0, 0.0], [0, 1], [0, 1, 2]]),
    ("negative size", [-1, 2, [], [], []]),
]


@pytest.mark.parametrize("parts", [each[1] for each in MALFORMED], ids=[each[0] for each in MALFORMED])
def test_arrays_that_are_no_matrix_are_refused_on_arrival(parts: list[Any]) -> None:
    rows, columns, data, indices, indptr = parts
    lying = SparseMatrix(rows, columns, np.array(data, float), np.array(indices, "i4"), np.array(indptr, "i4"))
    with pytest.raises(CodecError, match="no sparse matrix"):
        arrived(lying)


def test_a_vector_with_an_index_outside_is_refused_on_arrival() -> None:
    with pytest.raises(CodecError, match="no sparse matrix"):
        arrived(SparseVector(2, np.array([2], "i4"), np.array([1.0])))


# --- constructors ------------------------------------------------------------------------------------------------


def make(name: str, types: tuple[str, ...], *values: Any) -> Any:
    function = OFFER.implementation(name, form_of(name, *types)[0])
    assert function is not None
    return function(*values)


def test_matrix_constructors() -> None:
    expected = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    doubles = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert make("Matrix", ("Int", "Int", "DoubleCollection"), 2, 3, doubles).tolist() == expected
    assert make("Matrix", ("Int", "Int", "Vector"), 2, 3, np.array(doubles)).tolist() == expected
    assert make("Matrix", ("Array",), [[1, 2, 3], [4, 5, 6]]).tolist() == expected
    assert make("Matrix", ("MatrixSparse",), as_sparse_matrix(expected)).tolist() == expected
    assert make("Vector", ("DoubleCollection",), doubles).tolist() == doubles
    assert make("Vector", ("VectorSparse",), as_sparse_vector(doubles)).tolist() == doubles
    sparse = make("VectorSparse", ("Int",), 4, [3, 1], [5.0, 0.0])
    assert sparse == as_sparse_vector([0, 0, 0, 5])
    with pytest.raises(ValueError, match="2 x 3 has 6 values, 5 were given"):
        make("Matrix", ("Int", "Int", "DoubleCollection"), 2, 3, doubles[:5])
    with pytest.raises(ValueError, match="-1 x 3"):
        make("Matrix", ("Int", "Int", "DoubleCollection"), -1, 3, [])


@pytest.mark.parametrize(
    ("indices", "values", "reason"),
    [([0, 4], [1.0, 2.0], "index 4"), ([-1], [1.0], "index -1"), ([1, 1], [1.0, 2.0], "twice"), ([1], [], "0 values")],
)
def test_wrong_sparse_vectors(indices: list[int], values: list[float], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        make("VectorSparse", ("Int",), 4, indices, values)


def sparse_from(rows: int, columns: int, tuples: list[Any]) -> Any:
    return make("MatrixSparse", ("Int", "Int", "TupleCollection"), rows, columns, tuples)


def test_sparse_matrix_of_rows() -> None:
    rows = [(2, np.array([0.0, 5.0])), (0, as_sparse_vector([1, 0]))]
    assert sparse_from(3, 2, rows).toarray().tolist() == [[1, 0], [0, 0], [0, 5]]
    assert sparse_from(2, 2, []).toarray().tolist() == [[0, 0], [0, 0]]
    assert sparse_from(0, 2, []).shape == (0, 2)


def test_sparse_matrix_of_elements() -> None:
    assert sparse_from(2, 2, [(1, 0, 3.0), (0, 1, 2), (1, 1, 0.0)]) == as_sparse_matrix([[0, 2], [3, 0]])


@pytest.mark.parametrize(
    ("tuples", "reason"),
    [
        ([(0, [1.0, 2.0]), (0, [1.0, 2.0])], "item 1: row 0 is given twice"),
        ([(2, [1.0, 2.0])], "row index 2 is outside 0 to 1"),
        ([(True, [1.0, 2.0])], "row index is true"),
        ([(0, [1.0])], "row 0 has length 1, the matrix 2 columns"),
        ([(0, "row")], "item 0"),
        ([(0, [1.0, 2.0]), None], "item 1 is NULL"),
        ([(0, 1, 2.0), (0, 1, 3.0)], "row 0, column 1 is given twice"),
        ([(0, 2, 2.0)], "column index 2"),
        ([(0, [1.0, 2.0]), (0, 1, 2.0)], "item 1 is a tuple of 3 items"),
        ([(0,)], "item 0 is a tuple of 1 items"),
    ],
)
def test_wrong_tuples_of_a_sparse_matrix(tuples: list[Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        sparse_from(2, 2, tuples)


@pytest.mark.parametrize("name", ["Matrix.Random", "MatrixSparse.Random"])
def test_random_matrices_depend_on_the_seed_alone(name: str) -> None:
    one, same, other = (as_matrix(make(name, ("Int",), 40, 50, seed, 0.3)) for seed in (7, 7, 8))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert one.min() >= 0
    assert one.max() <= 1
    assert 0.2 < np.count_nonzero(one) / one.size < 0.4
    assert np.count_nonzero(as_matrix(make(name, ("Int",), 4, 5, 1, 1.0))) == 20
    assert np.count_nonzero(as_matrix(make(name, ("Int",), 4, 5, 1, 0.0))) == 0
    for wrong in ((-1, 5, 1, 0.5), (4, 5, -1, 0.5), (4, 5, 1, 1.5)):
        with pytest.raises(ValueError, match=r"-1|1\.5"):
            make(name, ("Int",), *wrong)


def test_what_is_dense_by_order_alone_has_a_limit() -> None:
    huge = SparseMatrix.from_scipy(scipy.sparse.csr_array((10**6, 10**6)))
    for work in (huge.toarray, lambda: make("Matrix.Identity", ("Int",), 10**6)):
        with pytest.raises(ValueError, match="use a MatrixSparse"):
            work()


# --- rows and columns --------------------------------------------------------------------------------------------


@given(chains())
@properties
def test_rows_and_columns(pair: tuple[Any, Any]) -> None:
    dense = pair[0]
    for matrix in (dense, as_sparse_matrix(dense)):
        assert (call("Matrix.RowCount", matrix), call("Matrix.ColumnCount", matrix)) == dense.shape
        assert [as_vector(row).tolist() for row in call("Matrix.GetRows", matrix)] == dense.tolist()
        assert [as_vector(row).tolist() for row in call("Matrix.GetColumns", matrix)] == dense.T.tolist()
        assert as_vector(call("Matrix.GetRow", matrix, len(dense) - 1)).tolist() == dense[-1].tolist()
        assert as_vector(call("Matrix.GetColumn", matrix, 0)).tolist() == dense[:, 0].tolist()
        assert as_matrix(call("Matrix.Transpose", matrix)).tolist() == dense.T.tolist()
        assert np.array_equal(call("Matrix.ToDense", matrix), dense)
        assert call("Matrix.ToSparse", matrix) == as_sparse_matrix(dense)


def test_a_part_of_the_rows() -> None:
    matrix = np.arange(12.0).reshape(4, 3)
    for value in (matrix, as_sparse_matrix(matrix)):
        assert [as_vector(row).tolist() for row in call("Matrix.GetRows", value, 1, 2)] == matrix[1:3].tolist()
        assert [as_vector(row).tolist() for row in call("Matrix.GetColumns", value, 2)] == [matrix[:, 2].tolist()]
        assert call("Matrix.GetRows", value, 4, 0) == []
        for name, arguments, reason in (
            ("Matrix.GetRow", (4,), "4 x 3 has no row 4: its rows are counted from 0 to 3"),
            ("Matrix.GetRow", (-1,), "no row -1"),
            ("Matrix.GetColumn", (3,), "no column 3"),
            ("Matrix.GetRows", (3, 2), "no 2 rows from 3 on"),
            ("Matrix.GetColumns", (0, -1), "columns"),
        ):
            with pytest.raises(ValueError, match=reason):
                call(name, value, *arguments)


# --- arithmetic --------------------------------------------------------------------------------------------------


def mixtures(left: Any, right: Any) -> list[tuple[Any, Any]]:
    sparse = as_sparse_matrix if left.ndim == 2 else as_sparse_vector
    other = as_sparse_matrix if right.ndim == 2 else as_sparse_vector
    return [(left, right), (left, other(right)), (sparse(left), right), (sparse(left), other(right))]


def plain(value: Any) -> Any:
    return value.toarray() if isinstance(value, (SparseMatrix, SparseVector)) else value


@given(chains())
@properties
def test_products(pair: tuple[Any, Any]) -> None:
    left, right = pair
    for one, other in mixtures(left, right):
        assert np.array_equal(plain(call("Matrix.Multiply", one, other)), left @ right)
    for one, other in mixtures(left, right[:, 0]):
        assert np.array_equal(plain(call("Matrix.Multiply", one, other)), left @ right[:, 0])
    assert isinstance(call("Matrix.Multiply", as_sparse_matrix(left), as_sparse_matrix(right)), SparseMatrix)
    assert call("Matrix.Multiply", as_sparse_matrix(left), as_sparse_matrix(right)) == as_sparse_matrix(left @ right)


@given(chains())
@properties
def test_gustavson_rows_make_the_product(pair: tuple[Any, Any]) -> None:
    left, right = pair
    expected = as_sparse_matrix(scipy.sparse.csr_array(left) @ scipy.sparse.csr_array(right))
    for a, b in mixtures(left, right):
        tuples = [call("GustavsonMultiply", index, row, b) for index, row in enumerate(call("Matrix.GetRows", a))]
        assert [index for index, _ in tuples] == list(range(len(left)))
        assert all(isinstance(row, SparseVector) == isinstance(b, SparseMatrix) for _, row in tuples)
        assert call("MatrixSparse", len(left), right.shape[1], list(reversed(tuples))) == expected


@given(chains())
@properties
def test_sums_and_differences(pair: tuple[Any, Any]) -> None:
    left = pair[0]
    right = np.roll(left, 1)
    for one, other in mixtures(left, right):
        assert np.array_equal(plain(call("Matrix.Add", one, other)), left + right)
        assert np.array_equal(plain(call("Matrix.Subtract", one, other)), left - right)
    for one, other in mixtures(left[0], right[0]):
        assert np.array_equal(plain(call("Vector.Add", one, other)), left[0] + right[0])
        assert np.array_equal(plain(call("Vector.Subtract", one, other)), left[0] - right[0])
        assert call("Vector.Dot", one, other) == left[0] @ right[0]
    nothing = call("Matrix.Subtract", as_sparse_matrix(left), as_sparse_matrix(left))
    assert len(nothing.data) == 0
    for vector in (left[0], as_sparse_vector(left[0])):
        assert call("Vector.Norm", vector) == pytest.approx(np.linalg.norm(left[0]))
        assert call("Vector.Sum", vector) == left[0].sum()


@given(chains(), st.sampled_from([0.0, 0.5, -2.0]))
@properties
def test_numbers_times_values(pair: tuple[Any, Any], factor: float) -> None:
    dense = pair[0]
    for value in (dense, as_sparse_matrix(dense), dense[0], as_sparse_vector(dense[0])):
        name = OFFER.type_of(value).name
        expected = OFFER.types[name].coerce(plain(value) * factor)
        assert OFFER.types[name].equals(call("Matrix.Multiply", value, factor), expected)
        assert OFFER.types[name].equals(call("Matrix.Multiply", factor, value), expected)
        for symbol, left, right in (("*", value, factor), ("*", factor, value)):
            operator = OFFER.operators[symbol, OFFER.type_of(left).name, OFFER.type_of(right).name]
            assert operator.returns == name
            assert operator.apply is not None
            assert OFFER.types[name].equals(operator.apply(left, right), expected)


def test_operators_name_the_form_that_they_call() -> None:
    returns = {(o.left, o.right): o.returns for o in OFFER.operators.values() if o.activity == "Matrix.Multiply"}
    assert returns["Matrix", "Vector"] == "Vector"
    assert returns["MatrixSparse", "MatrixSparse"] == "MatrixSparse"
    assert returns["MatrixSparse", "VectorSparse"] == "VectorSparse"
    for operator in OFFER.operators.values():
        if operator.activity:
            assert form_of(operator.activity, operator.left, operator.right)[1].returns == operator.returns
    divide, negate = OFFER.operators["/", "Matrix", "Int"].apply, OFFER.operators["-", "", "Vector"].apply
    assert divide is not None
    assert negate is not None
    assert divide(np.array([[3.0]]), 2).tolist() == [[1.5]]
    assert negate(None, np.array([3.0])).tolist() == [-3.0]
    with pytest.raises(ValueError, match="a Matrix of 1 x 1 divided by zero"):
        divide(np.array([[3.0]]), 0)


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("Matrix.Multiply", (np.ones((2, 3)), np.ones((2, 2))), "a Matrix of 2 x 3 times a Matrix of 2 x 2"),
        ("Matrix.Multiply", (np.ones((2, 3)), np.ones(2)), "Matrix of 2 x 3 times a Vector of length 2"),
        ("Matrix.Add", (np.ones((2, 3)), as_sparse_matrix(np.ones((3, 2)))), "2 x 3 plus a MatrixSparse of 3 x 2"),
        ("Vector.Subtract", (np.ones(2), np.ones(3)), "length 2 minus a Vector of length 3"),
        ("Vector.Dot", (np.ones(2), as_sparse_vector([1, 2, 3])), "length 2 and a VectorSparse of length 3"),
        ("GustavsonMultiply", (0, np.ones(2), np.ones((3, 4))), "Vector of length 2 .* Matrix of 3 x 4"),
    ],
)
def test_shapes_that_do_not_meet(name: str, values: tuple[Any, ...], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        call(name, *values)


def test_equality() -> None:
    one = np.array([[1.0, 0.0], [0.0, 2.0]])
    near = one + np.array([[1e-9, 0.0], [1e-9, 0.0]])
    for left, right in mixtures(one, near):
        assert not call("Matrix.Equals", left, right)
        assert call("Matrix.Equals", left, right, 1e-8)
        assert not call("Matrix.Equals", left, right, 1e-10)
    for left, right in mixtures(one, one):
        assert call("Matrix.Equals", left, right)
    assert not call("Matrix.Equals", one, np.ones((2, 3)))
    with pytest.raises(ValueError, match="tolerance is -1"):
        call("Matrix.Equals", one, one, -1.0)


def test_too_large_becomes_infinite_without_a_warning() -> None:
    large = np.array([[1e308, 1e308]])
    assert call("Matrix.Add", large, large).tolist() == [[np.inf, np.inf]]
    assert call("Matrix.Multiply", large, large.T).tolist() == [[np.inf]]


def test_longer_work_is_estimated_longer_and_a_standard_call_runs() -> None:
    implementation = REGISTRY.implementations["GustavsonMultiply", 0]
    assert implementation.work is not None
    assert implementation.benchmark is not None
    arguments = implementation.benchmark()
    short, long = (implementation.work(0, as_sparse_vector(row), np.ones((3, 3))) for row in ([0, 1, 0], [1, 1, 1]))
    assert 0 < short < long
    assert implementation.function(*arguments)[0] == 0
    product = REGISTRY.implementations["Matrix.Multiply", 0].work
    assert product is not None
    assert product(np.ones((4, 5)), np.ones((5, 6))) == 4 * 5 * 6


def test_the_language_starts_without_numpy_or_scipy() -> None:
    code = (
        "import sys; from meshwit.plugins.matrices import Matrices; from meshwit.plugins.registry import Registry;"
        "Registry([Matrices()]); sys.exit(bool({'numpy', 'scipy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
