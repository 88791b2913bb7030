"""In-batch negatives, their streaming frequencies, and batches of one cluster."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcl.errors import ArgumentError
from graphcl.losses import cross_entropy, sampled_softmax
from graphcl.samplers import StreamingFrequency, cluster_batches, in_batch, joint_clusters


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_in_batch_negatives_are_the_targets() -> None:
    log_q = torch.tensor([0.5, 0.3, 0.2]).log()
    indices, log_probability = in_batch(torch.tensor([2, 0, 0]), log_q)
    assert indices.tolist() == [2, 0, 0]
    assert log_probability.exp().tolist() == pytest.approx([0.2, 0.5, 0.5])
    assert in_batch(torch.tensor([2, 0])).log_probability.tolist() == [0.0, 0.0]
    with pytest.raises(ArgumentError, match=r"targets must be in 0 .. 2"):
        in_batch(torch.tensor([3]), log_q)


def test_correction_of_in_batch_negatives_takes_out_the_popularity() -> None:
    """Over many batches the corrected gradient is near the full one, the plain one is not."""
    share = torch.tensor([0.6, 0.2, 0.1, 0.05, 0.05], dtype=torch.float64)
    items = torch.randn(5, 3, generator=generator(), dtype=torch.float64)
    query = torch.randn(1, 3, generator=generator(1), dtype=torch.float64, requires_grad=True)
    target = torch.tensor([4])
    wanted = torch.autograd.grad(cross_entropy(query, items, target), query)[0]
    errors = []
    for log_q in (share.log(), None):
        total = torch.zeros_like(wanted)
        for seed in range(150):
            batch = torch.multinomial(share, 128, True, generator=generator(seed))
            negatives = in_batch(batch, log_q)
            probability = None if log_q is None else negatives.log_probability
            loss = sampled_softmax(query, items, target, negatives.indices, probability)
            total += torch.autograd.grad(loss, query)[0] / 150
        errors.append(float((total - wanted).norm() / wanted.norm()))
    assert errors[0] < 0.03
    assert errors[1] > 0.1


def test_streaming_frequency_follows_the_definition() -> None:
    frequency = StreamingFrequency(4, rate=0.25)
    for batch in ([0, 1, 1], [0], [0, 2], [1, 0]):
        frequency.update(torch.tensor(batch))
    # Item 1 at steps 1 and 4: gap 1, then 0.75 * 1 + 0.25 * 3. Item 2 at step 3. Item 3 never.
    assert frequency.mean_gap.tolist() == [1.0, 1.5, 3.0, 0.0]
    assert frequency.last_step.tolist() == [4, 4, 3, 0]
    size = 8 / 4
    wanted = [1 - (1 - p) ** (1 / size) for p in (1 / 1.5, 1 / 3, 1 / 5)]
    assert frequency.log_probability().exp().tolist()[1:] == pytest.approx(wanted)
    assert 0.5 < float(frequency.log_probability().exp()[0]) < 1
    some = frequency.log_probability(torch.tensor([2, 1]))
    assert torch.equal(some, frequency.log_probability()[[2, 1]])


def test_streaming_frequency_finds_the_shares() -> None:
    share = torch.tensor([0.5, 0.3, 0.15, 0.04, 0.01])
    frequency = StreamingFrequency(5, rate=0.02)
    for seed in range(1500):
        frequency.update(torch.multinomial(share, 8, True, generator=generator(seed)))
    found = frequency.log_probability().exp()
    assert torch.allclose(found.float(), share, rtol=0.5)
    assert found.tolist() == sorted(found.tolist(), reverse=True)


def test_streaming_frequency_is_kept_by_a_checkpoint() -> None:
    frequency = StreamingFrequency(3)
    frequency.update(torch.tensor([0, 2]))
    other = StreamingFrequency(3)
    other.load_state_dict(frequency.state_dict())
    assert torch.equal(other.log_probability(), frequency.log_probability())
    with pytest.raises(ArgumentError, match=r"rate .* \(0, 1\]; got 0"):
        StreamingFrequency(3, 0)


@given(st.lists(st.integers(-2, 4), max_size=40), st.integers(2, 9), st.integers(0, 1000))
@settings(max_examples=80, deadline=None)
def test_batches_hold_one_cluster_and_every_row_once(clusters, size, seed) -> None:
    assigned = torch.tensor(clusters, dtype=torch.int64)
    batches = cluster_batches(assigned, size, generator(seed))
    rows = [row for batch in batches for row in batch.tolist()]
    counts = {c: clusters.count(c) for c in clusters}
    alone = {row for row, c in enumerate(clusters) if counts[c] == 1}
    assert len(rows) == len(set(rows))
    for batch in batches:
        assert 2 <= batch.numel() <= size
        assert assigned[batch].unique().numel() == 1
    left_out = set(range(len(clusters))) - set(rows)
    # A part of one row arises only from parts of at most two.
    assert left_out == alone or size == 2
    again = cluster_batches(assigned, size, generator(seed))
    assert [batch.tolist() for batch in again] == [batch.tolist() for batch in batches]


def test_batches_of_a_cluster_are_of_equal_size_and_mixed() -> None:
    batches = cluster_batches(torch.zeros(101, dtype=torch.int64), 25, generator())
    assert sorted(batch.numel() for batch in batches) == [20, 20, 20, 20, 21]
    first = cluster_batches(torch.zeros(101, dtype=torch.int64), 25, generator(1))
    assert {frozenset(b.tolist()) for b in first} != {frozenset(b.tolist()) for b in batches}


def test_joint_clusters_hold_what_all_stages_hold_together() -> None:
    one = torch.tensor([5, 5, 5, -1, -1, -1])
    two = torch.tensor([0, 0, 9, 9, 9, 0])
    joint = joint_clusters(one, two).tolist()
    for i in range(6):
        for j in range(6):
            together = one[i] == one[j] and two[i] == two[j]
            assert (joint[i] == joint[j]) == bool(together)
    assert joint_clusters(one).tolist() == [1, 1, 1, 0, 0, 0]
    with pytest.raises(ArgumentError, match="the same N"):
        joint_clusters(one, two[:3])
    with pytest.raises(ArgumentError, match="batch_size must be at least 2; got 1"):
        cluster_batches(one, 1)


def test_share_of_a_draw_from_the_chance_of_a_batch() -> None:
    """p = 1 - (1 - q)^b, turned round without cancellation for rare items."""
    frequency = StreamingFrequency(2)
    frequency.update(torch.tensor([0] * 1000))
    frequency.mean_gap[1] = 1e9
    q = float(frequency.log_probability()[1].exp())
    assert q == pytest.approx(1e-12, rel=1e-6)
    assert math.isfinite(float(frequency.log_probability()[0]))
