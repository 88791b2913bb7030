"""InfoNCE with a margin on the positive, with averaged negatives, and without known ones.

Every loss is compared, value and gradient, with loops over single numbers
written from its formula.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import pytest
import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast import Pairs
from graphcl.losses import (
    MarginInfoNCE,
    MeanInfoNCE,
    decoupled_info_nce,
    info_nce,
    margin_info_nce,
    mean_info_nce,
)
from graphcl.losses.margin_info_nce import cosine_of_widened_angle

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


# --------------------------------------------------------------- margins


def margin_formula(temperature: float, margin: float, kind: str) -> Formula:
    def formula(positive: Tensor, negatives: list[Tensor]) -> Tensor:
        if kind == "cosine":
            widened = positive - margin
        elif float(positive.detach()) > -math.cos(margin):
            widened = (positive.acos() + margin).cos()
        else:
            widened = positive + math.cos(margin) - 1
        pull = (widened / temperature).exp()
        return -(pull / (pull + sum((s / temperature).exp() for s in negatives))).log()

    return formula


@backends
@both_settings
@pytest.mark.parametrize("kind", ["cosine", "angle"])
def test_margin_matches_the_formula(
    kind: str, intra_view: bool, symmetric: bool, backend: str
) -> None:
    z1, z2 = views()
    with torch.no_grad():
        z2[0] = -z1[0] + 0.05 * z2[0]
    assert float(cosine(z1[0], z2[0]).detach()) < -math.cos(0.4)
    settings = {"intra_view": intra_view, "symmetric": symmetric}
    expected = loops(z1, z2, margin_formula(0.3, 0.4, kind), **settings)
    actual = margin_info_nce(
        z1, z2, 0.3, margin=0.4, kind=kind, reduction="none", backend=backend, **settings
    )
    assert_same(actual, expected, (z1, z2))


@pytest.mark.parametrize("kind", ["cosine", "angle"])
def test_no_margin_is_info_nce(kind: str) -> None:
    z1, z2 = views(9)
    bias = torch.linspace(-1, 1, 9, dtype=torch.float64)
    settings = {"intra_view": True, "column_bias": bias, "reduction": "none"}
    actual = margin_info_nce(z1, z2, 0.2, margin=0.0, kind=kind, **settings)
    assert_same(actual, info_nce(z1, z2, 0.2, **settings), (z1, z2))


@pytest.mark.parametrize("margin", [0.0, 0.1, 1.0, 2.0, 3.1])
def test_the_widened_angle_is_continuous_and_grows_with_the_cosine(margin: float) -> None:
    cosines = torch.linspace(-1, 1, 20001, dtype=torch.float64)
    widened = cosine_of_widened_angle(cosines, margin)
    steps = widened.diff()
    # Near parallel vectors the slope is that of a square root: sqrt(2 * step).
    assert (steps > 0).all()
    assert steps.max() < 2 * math.sqrt(2e-4)
    angle = cosines.acos()
    inside = angle + margin < math.pi
    assert torch.allclose(widened[inside], (angle + margin).cos()[inside], atol=1e-7)


@pytest.mark.parametrize("kind", ["cosine", "angle"])
def test_identical_and_opposite_views_have_finite_gradients(kind: str) -> None:
    for sign in (1.0, -1.0):
        z1 = views(6)[0].detach().float().requires_grad_()
        z2 = (sign * z1.detach()).requires_grad_()
        margin_info_nce(z1, z2, 0.01, margin=0.3, kind=kind).backward()
        assert torch.isfinite(z1.grad).all()
        assert torch.isfinite(z2.grad).all()


def test_a_learnt_margin_receives_its_gradient() -> None:
    z1, z2 = (view.detach() for view in views())
    for kind in ("cosine", "angle"):
        margin = torch.nn.Parameter(torch.tensor(0.3, dtype=torch.float64))
        loss = MarginInfoNCE(0.3, margin=margin, kind=kind)
        assert [id(p) for p in loss.parameters()] == [id(margin)]
        (slope,) = torch.autograd.grad(loss(z1, z2), margin)
        step = 1e-6
        ends = [margin_info_nce(z1, z2, 0.3, margin=0.3 + s * step, kind=kind) for s in (1, -1)]
        assert float(slope) == pytest.approx(float(ends[0] - ends[1]) / (2 * step), rel=1e-6)
        assert float(slope) > 0


# --------------------------------------------------------------- mean over the negatives


def mean_formula(temperature: float) -> Formula:
    def formula(positive: Tensor, negatives: list[Tensor]) -> Tensor:
        pull = (positive / temperature).exp()
        mean = sum((s / temperature).exp() for s in negatives) / len(negatives)
        return -(pull / (pull + mean)).log()

    return formula


@backends
@both_settings
def test_mean_matches_the_formula(intra_view: bool, symmetric: bool, backend: str) -> None:
    z1, z2 = views()
    settings = {"intra_view": intra_view, "symmetric": symmetric}
    actual = mean_info_nce(z1, z2, 0.3, reduction="none", backend=backend, **settings)
    assert_same(actual, loops(z1, z2, mean_formula(0.3), **settings), (z1, z2))


def test_mean_does_not_see_that_every_node_occurs_twice() -> None:
    z1, z2 = (view.detach() for view in views(6))
    # With candidates twice, InfoNCE grows; the mean changes by the anchor's copy only.
    scattered = torch.eye(6, dtype=torch.float64)
    few = mean_info_nce(scattered, scattered, 0.5)
    many = mean_info_nce(torch.eye(60, dtype=torch.float64), torch.eye(60, dtype=torch.float64))
    assert float(few) == pytest.approx(float(many))
    assert float(info_nce(z1, z2)) < float(info_nce(z1.repeat(2, 1), z2.repeat(2, 1)))


# --------------------------------------------------------------- known false negatives


def softmax_formula(temperature: float) -> Formula:
    def formula(positive: Tensor, negatives: list[Tensor]) -> Tensor:
        pull = (positive / temperature).exp()
        return -(pull / (pull + sum((s / temperature).exp() for s in negatives))).log()

    return formula


def decoupled_formula(temperature: float) -> Formula:
    def formula(positive: Tensor, negatives: list[Tensor]) -> Tensor:
        return sum((s / temperature).exp() for s in negatives).log() - positive / temperature

    return formula


@both_settings
@pytest.mark.parametrize(
    ("loss", "formula"),
    [
        (partial(margin_info_nce, temperature=0.5), margin_formula(0.5, 0.1, "cosine")),
        (mean_info_nce, mean_formula(0.5)),
        (info_nce, softmax_formula(0.5)),
        (partial(decoupled_info_nce, temperature=0.5), decoupled_formula(0.5)),
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
        MarginInfoNCE,
        MeanInfoNCE,
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
        MarginInfoNCE(),
        MeanInfoNCE(),
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
        (lambda z: MarginInfoNCE(margin=-0.1), r"margin must lie in \[0, inf\)"),
        (lambda z: MarginInfoNCE(margin=4.0, kind="angle"), r"margin must lie in \[0, 3.142\)"),
        (lambda z: MarginInfoNCE(margin=torch.ones(2)), "margin must be one number"),
        (lambda z: margin_info_nce(z, z, kind="arc"), "unknown kind 'arc'; allowed: cosine, angle"),
        (lambda z: mean_info_nce(z, z, exclude=far(z)), "exclude.columns"),
        (lambda z: mean_info_nce(z, z[:2]), "row i being the same node"),
    ],
)
def test_wrong_arguments_are_named(call: Callable[[Tensor], object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call(views()[0])
