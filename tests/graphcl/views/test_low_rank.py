"""`LowRank` against the dense truncated decomposition."""

import pytest
import torch
from torch_geometric.data import Data, HeteroData

from graphcl.errors import ArgumentError
from graphcl.kernels.sparse_matrix import SparseMatrix
from graphcl.views import LowRank, LowRankView, low_rank_view


def bipartite(users=30, items=20, edges=150, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.stack(
        [
            torch.randint(users, (edges,), generator=generator),
            torch.randint(items, (edges,), generator=generator),
        ]
    )


def dense_truncation(dense, rank):
    left, singular, right = torch.linalg.svd(dense, full_matrices=False)
    return left[:, :rank] * singular[:rank] @ right[:rank]


def test_products_equal_the_dense_truncation():
    matrix = SparseMatrix.from_edge_index(bipartite(), shape=(30, 20), dtype=torch.float64)
    matrix = matrix.normalised()
    view = low_rank_view(matrix, 4, iterations=20)
    expected = dense_truncation(matrix.to_dense(), 4)
    items = torch.randn(20, 3, dtype=torch.float64, requires_grad=True)
    users = torch.randn(30, 3, dtype=torch.float64)
    torch.testing.assert_close(view.matmul(items), expected @ items)
    torch.testing.assert_close(view @ items, expected @ items)
    torch.testing.assert_close(view.T.matmul(users), expected.T @ users)
    torch.testing.assert_close(view.matmul(items[:, 0]), expected @ items[:, 0])
    assert (view.shape, view.T.shape, view.rank) == ((30, 20), (20, 30), 4)
    (gradient,) = torch.autograd.grad((view.matmul(items) * users).sum(), items)
    torch.testing.assert_close(gradient, expected.T @ users)


def test_nothing_of_size_m_by_n_is_formed():
    many = 200_000
    view = LowRank(torch.ones(many, 2), torch.ones(2), torch.ones(many, 2))
    assert view.matmul(torch.ones(many, 1)).shape == (many, 1)


def test_transform_on_a_square_graph():
    edge_index = bipartite(25, 25)
    edge_index = torch.cat([edge_index, edge_index.flip(0)], 1)
    data = Data(x=torch.eye(25), edge_index=edge_index)
    view = LowRankView(3, iterations=20, generator=torch.Generator().manual_seed(0))(data)
    assert "low_rank" not in data
    assert view.edge_index is data.edge_index
    dense = SparseMatrix.from_edge_index(edge_index, shape=25).normalised().to_dense()
    torch.testing.assert_close(
        view.low_rank.matmul(data.x), dense_truncation(dense, 3), atol=1e-3, rtol=1e-3
    )
    moved = view.to("cpu")
    assert torch.equal(moved.low_rank.left, view.low_rank.left)
    assert view.low_rank.to(torch.float64).singular.dtype == torch.float64


def test_transform_on_a_bipartite_heterogeneous_graph():
    data = HeteroData()
    data["user"].num_nodes = 31
    data["item"].num_nodes = 22
    data["user", "buys", "item"].edge_index = bipartite()
    view = LowRankView(3)(data)
    assert view["user", "buys", "item"].low_rank.shape == (31, 22)
    assert "low_rank" not in data["user", "buys", "item"]
    data["item", "bought", "user"].edge_index = bipartite().flip(0)
    with pytest.raises(ArgumentError, match="name one edge_type"):
        LowRankView(3)(data)
    named = LowRankView(3, edge_type=("item", "bought", "user"))(data)
    assert named["item", "bought", "user"].low_rank.shape == (22, 31)


def test_misuse_is_refused():
    for rank in (0, 1.0, True):
        with pytest.raises(ArgumentError, match="rank must be an integer of at least 1"):
            LowRankView(rank)
    with pytest.raises(ArgumentError, match="Data or HeteroData, got dict"):
        LowRankView(1)({})
    data = Data(x=torch.eye(3), edge_index=torch.tensor([[0], [1]]))
    with pytest.raises(ArgumentError, match=r"rank must be in \[1, 3\]"):
        LowRankView(4)(data)
    with pytest.raises(ArgumentError, match="edge_type must be one of"):
        LowRankView(1, edge_type=("a", "to", "b"))(data)
    view = LowRankView(2)(data)
    with pytest.raises(ArgumentError, match=r"\(3, d\)"):
        view.low_rank.matmul(torch.ones(4, 1))
