"""Mixtures as extra candidates: their cosines without their vectors, MoCHi and SupReMix."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from graphcl.errors import ArgumentError, NonFiniteArgumentError
from graphcl.kernels.contrast import contrast, log_add_exp, top_candidates
from graphcl.losses.unit_rows import unit_rows
from graphcl.views.embedding import (
    Mixtures,
    mix_hard_negatives,
    mix_label_negatives,
    mix_label_positives,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def recipe(with_anchor: bool, rows: int = 4, keys: int = 6, count: int = 5) -> Mixtures:
    second = torch.randint(-1, keys, (rows, count), generator=generator(1))
    first = torch.randint(-1, keys, (rows, count), generator=generator(2))
    weight = torch.rand(rows, count, generator=generator(3), dtype=torch.float64)
    return Mixtures(second, weight, None if with_anchor else first)


@pytest.mark.parametrize("with_anchor", [True, False])
@pytest.mark.parametrize("own_anchor", [True, False])
def test_cosines_are_those_of_the_vectors(with_anchor: bool, own_anchor: bool) -> None:
    leaves = [normal(4, 3).requires_grad_(), (2 * normal(6, 3, seed=1)).requires_grad_()]
    anchor = normal(4, 3, seed=2).requires_grad_() if own_anchor else None
    mixtures = recipe(with_anchor)
    assert mixtures.present.any()
    assert not mixtures.present.all()
    cosines = mixtures.cosines(leaves[0], leaves[1], anchor)
    vectors = mixtures.vectors(leaves[1], leaves[0] if anchor is None else anchor)
    dense = (unit_rows(leaves[0])[:, None] * vectors).sum(dim=2)
    present = mixtures.present
    assert torch.isneginf(cosines[~present]).all()
    assert torch.allclose(cosines[present], dense[present], rtol=1e-12)
    lengths = vectors.norm(dim=2)
    assert torch.allclose(lengths[present], torch.ones(int(present.sum())).double())
    assert (lengths[~present] == 0).all()
    weight = torch.rand(int(present.sum()), generator=generator(), dtype=torch.float64)
    used = leaves + ([anchor] if own_anchor and with_anchor else [])
    for ours, theirs in zip(
        torch.autograd.grad((cosines[present] * weight).sum(), used),
        torch.autograd.grad((dense[present] * weight).sum(), used),
        strict=True,
    ):
        assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-13)


def test_log_sum_exp_and_rows_without_mixtures() -> None:
    query, keys = normal(3, 2).requires_grad_(), normal(4, 2, seed=1).requires_grad_()
    mixtures = Mixtures(torch.tensor([[0, 1], [-1, -1], [3, -1]]), torch.rand(3, 2).double())
    log_weight = torch.tensor([[0.5, -1.0], [torch.nan, 0.0], [torch.inf, torch.nan]]).double()
    log_weight[2, 0] = 0.25
    total = mixtures.log_sum_exp(query, keys, 2.0, log_weight=log_weight)
    cosines = mixtures.cosines(query, keys).tolist()
    total, connected = total.detach(), total
    assert float(total[0]) == pytest.approx(
        math.log(math.exp(2 * cosines[0][0] + 0.5) + math.exp(2 * cosines[0][1] - 1.0))
    )
    assert float(total[1]) == -math.inf
    assert float(total[2]) == pytest.approx(2 * cosines[2][0] + 0.25)
    joined = log_add_exp(torch.zeros(3, dtype=torch.float64), connected).sum()
    for gradient in torch.autograd.grad(joined, (query, keys)):
        assert torch.isfinite(gradient).all()
        assert gradient.abs().sum() > 0
    nothing = Mixtures(torch.empty(3, 0, dtype=torch.int64), torch.empty(3, 0))
    assert torch.isneginf(nothing.log_sum_exp(query, keys, 2.0)).all()


def test_opposite_rows_that_cancel_are_finite() -> None:
    query = torch.tensor([[1.0, 0.0]], requires_grad=True)
    keys = torch.tensor([[0.0, 1.0], [0.0, -1.0]], requires_grad=True)
    mixtures = Mixtures(torch.tensor([[1]]), torch.tensor([[0.5]]), torch.tensor([[0]]))
    cosine = mixtures.cosines(query, keys)
    cosine.sum().backward()
    assert float(cosine.detach()) == 0
    assert torch.isfinite(keys.grad).all()


@given(st.integers(0, 10_000), st.integers(0, 6))
@settings(max_examples=40, deadline=None)
def test_mochi_mixes_two_different_of_the_hardest(seed: int, real: int) -> None:
    candidates = torch.tensor([[7, 3, 5, 1, 0, 8]])[:, : max(real, 1)].clone()
    candidates = torch.cat([candidates, torch.full((1, 2), -1)], dim=1)
    candidates[:, real:] = -1
    between, with_anchor = mix_hard_negatives(candidates, 40, 30, generator=generator(seed))
    allowed = set(candidates[0, :real].tolist())
    assert between.present.all() == (real > 1)
    assert with_anchor.present.all() == (real > 0)
    if real > 1:
        assert set(between.first[0].tolist()) <= allowed
        assert set(between.second[0].tolist()) <= allowed
        assert (between.first != between.second).all()
        assert ((between.weight >= 0) & (between.weight < 1)).all()
    if real:
        assert set(with_anchor.second[0].tolist()) <= allowed
        assert ((with_anchor.weight >= 0) & (with_anchor.weight < 0.5)).all()


def test_mochi_draws_all_pairs_alike() -> None:
    between, _ = mix_hard_negatives(torch.tensor([[4, 2, 9]]), 30_000, generator=generator())
    pairs = between.first[0] * 10 + between.second[0]
    counts = torch.unique(pairs, return_counts=True)[1]
    assert counts.numel() == 6
    assert (counts.double() - 5000).abs().max() < 5 * 5000**0.5


def test_mochi_of_nothing_is_the_identity() -> None:
    query, keys = normal(3, 4), normal(5, 4, seed=1)
    real = contrast(query, keys, scale=2.0).denominator
    mixed = mix_hard_negatives(torch.tensor([[0, 1]] * 3), 0, 0, generator=generator())
    parts = [mixtures.log_sum_exp(query, keys, 2.0) for mixtures in mixed]
    assert torch.equal(log_add_exp(real, *parts), real)


def test_mochi_recipe_adds_the_synthetic_negatives() -> None:
    """The documentation's recipe against one softmax over real and synthetic vectors."""
    query, queue, scale = normal(4, 3).requires_grad_(), normal(9, 3, seed=1), 1 / 0.2
    hard = top_candidates(unit_rows(query), unit_rows(queue), count=5)
    mixed = mix_hard_negatives(hard.indices, 6, 3, generator=generator())
    anchor = query.detach()
    real = contrast(unit_rows(query), unit_rows(queue), scale=scale)
    parts = [m.log_sum_exp(query, queue, scale, anchor=anchor) for m in mixed]
    ours = log_add_exp(real.denominator, *parts)
    extra = torch.cat([m.vectors(queue, anchor) for m in mixed], dim=1)
    keys = torch.cat([unit_rows(queue).expand(4, -1, -1), extra], dim=1)
    dense = (scale * (keys @ unit_rows(query)[:, :, None]).squeeze(2)).logsumexp(dim=1)
    assert torch.allclose(ours, dense, rtol=1e-6)
    slopes = [torch.autograd.grad(value.sum(), query)[0] for value in (ours, dense)]
    assert torch.allclose(*slopes, rtol=1e-6, atol=1e-9)


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=10),
    st.sampled_from([None, 1.0, 2.5]),
    st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_label_positives_have_the_label_of_the_anchor(numbers, window, seed) -> None:
    labels = torch.tensor(numbers)
    mixtures = mix_label_positives(labels, 20, window, generator=generator(seed))
    reach = math.inf if window is None else window
    for row, y in enumerate(numbers):
        below = {i for i, v in enumerate(numbers) if y - reach <= v < y}
        above = {i for i, v in enumerate(numbers) if y < v <= y + reach}
        assert mixtures.present[row].all() == bool(below and above)
        if below and above:
            assert set(mixtures.first[row].tolist()) <= below
            assert set(mixtures.second[row].tolist()) <= above
            assert mixtures.labels(labels.double())[row].tolist() == pytest.approx([y] * 20)
        else:
            assert not mixtures.present[row].any()


@given(st.lists(st.integers(0, 4), min_size=1, max_size=9), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_label_negatives_mix_with_every_other_label(numbers, seed) -> None:
    labels = torch.tensor(numbers)
    mixtures = mix_label_negatives(labels, 150, generator=generator(seed))
    for row, y in enumerate(numbers):
        others = {i for i, v in enumerate(numbers) if v != y}
        drawn = set(mixtures.second[row].tolist())
        # 150 draws of at most 8 miss one with probability below 8 * (7/8)^150 < 2e-8.
        assert drawn == (others or {-1})
    assert ((mixtures.weight >= 0) & (mixtures.weight <= 1)).all()


def test_supremix_recipe_is_one_softmax() -> None:
    """The documentation's recipe against loops over all candidates of each anchor."""
    labels = torch.tensor([1.0, 2.0, 2.0, 3.0, 5.0], dtype=torch.float64)
    z, scale = normal(5, 3).requires_grad_(), 1 / 0.3
    positives = mix_label_positives(labels, 4, generator=generator())
    negatives = mix_label_negatives(labels, 6, generator=generator())
    far = (negatives.labels(labels) - labels[:, None]).abs()
    denominator = log_add_exp(
        contrast(unit_rows(z), scale=scale).denominator,
        positives.log_sum_exp(z, z, scale),
        negatives.log_sum_exp(z, z, scale, log_weight=far.log()),
    )
    attract = torch.where(positives.present, scale * positives.cosines(z, z), 0.0)
    number = positives.present.sum(dim=1)
    mean = attract.sum(dim=1) / number.clamp_min(1)
    ours = torch.where(number > 0, denominator - mean, 0.0)

    unit = z / z.norm(dim=1, keepdim=True)
    wanted = []
    for i in range(5):
        total = sum(torch.exp(scale * unit[i] @ unit[j]) for j in range(5) if j != i)
        near = []
        for s in range(4):
            if positives.present[i, s]:
                w = positives.weight[i, s]
                h = w * unit[positives.first[i, s]] + (1 - w) * unit[positives.second[i, s]]
                near.append(scale * unit[i] @ h / h.norm())
                total = total + torch.exp(near[-1])
        for s in range(6):
            w, j = negatives.weight[i, s], negatives.second[i, s]
            h = w * unit[i] + (1 - w) * unit[j]
            distance = (w * labels[i] + (1 - w) * labels[j] - labels[i]).abs()
            total = total + distance * torch.exp(scale * unit[i] @ h / h.norm())
        wanted.append(torch.log(total) - sum(near) / len(near) if near else 0 * total)
    wanted = torch.stack(wanted)
    assert (number == 0).any()
    assert torch.allclose(ours, wanted, rtol=1e-10)
    slopes = [torch.autograd.grad(value.sum(), z)[0] for value in (ours, wanted)]
    assert torch.allclose(*slopes, rtol=1e-8, atol=1e-11)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ArgumentError, match=r"candidates must be \(M, C\)"):
        mix_hard_negatives(torch.zeros(3, dtype=torch.int64), 1)
    with pytest.raises(ArgumentError, match="count and anchor_count must be at least 0"):
        mix_hard_negatives(torch.zeros(3, 1, dtype=torch.int64), -1)
    with pytest.raises(ArgumentError, match=r"missing ones \(-1\) last"):
        mix_hard_negatives(torch.tensor([[-1, 2]]), 1)
    with pytest.raises(ArgumentError, match="window must be above 0, or None; got 0"):
        mix_label_positives(torch.zeros(3), 1, 0)
    with pytest.raises(NonFiniteArgumentError, match="labels must be finite"):
        mix_label_negatives(torch.tensor([1.0, torch.nan]), 1)
    with pytest.raises(ArgumentError, match="need `anchor`"):
        recipe(True).vectors(normal(6, 3))
    with pytest.raises(ArgumentError, match=r"must lie in -1 .. 1"):
        recipe(True).cosines(normal(4, 3), normal(2, 3))
