"""`drop_nodes`, `sample_subgraph` and `nearest_neighbours` against slow references."""

import itertools
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch, Data

from graphcl.errors import ArgumentError
from graphcl.views import (
    NearestNeighbours,
    SampleSubgraph,
    drop_nodes,
    nearest_neighbours,
    sample_subgraph,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@st.composite
def edge_lists(draw):
    nodes = draw(st.integers(1, 10))
    node = st.integers(0, nodes - 1)
    edges = draw(st.lists(st.tuples(node, node), max_size=30))
    return nodes, torch.tensor(edges, dtype=torch.long).reshape(-1, 2).T


def ring(nodes):
    first = torch.arange(nodes)
    edges = torch.stack([first, (first + 1) % nodes])
    return torch.cat([edges, edges.flip(0)], 1)


@pytest.mark.parametrize("view", [drop_nodes, sample_subgraph])
@given(edge_lists(), st.integers(0, 1000), st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_kept_edges_are_those_between_kept_nodes(view, sample, seed, rate):
    nodes, edge_index = sample
    edges, kept = view(edge_index, rate, num_nodes=nodes, generator=generator(seed))
    assert kept.shape == (nodes,)
    wanted = [(u, v) for u, v in edge_index.T.tolist() if kept[u] and kept[v]]
    assert list(map(tuple, edges.T.tolist())) == wanted
    if rate in (0, 1):
        assert bool(kept.all()) == (rate == 0)


def test_nodes_are_dropped_at_the_rate():
    counts = [
        int(drop_nodes(ring(1000), 0.3, num_nodes=1000, generator=generator(seed))[1].sum())
        for seed in range(20)
    ]
    # 20 000 coins of 0.7: five standard deviations are 324.
    assert abs(sum(counts) - 14000) < 324


@given(edge_lists(), st.integers(0, 1000), st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_a_subgraph_has_exactly_its_share_of_the_nodes(sample, seed, rate):
    nodes, edge_index = sample
    _, kept = sample_subgraph(edge_index, rate, num_nodes=nodes, generator=generator(seed))
    assert int(kept.sum()) == round(nodes * (1 - rate))


def test_a_subgraph_is_connected_where_dropped_nodes_are_not():
    """On a ring, walks keep arcs: far fewer ends than random nodes have."""

    def arcs(kept):
        return int((kept & ~kept.roll(1)).sum())

    walked = [
        arcs(sample_subgraph(ring(600), 0.8, num_nodes=600, generator=generator(s))[1])
        for s in range(5)
    ]
    dropped = [
        arcs(drop_nodes(ring(600), 0.8, num_nodes=600, generator=generator(s))[1]) for s in range(5)
    ]
    assert max(walked) < 0.6 * min(dropped)


def test_walks_stay_on_the_edges():
    """One walk on a path graph from its start reaches a prefix; with two pieces, one piece."""
    piece = ring(20)
    edge_index = torch.cat([piece, piece + 20], 1)
    for seed in range(20):
        _, kept = sample_subgraph(
            edge_index, 0.9, num_nodes=40, walk_length=400, generator=generator(seed)
        )
        inside = kept.view(2, 20).sum(dim=1)
        assert sorted(inside.tolist()) == [0, 4]


def test_every_node_is_as_likely_on_a_regular_graph():
    hits = torch.zeros(50)
    for seed in range(400):
        hits += sample_subgraph(ring(50), 0.5, num_nodes=50, generator=generator(seed))[1]
    # Nodes of one arc come together, so that the spread is wider than that of coins.
    assert (hits - 200).abs().max() < 75


@pytest.mark.parametrize("length", [0, -1, 2.0, True])
def test_bad_walk_lengths_are_refused(length):
    with pytest.raises(ArgumentError, match="walk_length"):
        SampleSubgraph(0.5, walk_length=length)


def slow_neighbours(x, k, groups):
    """Unordered pairs, by trying all of them."""
    unit = x.double() / x.double().norm(dim=1, keepdim=True).clamp(min=1e-12)
    pairs = set()
    for i in range(len(x)):
        similar = [
            (float(unit[i] @ unit[j]), j)
            for j in range(len(x))
            if j != i and groups[i] == groups[j] and unit[i] @ unit[j] > 1e-9
        ]
        pairs |= {frozenset((i, j)) for _, j in sorted(similar, reverse=True)[:k]}
    return pairs


@given(st.integers(0, 12), st.integers(1, 5), st.integers(0, 1000), st.booleans())
@settings(max_examples=30, deadline=None)
def test_neighbours_are_the_most_similar_nodes(nodes, k, seed, grouped):
    x = torch.randn(nodes, 4, generator=generator(seed), dtype=torch.float64)
    if nodes > 2:
        x[1] = 0
    groups = torch.randint(2, (nodes,), generator=generator(seed)) if grouped else None
    edges, weight = nearest_neighbours(x, k, groups=groups)
    labels = [0] * nodes if groups is None else groups.tolist()
    pairs = {frozenset(pair) for pair in edges.T.tolist()}
    assert pairs == slow_neighbours(x, k, labels)
    assert edges.size(1) == 2 * len(pairs)
    assert ((weight > 0) & (weight <= 1)).all()
    found = dict(zip(map(tuple, edges.T.tolist()), weight.tolist(), strict=True))
    assert all(found[v, u] == value for (u, v), value in found.items())


def test_directed_neighbours_point_at_the_node():
    x = torch.rand(30, 6, generator=generator())
    edges, _ = nearest_neighbours(x, 4, undirected=False)
    assert (torch.bincount(edges[1], minlength=30) == 4).all()
    both, _ = nearest_neighbours(x, 4)
    assert set(map(tuple, edges.T.tolist())) <= set(map(tuple, both.T.tolist()))


def test_constant_and_empty_features():
    edges, weight = nearest_neighbours(torch.ones(5, 3), 2)
    assert (torch.bincount(edges[0], minlength=5) >= 2).all()
    torch.testing.assert_close(weight, torch.ones_like(weight))
    assert nearest_neighbours(torch.zeros(5, 3), 2)[0].shape == (2, 0)
    assert nearest_neighbours(torch.ones(5, 0), 2)[0].shape == (2, 0)
    with pytest.raises(ArgumentError, match="finite"):
        nearest_neighbours(torch.tensor([[float("nan")], [1.0]]), 1)
    with pytest.raises(ArgumentError, match="k must be"):
        NearestNeighbours(0)


def test_neighbours_in_a_batch_are_of_the_same_graph():
    graphs = [Data(x=torch.rand(n, 4, generator=generator(n)), edge_index=ring(n)) for n in (5, 7)]
    one, two = (NearestNeighbours(2)(graph).edge_index for graph in graphs)
    batch = NearestNeighbours(2)(Batch.from_data_list(graphs))
    assert torch.equal(batch.edge_index, torch.cat([one, two + 5], 1))


def test_blocks_do_not_change_the_neighbours(monkeypatch):
    x = torch.rand(40, 6, generator=generator())
    edges, weight = nearest_neighbours(x, 3)
    # The package has a function of the same name as the module.
    module = sys.modules[nearest_neighbours.__module__]
    monkeypatch.setattr(module, "_ENTRIES_PER_BLOCK", 100)
    again, other = nearest_neighbours(x, 3)
    assert torch.equal(edges, again)
    torch.testing.assert_close(weight, other)
    assert not any(u == v for u, v in itertools.islice(edges.T.tolist(), 50))
