"""Community detection and strength against slow loops and networkx's modularity."""

import importlib.util

import networkx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcl.errors import ArgumentError
from graphcl.kernels.communities import community_strength, detect_communities


def both_directions(edges):
    """(2, E) with every edge in both directions and each self-loop once."""
    pairs = {tuple(sorted(edge)) for edge in edges}
    listed = sorted({(a, b) for a, b in pairs} | {(b, a) for a, b in pairs})
    return torch.tensor(listed, dtype=torch.long).reshape(-1, 2).T


@st.composite
def labelled_graphs(draw):
    nodes = draw(st.integers(1, 9))
    node = st.integers(0, nodes - 1)
    edges = draw(st.lists(st.tuples(node, node), max_size=20))
    labels = draw(st.lists(st.integers(0, 3), min_size=nodes, max_size=nodes))
    return nodes, both_directions(edges), torch.tensor(labels)


def slow_strength(edge_index, labels):
    edges = {tuple(sorted(edge)) for edge in edge_index.T.tolist()}
    strengths = []
    for community in range(int(labels.max()) + 1):
        inside = sum(1 for u, v in edges if labels[u] == labels[v] == community)
        volume = sum(
            (labels[u] == community).item() + (labels[v] == community).item() for u, v in edges
        )
        m = len(edges)
        strengths.append(inside / m - (volume / (2 * m)) ** 2 if m else 0.0)
    return torch.tensor(strengths)


@given(labelled_graphs())
@settings(max_examples=60, deadline=None)
def test_strength_equals_the_slow_loop(sample):
    _, edge_index, labels = sample
    torch.testing.assert_close(
        community_strength(edge_index, labels), slow_strength(edge_index, labels)
    )


@given(labelled_graphs())
@settings(max_examples=30, deadline=None)
def test_strengths_sum_to_networkx_modularity(sample):
    nodes, edge_index, labels = sample
    graph = networkx.Graph()
    graph.add_nodes_from(range(nodes))
    graph.add_edges_from(edge_index.T.tolist())
    parts = [{i for i in range(nodes) if labels[i] == c} for c in set(labels.tolist())]
    total = community_strength(edge_index, labels).sum().item()
    expected = networkx.community.modularity(graph, parts) if edge_index.numel() else 0
    assert total == pytest.approx(expected, abs=1e-6)


def test_single_node_community_is_weak():
    strength = community_strength(torch.tensor([[0, 1], [1, 0]]), torch.tensor([0, 1, 2]))
    torch.testing.assert_close(strength, torch.tensor([-0.25, -0.25, 0.0]))


def planted(seed=1):
    graph = networkx.planted_partition_graph(6, 25, 0.5, 0.01, seed=seed)
    return graph, both_directions(graph.edges)


@pytest.mark.parametrize("method", ["leiden", "louvain"])
def test_finds_planted_communities(method):
    graph, edge_index = planted()
    labels = detect_communities(edge_index, 152, method=method)
    truth = torch.arange(150) // 25
    assert torch.equal(labels[:150], truth)
    assert labels[150:].tolist() == [6, 7]
    assert labels.dtype == torch.int64
    parts = [set((labels[:150] == c).nonzero().view(-1).tolist()) for c in range(6)]
    total = community_strength(edge_index, labels).sum().item()
    assert total == pytest.approx(networkx.community.modularity(graph, parts), abs=1e-6)


def test_quality_matches_networkx_louvain_on_a_graph_without_clear_groups():
    graph = networkx.gnm_random_graph(200, 600, seed=0)
    edge_index = both_directions(graph.edges)
    parts = networkx.community.louvain_communities(graph, seed=0)
    expected = networkx.community.modularity(graph, parts)
    for method in ("leiden", "louvain"):
        labels = detect_communities(edge_index, 200, method=method)
        assert community_strength(edge_index, labels).sum().item() > 0.93 * expected


@pytest.mark.parametrize("method", ["leiden", "louvain"])
def test_deterministic_by_seed(method):
    edge_index = both_directions(networkx.gnm_random_graph(200, 600, seed=0).edges)
    first, second, other = (
        detect_communities(edge_index, 200, method=method, seed=seed) for seed in (3, 3, 4)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_direction_order_and_repetition_do_not_matter():
    _, edge_index = planted()
    expected = detect_communities(edge_index, 150)
    one_way = edge_index[:, edge_index[0] <= edge_index[1]]
    assert torch.equal(detect_communities(one_way, 150), expected)
    repeated = torch.cat([edge_index, edge_index], 1).flip(1)
    assert torch.equal(detect_communities(repeated, 150), expected)


@pytest.mark.parametrize("nodes", [0, 1, 3])
def test_no_edges(nodes):
    none = torch.empty(2, 0, dtype=torch.long)
    assert detect_communities(none, nodes).tolist() == list(range(nodes))
    assert community_strength(none, torch.arange(nodes)).tolist() == [0.0] * nodes


def test_self_loop_only():
    labels = detect_communities(torch.tensor([[1], [1]]), 3)
    assert labels.tolist() == [0, 1, 2]


def test_resolution_changes_the_number_of_communities():
    edge_index = both_directions(networkx.gnm_random_graph(200, 600, seed=0).edges)
    coarse, fine = (
        int(detect_communities(edge_index, 200, resolution=r).max()) for r in (0.3, 3.0)
    )
    assert coarse < fine


@pytest.mark.skipif(
    importlib.util.find_spec("networkit") is None, reason="networkit is not installed"
)
@pytest.mark.parametrize("method", ["leiden", "louvain"])
def test_networkit_finds_planted_communities(method):
    _, edge_index = planted()
    labels = detect_communities(edge_index, 151, method=method, backend="networkit")
    assert torch.equal(labels[:150], torch.arange(150) // 25)


@pytest.mark.skipif(
    importlib.util.find_spec("networkit") is not None, reason="networkit is installed"
)
def test_networkit_missing_is_said():
    with pytest.raises(ArgumentError, match="pip install networkit"):
        detect_communities(torch.tensor([[0], [1]]), 2, backend="networkit")


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"method": "walktrap"}, "method"),
        ({"backend": "igraph"}, "backend"),
        ({"resolution": 0.0}, "resolution"),
        ({"resolution": float("nan")}, "resolution"),
    ],
)
def test_bad_settings(settings_, message):
    with pytest.raises(ArgumentError, match=message):
        detect_communities(torch.tensor([[0], [1]]), 2, **settings_)


def test_bad_labels_and_ids():
    edge_index = torch.tensor([[0, 1], [1, 0]])
    with pytest.raises(ArgumentError, match="negative, got -1"):
        community_strength(edge_index, torch.tensor([0, -1]))
    with pytest.raises(ArgumentError, match=r"\[0, 1\)"):
        community_strength(edge_index, torch.tensor([0]))
    with pytest.raises(ArgumentError, match="integers"):
        community_strength(edge_index, torch.tensor([0.0, 1.0]))
    with pytest.raises(ArgumentError, match="outside"):
        detect_communities(torch.tensor([[0], [2]]), 2)
