"""CED and CAV against slow loops that follow the paper, and their guards."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data

from graphcl.errors import ArgumentError
from graphcl.kernels.communities import community_strength
from graphcl.views import (
    AddCommunities,
    DropEdgesByCommunity,
    MaskFeaturesByCommunity,
    community_keep_probability,
    community_mask_probability,
    drop_edges_by_community,
    mask_features_by_community,
)
from graphcl.views import add_communities as add_communities_module


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@st.composite
def labelled_graphs(draw):
    nodes = draw(st.integers(1, 9))
    node = st.integers(0, nodes - 1)
    edges = draw(st.lists(st.tuples(node, node), max_size=25))
    edges = sorted({(a, b) for a, b in edges} | {(b, a) for a, b in edges})
    edge_index = torch.tensor(edges, dtype=torch.long).reshape(-1, 2).T
    labels = torch.tensor(draw(st.lists(st.integers(0, 3), min_size=nodes, max_size=nodes)))
    strength = community_strength(edge_index, labels).double()
    return edge_index, labels, strength


def slow_keep_probability(edge_index, labels, strength, rate, threshold):
    weights = []
    for u, v in edge_index.T.tolist():
        c, d = int(labels[u]), int(labels[v])
        weights.append(strength[c].item() if c == d else -(strength[c] + strength[d]).item())
    low, high = min(weights), max(weights)
    weights = [(w - low) / (high - low) for w in weights]
    mean = sum(weights) / len(weights)
    return torch.tensor(
        [min(max((1 - rate) * w / mean, 1 - threshold), 1.0) for w in weights], dtype=torch.float64
    )


@given(labelled_graphs(), st.floats(0.01, 1), st.floats(0, 1))
@settings(max_examples=80, deadline=None)
def test_keep_probability_equals_the_slow_loop(sample, rate, threshold):
    edge_index, labels, strength = sample
    found = community_keep_probability(edge_index, labels, strength[labels], rate, threshold)
    assert found.shape == (edge_index.size(1),)
    assert ((found >= 0) & (found <= 1)).all()
    try:
        expected = slow_keep_probability(edge_index, labels, strength, rate, threshold)
    except (ZeroDivisionError, ValueError):
        expected = torch.full_like(found, max(1 - rate, 1 - threshold))
    torch.testing.assert_close(found, expected)


def test_keep_probability_by_hand():
    # Two triangles (0 1 2), (3 4 5) joined by 2-3: m = 7, S = 3/7 - (7/14)^2 for both.
    pairs = torch.tensor([[0, 0, 1, 3, 3, 4, 2], [1, 2, 2, 4, 5, 5, 3]])
    edge_index = torch.cat([pairs, pairs.flip(0)], 1)
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    strength = community_strength(edge_index, labels)
    torch.testing.assert_close(strength, torch.full((2,), 3 / 7 - 1 / 4))
    keep = community_keep_probability(edge_index, labels, strength[labels], 0.5)
    # Inside w = 1, across w = 0, mean 6/7: keep inside 7/12, across 0.
    expected = torch.tensor([7 / 12] * 6 + [0.0]).repeat(2)
    torch.testing.assert_close(keep, expected)
    softer = community_keep_probability(edge_index, labels, strength[labels], 0.5, threshold=0.8)
    torch.testing.assert_close(softer, expected.clamp(min=0.2))


def test_both_directions_have_one_probability_and_one_draw():
    edge_index = torch.randint(30, (2, 200), generator=generator(1))
    both = torch.cat([edge_index, edge_index.flip(0)], 1)
    labels = torch.randint(4, (30,), generator=generator(2))
    strength = community_strength(both, labels)[labels]
    first, second = community_keep_probability(both, labels, strength, 0.4).chunk(2)
    assert torch.equal(first, second)
    _, kept = drop_edges_by_community(
        both, 0.4, labels=labels, node_strength=strength, generator=generator()
    )
    assert torch.equal(*kept.chunk(2))
    _, kept = drop_edges_by_community(
        both,
        0.4,
        labels=labels,
        node_strength=strength,
        generator=generator(),
        keep_undirected=False,
    )
    assert not torch.equal(*kept.chunk(2))


def test_single_community_drops_at_the_plain_rate():
    edge_index = torch.randint(30, (2, 200), generator=generator(1))
    labels = torch.zeros(30, dtype=torch.long)
    strength = community_strength(edge_index, labels)[labels]
    keep = community_keep_probability(edge_index, labels, strength, 0.3)
    torch.testing.assert_close(keep, torch.full((200,), 0.7))


def slow_mask_probability(x, weight, rate, threshold, variant):
    columns = x.shape[1]
    totals = [
        sum(abs(x[i, f].item()) * weight[i].item() for i in range(len(x))) for f in range(columns)
    ]
    absent = [variant == "sparse" and not x[:, f].any() for f in range(columns)]
    least = min(t for t in totals if t > 0)
    scores = [math.log(t if t > 0 else least) for t in totals]
    present = [s for s, t in zip(scores, totals, strict=True) if t > 0]
    high, low = max(present), min(present)
    distances = [
        0.0 if a else (high - s) / (high - low) for s, a in zip(scores, absent, strict=True)
    ]
    mean = sum(distances) / columns
    return torch.tensor(
        [min(max(rate * d / mean, 0.0), threshold) for d in distances], dtype=torch.float64
    )


@given(
    st.integers(0, 10_000), st.integers(1, 8), st.integers(1, 6), st.floats(0, 1), st.floats(0, 1)
)
@settings(max_examples=80, deadline=None)
@pytest.mark.parametrize("variant", ["sparse", "dense"])
def test_mask_probability_equals_the_slow_loop(variant, seed, nodes, columns, rate, threshold):
    source = generator(seed)
    x = torch.randn(nodes, columns, generator=source, dtype=torch.float64)
    x = torch.where(torch.rand(nodes, columns, generator=source) < 0.5, x, 0)
    weight = torch.randn(nodes, generator=source, dtype=torch.float64)
    found = community_mask_probability(x, weight, rate, threshold, variant=variant)
    try:
        expected = slow_mask_probability(x, weight, rate, threshold, variant)
    except (ZeroDivisionError, ValueError):
        expected = torch.full((columns,), min(rate, threshold), dtype=torch.float64)
        if variant == "sparse":
            expected[(x == 0).all(0)] = 0
    torch.testing.assert_close(found, expected)


def test_negative_strength_gives_no_nan_and_the_highest_probability():
    x = torch.eye(4)
    probability = community_mask_probability(x, torch.tensor([0.5, 0.1, -0.2, -0.3]), 0.3)
    # Columns 2 and 3 are treated like column 1, the smallest positive sum; d = 0 1 1 1.
    torch.testing.assert_close(probability, torch.tensor([0.0, 0.4, 0.4, 0.4]))
    nothing_positive = community_mask_probability(x, torch.full((4,), -0.1), 0.3)
    torch.testing.assert_close(nothing_positive, torch.full((4,), 0.3))


def test_absent_columns_are_masked_only_in_the_dense_variant():
    x = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    strength = torch.tensor([0.2, 0.4])
    sparse = community_mask_probability(x, strength, 0.2)
    torch.testing.assert_close(sparse, torch.tensor([0.0, 0.6, 0.0]))
    dense = community_mask_probability(x, strength, 0.2, variant="dense")
    torch.testing.assert_close(dense, torch.tensor([0.0, 0.3, 0.3]))


def test_masking_follows_the_probability():
    x = torch.rand(6, 400, generator=generator(1)) + 0.1
    strength = torch.rand(6, generator=generator(2))
    probability = community_mask_probability(x, strength, 0.3)
    source = generator()
    draws = [
        mask_features_by_community(x, 0.3, node_strength=strength, generator=source)[1]
        for _ in range(400)
    ]
    masked = 1 - torch.stack(draws).float().mean(0)
    assert (masked - probability).abs().max() < 5 * 0.5 / math.sqrt(400)


def two_triangles():
    pairs = torch.tensor([[0, 0, 1, 3, 3, 4, 2], [1, 2, 2, 4, 5, 5, 3]])
    return Data(x=torch.eye(7), edge_index=torch.cat([pairs, pairs.flip(0)], 1))


def test_stored_communities_are_used_and_give_the_same_view(monkeypatch):
    data = two_triangles()
    stored = AddCommunities()(data)
    assert "community" not in data
    assert stored.community.tolist() == [0, 0, 0, 1, 1, 1, 2]
    torch.testing.assert_close(stored.community_strength, torch.tensor([3 / 7 - 1 / 4] * 6 + [0.0]))
    expected = DropEdgesByCommunity(0.3, generator=generator())(data)
    masked = MaskFeaturesByCommunity(0.3, generator=generator())(data)

    def refuse(*_, **__):
        raise AssertionError("communities were detected again")

    monkeypatch.setattr(add_communities_module, "detect_communities", refuse)
    found = DropEdgesByCommunity(0.3, generator=generator())(stored)
    assert torch.equal(found.edge_index, expected.edge_index)
    assert torch.equal(MaskFeaturesByCommunity(0.3, generator=generator())(stored).x, masked.x)
    assert AddCommunities()(stored).community is stored.community
    with pytest.raises(AssertionError, match="again"):
        DropEdgesByCommunity(0.3)(data)


def test_own_labels_without_strength_are_enough():
    data = two_triangles()
    data.community = torch.tensor([0, 0, 0, 0, 1, 1, 1])
    added = AddCommunities()(data)
    expected = community_strength(data.edge_index, data.community)[data.community]
    assert torch.equal(added.community_strength, expected)
    assert torch.equal(added.community, data.community)


def test_bridges_go_first():
    data = two_triangles()
    for seed in range(10):
        view = DropEdgesByCommunity(0.1, generator=generator(seed))(data)
        assert [2, 3] not in view.edge_index.T.tolist()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DropEdgesByCommunity(0.1, threshold=1.5), "threshold"),
        (lambda: MaskFeaturesByCommunity(0.1, threshold=-1), "threshold"),
        (lambda: MaskFeaturesByCommunity(0.1, variant="both"), "variant"),
        (
            lambda: community_keep_probability(
                torch.tensor([[0], [1]]), torch.tensor([0, 0]), torch.ones(1), 0.1
            ),
            "node_strength must have shape",
        ),
        (
            lambda: community_keep_probability(
                torch.tensor([[0], [2]]), torch.tensor([0, 0]), torch.ones(2), 0.1
            ),
            "node id 2",
        ),
        (
            lambda: community_mask_probability(torch.ones(2, 2), torch.ones(3), 0.1),
            "node_weight must have shape",
        ),
        (lambda: community_mask_probability(torch.ones(2), torch.ones(2), 0.1), r"\(N, F\)"),
    ],
)
def test_misuse_is_refused(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


def test_stored_labels_of_another_graph_are_refused():
    data = two_triangles()
    data.community = torch.zeros(3, dtype=torch.long)
    with pytest.raises(ArgumentError, match=r"data\.community must have shape \(7,\)"):
        DropEdgesByCommunity(0.1)(data)
