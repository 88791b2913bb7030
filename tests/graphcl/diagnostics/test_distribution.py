"""Wasserstein uniformity against closed forms, and the hook for node compactness."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from graphcl.diagnostics import (
    ProvidesNodeCompactness,
    effective_negatives,
    node_compactness,
    wasserstein_uniformity,
)
from graphcl.diagnostics.wasserstein_uniformity import _uniform_quantiles
from graphcl.errors import ArgumentError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def test_quantiles_are_closed_forms_on_the_circle_and_the_sphere() -> None:
    levels = [(i + 0.5) / 9 for i in range(9)]
    circle, sphere = _uniform_quantiles(9, 2).tolist(), _uniform_quantiles(9, 3).tolist()
    assert circle == pytest.approx([-math.cos(math.pi * p) for p in levels], abs=1e-12)
    # Archimedes: the height of a uniform point of the sphere is uniform.
    assert sphere == pytest.approx([2 * p - 1 for p in levels], abs=1e-12)
    assert _uniform_quantiles(4, 1).tolist() == [-1, -1, 1, 1]


@pytest.mark.parametrize("dimension", [5, 64])
def test_quantiles_invert_the_integral_of_the_density(dimension: int) -> None:
    def mass(upper: float, steps: int = 4000) -> float:
        width = (upper + 1) / steps
        middles = (-1 + (i + 0.5) * width for i in range(steps))
        return width * sum((1 - s * s) ** ((dimension - 3) / 2) for s in middles)

    total, quantiles = mass(1.0), _uniform_quantiles(8, dimension).tolist()
    for i, quantile in enumerate(quantiles):
        assert mass(quantile) / total == pytest.approx((i + 0.5) / 8, abs=1e-5)
    variance = float(_uniform_quantiles(100_000, dimension).square().mean())
    assert variance == pytest.approx(1 / dimension, rel=1e-3)


def test_even_rows_are_near_and_collapsed_rows_far() -> None:
    even = float(wasserstein_uniformity(normal(5000, 16), generator=generator()))
    assert even < 0.01
    same = float(wasserstein_uniformity(torch.ones(50, 16).double(), generator=generator()))
    assert same == pytest.approx(1, abs=1e-3)
    # Spread evenly, but over 4 of the 16 dimensions only: uniformity would not object.
    flat = torch.cat([normal(5000, 4), torch.zeros(5000, 12).double()], dim=1)
    assert 0.1 < float(wasserstein_uniformity(flat, generator=generator())) < 0.5


def test_distance_of_a_known_sample() -> None:
    """Two opposite rows have one cosine, -1, whichever pairs are drawn."""
    z = torch.tensor([[2.0, 0.0, 0.0], [-1.0, 0.0, 0.0]], dtype=torch.float64)
    expected = sum(abs(-1 - (2 * (i + 0.5) / 7 - 1)) for i in range(7)) / 7
    assert float(wasserstein_uniformity(z, 7)) == pytest.approx(expected)


def test_undefined_and_wrong_input() -> None:
    assert wasserstein_uniformity(normal(1, 3)).isnan()
    assert wasserstein_uniformity(torch.full((4, 3), torch.inf)).isnan()
    assert wasserstein_uniformity(torch.empty(4, 0)).isnan()
    with pytest.raises(ArgumentError, match="pairs must be at least 1; got 0"):
        wasserstein_uniformity(normal(4, 3), 0)


def test_a_sample_of_anchors_has_the_values_of_all() -> None:
    z1, z2 = normal(30, 4), normal(30, 4, seed=1)
    every = effective_negatives(z1, z2, 0.3)
    some = effective_negatives(z1, z2, 0.3, sample=10, generator=generator())
    chosen = torch.randperm(30, generator=generator())[:10]
    assert torch.allclose(some, every[chosen], rtol=1e-10)
    assert torch.equal(effective_negatives(z1, z2, 0.3, sample=99), every)


class Provider:
    def __init__(self, values: Tensor) -> None:
        self.values = values

    def node_compactness(self, data: int) -> Tensor:
        return self.values[:data]


def test_compactness_is_summarised() -> None:
    provider = Provider(torch.tensor([0.3, -0.1, 0.5, 0.2, 9.0]))
    assert isinstance(provider, ProvidesNodeCompactness)
    found = node_compactness(provider, 4, quantiles=(0, 0.5, 0.9, 1))
    assert found == pytest.approx(
        {
            "node_compactness/mean": 0.225,
            "node_compactness/share_above_0": 0.75,
            "node_compactness/quantile_0": -0.1,
            "node_compactness/quantile_0.5": 0.25,
            "node_compactness/quantile_0.9": 0.44,
            "node_compactness/quantile_1": 0.5,
        }
    )
    values = normal(1001)
    summary = node_compactness(Provider(values), 1001)
    for level in (0.05, 0.25, 0.5, 0.75, 0.95):
        expected = float(torch.quantile(values, level))
        assert summary[f"node_compactness/quantile_{level:g}"] == pytest.approx(expected)


def test_who_provides_none_logs_none() -> None:
    assert node_compactness(torch.nn.Linear(2, 2), None) == {}


def test_undefined_or_wrong_compactness() -> None:
    for values in (torch.empty(0), torch.tensor([1.0, torch.nan])):
        assert all(math.isnan(v) for v in node_compactness(Provider(values), 9).values())
    with pytest.raises(ArgumentError, match=r"Provider must be a floating \(N,\) tensor"):
        node_compactness(Provider(torch.ones(2, 2)), 2)
    with pytest.raises(ArgumentError, match=r"quantiles must lie in \[0, 1\]"):
        node_compactness(Provider(torch.ones(2)), 2, quantiles=(1.5,))
