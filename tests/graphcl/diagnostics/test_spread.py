"""Effective rank, contrastive gap and separability against their definitions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from graphcl.diagnostics import contrastive_gap, effective_rank, linear_separability
from graphcl.errors import ArgumentError


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotated(values: list[float], rows: int = 10) -> Tensor:
    """A matrix with these singular values."""
    left = torch.linalg.qr(normal(rows, len(values))).Q
    right = torch.linalg.qr(normal(len(values), len(values), seed=1)).Q
    return left * torch.tensor(values, dtype=torch.float64) @ right


def test_effective_rank_is_the_exponential_entropy() -> None:
    values = [5.0, 2.0, 1.0, 0.0]
    shares = [v / 8 for v in values]
    expected = math.exp(-sum(p * math.log(p) for p in shares if p))
    assert float(effective_rank(rotated(values))) == pytest.approx(expected, rel=1e-9)
    assert float(effective_rank(1e5 * rotated(values))) == pytest.approx(expected, rel=1e-9)


def test_effective_rank_between_collapse_and_full() -> None:
    assert float(effective_rank(rotated([3.0] * 5))) == pytest.approx(5)
    line = torch.outer(normal(20), normal(6))
    assert float(effective_rank(line)) == pytest.approx(1, abs=1e-6)
    assert 1 < float(effective_rank(normal(100, 8))) <= 8


def test_centring_forgets_a_common_offset() -> None:
    z = normal(50, 4)
    far = z + 1000
    assert float(effective_rank(far)) < 1.1
    assert float(effective_rank(far, centre=True)) == pytest.approx(
        float(effective_rank(z - z.mean(0))), rel=1e-6
    )
    assert float(effective_rank(torch.full((30, 4), 0.1), centre=True)) == 0
    assert float(effective_rank(torch.zeros(3, 2))) == 0


def test_gap_is_the_distance_of_the_centroids() -> None:
    z1, z2 = normal(9, 3), 1 + normal(9, 3, seed=1)
    first = [sum(float(row[j] / row.norm()) for row in z1) / 9 for j in range(3)]
    second = [sum(float(row[j] / row.norm()) for row in z2) / 9 for j in range(3)]
    assert float(contrastive_gap(z1, z2)) == pytest.approx(math.dist(first, second), rel=1e-9)
    assert float(contrastive_gap(z1, 3 * z1)) == pytest.approx(0, abs=1e-12)
    ones = torch.ones(4, 3)
    assert float(contrastive_gap(ones, -ones)) == pytest.approx(2)


def test_separability_of_mixed_and_of_parted_views() -> None:
    z1, z2 = normal(400, 6), normal(400, 6, seed=1)
    generator = torch.Generator().manual_seed(0)
    assert float(linear_separability(z1, z2, generator=generator)) == pytest.approx(0.5, abs=0.08)
    offset = torch.tensor([8.0, 0, 0, 0, 0, 0], dtype=torch.float64)
    assert float(linear_separability(z1 + offset, z2 - offset, generator=generator)) == 1
    between = linear_separability(z1 + offset / 8, z2 - offset / 8, generator=generator)
    assert 0.65 < float(between) < 0.99
    assert float(linear_separability(z1, z1)) == 0.5


def test_separability_is_the_ridge_regression_of_the_view() -> None:
    z1, z2 = 1 + normal(30, 3), normal(30, 3, seed=1)
    found = linear_separability(z1, z2, ridge=0.1, generator=torch.Generator().manual_seed(2))
    order = torch.randperm(30, generator=torch.Generator().manual_seed(2))
    rows = torch.stack([row / row.norm() for row in torch.cat([z1, z2])])
    fitted = torch.cat([order[:15], order[:15] + 30])
    tested = torch.cat([order[15:], order[15:] + 30])
    label = torch.cat([torch.ones(30), -torch.ones(30)]).double()
    # Minimise the squared error with an unpenalised offset by gradient descent.
    penalty = 0.1 * rows[fitted].var(dim=0, correction=0).mean()
    weight = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight], max_iter=200, tolerance_grad=1e-12)

    def closure() -> Tensor:
        optimiser.zero_grad()
        error = rows[fitted] @ weight[:3] + weight[3] - label[fitted]
        objective = error.square().mean() + penalty * weight[:3].square().sum()
        objective.backward()
        return objective

    optimiser.step(closure)
    side = (rows[tested] @ weight[:3] + weight[3]).detach().sign()
    expected = float((side == label[tested]).double().mean())
    assert 0.6 < expected < 1
    assert float(found) == pytest.approx(expected)


def test_undefined_is_nan_and_arguments_are_checked() -> None:
    nothing, one = torch.zeros(0, 3), torch.ones(1, 3)
    broken = torch.full((3, 2), torch.nan)
    assert effective_rank(nothing).isnan()
    assert effective_rank(broken).isnan()
    assert contrastive_gap(nothing, nothing).isnan()
    assert contrastive_gap(broken, broken).isnan()
    assert linear_separability(one, one).isnan()
    assert linear_separability(broken, broken).isnan()
    assert float(linear_separability(torch.ones(4, 2), torch.ones(4, 2))) == 0.5
    with pytest.raises(ArgumentError, match="ridge must be"):
        linear_separability(one, one, ridge=0)
    with pytest.raises(ArgumentError, match="z must be a floating"):
        effective_rank(torch.zeros(3, 2, dtype=torch.long))
    with pytest.raises(ArgumentError, match="z1 and z2 must both be"):
        contrastive_gap(one, torch.ones(1, 2))
