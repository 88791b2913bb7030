"""CACR against the definition: distances, two softmaxes, and their gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.losses import CACR, cacr


def definition(
    loops: Any,
    z: Tensor,
    t_plus: float,
    t_minus: float,
    alpha: float,
    beta: float,
    intra_view: bool,
    symmetric: bool,
) -> list[Tensor]:
    """Zheng et al. 2021: mean cost under e^{t+ c} of positives, under e^{-t- c} of negatives."""
    views, count = z.shape[:2]
    unit = [[loops.unit(z[v, i]) for v in range(views)] for i in range(count)]

    def cost(a: list[Tensor], b: list[Tensor]) -> Tensor:
        return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))

    def mean(costs: list[Tensor], t: float) -> Tensor | float:
        weights = [(t * c).exp() for c in costs]
        total = sum(weights)
        return sum(w / total * c for w, c in zip(weights, costs, strict=True)) if costs else 0.0

    values = []
    for i in range(count):
        anchors = range(views) if symmetric else range(1)
        losses = []
        for v in anchors:
            positives = [cost(unit[i][v], unit[i][w]) for w in range(views) if w != v]
            negatives = [
                cost(unit[i][v], unit[j][w])
                for j in range(count)
                for w in range(views)
                if j != i and (intra_view or w != v)
            ]
            losses.append(alpha * mean(positives, t_plus) - beta * mean(negatives, -t_minus))
        values.append(sum(losses) / len(losses))
    return values


@pytest.mark.parametrize("backend", ["dense", "tiles"])
@pytest.mark.parametrize("intra_view", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("views", [2, 4])
def test_matches_the_definition(
    views: int, symmetric: bool, intra_view: bool, backend: str, loops: Any
) -> None:
    settings = {"t_plus": 1.3, "t_minus": 0.7, "alpha": 0.5, "beta": 2.0}
    settings |= {"intra_view": intra_view, "symmetric": symmetric}
    loops.agree(
        lambda z: cacr(z, reduction="none", backend=backend, **settings),
        lambda z: definition(loops, z, **settings),
        loops.random(views, 4, 3),
    )


def test_even_weights_are_plain_mean_distances(loops: Any) -> None:
    z = loops.random(3, 8, 4)
    unit = torch.nn.functional.normalize(z, dim=2).transpose(0, 1).reshape(24, 4)
    distances = torch.cdist(unit, unit).square()
    same = torch.arange(24)[:, None] // 3 == torch.arange(24) // 3
    attraction = distances[same].sum() / (24 * 2)
    repulsion = distances[~same].mean()
    actual = cacr(z, t_plus=0.0, t_minus=1e-6, intra_view=True)
    assert float(actual) == pytest.approx(float(attraction - repulsion), abs=1e-5)


def test_the_far_positive_and_the_near_negative_are_moved_most() -> None:
    # Angles of (node, view): the anchor at 0, positives at 30 and 60.
    angles = torch.tensor([[0.0, 30.0, 60.0], [40.0, 45.0, 50.0], [90.0, 95.0, 85.0]])
    angles = angles.double().deg2rad().requires_grad_()
    z = torch.stack([angles.cos(), angles.sin()], dim=2).transpose(0, 1)
    shares = []
    for t in (1e-3, 0.5, 1.0):
        value = cacr(z, t_plus=t, t_minus=t, symmetric=False, reduction="none")[0]
        slope = torch.autograd.grad(value, angles, retain_graph=True)[0].abs()
        shares.append([slope[0, 2] / slope[0, 1:].sum(), slope[1].sum() / slope[1:].sum()])
    for even, weighted, strongly in zip(*shares, strict=True):
        assert even < weighted < strongly


def test_one_node_has_attraction_only(loops: Any) -> None:
    z = loops.random(2, 1, 3).requires_grad_()
    value = cacr(z)
    cosine = torch.nn.functional.cosine_similarity(z[0], z[1])
    assert float(value.detach()) == pytest.approx(float(2 - 2 * cosine.detach()))
    value.backward()
    assert torch.isfinite(z.grad).all()


def test_views_come_as_one_tensor_or_as_a_sequence(loops: Any) -> None:
    views = loops.random(3, 6, 4)
    assert torch.equal(cacr(list(views)), cacr(views))


def test_low_precision_and_strong_weights(loops: Any) -> None:
    z = loops.random(3, 300, 8)
    exact = cacr(z, t_plus=500.0, t_minus=500.0, reduction="none")
    single = z.float().requires_grad_()
    actual = cacr(single, t_plus=500.0, t_minus=500.0, reduction="none")
    assert torch.allclose(actual.double(), exact, atol=1e-3)
    actual.sum().backward()
    assert torch.isfinite(single.grad).all()
    assert cacr(z.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z: cacr(z[:1]), "views must be at least 2; got 1"),
        (lambda z: cacr(z[0]), r"views must be \(V, N, d\)"),
        (lambda z: CACR(t_minus=0.0), "t_minus must be a finite number above 0"),
        (lambda z: CACR(t_plus=-1.0), "t_plus must be a finite number of at least 0"),
        (lambda z: CACR(alpha=float("inf")), "alpha must be a finite number"),
        (lambda z: cacr(z, reduction="max"), "allowed: mean, sum, none"),
    ],
)
def test_wrong_arguments_are_named(call: Callable[[Tensor], object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call(torch.ones(2, 6, 3))
