"""Each sampler's probabilities against its formula, written out item by item."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcl.errors import ArgumentError
from graphcl.losses import sampled_softmax
from graphcl.samplers import (
    ClusterSampler,
    PoolSampler,
    PopularitySampler,
    PositiveAwareSampler,
    SimANSSampler,
    TwoHopSampler,
    UniformSampler,
    positive_aware,
    positive_keys,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def chances(sampler, rows: int, items: int, **arguments) -> list[list[float]]:
    every = torch.arange(items).expand(rows, -1)
    return sampler.log_probability(torch.arange(rows), every, **arguments).exp().tolist()


@st.composite
def logs(draw: st.DrawFn):
    items = draw(st.integers(1, 9))
    taken = draw(st.lists(st.sets(st.integers(0, items - 1)), min_size=1, max_size=5))
    counts = draw(st.lists(st.integers(0, 30), min_size=items, max_size=items))
    return items, taken, [*counts[:-1], counts[-1] + 1]


def keys_of(taken, items):
    pairs = [(row, item) for row, some in enumerate(taken) for item in some]
    rows, found = zip(*pairs, strict=True) if pairs else ((), ())
    return positive_keys(torch.tensor(rows).long(), torch.tensor(found).long(), items)


@given(logs(), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_popularity_is_the_formula_and_draws_what_is_possible(log, seed) -> None:
    items, taken, counts = log
    sampler = PopularitySampler(torch.tensor(counts), 0.75, keys_of(taken, items))
    drawn = sampler(torch.arange(len(taken)), 100, generator(seed)).indices.tolist()
    found = chances(sampler, len(taken), items)
    for row, some in enumerate(taken):
        weight = [0.0 if j in some else counts[j] ** 0.75 for j in range(items)]
        total = sum(weight)
        wanted = [w / total if total else 0.0 for w in weight]
        assert found[row] == pytest.approx(wanted, rel=1e-6, abs=1e-9)
        assert set(drawn[row]) <= {j for j in range(items) if weight[j]} or drawn[row] == [-1] * 100


@given(logs(), st.data())
@settings(max_examples=60, deadline=None)
def test_cluster_is_the_formula(log, data) -> None:
    items, taken, _ = log
    clusters = data.draw(st.lists(st.integers(0, 2), min_size=items, max_size=items))
    targets = data.draw(
        st.lists(st.integers(0, items - 1), min_size=len(taken), max_size=len(taken))
    )
    share = data.draw(st.sampled_from([0.0, 0.25, 1.0]))
    sampler = ClusterSampler(torch.tensor(clusters), share, keys_of(taken, items))
    found = chances(sampler, len(taken), items, targets=torch.tensor(targets))
    for row, some in enumerate(taken):
        free = [j for j in range(items) if j not in some]
        near = [j for j in free if clusters[j] == clusters[targets[row]]]
        rho = share if near else 1.0
        for j in range(items):
            wanted = 0.0
            if j in near:
                wanted += (1 - rho) / len(near)
            if j in free:
                wanted += rho / len(free)
            assert found[row][j] == pytest.approx(wanted, rel=1e-12)


def test_uniform_power_and_one_cluster_are_the_same_law() -> None:
    keys = keys_of([{0, 3}, set(), {1}], 6)
    uniform = chances(UniformSampler(6, keys), 3, 6)
    popularity = PopularitySampler(torch.arange(1, 7), 0.0, keys)
    assert torch.allclose(torch.tensor(chances(popularity, 3, 6)), torch.tensor(uniform))
    cluster = ClusterSampler(torch.zeros(6, dtype=torch.int64), 0.0, keys)
    assert torch.allclose(
        torch.tensor(chances(cluster, 3, 6, targets=torch.zeros(3).long())), torch.tensor(uniform)
    )
    assert uniform[0] == pytest.approx([0, 0.25, 0.25, 0, 0.25, 0.25])


def test_popularity_of_extreme_counts() -> None:
    counts = torch.tensor([1e300, 1.0, 0.0], dtype=torch.float64)
    sampler = PopularitySampler(counts, 2.0)
    indices, log_probability = sampler(torch.zeros(1, dtype=torch.int64), 1000, generator())
    assert (indices != 2).all()
    assert torch.isfinite(log_probability).all()
    assert math.isclose(sum(chances(sampler, 1, 3)[0]), 1.0, rel_tol=1e-12)


@pytest.mark.parametrize("absolute", [False, True])
def test_simans_is_the_formula(absolute: bool) -> None:
    values = torch.tensor([[3.0, 1.0, -2.0, 0.5]])
    indices = torch.tensor([[7, 2, 0, -1]])
    sampler = SimANSSampler(values, indices, torch.tensor([1.5]), 0.8, -0.25, absolute=absolute)
    weight = {}
    for value, item in ((3.0, 7), (1.0, 2), (-2.0, 0)):
        gap = value - 1.5 + 0.25
        weight[item] = math.exp(-0.8 * (abs(gap) if absolute else gap**2))
    found = chances(sampler, 1, 9)[0]
    for item in range(9):
        assert found[item] == pytest.approx(weight.get(item, 0.0) / sum(weight.values()), rel=1e-9)
    # The ambiguous candidate, neither the hardest nor the easiest, is the likeliest.
    assert max(range(9), key=found.__getitem__) == 2


def test_simans_far_from_every_candidate_still_draws() -> None:
    """All weights e^-10^8: only their ratios count."""
    values = torch.tensor([[1.0, 2.0]])
    sampler = SimANSSampler(values, torch.tensor([[4, 5]]), torch.tensor([1e4]))
    assert (sampler(torch.zeros(1, dtype=torch.int64), 20, generator()).indices == 5).all()


def test_positive_aware_bounds() -> None:
    values = torch.tensor([[0.99, 0.96, 0.94, 0.2, -torch.inf], [-0.9, -1.02, -1.06, -2, -3]])
    positive = torch.tensor([1.0, -1.0])
    assert positive_aware(values, positive).tolist() == [
        [False, False, True, True, False],
        [False, False, True, True, True],
    ]
    assert positive_aware(values, positive, 0.03, None).tolist() == [
        [False, True, True, True, False],
        [False, False, True, True, True],
    ]
    assert positive_aware(values, positive, 0.5, 0.95)[0].tolist() == [
        False,
        False,
        False,
        True,
        False,
    ]
    # Never more than all below the positive itself, whatever its sign.
    assert (values[positive_aware(values, positive, None, 1.0)][:4] <= 1.0).all()
    assert not positive_aware(values, positive, None, 1.0)[1, 0]


def test_hardest_kept_candidates() -> None:
    values = torch.tensor([[0.2, 0.99, 0.9, 0.5], [0.5, 0.6, 0.7, 0.8]])
    indices = torch.tensor([[3, 5, 1, 0], [0, 1, 2, 3]])
    sampler = PositiveAwareSampler(values, indices, torch.tensor([1.0, 0.55]))
    assert sampler.hardest(2).tolist() == [[1, 0], [0, -1]]
    assert sampler.hardest(9).shape == (2, 4)


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_two_hop_balls_are_those_of_a_search(seed: int) -> None:
    edges = torch.randint(7, (2, 9), generator=generator(seed))
    taken = [{1}, set(), {0, 1, 2}, set(), set(), {6}, set()]
    sampler = TwoHopSampler(edges, 7, (3.0, 1.0), keys_of(taken, 7))
    found = chances(sampler, 7, 7)
    near = [{int(b) for a, b in edges.T.tolist() if a == i} for i in range(7)]
    for i in range(7):
        weight = {}
        for j in near[i]:
            for k in near[j]:
                weight.setdefault(k, 1.0)
        for j in near[i]:
            weight[j] = 3.0
        weight = {j: w for j, w in weight.items() if j != i and j not in taken[i]}
        total = sum(weight.values())
        wanted = [weight.get(j, 0.0) / total if total else 0.0 for j in range(7)]
        assert found[i] == pytest.approx(wanted, rel=1e-12)


def test_two_hop_without_edges_or_second_hop() -> None:
    empty = TwoHopSampler(torch.empty(2, 0, dtype=torch.int64), 3)
    assert (empty(torch.arange(3), 2).indices == -1).all()
    path = TwoHopSampler(torch.tensor([[0, 1], [1, 2]]), 3, (1.0, 0.0))
    assert path(torch.tensor([0]), 5).indices.unique().tolist() == [1]


def test_pool_of_nothing() -> None:
    sampler = PoolSampler(torch.empty(2, 0, dtype=torch.int64), torch.empty(2, 0))
    assert (sampler(torch.arange(2), 3).indices == -1).all()
    assert torch.isneginf(sampler.log_probability(torch.arange(2), torch.zeros(2, 1).long())).all()


def test_samples_go_into_sampled_softmax_as_they_are() -> None:
    """Also with rows that have nothing to draw from: indices -1, log-probability -inf."""
    query, items = torch.randn(3, 4, generator=generator()), torch.randn(6, 4)
    keys = keys_of([{0, 1}, set(range(6)), {5}], 6)
    targets = torch.tensor([0, 1, 5])
    for sampler in (UniformSampler(6, keys), PopularitySampler(torch.arange(6), 1.0, keys)):
        negatives = sampler(torch.arange(3), 8, generator())
        values = sampled_softmax(query, items, targets, *negatives, reduction="none")
        assert torch.isfinite(values).all()
        assert (values > 0).tolist() == [True, False, True]


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ArgumentError, match="sorted and distinct"):
        UniformSampler(5, torch.tensor([3, 1]))
    with pytest.raises(ArgumentError, match="num_items must be at least 1; got 0"):
        UniformSampler(0)
    with pytest.raises(ArgumentError, match="all are 0"):
        PopularitySampler(torch.zeros(4))
    with pytest.raises(ArgumentError, match="counts must be at least 0; got -2"):
        PopularitySampler(torch.tensor([1.0, -2.0]))
    with pytest.raises(ArgumentError, match=r"uniform_share .* \[0, 1\]; got 1.5"):
        ClusterSampler(torch.zeros(3).long(), 1.5)
    with pytest.raises(ArgumentError, match=r"targets must be in 0 .. 2"):
        ClusterSampler(torch.zeros(3).long())(torch.tensor([5]), 1)
    with pytest.raises(ArgumentError, match=r"edge_index must lie in -1 .. 2"):
        TwoHopSampler(torch.tensor([[0], [3]]), 3)
    with pytest.raises(ArgumentError, match="hop_weights must be two numbers"):
        TwoHopSampler(torch.tensor([[0], [1]]), 3, (1.0, -1.0))
    with pytest.raises(ArgumentError, match="not NaN"):
        PoolSampler(torch.tensor([[1]]), torch.tensor([[torch.nan]]))
    with pytest.raises(ArgumentError, match=r"positive_scores must have shape \(1,\)"):
        SimANSSampler(torch.ones(1, 2), torch.zeros(1, 2).long(), torch.ones(2))
    with pytest.raises(ArgumentError, match=r"percentage .* \[0, 1\]; got 2"):
        positive_aware(torch.ones(1, 1), torch.ones(1), percentage=2)
