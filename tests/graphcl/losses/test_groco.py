"""GroCo and its sorting network against loops over single numbers."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.losses import GroCo, groco
from graphcl.losses.differentiable_sorting import (
    TIE_WIDTH,
    rank_mass,
    sort_relaxed,
    swap_free_probability,
)
from graphcl.losses.groco import group_ordering


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def stay(difference: Tensor, steepness: float, sharpening: float) -> Tensor:
    size = (difference**2 + TIE_WIDTH**2) ** (sharpening / 2)
    return torch.atan(steepness * difference / size) / math.pi + 0.5


def permutation(values: list[Tensor], steepness: float, sharpening: float) -> list[list[Tensor]]:
    """P[r][e]: probability of element e on rank r, matrix by matrix."""
    count = len(values)
    zero, one = values[0] * 0, values[0] * 0 + 1
    matrix = [[one if r == e else zero for e in range(count)] for r in range(count)]
    for layer in range(count):
        for i in range(layer % 2, count - 1, 2):
            f = stay(values[i + 1] - values[i], steepness, sharpening)
            first, second = matrix[i], matrix[i + 1]
            matrix[i] = [f * a + (1 - f) * b for a, b in zip(first, second, strict=True)]
            matrix[i + 1] = [(1 - f) * a + f * b for a, b in zip(first, second, strict=True)]
            low = f * values[i] + (1 - f) * values[i + 1]
            values[i + 1] = (1 - f) * values[i] + f * values[i + 1]
            values[i] = low
    return matrix


def ordering(positive, negative, steepness, sharpening) -> Tensor:
    groups = [sorted(group, key=lambda s: float(s.detach())) for group in (negative, positive)]
    scores = groups[0] + groups[1]
    matrix = permutation(list(scores), steepness, sharpening)
    count, total = len(negative), 0.0
    for e in range(len(scores)):
        ranks = range(count) if e < count else range(count, len(scores))
        total = total - torch.log(sum(matrix[r][e] for r in ranks))
    return total / len(scores)


@pytest.mark.parametrize(("positives", "negatives"), [(1, 1), (1, 4), (3, 2), (2, 5)])
@pytest.mark.parametrize(("steepness", "sharpening"), [(1.0, 0.25), (7.0, 0.0)])
def test_group_ordering_is_the_definition(positives, negatives, steepness, sharpening) -> None:
    leaves = [normal(3, positives).requires_grad_(), normal(3, negatives, seed=1).requires_grad_()]
    value = group_ordering(*leaves, steepness, sharpening)
    wanted = torch.stack(
        [ordering([*leaves[0][i]], [*leaves[1][i]], steepness, sharpening) for i in range(3)]
    )
    assert torch.allclose(value, wanted, rtol=1e-11)
    weight = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    for ours, theirs in zip(
        torch.autograd.grad((value * weight).sum(), leaves),
        torch.autograd.grad((wanted * weight).sum(), leaves),
        strict=True,
    ):
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 3, 6, 7])
def test_masses_are_those_of_a_doubly_stochastic_matrix(count: int) -> None:
    values = normal(4, count)
    _, gates = sort_relaxed(values, 3.0)
    rows = [rank_mass(gates, row[None]).expand(4, -1) for row in torch.eye(count).double()]
    matrix = torch.stack(rows, dim=1)
    assert torch.allclose(matrix.sum(dim=1), torch.ones(4, count).double())
    assert torch.allclose(matrix.sum(dim=2), torch.ones(4, count).double())
    assert (matrix >= 0).all()
    relaxed, _ = sort_relaxed(values, 3.0)
    assert torch.allclose((matrix @ values[:, :, None]).squeeze(2), relaxed)


def test_a_steep_network_sorts() -> None:
    for order in itertools.permutations(range(5)):
        values = torch.tensor([order], dtype=torch.float64)
        relaxed, gates = sort_relaxed(values, 1e8)
        assert torch.allclose(relaxed, torch.arange(5.0, dtype=torch.float64)[None], atol=1e-4)
        top = rank_mass(gates, torch.tensor([[0.0, 0, 0, 0, 1]], dtype=torch.float64))
        assert int(top.argmax()) == order.index(4)


def test_ties_have_a_bounded_slope_and_tails_keep_their_digits() -> None:
    tie = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    swap_free_probability(tie, 1.0, 0.25).sum().backward()
    assert float(tie.grad) == pytest.approx(TIE_WIDTH**-0.25 / math.pi)
    far = swap_free_probability(torch.tensor([-1e9]), 1e9, 0.0)
    assert float(far) == pytest.approx(1e-18 / math.pi, rel=1e-5)


@pytest.mark.parametrize("intra_view", [True, False])
@pytest.mark.parametrize("symmetric", [True, False])
def test_groco_is_the_definition(intra_view: bool, symmetric: bool) -> None:
    count, negatives = 7, 3
    leaves = [normal(count, 4).requires_grad_(), normal(count, 4, seed=1).requires_grad_()]
    value = groco(*leaves, negatives, intra_view=intra_view, symmetric=symmetric, reduction="none")
    unit = [leaf / leaf.norm(dim=1, keepdim=True) for leaf in leaves]
    pairs = [(unit[0], unit[1]), (unit[1], unit[0])][: 2 if symmetric else 1]
    wanted = []
    for i in range(count):
        terms = []
        for anchor, other in pairs:
            source = (anchor if intra_view else other).detach()
            cosines = [anchor[i] @ source[j] for j in range(count) if j != i]
            hardest = sorted(cosines, key=lambda s: float(s.detach()))[-negatives:]
            terms.append(ordering([anchor[i] @ other[i].detach()], hardest, 1.0, 0.25))
        wanted.append(sum(terms) / len(terms))
    wanted = torch.stack(wanted)
    assert torch.allclose(value, wanted, rtol=1e-11)
    weight = torch.arange(1.0, count + 1, dtype=torch.float64)
    used = leaves if symmetric else leaves[:1]
    for ours, theirs in zip(
        torch.autograd.grad((value * weight).sum(), used),
        torch.autograd.grad((wanted * weight).sum(), used),
        strict=True,
    ):
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_positives_far_above_negatives_cost_nothing_in_the_limit() -> None:
    positive, negative = torch.full((1, 2), 1e6).double(), torch.zeros(1, 4).double()
    good = group_ordering(positive, negative, 1e6)
    bad = group_ordering(negative, positive, 1e6)
    assert float(good) < 1e-4
    assert float(bad) > 5


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_nodes_have_few_negatives(count: int) -> None:
    z1, z2 = normal(count, 3).requires_grad_(), normal(count, 3, seed=1).requires_grad_()
    value = groco(z1, z2, 10)
    value.backward()
    assert torch.isfinite(z1.grad).all()
    assert (float(value.detach()) == 0) == (count == 1)
    if count > 1:
        assert torch.equal(value, groco(z1, z2, count - 1))


def test_duplicates_and_steep_networks_stay_finite() -> None:
    z = torch.ones(20, 4, requires_grad=True)
    for steepness in (1.0, 1e4, 1e30):
        value = groco(z, torch.ones(20, 4), steepness=steepness)
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(z.grad).all()


def test_wrong_settings_are_named() -> None:
    with pytest.raises(
        ArgumentError, match="num_negatives must be an integer of at least 1; got 0"
    ):
        GroCo(0)
    with pytest.raises(ArgumentError, match="steepness must be a finite number above 0"):
        GroCo(steepness=0)
    with pytest.raises(ArgumentError, match=r"sharpening .* \[0, 1\); got 1"):
        GroCo(sharpening=1)
