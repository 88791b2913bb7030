"""Diagnostics over pairs of rows against double loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from graphcl.diagnostics import (
    alignment,
    effective_negatives,
    score_histogram,
    tolerance,
    uniformity,
)
from graphcl.diagnostics import score_histogram as histogram_function
from graphcl.errors import ArgumentError


def views(count: int = 12, dimension: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (count, dimension)
    z1 = torch.randn(shape, generator=generator, dtype=torch.float64)
    return z1, z1 + torch.randn(shape, generator=generator, dtype=torch.float64)


def cosine(a: Tensor, b: Tensor) -> float:
    return float((a @ b) / (a.norm() * b.norm()))


@pytest.mark.parametrize("alpha", [1.0, 2.0, 3.0])
def test_alignment_is_the_mean_distance(alpha: float) -> None:
    z1, z2 = views()
    distances = [math.sqrt(2 - 2 * cosine(a, b)) for a, b in zip(z1, z2, strict=True)]
    expected = sum(d**alpha for d in distances) / 12
    assert float(alignment(z1, z2, alpha)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("t", [0.5, 2.0])
def test_uniformity_is_the_log_of_the_mean_potential(t: float) -> None:
    z, _ = views()
    terms = [
        math.exp(-t * (2 - 2 * cosine(z[i], z[j]))) for i in range(12) for j in range(12) if i != j
    ]
    expected = math.log(sum(terms) / len(terms))
    for backend in ("dense", "tiles"):
        assert float(uniformity(z, t, backend=backend)) == pytest.approx(expected, rel=1e-9)


def test_uniformity_of_a_sample() -> None:
    z, _ = views(200)
    chosen = torch.randperm(200, generator=torch.Generator().manual_seed(4))[:50]
    sampled = uniformity(z, sample=50, generator=torch.Generator().manual_seed(4))
    assert float(sampled) == pytest.approx(float(uniformity(z[chosen])), rel=1e-12)
    assert torch.equal(uniformity(z, sample=200), uniformity(z))
    with pytest.raises(ArgumentError, match="sample must be at least 1"):
        uniformity(z, sample=0)


def test_tolerance_is_the_mean_cosine_within_groups() -> None:
    z, _ = views()
    groups = torch.tensor([5, 0, 0, 5, 5, -1, 2, 0, 5, -1, 7, 7])
    pairs = [
        cosine(z[i], z[j])
        for i in range(12)
        for j in range(12)
        if i != j and groups[i] == groups[j] and groups[i] >= 0
    ]
    assert float(tolerance(z, groups)) == pytest.approx(sum(pairs) / len(pairs), rel=1e-9)


def test_tolerance_is_one_for_groups_of_equal_rows() -> None:
    centres = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    groups = torch.arange(1000) % 5
    assert float(tolerance(centres[groups], groups)) == pytest.approx(1, abs=1e-6)


def test_effective_negatives_is_the_inverse_sum_of_squares() -> None:
    z1, z2 = views()
    expected = []
    for i in range(12):
        weights = [math.exp(cosine(z1[i], z2[j]) / 0.3) for j in range(12) if j != i]
        expected.append(sum(weights) ** 2 / sum(w * w for w in weights))
    for backend in ("dense", "tiles"):
        values = effective_negatives(z1, z2, 0.3, backend=backend)
        assert values.tolist() == pytest.approx(expected, rel=1e-9)


def test_effective_negatives_counts_the_alike_and_the_near() -> None:
    same = torch.ones(20, 3, dtype=torch.float64)
    assert effective_negatives(same, same, 0.5).tolist() == pytest.approx([19.0] * 20)
    z1, z2 = views()
    assert effective_negatives(z1, z2, 1e-3).min() < 1.5
    assert effective_negatives(z1[:1], z2[:1]).tolist() == [0]


@pytest.mark.parametrize("chunk", [1 << 20, 30])
def test_histogram_counts_every_pair_once(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    module = __import__(histogram_function.__module__, fromlist=["CHUNK_ENTRIES"])
    monkeypatch.setattr(module, "CHUNK_ENTRIES", chunk)
    z1, z2 = views()
    found = score_histogram(z1, z2, bins=8)
    positive, negative = [0] * 8, [0] * 8
    for i in range(12):
        for j in range(12):
            place = min(int((cosine(z1[i], z2[j]) + 1) / 2 * 8), 7)
            (positive if i == j else negative)[place] += 1
    assert found.positive.tolist() == positive
    assert found.negative.tolist() == negative
    assert found.edges.tolist() == pytest.approx([-1 + i / 4 for i in range(9)])


def test_histogram_of_a_sample_of_anchors() -> None:
    z1, z2 = views(40)
    found = score_histogram(z1, z2, sample=10, generator=torch.Generator().manual_seed(0))
    assert int(found.positive.sum()) == 10
    assert int(found.negative.sum()) == 10 * 39


def test_histogram_summaries() -> None:
    z1, z2 = views(60)
    found = score_histogram(z1, z2, bins=2000)
    pairs = [[cosine(a, b) for a, b in zip(z1, z2, strict=True)]]
    pairs.append([cosine(z1[i], z2[j]) for i in range(60) for j in range(60) if i != j])
    for (mean, variance), values in zip(found.mean_and_variance(), pairs, strict=True):
        wanted = torch.tensor(values)
        assert mean == pytest.approx(float(wanted.mean()), abs=1e-3)
        assert variance == pytest.approx(float(wanted.var(correction=0)), abs=1e-3)
    assert 0 < score_histogram(z1, z2, bins=10).overlap() < 1
    two = torch.eye(2)
    assert score_histogram(two, two).overlap() == 0
    ones = torch.ones(3, 2)
    assert score_histogram(ones, ones).overlap() == pytest.approx(1)


def test_undefined_is_nan() -> None:
    nothing, one = torch.zeros(0, 3), torch.ones(1, 3)
    assert alignment(nothing, nothing).isnan()
    assert uniformity(nothing).isnan()
    assert uniformity(one).isnan()
    assert tolerance(one, torch.zeros(1, dtype=torch.long)).isnan()
    assert tolerance(torch.randn(3, 2), torch.arange(3)).isnan()
    assert math.isnan(score_histogram(one, one).overlap())
    broken = torch.full((3, 2), torch.nan)
    assert alignment(broken, broken).isnan()
    assert uniformity(broken).isnan()
    assert tolerance(broken, torch.zeros(3, dtype=torch.long)).isnan()


def test_arguments_are_checked() -> None:
    z1, z2 = views()
    with pytest.raises(ArgumentError, match="alpha must be"):
        alignment(z1, z2, 0)
    with pytest.raises(ArgumentError, match="t must be"):
        uniformity(z1, -1)
    with pytest.raises(ArgumentError, match=r"z must be a floating \(N, d\) tensor"):
        uniformity(z1[0])
    with pytest.raises(ArgumentError, match=r"groups must be \(12,\) integers"):
        tolerance(z1, torch.zeros(11, dtype=torch.long))
    with pytest.raises(ArgumentError, match="bins must be at least 1; got 0"):
        score_histogram(z1, z2, 0)
    with pytest.raises(ArgumentError, match="must be finite"):
        score_histogram(z1 * torch.nan, z2)


def test_nothing_carries_a_gradient() -> None:
    z1, z2 = (view.requires_grad_() for view in views())
    groups = torch.zeros(12, dtype=torch.long)
    for value in (
        alignment(z1, z2),
        uniformity(z1),
        tolerance(z1, groups),
        effective_negatives(z1, z2),
    ):
        assert not value.requires_grad
