"""Alignment and uniformity against double loops."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.losses import AlignmentUniformity, alignment_uniformity
from graphcl.losses.alignment_uniformity import log_mean_cross_potential, log_mean_potential
from graphcl.losses.unit_rows import unit_rows


def views(count: int = 7, dimension: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (count, dimension)
    z1 = torch.randn(shape, generator=generator, dtype=torch.float64)
    z2 = z1 + torch.randn(shape, generator=generator, dtype=torch.float64)
    return z1.requires_grad_(), z2.requires_grad_()


def squared_distance(a: Tensor, b: Tensor) -> Tensor:
    left, right = (x / x.norm() if x.any() else x for x in (a, b))
    return ((left - right) ** 2).sum()


def potential(z: Tensor, t: float) -> Tensor:
    pairs = [(i, j) for i in range(len(z)) for j in range(len(z)) if i != j]
    terms = [(-t * squared_distance(z[i], z[j])).exp() for i, j in pairs]
    return (sum(terms[1:], terms[0]) / len(pairs)).log()


@pytest.mark.parametrize("backend", ["dense", "tiles"])
@pytest.mark.parametrize(("alpha", "t", "weight"), [(2, 2, 1), (1, 0.5, 0.3), (3, 5, 2)])
def test_matches_the_formula(alpha: float, t: float, weight: float, backend: str) -> None:
    z1, z2 = views()
    ours = AlignmentUniformity(
        alpha=alpha, t=t, uniformity_weight=weight, reduction="none", backend=backend
    )(z1, z2)
    uniform = (potential(z1, t) + potential(z2, t)) / 2
    theirs = torch.stack(
        [
            squared_distance(a, b) ** (alpha / 2) + weight * uniform
            for a, b in zip(z1, z2, strict=True)
        ]
    )
    assert torch.allclose(ours, theirs, rtol=1e-10)
    upstream = torch.arange(1.0, 8.0, dtype=torch.float64)
    for mine, other in zip(
        torch.autograd.grad(ours, (z1, z2), upstream),
        torch.autograd.grad(theirs, (z1, z2), upstream),
        strict=True,
    ):
        assert torch.allclose(mine, other, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("backend", ["dense", "tiles"])
def test_cross_weight_adds_the_potential_between_views(backend: str) -> None:
    z1, z2 = views()
    ours = alignment_uniformity(z1, z2, cross_weight=0.7, backend=backend)
    ours = ours - alignment_uniformity(z1, z2, backend=backend)
    pairs = [(i, j) for i in range(7) for j in range(7) if i != j]
    terms = [(-2.0 * squared_distance(z1[i], z2[j])).exp() for i, j in pairs]
    theirs = 0.7 * (sum(terms[1:], terms[0]) / len(pairs)).log()
    assert torch.allclose(ours, theirs, rtol=1e-10)
    for mine, other in zip(
        torch.autograd.grad(ours, (z1, z2)), torch.autograd.grad(theirs, (z1, z2)), strict=True
    ):
        assert torch.allclose(mine, other, rtol=1e-8, atol=1e-12)
    # A row without direction is the centre here too, and one node has no pair.
    centre = torch.cat([torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])])
    got = log_mean_cross_potential(unit_rows(centre), unit_rows(centre), 2.0)
    assert float(got) == pytest.approx(-2.0)
    assert float(log_mean_cross_potential(centre[:1], centre[:1], 2.0)) == 0


def test_gradient_for_other_powers() -> None:
    assert torch.autograd.gradcheck(AlignmentUniformity(alpha=1.5, t=3.0), views(4, 3))


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0])
def test_equal_views_have_alignment_zero_and_no_gradient(alpha: float) -> None:
    z = views()[0]
    value = alignment_uniformity(z, z, alpha=alpha, uniformity_weight=0)
    assert value.item() == 0
    assert torch.equal(torch.autograd.grad(value, z)[0], torch.zeros_like(z))


def test_a_row_without_direction_is_the_centre() -> None:
    z = views()[0].detach()
    z[2] = z[5] = 0
    ours = log_mean_potential(unit_rows(z), 2.0)
    assert float(ours) == pytest.approx(float(potential(z, 2.0)), rel=1e-12)


def test_uniformity_is_zero_when_all_rows_agree() -> None:
    assert float(log_mean_potential(unit_rows(torch.ones(50, 8)), 2.0)) == pytest.approx(
        0, abs=1e-5
    )


@pytest.mark.parametrize("count", [0, 1])
def test_without_pairs_uniformity_is_a_connected_zero(count: int) -> None:
    z = torch.randn(count, 3, requires_grad=True)
    value = log_mean_potential(unit_rows(z), 2.0)
    value.backward()
    assert value.item() == 0
    assert torch.equal(z.grad, torch.zeros(count, 3))


def test_descent_spreads_and_aligns() -> None:
    generator = torch.Generator().manual_seed(0)
    start = [1 + 0.1 * torch.randn(16, 3, generator=generator) for _ in range(2)]
    z1, z2 = (view.requires_grad_() for view in start)
    optimiser = torch.optim.SGD([z1, z2], lr=1.0)
    for _ in range(300):
        optimiser.zero_grad()
        alignment_uniformity(z1, z2).backward()
        optimiser.step()
    u, v = unit_rows(z1.detach()), unit_rows(z2.detach())
    assert (u * v).sum(dim=1).min() > 0.99
    assert u.mean(dim=0).norm() < 0.05


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 0.5}, "alpha must be .* at least 1; got 0.5"),
        ({"t": 0}, "t must be .* above 0; got 0"),
        ({"uniformity_weight": -1}, "uniformity_weight must be .* at least 0; got -1"),
    ],
)
def test_settings_are_checked(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        AlignmentUniformity(**settings)
