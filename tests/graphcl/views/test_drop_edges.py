"""`drop_edges`: marginal rates, shared fate of both directions, independence of pairs."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data, HeteroData

from graphcl.errors import ArgumentError
from graphcl.views.draws import uniform_per_pair
from graphcl.views.drop_edges import DropEdges, drop_edges, drop_edges_with_probability


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@st.composite
def edge_lists(draw):
    nodes = draw(st.integers(1, 10))
    node = st.integers(0, nodes - 1)
    edges = draw(st.lists(st.tuples(node, node), max_size=40))
    return nodes, torch.tensor(edges, dtype=torch.long).reshape(-1, 2).T


@given(edge_lists(), st.integers(0, 1000), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_all_listings_of_a_pair_share_their_fate(sample, seed, rate):
    nodes, edge_index = sample
    kept_edges, kept = drop_edges(edge_index, rate, num_nodes=nodes, generator=generator(seed))
    assert torch.equal(kept_edges, edge_index[:, kept])
    fate = {}
    for (u, v), survives in zip(edge_index.T.tolist(), kept.tolist(), strict=True):
        assert fate.setdefault(frozenset((u, v)), survives) == survives


@given(edge_lists(), st.integers(0, 1000), st.booleans())
@settings(max_examples=30, deadline=None)
def test_edge_rates(sample, seed, keep_undirected):
    nodes, edge_index = sample
    for rate, expected in ((0, edge_index.size(1)), (1, 0)):
        _, kept = drop_edges(
            edge_index,
            rate,
            num_nodes=nodes,
            generator=generator(seed),
            keep_undirected=keep_undirected,
        )
        assert int(kept.sum()) == expected


def test_the_draw_depends_on_the_pair_only():
    edge_index = torch.randint(50, (2, 300), generator=generator(1))
    draw = uniform_per_pair(edge_index, generator(7))
    order = torch.randperm(300, generator=generator(2))
    assert torch.equal(uniform_per_pair(edge_index[:, order], generator(7)), draw[order])
    assert torch.equal(uniform_per_pair(edge_index.flip(0), generator(7)), draw)
    assert torch.equal(uniform_per_pair(edge_index.int(), generator(7)), draw)


def test_draws_are_uniform_and_independent_between_pairs_and_seeds():
    nodes = 700
    pairs = torch.combinations(torch.arange(nodes)).T
    first, second = (uniform_per_pair(pairs, generator(seed)).double() for seed in (0, 1))
    assert first.min() >= 0
    assert first.max() < 1
    count = pairs.size(1)
    for draw in (first, second):
        bins = torch.histc(draw, 64, 0, 1)
        chi_square = ((bins - count / 64) ** 2 / (count / 64)).sum().item()
        assert chi_square < 63 + 6 * np.sqrt(2 * 63)
    bound = 5 / np.sqrt(count)
    correlation = torch.corrcoef(torch.stack([first, second]))[0, 1].item()
    assert abs(correlation) < bound
    # Neighbouring pairs (u, v) and (u, v + 1), and the pairs of one node.
    assert abs(torch.corrcoef(torch.stack([first[1:], first[:-1]]))[0, 1].item()) < bound
    of_zero = first[pairs[0] == 0]
    assert abs(of_zero.mean().item() - 0.5) < 5 / np.sqrt(12 * of_zero.numel())


def split_mix_64(index, seed):
    """Output number `index` of the generator started at `seed`, in Python's integers."""
    mask = 2**64 - 1
    state = (seed + index * 0x9E3779B97F4A7C15) & mask
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & mask
    return state ^ (state >> 31)


def test_the_draw_is_split_mix_64_of_the_pair():
    edge_index = torch.randint(2**31, (2, 200), generator=generator(1))
    seed = int(torch.empty((), dtype=torch.int64).random_(generator=generator(3)))
    draw = uniform_per_pair(edge_index, generator(3))
    for (u, v), found in zip(edge_index.T.tolist(), draw.tolist(), strict=True):
        bits = split_mix_64(min(u, v) * 2**32 + max(u, v), seed)
        assert found == (bits >> 40) / 2**24


def test_large_ids_do_not_collide():
    edge_index = torch.tensor([[2**31 - 1, 2**31 - 2, 0], [0, 2**31 - 1, 2**31 - 1]])
    draw = uniform_per_pair(edge_index, generator())
    assert draw[0] == draw[2]
    assert draw[0] != draw[1]


@pytest.mark.parametrize("keep_undirected", [True, False])
def test_marginal_rate(keep_undirected):
    edge_index = torch.randint(5000, (2, 40_000), generator=generator(1))
    _, kept = drop_edges(edge_index, 0.3, generator=generator(), keep_undirected=keep_undirected)
    assert abs(kept.double().mean().item() - 0.7) < 5 * np.sqrt(0.21 / 40_000)


def test_directions_are_independent_on_request():
    edge_index = torch.randint(5000, (2, 20_000), generator=generator(1))
    both = torch.cat([edge_index, edge_index.flip(0)], 1)
    _, kept = drop_edges(both, 0.5, generator=generator(), keep_undirected=False)
    agree = (kept[:20_000] == kept[20_000:]).double().mean().item()
    assert abs(agree - 0.5) < 5 * np.sqrt(0.25 / 20_000)


def test_each_edge_has_its_own_probability():
    pairs = torch.combinations(torch.arange(300)).T
    edge_index = torch.cat([pairs, pairs.flip(0)], 1)
    probability = torch.linspace(0, 1, pairs.size(1)).repeat(2)
    _, kept = drop_edges_with_probability(edge_index, probability, generator=generator())
    assert torch.equal(*kept.chunk(2))
    half = kept[: pairs.size(1)].double()
    for part, expected in zip(half.chunk(4), (0.125, 0.375, 0.625, 0.875), strict=True):
        assert abs(part.mean().item() - expected) < 5 * 0.5 / np.sqrt(part.numel())


def test_successive_views_differ():
    edge_index = torch.randint(50, (2, 300), generator=generator(1))
    source = generator()
    first, second = (drop_edges(edge_index, 0.5, generator=source)[1] for _ in range(2))
    assert not torch.equal(first, second)


def test_everything_edge_level_follows_and_nothing_else():
    edge_index = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    data = Data(
        x=torch.arange(4.0).view(4, 1),
        y=torch.arange(4),
        edge_index=edge_index,
        edge_attr=torch.arange(8.0).view(4, 2),
        edge_time=np.arange(4),
        edge_name=["a", "b", "c", "d"],
        edge_label=torch.arange(4),
        edge_label_index=torch.zeros(2, 4, dtype=torch.long),
        name="graph",
    )
    before = copy.deepcopy(data)
    for seed in range(20):
        view = DropEdges(0.5, generator=generator(seed))(data)
        if view.num_edges == 2:
            break
    number = (view.edge_attr[:, 0] / 2).long()
    assert torch.equal(view.edge_index, edge_index[:, number])
    assert view.edge_time.tolist() == number.tolist()
    assert view.edge_name == [["a", "b", "c", "d"][i] for i in number]
    for key in ("x", "y", "edge_label", "edge_label_index"):
        assert torch.equal(view[key], before[key])
    assert torch.equal(data.edge_attr, before.edge_attr)
    assert data.edge_name == before.edge_name


@pytest.mark.parametrize(
    ("edge_index", "message"),
    [
        (torch.tensor([[0, 5], [0, 0]]), r"node id 5, allowed are \[0, 5\)"),
        (torch.tensor([[0], [-1]]), "node id -1"),
        (torch.tensor([[0.0], [1.0]]), "integers"),
        (torch.tensor([0, 1]), r"\(2, E\)"),
        (torch.zeros(3, 2, dtype=torch.long), r"\(2, E\)"),
    ],
)
def test_bad_edges_are_refused(edge_index, message):
    with pytest.raises(ArgumentError, match=message):
        drop_edges(edge_index, 0.5, num_nodes=5)


def test_other_misuse_is_refused():
    edge_index = torch.tensor([[0], [1]])
    with pytest.raises(ArgumentError, match="one entry per edge"):
        drop_edges_with_probability(edge_index, torch.ones(2))
    with pytest.raises(ArgumentError, match="HeteroData"):
        DropEdges(0.5)(HeteroData())
    with pytest.raises(ArgumentError, match=r"data\.edge_index"):
        DropEdges(0.5)(Data(x=torch.ones(2, 1)))
