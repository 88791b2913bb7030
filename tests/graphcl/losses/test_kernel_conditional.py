"""KernelConditional against loops with the N x N kernel and its inverse."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.random_features import random_fourier_features
from graphcl.losses import InfoNCE, KernelConditional, kernel_conditional

TEMPERATURE = 0.4


def weights(kernel: Tensor, regularisation: float, include_self: bool) -> Tensor:
    """(K + λ)⁻¹ K with an inverse, clipped."""
    identity = torch.eye(len(kernel), dtype=kernel.dtype)
    inverse = torch.linalg.inv(kernel + regularisation * identity)
    clipped = (inverse @ kernel).clamp_min(0)
    return clipped if include_self else clipped * (1 - identity)


def definition(loops: Any, z1: Tensor, z2: Tensor, weight: Tensor, form: str) -> list[Tensor]:
    N = len(z1)
    values = []
    for i in range(N):
        value = torch.zeros((), dtype=torch.float64)
        for u, v in ((z1, z2), (z2, z1)):
            e = [torch.exp(loops.cosine(u[i], v[j]) / TEMPERATURE) for j in range(N)]
            total = sum(float(weight[i, j]) * e[j] for j in range(N))
            if form == "hard_negative":
                value = value - torch.log(e[i] / (e[i] + (N - 1) * total)) / 2
            elif weight[i].any():
                others = sum(e[j] for j in range(N) if j != i)
                value = value - torch.log(total / (total + others)) / 2
        values.append(value)
    return values


@pytest.mark.parametrize("form", ["hard_negative", "weak_supervision"])
@pytest.mark.parametrize("include_self", [False, True])
@pytest.mark.parametrize("backend", ["dense", "tiles"])
def test_discrete_condition_is_the_inverse_of_its_kernel(
    loops: Any, form: str, include_self: bool, backend: str
) -> None:
    # Node 4 is alone with its condition; ids need not be consecutive.
    condition = torch.tensor([7, -2, 7, 7, 100, -2])
    kernel = (condition[:, None] == condition).double()
    weight = weights(kernel, 0.3, include_self)
    loops.agree(
        lambda a, b: kernel_conditional(
            a,
            b,
            condition,
            TEMPERATURE,
            form=form,
            regularisation=0.3,
            include_self=include_self,
            reduction="none",
            backend=backend,
        ),
        lambda a, b: definition(loops, a, b, weight, form),
        *loops.random(2, 6, 3),
    )


@pytest.mark.parametrize("form", ["hard_negative", "weak_supervision"])
@pytest.mark.parametrize("include_self", [False, True])
@pytest.mark.parametrize("backend", ["dense", "tiles"])
def test_continuous_condition_is_the_inverse_of_its_kernel(
    loops: Any, form: str, include_self: bool, backend: str
) -> None:
    features = loops.random(6, 2, seed=3)
    weight = weights(features @ features.T, 0.1, include_self)
    # Some weights are clipped and some are not.
    assert 0 < (weight == 0).sum() - (0 if include_self else 6) < 30
    loops.agree(
        lambda a, b: kernel_conditional(
            a,
            b,
            features,
            TEMPERATURE,
            form=form,
            include_self=include_self,
            reduction="none",
            backend=backend,
        ),
        lambda a, b: definition(loops, a, b, weight, form),
        *loops.random(2, 6, 3),
    )


@pytest.mark.parametrize("form", ["hard_negative", "weak_supervision"])
def test_indicators_as_features_are_ids(loops: Any, form: str) -> None:
    z1, z2 = loops.random(2, 300, 4)
    ids = torch.arange(300) % 7
    loss = KernelConditional(0.2, form=form, reduction="none")
    indicators = torch.nn.functional.one_hot(ids).double()
    torch.testing.assert_close(loss(z1, z2, indicators), loss(z1, z2, ids))


def test_one_condition_for_all_is_info_nce(loops: Any) -> None:
    # Each of the N - 1 others has weight 1 / N, which N - 1 makes about one.
    z1, z2 = loops.random(2, 50, 4)
    ids = torch.zeros(50, dtype=torch.int64)
    got = KernelConditional(0.3, regularisation=1e-9, reduction="none")(z1, z2, ids)
    exact = InfoNCE(0.3, reduction="none")(z1, z2)
    assert (got < exact).all()
    torch.testing.assert_close(got, exact, atol=0.03, rtol=0)


def test_fair_form_ignores_nodes_of_other_conditions(loops: Any) -> None:
    z1, z2 = loops.random(2, 8, 3)
    ids = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    loss = KernelConditional(0.2, reduction="none")
    moved = z2.clone()
    moved[4:] = loops.random(4, 3, seed=9)
    assert torch.equal(loss(z1, moved, ids)[:4], loss(z1, z2, ids)[:4])
    assert not torch.equal(loss(z1, moved, ids)[4:], loss(z1, z2, ids)[4:])


@pytest.mark.parametrize("form", ["hard_negative", "weak_supervision"])
@pytest.mark.parametrize("temperature", [1e-3, 10.0])
def test_nodes_without_companions_stay_finite(loops: Any, form: str, temperature: float) -> None:
    z1, z2 = (part.float().requires_grad_() for part in loops.random(2, 5, 3))
    loss = KernelConditional(temperature, form=form, reduction="none")
    # Ids that are all different; and features whose every weight is clipped or 0.
    for condition in (torch.arange(5), torch.eye(5), -torch.eye(5)):
        values = loss(z1, z2, condition)
        assert torch.equal(values, torch.zeros(5))
        for slope in torch.autograd.grad(values.sum(), (z1, z2)):
            assert torch.isfinite(slope).all()


def test_large_features_of_dependent_columns_need_no_inverse(loops: Any) -> None:
    # Their inner products are 1e24 and of rank 1; the ridge of 0.1 is lost among them.
    z1, z2 = loops.random(2, 8, 3)
    condition = 1e12 * loops.random(8, 1, seed=1)
    once = KernelConditional(0.2, reduction="none")(z1, z2, condition)
    thrice = KernelConditional(0.2, reduction="none")(z1, z2, condition.repeat(1, 3))
    assert torch.isfinite(once).all()
    assert torch.allclose(once, thrice, rtol=1e-10)


def test_random_features_approach_the_gaussian_kernel(loops: Any) -> None:
    x = loops.random(30, 3)
    exact = torch.exp(-torch.cdist(x, x).square() / (2 * 1.5**2))
    errors = []
    for frequencies in (100, 10_000):
        phi = random_fourier_features(x, frequencies, 1.5, torch.Generator().manual_seed(0))
        assert phi.shape == (30, 2 * frequencies)
        kernel = phi @ phi.T
        torch.testing.assert_close(kernel.diagonal(), torch.ones(30, dtype=torch.float64))
        errors.append(float((kernel - exact).square().mean().sqrt()))
    assert errors[1] < 0.02
    assert errors[1] < errors[0] / 5


def test_mistakes_are_named() -> None:
    z = torch.randn(4, 2)
    with pytest.raises(ArgumentError, match="unknown form 'fair'; allowed: hard_negative, weak"):
        KernelConditional(form="fair")
    with pytest.raises(ArgumentError, match="regularisation must be a finite number above 0"):
        KernelConditional(regularisation=0.0)
    with pytest.raises(ArgumentError, match=r"condition must be integers \(4,\) or floating feat"):
        KernelConditional()(z, z, torch.zeros(4))
    with pytest.raises(ArgumentError, match="condition must be finite; got nan"):
        KernelConditional()(z, z, torch.full((4, 2), math.nan))
