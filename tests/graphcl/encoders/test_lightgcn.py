"""LightGCN's propagation against dense powers and PyG's `LightGCN`."""

import pytest
import torch
from torch_geometric.nn import LightGCN

from graphcl.encoders import bipartite_adjacency, propagate, propagate_layers
from graphcl.errors import ArgumentError
from graphcl.kernels.spmm import SparseMatrix


def interactions(dtype=torch.float64):
    # User 3 and item 0 have no interactions.
    edge_index = torch.tensor([[0, 0, 1, 2, 2], [1, 2, 2, 3, 1]])
    return SparseMatrix.from_edge_index(edge_index, shape=(4, 5), dtype=dtype)


def test_bipartite_adjacency():
    r = interactions()
    dense = torch.zeros(9, 9, dtype=torch.float64)
    dense[:4, 4:] = r.to_dense()
    dense[4:, :4] = r.to_dense().T
    square = bipartite_adjacency(r)
    assert square.symmetric
    torch.testing.assert_close(square.to_dense(), dense)
    torch.testing.assert_close(square.normalised().to_dense()[:4, 4:], r.normalised().to_dense())


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_readouts_equal_dense_powers(layers):
    matrix = bipartite_adjacency(interactions()).normalised()
    dense = matrix.to_dense()
    x = torch.randn(9, 3, dtype=torch.float64, requires_grad=True)
    powers = [torch.linalg.matrix_power(dense, k) @ x for k in range(layers + 1)]
    expected = {
        "sum": torch.stack(powers).sum(0),
        "mean": torch.stack(powers).mean(0),
        "last": powers[-1],
    }
    weight = torch.randn(9, 3, dtype=torch.float64)
    for readout, value in expected.items():
        found = propagate(matrix, x, layers, readout=readout)
        torch.testing.assert_close(found, value)
        ours, theirs = (
            torch.autograd.grad((out * weight).sum(), x, retain_graph=True)[0]
            for out in (found, value)
        )
        torch.testing.assert_close(ours, theirs)
    for found, value in zip(propagate_layers(matrix, x, layers), powers, strict=True):
        torch.testing.assert_close(found, value)


def test_equals_pyg():
    r = interactions(torch.float32)
    square = bipartite_adjacency(r)
    model = LightGCN(9, 6, num_layers=3)
    edge_index = torch.stack([square.row, square.column])
    found = propagate(square.normalised(), model.embedding.weight, 3)
    torch.testing.assert_close(found, model.get_embedding(edge_index))


def test_misuse_is_refused():
    matrix = bipartite_adjacency(interactions())
    x = torch.ones(9, 2, dtype=torch.float64)
    with pytest.raises(ArgumentError, match="readout"):
        propagate(matrix, x, 2, readout="max")
    with pytest.raises(ArgumentError, match="layers"):
        propagate(matrix, x, -1)
    with pytest.raises(ArgumentError, match="square"):
        propagate(interactions(), x, 1)
