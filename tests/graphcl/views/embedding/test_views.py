"""Noise, mixup and feature transformation: what each of them keeps and changes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.losses import cross_entropy
from graphcl.losses.unit_rows import unit_rows
from graphcl.views.embedding import (
    extrapolate_positives,
    extrapolated_cosine,
    gaussian_noise,
    interpolate_negatives,
    mixup,
    signed_noise,
)
from graphcl.views.embedding.draws import beta


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(count: int = 50, seed: int = 0) -> Tensor:
    return unit_rows(torch.randn(count, 6, generator=generator(seed), dtype=torch.float64))


def test_signed_noise_has_its_length_and_no_sign_changes() -> None:
    z = 5 * rows()
    added = signed_noise(z, 0.3, generator=generator()) - z
    assert torch.allclose(added.norm(dim=1), torch.full((50,), 0.3).double())
    assert (added * z >= 0).all()
    assert added.std(dim=0).min() > 0
    # Where an entry is 0 there is no sign and no noise.
    assert signed_noise(torch.zeros(3, 4), 1.0).abs().sum() == 0


def test_gaussian_noise_has_its_deviation() -> None:
    added = gaussian_noise(torch.zeros(4000, 20), 0.2, generator=generator())
    assert float(added.std()) == pytest.approx(0.2, rel=0.02)
    assert float(added.mean()) == pytest.approx(0, abs=0.005)


def test_mixup_is_its_formula() -> None:
    z = rows()
    mixed, partner, share = mixup(z, generator=generator())
    assert sorted(partner.tolist()) == list(range(50))
    assert ((share >= 0) & (share <= 1)).all()
    assert torch.allclose(mixed, share[:, None] * z + (1 - share[:, None]) * z[partner])
    little = mixup(z, 0.1, generator=generator())
    assert torch.allclose(1 - little.coefficient, 0.1 * (1 - share))
    # In the limit of small concentrations a row is left alone or replaced.
    rare = mixup(z, 1.0, 1e-5, generator=generator()).coefficient
    assert sorted(set(rare.tolist())) == [0.0, 1.0]


def test_mixup_with_its_soft_target_is_a_cross_entropy_with_a_soft_target() -> None:
    """The recipe of the documentation against the definition with an N x N target."""
    z1, z2, nodes = rows(8), rows(8, 1), torch.arange(8)
    mixed, partner, share = mixup(z1, generator=generator())
    keys = unit_rows(z2)
    own, other = (
        cross_entropy(unit_rows(mixed), keys, place, 0.2, reduction="none")
        for place in (nodes, partner)
    )
    ours = share * own + (1 - share) * other
    target = torch.zeros(8, 8, dtype=torch.float64)
    target[nodes, nodes] += share
    target[nodes, partner] += 1 - share
    log_softmax = (unit_rows(mixed) @ keys.T / 0.2).log_softmax(dim=1)
    assert torch.allclose(ours, -(target * log_softmax).sum(dim=1))


@given(st.integers(0, 10_000), st.floats(0.01, 3), st.sampled_from([0.5, 2.0, 10.0]))
@settings(max_examples=30, deadline=None)
def test_extrapolation_never_brings_a_pair_nearer(seed, strength, concentration) -> None:
    z1, z2 = rows(20, seed), rows(20, seed + 1)
    for renormalise in (True, False):
        u, v = extrapolate_positives(
            z1,
            z2,
            strength,
            concentration,
            renormalise=renormalise,
            generator=generator(seed),
        )
        before, after = (z1 * z2).sum(1), (u * v).sum(1)
        assert (after <= before + 1e-12).all()
        # The factor is the same for both rows of a pair and is read off the step.
        factor = 1 + strength * beta((20, 1), concentration, generator(seed), z1)[:, 0]
        closed = extrapolated_cosine(before, factor, renormalise=renormalise)
        assert torch.allclose(after, closed, rtol=1e-9, atol=1e-12)
        if renormalise:
            assert torch.allclose(u.norm(dim=1), torch.ones(20).double())
            assert torch.allclose(v.norm(dim=1), torch.ones(20).double())


def test_extrapolation_per_dimension_is_its_formula() -> None:
    z1, z2 = rows(), rows(seed=1)
    u, v = extrapolate_positives(
        z1, z2, per_dimension=True, renormalise=False, generator=generator()
    )
    a = 1 + beta((50, 6), 2.0, generator(), z1)
    assert ((a >= 1) & (a <= 2)).all()
    assert torch.allclose(u, a * z1 + (1 - a) * z2)
    assert torch.allclose(v, a * z2 + (1 - a) * z1)
    # Only the scalar factor preserves the middle of the pair and never raises the cosine.
    assert torch.allclose(u + v, z1 + z2)


def test_extrapolation_of_equal_rows_leaves_them() -> None:
    z = rows()
    u, v = extrapolate_positives(z, z, generator=generator())
    assert torch.allclose(u, z)
    assert torch.allclose(v, z)


def test_interpolated_negatives_lie_between_two_rows() -> None:
    z = rows()
    mixed = interpolate_negatives(z, renormalise=False, generator=generator())
    partner = torch.randperm(50, generator=generator())
    step = (mixed - z) / (z[partner] - z).where(z[partner] != z, 1.0)
    moved = partner != torch.arange(50)
    share = step[moved].mean(dim=1)
    assert torch.allclose(step[moved], share[:, None].expand(-1, 6))
    assert ((share >= 0) & (share <= 1)).all()
    assert (mixed.norm(dim=1) <= 1 + 1e-12).all()
    unit = interpolate_negatives(z, generator=generator())
    assert torch.allclose(unit, unit_rows(mixed))


@pytest.mark.parametrize("concentration", [1e-3, 0.05, 0.5, 1.0, 1.6, 2.0, 50.0])
def test_beta_has_its_moments(concentration: float) -> None:
    drawn = beta((200_000,), concentration, generator(), torch.empty(0, dtype=torch.float64))
    assert float(drawn.mean()) == pytest.approx(0.5, abs=0.005)
    assert float(drawn.var()) == pytest.approx(1 / (4 * (2 * concentration + 1)), rel=0.02)


def test_wrong_settings_are_named() -> None:
    z = rows()
    with pytest.raises(ArgumentError, match="concentration must be a finite number above 0"):
        mixup(z, concentration=0)
    with pytest.raises(ArgumentError, match=r"strength .* in \[0, 1\]; got 1.5"):
        interpolate_negatives(z, 1.5)
    with pytest.raises(ArgumentError, match="z1 and z2 must have one shape"):
        extrapolate_positives(z, z[:3])
