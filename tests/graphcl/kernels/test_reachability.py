"""Reachability against powers of a dense matrix."""

from __future__ import annotations

import pytest
import torch

from graphcl.errors import ArgumentError
from graphcl.kernels.reachability import reachability
from graphcl.kernels.sparse_matrix import SparseMatrix

# Node 4 is isolated; node 0 has a self-loop already.
EDGES = torch.tensor([[0, 0, 1, 1, 2, 2, 3], [0, 1, 0, 2, 1, 3, 2]])


@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("cumulative", [True, False])
def test_sums_of_powers_of_the_walk(order: int, cumulative: bool) -> None:
    dense = torch.zeros(5, 5)
    dense[EDGES[0], EDGES[1]] = 1
    dense.fill_diagonal_(1)
    walk = dense / dense.sum(dim=1, keepdim=True)
    powers = [torch.linalg.matrix_power(walk, k) for k in range(1, order + 1)]
    matrix = SparseMatrix.from_edge_index(EDGES, shape=5, rows="source")
    got = reachability(matrix, order, cumulative=cumulative).to_dense()
    torch.testing.assert_close(got, sum(powers) if cumulative else powers[-1])


def test_mistakes_are_named() -> None:
    matrix = SparseMatrix.from_edge_index(EDGES, shape=5)
    with pytest.raises(ArgumentError, match="order must be at least 1; got 0"):
        reachability(matrix, 0)
    with pytest.raises(ArgumentError, match="adjacency must be square"):
        reachability(SparseMatrix.from_edge_index(EDGES, shape=(5, 6)), 1)
