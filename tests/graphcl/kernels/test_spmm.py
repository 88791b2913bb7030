"""`SparseMatrix` and `spmm` against dense algebra."""

import gc
import warnings
import weakref

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcl.errors import ArgumentError
from graphcl.kernels.meta_paths import count_paths
from graphcl.kernels.spmm import SparseMatrix, spmm


@st.composite
def matrices(draw):
    """Edges with repetitions, empty rows, no rows, rectangular shapes; and their dense matrix."""
    rows, columns = draw(st.integers(0, 7)), draw(st.integers(0, 7))
    edges = draw(st.integers(0, 20)) if rows and columns else 0
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    row = torch.randint(max(rows, 1), (edges,), generator=generator)
    column = torch.randint(max(columns, 1), (edges,), generator=generator)
    weight = torch.randn(edges, dtype=torch.float64, generator=generator)
    dense = torch.zeros(rows, columns, dtype=torch.float64)
    for r, c, w in zip(row.tolist(), column.tolist(), weight, strict=True):
        dense[r, c] += w
    return torch.stack([row, column]), weight, (rows, columns), dense


@given(matrices(), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_product_and_gradients_equal_dense(sample, width):
    edge_index, weight, shape, dense = sample
    matrix = SparseMatrix.from_edge_index(edge_index, weight, shape=shape)
    torch.testing.assert_close(matrix.to_dense(), dense)
    torch.testing.assert_close(matrix.T.to_dense(), dense.T)
    x = torch.randn(shape[1], width, dtype=torch.float64, requires_grad=True)
    y = torch.randn(shape[0], width, dtype=torch.float64)
    product = spmm(matrix, x)
    torch.testing.assert_close(product, dense @ x)
    (gradient,) = torch.autograd.grad((product * y).sum(), x)
    torch.testing.assert_close(gradient, dense.T @ y)


@given(matrices())
@settings(max_examples=30, deadline=None)
def test_rows_by_target_is_the_transpose(sample):
    edge_index, weight, shape, dense = sample
    matrix = SparseMatrix.from_edge_index(edge_index, weight, shape=shape, rows="target")
    torch.testing.assert_close(matrix.to_dense(), dense.T)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtypes(dtype):
    edge_index = torch.tensor([[0, 2, 2], [1, 0, 1]])
    matrix = SparseMatrix.from_edge_index(edge_index, shape=(3, 2), dtype=dtype)
    x = torch.randn(2, 4, dtype=dtype)
    assert spmm(matrix, x).dtype == dtype
    torch.testing.assert_close(spmm(matrix, x), matrix.to_dense() @ x)
    torch.testing.assert_close(spmm(matrix, x[:, 0]), matrix.to_dense() @ x[:, 0])


def test_half_precision_is_multiplied_in_the_matrix_dtype():
    matrix = SparseMatrix.from_edge_index(torch.tensor([[0, 0], [0, 1]]), shape=2)
    x = torch.randn(2, 3).bfloat16()
    product = spmm(matrix, x)
    assert product.dtype == torch.bfloat16
    torch.testing.assert_close(product, (matrix.to_dense() @ x.float()).bfloat16())


@pytest.mark.parametrize("symmetric", [False, True])
def test_gradcheck_for_dense_and_values(symmetric):
    edge_index = torch.tensor([[3, 0, 1, 1, 2], [3, 1, 0, 2, 1]])
    reverse = torch.tensor([0, 2, 1, 4, 3])
    weight = torch.randn(5, dtype=torch.float64, requires_grad=True)
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)

    def product(values, dense):
        if symmetric:
            values = values + values[reverse]
        matrix = SparseMatrix.from_edge_index(
            edge_index, values, shape=4, symmetric=symmetric, rows="target"
        )
        return spmm(matrix, dense)

    assert torch.autograd.gradcheck(product, (weight, x))
    assert torch.autograd.gradgradcheck(product, (weight, x))


def test_gradient_flows_through_normalisation():
    edge_index = torch.tensor([[0, 1, 2, 2], [1, 2, 0, 1]])
    weight = torch.rand(4, dtype=torch.float64).add(0.5).requires_grad_()
    x = torch.randn(4, 2, dtype=torch.float64)

    def product(values):
        matrix = SparseMatrix.from_edge_index(edge_index, values, shape=4)
        return spmm(matrix.normalised("gcn", self_loops=True), x)

    assert torch.autograd.gradcheck(product, weight)


def test_trainable_values_follow_in_place_updates():
    edge_index = torch.tensor([[0, 0, 2], [1, 2, 0]])
    weight = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    matrix = SparseMatrix.from_edge_index(edge_index, shape=3).with_value(weight)
    dense = torch.tensor([[0.0, 1.0, 2.0], [0.0, 0.0, 0.0], [3.0, 0.0, 0.0]])
    x = torch.randn(3, 2, requires_grad=True)
    y = torch.randn(3, 2)
    for factor in (1.0, 4.0):
        with torch.no_grad():
            weight.mul_(factor)
        torch.testing.assert_close(matrix.T.to_dense(), factor * dense.T)
        product = spmm(matrix, x)
        torch.testing.assert_close(product, factor * dense @ x)
        (gradient,) = torch.autograd.grad((product * y).sum(), x)
        torch.testing.assert_close(gradient, factor * dense.T @ y)


def test_sorted_edges_are_not_sorted_again(monkeypatch):
    edge_index = torch.tensor([[0, 0, 1, 3], [3, 1, 2, 0]])

    def refuse(*_, **__):
        raise AssertionError("sorted although the rows were sorted")

    monkeypatch.setattr(scipy.sparse, "csr_matrix", refuse)
    monkeypatch.setattr(torch, "argsort", refuse)
    matrix = SparseMatrix.from_edge_index(edge_index, shape=4)
    assert matrix.column.tolist() == [3, 1, 2, 0]
    with pytest.raises(AssertionError, match="sorted although"):
        SparseMatrix.from_edge_index(edge_index.flip(1), shape=4)


def test_transpose_is_cached_both_ways_without_a_cycle():
    matrix = SparseMatrix.from_edge_index(torch.tensor([[0, 1], [1, 2]]), shape=3)
    assert matrix.T is matrix.T
    assert matrix.T.T is matrix
    alive = weakref.ref(matrix)
    gc.disable()
    try:
        del matrix
        assert alive() is None
    finally:
        gc.enable()


def test_transpose_outlives_its_origin():
    transposed = SparseMatrix.from_edge_index(torch.tensor([[0, 1], [1, 2]]), shape=3).T
    torch.testing.assert_close(transposed.T.to_dense(), transposed.to_dense().T)


def _reference_normalised(dense, kind, self_loops):
    dense = dense.clone()
    if self_loops:
        for i in range(dense.shape[0]):
            if dense[i, i] == 0:
                dense[i, i] = 1
    result = torch.zeros_like(dense)
    for i in range(dense.shape[0]):
        for j in range(dense.shape[1]):
            if dense[i, j] == 0:
                continue
            row = dense[i].sum()
            other = {"symmetric": dense[:, j].sum(), "gcn": dense[j].sum(), "row": row}[kind]
            result[i, j] = dense[i, j] / (row * other).sqrt() if other > 0 else 0
    return result


@pytest.mark.parametrize("kind", ["symmetric", "gcn", "row"])
@pytest.mark.parametrize("self_loops", [False, True])
def test_normalised_equals_the_formula(kind, self_loops):
    generator = torch.Generator().manual_seed(3)
    dense = torch.rand(6, 6, generator=generator, dtype=torch.float64)
    dense = torch.where(torch.rand(6, 6, generator=generator) < 0.4, dense, 0)
    dense[4] = 0
    dense[2, 2] = 0.7
    edge_index = dense.nonzero().T
    matrix = SparseMatrix.from_edge_index(edge_index, dense[edge_index[0], edge_index[1]], shape=6)
    expected = _reference_normalised(dense, kind, self_loops)
    actual = matrix.normalised(kind, self_loops=self_loops)
    torch.testing.assert_close(actual.to_dense(), expected)


def test_normalised_rectangular_divides_by_both_degrees():
    r = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    matrix = SparseMatrix.from_edge_index(r.nonzero().T, shape=(2, 3)).normalised()
    user, item = r.sum(1), r.sum(0).clamp(min=1)
    torch.testing.assert_close(matrix.to_dense(), r / (user[:, None] * item).sqrt())


def test_self_loops_on_edgeless_and_empty_graphs():
    none = torch.empty(2, 0, dtype=torch.long)
    torch.testing.assert_close(
        SparseMatrix.from_edge_index(none, shape=3).with_self_loops().to_dense(), torch.eye(3)
    )
    assert SparseMatrix.from_edge_index(none, shape=0).with_self_loops().entries == 0


def test_scipy_round_trip_copies():
    original = scipy.sparse.random(5, 4, 0.5, format="coo", random_state=0, dtype=np.float64)
    matrix = SparseMatrix.from_scipy(original)
    np.testing.assert_allclose(matrix.to_scipy().toarray(), original.toarray())
    csr = original.tocsr()
    copied = SparseMatrix.from_scipy(csr)
    copied.value.zero_()
    assert csr.data.any()
    integers = SparseMatrix.from_scipy(scipy.sparse.csr_matrix(np.eye(2, dtype=np.int64)))
    assert integers.dtype == torch.float32


def test_a_scipy_matrix_is_a_copy() -> None:
    """scipy's methods sort and sum in place: a meta-path of one step changed its own step."""
    edges = torch.tensor([[0, 0, 0, 1], [2, 0, 2, 1]])
    value = torch.tensor([1.0, 2.0, 3.0, 4.0])
    matrix = SparseMatrix.from_edge_index(edges, value, shape=(2, 3))
    kept = matrix.value.clone(), matrix.column.clone(), matrix.row_pointer.clone()
    matrix.to_scipy().sum_duplicates()
    count_paths([matrix])
    for now, before in zip((matrix.value, matrix.column, matrix.row_pointer), kept, strict=True):
        assert torch.equal(now, before)


def test_conversion_of_dtype_keeps_symmetry():
    matrix = SparseMatrix.from_edge_index(
        torch.tensor([[0, 1], [1, 0]]), shape=2, symmetric=True
    ).to(dtype=torch.float64)
    assert matrix.dtype == torch.float64
    assert matrix.T is matrix
    assert matrix.to() is matrix


def test_no_beta_warning_and_no_change_of_filters():
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        matrix = SparseMatrix.from_edge_index(torch.tensor([[0], [0]]), shape=1)
        spmm(matrix, torch.ones(1, 1))
    assert not caught
    assert warnings.filters == before


@pytest.mark.parametrize(
    ("edge_index", "settings_", "message"),
    [
        (torch.tensor([[0, 3], [0, 0]]), {}, r"source id 3 .* \[0, 3\)"),
        (torch.tensor([[0, 1], [0, -1]]), {}, "target id -1"),
        (torch.tensor([[0.0], [1.0]]), {}, "integers"),
        (torch.tensor([0, 1]), {}, r"\(2, E\)"),
        (torch.tensor([[0], [1]]), {"weight": torch.ones(2)}, "weight must have shape"),
        (torch.tensor([[0], [1]]), {"weight": torch.ones(1).long()}, "floating"),
        (torch.tensor([[0], [1]]), {"rows": "both"}, "rows must be"),
    ],
)
def test_bad_edges_are_refused(edge_index, settings_, message):
    with pytest.raises(ArgumentError, match=message):
        SparseMatrix.from_edge_index(edge_index, shape=3, **settings_)


def test_bad_products_are_refused():
    matrix = SparseMatrix.from_edge_index(torch.tensor([[0], [1]]), shape=(2, 3))
    with pytest.raises(ArgumentError, match=r"\(3, d\)"):
        spmm(matrix, torch.ones(2, 1))
    with pytest.raises(ArgumentError, match="dtype"):
        spmm(matrix, torch.ones(3, 1, dtype=torch.float64))
    with pytest.raises(ArgumentError, match="square"):
        matrix.normalised("gcn")
    with pytest.raises(ArgumentError, match="square"):
        matrix.with_self_loops()
    with pytest.raises(ArgumentError, match="kind"):
        matrix.normalised("columns")
    with pytest.raises(ArgumentError, match="scipy"):
        SparseMatrix.from_scipy(np.eye(2))
