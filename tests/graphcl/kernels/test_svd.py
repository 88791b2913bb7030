"""`truncated_svd` against numpy's dense decomposition."""

import numpy as np
import pytest
import torch

from graphcl.errors import ArgumentError
from graphcl.kernels.sparse_matrix import SparseMatrix
from graphcl.kernels.svd import truncated_svd


def _random(rows, columns, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    dense = torch.where(torch.rand(rows, columns, generator=generator) < 0.3, 1.0, 0.0)
    edge_index = dense.nonzero().T
    return SparseMatrix.from_edge_index(edge_index, shape=(rows, columns), dtype=dtype).normalised()


@pytest.mark.parametrize("shape", [(40, 25), (25, 40), (30, 30)])
def test_equals_dense_svd(shape):
    matrix = _random(*shape)
    dense = matrix.to_dense().numpy()
    expected = np.linalg.svd(dense, compute_uv=False)[:6]
    left, singular, right = truncated_svd(matrix, 6, iterations=12)
    np.testing.assert_allclose(singular, expected, rtol=1e-9)
    residual = np.linalg.norm(dense - (left * singular @ right.T).numpy())
    optimum = np.linalg.norm(np.linalg.svd(dense, compute_uv=False)[6:])
    assert residual == pytest.approx(optimum, rel=1e-9)
    eye = torch.eye(6, dtype=torch.float64)
    torch.testing.assert_close(left.T @ left, eye)
    torch.testing.assert_close(right.T @ right, eye)


@pytest.mark.parametrize("shape", [(300, 200), (200, 300)])
@pytest.mark.parametrize("iterations", [0, 1, 2])
def test_power_is_torch_svd_lowrank(shape, iterations):
    matrix = _random(*shape)
    torch.manual_seed(5)
    left, singular, right = torch.svd_lowrank(matrix.to_dense(), 5, niter=iterations)
    ours = truncated_svd(
        matrix,
        5,
        method="power",
        iterations=iterations,
        generator=torch.Generator().manual_seed(5),
    )
    torch.testing.assert_close(ours.singular, singular)
    torch.testing.assert_close(ours.left.abs(), left.abs())
    torch.testing.assert_close(ours.right.abs(), right.abs())


def test_krylov_default_is_more_accurate_than_power_default():
    matrix = _random(300, 200)
    expected = torch.linalg.svdvals(matrix.to_dense())[:5]
    errors = {}
    for method in ("krylov", "power"):
        generator = torch.Generator().manual_seed(0)
        found = truncated_svd(matrix, 5, method=method, generator=generator).singular
        errors[method] = ((expected - found) / expected).abs().max().item()
    assert errors["krylov"] < 0.01 < errors["power"]


def test_same_seed_same_result_and_sign():
    matrix = _random(50, 30, dtype=torch.float32)
    first, second = (
        truncated_svd(matrix, 4, generator=torch.Generator().manual_seed(1)) for _ in range(2)
    )
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)
    other = truncated_svd(matrix, 4, iterations=15, generator=torch.Generator().manual_seed(2))
    exact = truncated_svd(matrix, 4, iterations=15, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(other.left, exact.left, atol=1e-3, rtol=1e-3)
    peak = first.left.gather(0, first.left.abs().argmax(0, keepdim=True))
    assert (peak > 0).all()


@pytest.mark.parametrize("method", ["krylov", "power"])
def test_isolated_nodes_low_rank_and_no_edges(method):
    edge_index = torch.tensor([[0, 0, 2], [1, 3, 1]])
    matrix = SparseMatrix.from_edge_index(edge_index, shape=(5, 4), dtype=torch.float64)
    left, singular, right = truncated_svd(matrix.normalised(), 4, method=method, iterations=5)
    rebuilt = left * singular @ right.T
    torch.testing.assert_close(rebuilt, matrix.normalised().to_dense())
    assert singular[2:].abs().max() < 1e-12
    assert rebuilt[[1, 3, 4]].abs().max() < 1e-12
    nothing = SparseMatrix.from_edge_index(torch.empty(2, 0, dtype=torch.long), shape=(3, 3))
    found = truncated_svd(nothing, 2, method=method)
    assert not found.singular.any()
    assert torch.isfinite(found.left).all()


def test_full_rank_is_exact():
    matrix = _random(7, 5)
    left, singular, right = truncated_svd(matrix, 5)
    torch.testing.assert_close(left * singular @ right.T, matrix.to_dense())


@pytest.mark.parametrize(
    ("rank", "settings", "message"),
    [
        (0, {}, r"rank must be in \[1, 3\]"),
        (4, {}, "got 4"),
        (1.0, {}, "rank must be an integer, got 1.0"),
        (1, {"iterations": -1}, "negative"),
        (1, {"oversampling": -1}, "negative"),
        (1, {"method": "exact"}, "method"),
    ],
)
def test_bad_arguments(rank, settings, message):
    matrix = SparseMatrix.from_edge_index(torch.tensor([[0], [1]]), shape=(3, 4))
    with pytest.raises(ArgumentError, match=message):
        truncated_svd(matrix, rank, **settings)
