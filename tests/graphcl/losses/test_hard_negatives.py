"""InfoNCE with debiased, hardness-weighted or fewer negatives.

Every loss is compared, value and gradient, with loops over single numbers
written from its formula.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast import Pairs
from graphcl.losses import (
    DebiasedInfoNCE,
    HardContrastive,
    HardnessInfoNCE,
    HardnessWeightedInfoNCE,
    debiased_info_nce,
    hard_contrastive,
    hardness_info_nce,
    hardness_weighted_info_nce,
    info_nce,
)

Formula = Callable[[Tensor, list[Tensor]], Tensor]
both_settings = pytest.mark.parametrize(
    ("intra_view", "symmetric"), [(False, False), (False, True), (True, False), (True, True)]
)
backends = pytest.mark.parametrize("backend", ["dense", "tiles"])


def views(count: int = 5, dimension: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z1 = torch.randn(count, dimension, generator=generator, dtype=torch.float64)
    z2 = z1 + torch.randn(count, dimension, generator=generator, dtype=torch.float64)
    return z1.requires_grad_(), z2.requires_grad_()


def cosine(a: Tensor, b: Tensor) -> Tensor:
    numbers = range(len(a))
    length = sum(a[k] * a[k] for k in numbers).sqrt() * sum(b[k] * b[k] for k in numbers).sqrt()
    return sum(a[k] * b[k] for k in numbers) / length


def loops(
    z1: Tensor,
    z2: Tensor,
    formula: Formula,
    *,
    intra_view: bool,
    symmetric: bool,
    excluded: Sequence[tuple[int, int]] = (),
) -> Tensor:
    """`formula(cosine of the positive, cosines of the negatives)` of every anchor."""
    values = []
    for i in range(len(z1)):
        directions = []
        rest = [k for k in range(len(z1)) if k != i]
        rest = [k for k in rest if (i, k) not in excluded and (k, i) not in excluded]
        for own, other in ((z1, z2), (z2, z1)) if symmetric else ((z1, z2),):
            negatives = [cosine(own[i], other[k]) for k in rest]
            negatives += [cosine(own[i], own[k]) for k in rest if intra_view]
            directions.append(formula(cosine(own[i], other[i]), negatives))
        values.append(sum(directions) / len(directions))
    return torch.stack(values)


def assert_same(
    actual: Tensor, expected: Tensor, leaves: Sequence[Tensor], atol: float = 1e-12
) -> None:
    """Equal values (N,), and equal gradients of a weighted sum of them."""
    assert torch.allclose(actual, expected, rtol=1e-10, atol=atol)
    weight = torch.linspace(1, 2, len(expected), dtype=torch.float64)
    mine = torch.autograd.grad((weight * actual).sum(), leaves)
    theirs = torch.autograd.grad((weight * expected).sum(), leaves, retain_graph=True)
    for one, other in zip(mine, theirs, strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=10 * atol)


# --------------------------------------------------------------- debiased and HCL


def hardness_formula(temperature: float, beta: float, tau_plus: float) -> Formula:
    def formula(positive: Tensor, negatives: list[Tensor]) -> Tensor:
        count = len(negatives)
        weights = [(beta * s / temperature).exp() for s in negatives]
        total = sum(w * (s / temperature).exp() for w, s in zip(weights, negatives, strict=True))
        hard = count * total / sum(weights)
        pull = (positive / temperature).exp()
        rest = (hard - count * tau_plus * pull) / (1 - tau_plus)
        floor = count * math.exp(-1 / temperature)
        rest = rest if float(rest.detach()) > floor else torch.tensor(floor, dtype=torch.float64)
        return -(pull / (pull + rest)).log()

    return formula


@backends
@both_settings
@pytest.mark.parametrize(("beta", "tau_plus"), [(0.0, 0.0), (1.0, 0.0), (0.0, 0.1), (1.5, 0.2)])
def test_hardness_matches_the_formula(
    beta: float, tau_plus: float, intra_view: bool, symmetric: bool, backend: str
) -> None:
    z1, z2 = views()
    settings = {"intra_view": intra_view, "symmetric": symmetric}
    expected = loops(z1, z2, hardness_formula(0.4, beta, tau_plus), **settings)
    options = {"beta": beta, "tau_plus": tau_plus, "reduction": "none", "backend": backend}
    actual = hardness_info_nce(z1, z2, 0.4, **options, **settings)
    assert_same(actual, expected, (z1, z2))
    if beta == 0:
        del options["beta"]
        assert torch.equal(debiased_info_nce(z1, z2, 0.4, **options, **settings), actual)


def test_the_floor_of_the_debiased_sum_is_reached_and_matched() -> None:
    # Positives at cosine 1 and a large prior: the difference is negative for most anchors.
    z1, noise = views()
    z2 = (z1.detach() + 0.01 * noise.detach()).requires_grad_()
    settings = {"intra_view": True, "symmetric": True}
    expected = loops(z1, z2, hardness_formula(0.4, 0.0, 0.4), **settings)
    actual = debiased_info_nce(z1, z2, 0.4, tau_plus=0.4, reduction="none", **settings)
    assert_same(actual, expected, (z1, z2))
    at_floor = math.log1p(8 * math.exp(-2.5) / math.exp(2.5))
    assert (actual.detach() < 1.01 * at_floor).any()


@both_settings
@pytest.mark.parametrize("temperature", [1e-3, 0.1, 10.0])
def test_without_prior_and_hardness_it_is_info_nce(
    temperature: float, intra_view: bool, symmetric: bool
) -> None:
    z1, z2 = views(20)
    settings = {"intra_view": intra_view, "symmetric": symmetric, "reduction": "none"}
    expected = info_nce(z1, z2, temperature, **settings)
    # A prior and a hardness that round to nothing take the other path through the code.
    for beta, tau_plus in ((0.0, 0.0), (0.0, 1e-300), (1e-18, 0.0)):
        actual = hardness_info_nce(z1, z2, temperature, beta=beta, tau_plus=tau_plus, **settings)
        # InfoNCE itself is a difference of logits of size 1 / temperature.
        assert_same(actual, expected, (z1, z2), atol=1e-12 + 1e-15 / temperature)


def test_hardness_at_a_low_temperature_where_exponentials_overflow() -> None:
    z1, z2 = views(30, 8)
    exact = hardness_info_nce(z1, z2, 0.005, beta=2.0, tau_plus=0.1, reduction="none")
    single = [view.detach().float().requires_grad_() for view in (z1, z2)]
    assert torch.exp(torch.tensor(3 / 0.005)).isinf()
    actual = hardness_info_nce(*single, 0.005, beta=2.0, tau_plus=0.1, reduction="none")
    assert torch.allclose(actual.double(), exact, rtol=1e-4, atol=1e-4)
    actual.sum().backward()
    assert all(torch.isfinite(view.grad).all() for view in single)


def test_more_hardness_moves_the_push_to_the_nearest_negative() -> None:
    # One anchor at angle 0, its positive at 90 degrees, negatives at 10 and 120 degrees.
    angle = torch.tensor([0.0, 10.0, 120.0], dtype=torch.float64).deg2rad()
    z1 = torch.stack([angle.cos(), angle.sin()], dim=1)
    z2 = z1.clone()
    z2[0] = torch.tensor([0.0, 1.0])
    shares = []
    for beta in (0.0, 1.0, 4.0):
        leaf = z2.clone().requires_grad_()
        values = hardness_info_nce(
            z1,
            leaf,
            0.5,
            beta=beta,
            tau_plus=0.0,
            intra_view=False,
            symmetric=False,
            reduction="none",
        )
        (push,) = torch.autograd.grad(values[0], leaf)
        near, far = push[1].norm(), push[2].norm()
        shares.append(float(near / (near + far)))
    assert shares[0] < shares[1] < shares[2]


# --------------------------------------------------------------- the hardest negatives


def softmax_formula(temperature: float) -> Formula:
    def formula(positive: Tensor, negatives: list[Tensor]) -> Tensor:
        pull = (positive / temperature).exp()
        return -(pull / (pull + sum((s / temperature).exp() for s in negatives))).log()

    return formula


def hardest_formula(temperature: float, kept: int) -> Formula:
    everything = softmax_formula(temperature)

    def formula(positive: Tensor, negatives: list[Tensor]) -> Tensor:
        ranked = sorted(negatives, key=lambda s: -float(s.detach()))
        return everything(positive, ranked[:kept])

    return formula


@both_settings
@pytest.mark.parametrize("hardest", [1, 3, 0.3, 1.0])
def test_hardest_negatives_match_the_formula(
    hardest: int | float, intra_view: bool, symmetric: bool
) -> None:
    z1, z2 = views()
    settings = {"intra_view": intra_view, "symmetric": symmetric}
    available = 8 if intra_view else 4
    kept = math.ceil(hardest * available) if isinstance(hardest, float) else hardest
    expected = loops(z1, z2, hardest_formula(0.3, kept), **settings)
    actual = hard_contrastive(z1, z2, 0.3, hardest=hardest, reduction="none", **settings)
    assert_same(actual, expected, (z1, z2))


@both_settings
@pytest.mark.parametrize("hardest", [1.0, 58, 10_000])
@pytest.mark.parametrize("temperature", [0.01, 10.0])
def test_all_negatives_are_info_nce(
    temperature: float, hardest: int | float, intra_view: bool, symmetric: bool
) -> None:
    z1, z2 = views(30)
    settings = {"intra_view": intra_view, "symmetric": symmetric, "reduction": "none"}
    actual = hard_contrastive(z1, z2, temperature, hardest=hardest, **settings)
    assert_same(actual, info_nce(z1, z2, temperature, **settings), (z1, z2), atol=1e-11)


def test_as_many_negatives_as_asked_for_are_kept_of_equal_ones() -> None:
    z = torch.ones(6, 3, dtype=torch.float64)
    for hardest in (1, 2, 4):
        value = hard_contrastive(z, z, 0.5, hardest=hardest)
        assert float(value) == pytest.approx(math.log(1 + hardest))


# --------------------------------------------------------------- detached hardness weights


def weighted_formula(temperature: float, alpha: float) -> Formula:
    def formula(positive: Tensor, negatives: list[Tensor]) -> Tensor:
        pull = (positive / temperature).exp()
        push = [(alpha * s.detach()).exp() * (s / temperature).exp() for s in negatives]
        return -(pull / (pull + sum(push))).log()

    return formula


@backends
@both_settings
def test_hardness_weights_match_the_formula_and_get_no_gradient(
    intra_view: bool, symmetric: bool, backend: str
) -> None:
    z1, z2 = views()
    settings = {"intra_view": intra_view, "symmetric": symmetric}
    expected = loops(z1, z2, weighted_formula(0.3, 2.0), **settings)
    actual = hardness_weighted_info_nce(
        z1, z2, 0.3, alpha=2.0, reduction="none", backend=backend, **settings
    )
    assert_same(actual, expected, (z1, z2))


def test_no_hardness_weight_is_info_nce() -> None:
    z1, z2 = views(20)
    bias = torch.linspace(-1, 1, 20, dtype=torch.float64)
    settings = {"column_bias": bias, "reduction": "none"}
    actual = hardness_weighted_info_nce(z1, z2, 0.1, alpha=0.0, **settings)
    assert_same(actual, info_nce(z1, z2, 0.1, **settings), (z1, z2))


# --------------------------------------------------------------- known false negatives


@both_settings
@pytest.mark.parametrize(
    ("loss", "formula"),
    [
        (hardness_info_nce, hardness_formula(0.5, 1.0, 0.1)),
        (debiased_info_nce, hardness_formula(0.5, 0.0, 0.1)),
        (partial(hard_contrastive, temperature=0.5, hardest=2), hardest_formula(0.5, 2)),
        (partial(hardness_weighted_info_nce, temperature=0.5), weighted_formula(0.5, 0.5)),
    ],
)
def test_excluded_pairs_are_no_negatives(
    loss: Callable[..., Tensor], formula: Formula, intra_view: bool, symmetric: bool
) -> None:
    z1, z2 = views()
    # Once one way, once both ways, and a node with itself, which stays its own positive.
    listed = [(0, 1), (2, 4), (4, 2), (3, 3)]
    rows, columns = torch.tensor(listed).T
    settings = {"intra_view": intra_view, "symmetric": symmetric}
    expected = loops(z1, z2, formula, excluded=listed, **settings)
    actual = loss(z1, z2, exclude=Pairs(rows, columns), reduction="none", **settings)
    assert_same(actual, expected, (z1, z2))


@pytest.mark.parametrize("intra_view", [False, True])
def test_an_anchor_whose_negatives_are_all_excluded_is_a_connected_zero(intra_view: bool) -> None:
    others = torch.arange(1, 5)
    exclude = Pairs(torch.zeros(4, dtype=torch.int64), others)
    for loss in (
        DebiasedInfoNCE,
        HardContrastive,
        HardnessInfoNCE,
        HardnessWeightedInfoNCE,
    ):
        z1, z2 = views()
        values = loss(intra_view=intra_view, reduction="none")(z1, z2, exclude=exclude)
        assert float(values[0].detach()) == 0
        assert (values[1:] > 0).all()
        for gradient in torch.autograd.grad(values[0], (z1, z2), retain_graph=True):
            assert torch.equal(gradient, torch.zeros_like(gradient))
        for gradient in torch.autograd.grad(values.sum(), (z1, z2)):
            assert torch.isfinite(gradient).all()


# --------------------------------------------------------------- shared


@pytest.mark.parametrize(
    "loss",
    [
        DebiasedInfoNCE(),
        HardContrastive(),
        HardnessInfoNCE(),
        HardnessWeightedInfoNCE(),
    ],
)
@pytest.mark.parametrize("count", [0, 1])
def test_without_negatives_the_loss_is_a_connected_zero(loss: torch.nn.Module, count: int) -> None:
    z1, z2 = views(count)
    value = loss(z1, z2)
    assert float(value.detach()) == 0
    for gradient in torch.autograd.grad(value, (z1, z2)):
        assert torch.equal(gradient, torch.zeros_like(gradient))


def far(z: Tensor) -> Pairs:
    return Pairs(torch.tensor([0]), torch.tensor([len(z)]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z: hardness_info_nce(z, z, beta=-1.0), "beta must be a finite number"),
        (lambda z: HardnessInfoNCE(tau_plus=1.0), r"tau_plus must lie in \[0, 1\); got 1.0"),
        (lambda z: DebiasedInfoNCE(tau_plus=-0.1), r"tau_plus must lie in \[0, 1\)"),
        (lambda z: debiased_info_nce(z, z, tau_plus=float("nan")), "got nan"),
        (lambda z: HardContrastive(hardest=0), "hardest must be a count"),
        (lambda z: HardContrastive(hardest=1.5), "got 1.5"),
        (lambda z: hard_contrastive(z, z, hardest=True), "got True"),
        (lambda z: HardnessWeightedInfoNCE(alpha=-1.0), "alpha must be a finite number"),
        (lambda z: hard_contrastive(z, z, exclude=far(z)), "exclude.columns"),
    ],
)
def test_wrong_arguments_are_named(call: Callable[[Tensor], object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call(views()[0])


def test_a_fraction_of_a_hundred_negatives_is_not_rounded_up() -> None:
    # 0.07 * 100 is 7.000000000000001 in floating point.
    z1, z2 = views(51)
    expected = hard_contrastive(z1, z2, hardest=7, reduction="none")
    assert torch.equal(hard_contrastive(z1, z2, hardest=0.07, reduction="none"), expected)


def test_counts_and_temperatures_may_be_numbers_of_numpy() -> None:
    z1, z2 = views(12)
    expected = hard_contrastive(z1, z2, 0.25, hardest=3)
    assert torch.equal(hard_contrastive(z1, z2, np.float32(0.25), hardest=np.int64(3)), expected)
