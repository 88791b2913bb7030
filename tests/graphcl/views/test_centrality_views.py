"""Centralities against networkx; GCA's probabilities against slow loops."""

import math

import networkx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data

from graphcl.errors import ArgumentError
from graphcl.views import (
    AddCentrality,
    DropEdgesByCentrality,
    MaskFeaturesByCentrality,
    centrality_keep_probability,
    drop_edges_by_centrality,
    feature_mask_probability,
    node_centrality,
)


def edges_of(graph):
    edges = torch.tensor(list(graph.edges), dtype=torch.long).T
    if graph.is_directed():
        return edges
    return torch.cat([edges, edges.flip(0)], 1)


def as_vector(values, nodes):
    return torch.tensor([values[i] for i in range(nodes)], dtype=torch.float32)


@pytest.mark.parametrize("directed", [False, True])
def test_pagerank_equals_networkx(directed):
    graph = networkx.gnp_random_graph(40, 0.08, seed=2, directed=directed)
    expected = networkx.pagerank(graph, tol=1e-12, max_iter=500)
    found = node_centrality(edges_of(graph), 40, "pagerank")
    torch.testing.assert_close(found, as_vector(expected, 40), atol=1e-6, rtol=1e-5)
    assert found.sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    "graph",
    [networkx.karate_club_graph(), networkx.star_graph(6), networkx.complete_bipartite_graph(3, 4)],
)
def test_eigenvector_equals_networkx(graph):
    nodes = graph.number_of_nodes()
    expected = networkx.eigenvector_centrality_numpy(graph)
    found = node_centrality(edges_of(graph), nodes, "eigenvector")
    torch.testing.assert_close(found, as_vector(expected, nodes), atol=1e-5, rtol=1e-4)


def test_degree_counts_incoming_edges():
    edge_index = torch.tensor([[0, 1, 2, 2], [1, 1, 1, 0]])
    assert node_centrality(edge_index, 4).tolist() == [1, 3, 0, 0]


@pytest.mark.parametrize("kind", ["degree", "eigenvector", "pagerank"])
@pytest.mark.parametrize("nodes", [0, 1, 3])
def test_no_edges(kind, nodes):
    found = node_centrality(torch.empty(2, 0, dtype=torch.long), nodes, kind)
    assert found.shape == (nodes,)
    assert torch.isfinite(found).all()


def slow_keep_probability(edge_index, centrality, rate, threshold, directed):
    scores = []
    for u, v in edge_index.T.tolist():
        phi_u, phi_v = centrality[u].item(), centrality[v].item()
        scores.append(math.log(max(phi_v if directed else (phi_u + phi_v) / 2, 1e-8)))
    high, mean = max(scores), sum(scores) / len(scores)
    return torch.tensor(
        [1 - min((high - s) / (high - mean) * rate, threshold) for s in scores],
        dtype=torch.float64,
    )


@given(st.integers(1, 8), st.integers(1, 30), st.integers(0, 9999), st.floats(0, 1), st.booleans())
@settings(max_examples=60, deadline=None)
def test_keep_probability_equals_the_slow_loop(nodes, edges, seed, rate, directed):
    source = torch.Generator().manual_seed(seed)
    edge_index = torch.randint(nodes, (2, edges), generator=source)
    centrality = torch.rand(nodes, generator=source, dtype=torch.float64)
    found = centrality_keep_probability(edge_index, centrality, rate, 0.7, directed=directed)
    try:
        expected = slow_keep_probability(edge_index, centrality, rate, 0.7, directed)
    except ZeroDivisionError:
        expected = torch.full_like(found, 1 - min(rate, 0.7))
    # What an edge's weight depends on: its target, or both ends in either order.
    if (
        len({e[1:] if directed else tuple(sorted(e)) for e in map(tuple, edge_index.T.tolist())})
        > 1
    ):
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    else:
        # One distinct weight: the loop's rounding decides between 0/0 and noise.
        torch.testing.assert_close(found, torch.full_like(found, 1 - min(rate, 0.7)))


def test_feature_probability_is_gca_s():
    x = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0], [1.0, 1.0, 0.0]], dtype=torch.float64)
    phi = torch.tensor([3.0, 1.0, 2.0], dtype=torch.float64)
    score = (x.T @ phi).log()
    expected = (0.3 * (score.max() - score) / (score.max() - score.mean())).clamp(max=0.7)
    torch.testing.assert_close(feature_mask_probability(x, phi, 0.3), expected)


def test_feature_probability_knows_no_unit():
    x = torch.rand(6, 4, generator=torch.Generator().manual_seed(0))
    phi = torch.arange(1.0, 7)
    for size in (1e-30, 1e30, 2e38):
        torch.testing.assert_close(
            feature_mask_probability(size * x, phi, 0.3), feature_mask_probability(x, phi, 0.3)
        )


def test_hubs_keep_their_edges():
    # A wheel: spokes touch the hub, the rim does not.
    data = Data(x=torch.eye(21), edge_index=edges_of(networkx.wheel_graph(21)))
    for kind in ("degree", "eigenvector", "pagerank"):
        view = DropEdgesByCentrality(
            0.3, centrality=kind, generator=torch.Generator().manual_seed(0)
        )(data)
        spokes = (view.edge_index == 0).any(0).sum()
        assert spokes == 40
        assert view.num_edges < data.num_edges
        masked = MaskFeaturesByCentrality(
            0.5, centrality=kind, generator=torch.Generator().manual_seed(0)
        )(data)
        assert masked.x[0, 0] == 1
        assert masked.x.sum() < 21


def test_directed_draws_each_direction():
    edge_index = edges_of(networkx.barabasi_albert_graph(100, 3, seed=0))
    centrality = node_centrality(edge_index, 100)
    for keep_undirected in (True, False):
        _, kept = drop_edges_by_centrality(
            edge_index,
            0.4,
            centrality=centrality,
            generator=torch.Generator().manual_seed(0),
            keep_undirected=keep_undirected,
        )
        assert torch.equal(*kept.chunk(2)) == keep_undirected


def test_misuse_is_refused():
    with pytest.raises(ArgumentError, match="centrality must be one of degree"):
        DropEdgesByCentrality(0.1, centrality="closeness")
    with pytest.raises(ArgumentError, match="centrality must be one of degree"):
        node_centrality(torch.tensor([[0], [1]]), 2, "closeness")
    with pytest.raises(ArgumentError, match="threshold"):
        DropEdgesByCentrality(0.1, threshold=2)


def test_a_stored_centrality_is_read():
    data = Data(x=torch.eye(21), edge_index=edges_of(networkx.wheel_graph(21)))
    stored = AddCentrality("pagerank")(data)
    assert "pagerank_centrality" not in data
    assert torch.equal(stored.pagerank_centrality, node_centrality(data.edge_index, 21, "pagerank"))
    assert AddCentrality("pagerank")(stored).pagerank_centrality is stored.pagerank_centrality
    # As if the last spoke were the hub.
    stored.pagerank_centrality = stored.pagerank_centrality.flip(0)
    for view in (DropEdgesByCentrality, MaskFeaturesByCentrality):
        made = [
            view(0.5, centrality="pagerank", generator=torch.Generator().manual_seed(0))(each)
            for each in (data, stored)
        ]
        assert made[0].x.tolist() != made[1].x.tolist() or made[0].num_edges != made[1].num_edges
    stored.pagerank_centrality = torch.ones(3)
    with pytest.raises(ArgumentError, match=r"data\.pagerank_centrality"):
        DropEdgesByCentrality(0.5, centrality="pagerank")(stored)
