"""`diffuse_edges` against the closed forms."""

import pytest
import torch
from torch_geometric.data import Data

from graphcl.errors import ArgumentError
from graphcl.views import DiffuseEdges, diffuse_edges


def random_graph(nodes=15, edges=40, seed=0):
    edge_index = torch.randint(nodes, (2, edges), generator=torch.Generator().manual_seed(seed))
    edge_index = edge_index[:, edge_index[0] != edge_index[1]]
    return torch.cat([edge_index, edge_index.flip(0)], 1).unique(dim=1)


def transition(edge_index, nodes):
    dense = torch.eye(nodes, dtype=torch.float64)
    dense[edge_index[0], edge_index[1]] = 1
    scale = dense.sum(1).rsqrt()
    return scale[:, None] * dense * scale


def closed_form(edge_index, nodes, kernel, alpha=0.15, time=5.0):
    t = transition(edge_index, nodes)
    eye = torch.eye(nodes, dtype=torch.float64)
    if kernel == "ppr":
        return alpha * torch.linalg.inv(eye - (1 - alpha) * t)
    return torch.linalg.matrix_exp(time * (t - eye))


@pytest.mark.parametrize("kernel", ["ppr", "heat"])
@pytest.mark.parametrize("block", [4, 1024])
def test_equals_the_closed_form(kernel, block):
    edge_index = random_graph()
    expected = closed_form(edge_index, 15, kernel)
    source_target, weight = diffuse_edges(
        edge_index, num_nodes=15, kernel=kernel, top_k=15, block=block
    )
    found = torch.zeros(15, 15, dtype=torch.float64)
    found[source_target[0], source_target[1]] = weight.double()
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


def test_long_diffusion_times_do_not_vanish():
    """e^-time is 0 in floating point, and the graph is in its stationary state."""
    edge_index = random_graph()
    pairs, weight = diffuse_edges(edge_index, num_nodes=15, kernel="heat", time=1000.0, top_k=15)
    found = torch.zeros(15, 15, dtype=torch.float64)
    found[pairs[0], pairs[1]] = weight.double()
    # The eigenvector of the eigenvalue 1: roots of the degrees, self-loops included.
    leading = (1 + torch.bincount(edge_index[0], minlength=15)).double().sqrt()
    expected = torch.outer(leading, leading) / leading.square().sum()
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


def test_top_k_keeps_the_largest_of_every_target():
    edge_index = random_graph()
    expected = closed_form(edge_index, 15, "ppr")
    source_target, _ = diffuse_edges(edge_index, num_nodes=15, top_k=3)
    for node in range(15):
        sources = source_target[0][source_target[1] == node]
        assert set(sources.tolist()) == set(expected[:, node].topk(3).indices.tolist())


def test_threshold_keeps_what_is_large_enough_and_symmetry():
    edge_index = random_graph()
    expected = closed_form(edge_index, 15, "heat")
    source_target, weight = diffuse_edges(
        edge_index, num_nodes=15, kernel="heat", top_k=None, threshold=0.05
    )
    assert (weight >= 0.05).all()
    assert weight.numel() == int((expected >= 0.05).sum())
    view = DiffuseEdges("heat", top_k=None, threshold=0.05)(
        Data(edge_index=edge_index, num_nodes=15)
    )
    assert view.is_undirected()
    assert torch.equal(view.edge_index, source_target)


def test_isolated_nodes_keep_themselves_and_sorted_by_target():
    source_target, weight = diffuse_edges(torch.tensor([[0, 1], [1, 0]]), num_nodes=3)
    assert source_target.tolist() == [[0, 1, 0, 1, 2], [0, 0, 1, 1, 2]]
    assert weight[-1].item() == pytest.approx(1, abs=1e-4)
    empty, none = diffuse_edges(torch.empty(2, 0, dtype=torch.long), num_nodes=0)
    assert empty.shape == (2, 0)
    assert none.shape == (0,)


def test_old_edge_attributes_do_not_survive():
    data = Data(
        x=torch.eye(3),
        edge_index=torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]),
        edge_attr=torch.ones(4, 2),
    )
    view = DiffuseEdges(top_k=2)(data)
    assert "edge_attr" not in view
    assert view.edge_weight.shape == (view.num_edges,)
    assert torch.equal(view.x, data.x)
    assert "edge_weight" not in data


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kernel": "markov"}, "kernel"),
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": 1.5}, "alpha"),
        ({"time": 0.0}, "time"),
        ({"top_k": 0}, "top_k"),
        ({"top_k": None}, "give top_k or threshold"),
        ({"threshold": -1.0}, "threshold"),
        ({"alpha": 1e-4}, "10000 terms, got alpha=0.0001, of which they leave 0.37"),
        ({"kernel": "heat", "time": 2e4}, "10000 terms, got time=20000"),
    ],
)
def test_misuse_is_refused(settings, message):
    with pytest.raises(ArgumentError, match=message):
        DiffuseEdges(**settings)
    with pytest.raises(ArgumentError, match=message):
        diffuse_edges(torch.tensor([[0], [1]]), num_nodes=2, **settings)
