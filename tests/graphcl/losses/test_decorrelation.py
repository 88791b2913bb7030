"""Barlow Twins, VICReg, CCA-SSG and W-MSE against loops written from their formulas."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.losses import CCASSG, WMSE, BarlowTwins, VICReg, barlow_twins, cca_ssg, vicreg, wmse
from graphcl.losses.columns import centred_columns, unit_columns
from graphcl.losses.wmse import whiten

LOSSES = pytest.mark.parametrize("loss", [barlow_twins, vicreg, cca_ssg, wmse])


def views(count: int = 9, dimension: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z1 = 2 + torch.randn(count, dimension, generator=generator, dtype=torch.float64)
    z2 = z1 + 0.3 * torch.randn(count, dimension, generator=generator, dtype=torch.float64)
    return z1.requires_grad_(), z2.requires_grad_()


def assert_same(ours: Callable[..., Tensor], theirs: Callable[..., Tensor]) -> None:
    """Value and gradient."""
    inputs = views()
    left, right = ours(*inputs), theirs(*inputs)
    assert left.item() == pytest.approx(right.item(), rel=1e-10)
    for mine, other in zip(
        torch.autograd.grad(left, inputs), torch.autograd.grad(right, inputs), strict=True
    ):
        assert torch.allclose(mine, other, rtol=1e-8, atol=1e-10)


def mean(values: list[Tensor]) -> Tensor:
    return sum(values[1:], values[0]) / len(values)


def covariance(a: Tensor, b: Tensor) -> Tensor:
    """Of two columns, with N in the denominator."""
    left, right = mean(list(a)), mean(list(b))
    return mean([(x - left) * (y - right) for x, y in zip(a, b, strict=True)])


def correlation(a: Tensor, b: Tensor) -> Tensor:
    return covariance(a, b) / (covariance(a, a) * covariance(b, b)).sqrt()


def test_barlow_twins_matches_the_formula() -> None:
    def formula(z1: Tensor, z2: Tensor) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for j in range(4):
            for k in range(4):
                c = correlation(z1[:, j], z2[:, k])
                total = total + ((1 - c) ** 2 if j == k else 0.02 * c**2)
        return total

    assert_same(BarlowTwins(redundancy=0.02), formula)


@pytest.mark.parametrize("target_deviation", [0.9, 1.4])
def test_vicreg_matches_the_formula(target_deviation: float) -> None:
    def formula(z1: Tensor, z2: Tensor) -> Tensor:
        invariance = mean([((a - b) ** 2).sum() / 4 for a, b in zip(z1, z2, strict=True)])
        total = 7 * invariance
        for z in (z1, z2):
            for j in range(4):
                deviation = (covariance(z[:, j], z[:, j]) * 9 / 8 + 1e-3).sqrt()
                hinge = torch.clamp(target_deviation - deviation, min=0)
                total = total + 5 / 2 * hinge / 4
                for k in range(4):
                    if k != j:
                        total = total + 3 * (covariance(z[:, j], z[:, k]) * 9 / 8) ** 2 / 4
        return total

    assert_same(
        VICReg(
            invariance=7,
            variance=5,
            covariance=3,
            target_deviation=target_deviation,
            epsilon=1e-3,
        ),
        formula,
    )


def test_cca_ssg_matches_the_formula() -> None:
    def standardised(z: Tensor) -> Tensor:
        columns = [z[:, j] - mean(list(z[:, j])) for j in range(4)]
        return torch.stack([column / (column**2).sum().sqrt() for column in columns], dim=1)

    def formula(z1: Tensor, z2: Tensor) -> Tensor:
        first, second = standardised(z1), standardised(z2)
        total = ((first - second) ** 2).sum()
        for z in (first, second):
            for j in range(4):
                for k in range(4):
                    total = total + 0.3 * ((z[:, j] * z[:, k]).sum() - float(j == k)) ** 2
        return total

    assert_same(CCASSG(decorrelation=0.3), formula)


def test_cca_ssg_is_twice_the_code_of_its_authors_with_half_the_weight() -> None:
    def formula(z1: Tensor, z2: Tensor) -> Tensor:
        first, second = unit_columns(z1), unit_columns(z2)
        identity = torch.eye(4, dtype=torch.float64)
        decorrelated = sum(((identity - z.T @ z) ** 2).sum() for z in (first, second))
        return 2 * (-(first.T @ second).trace() + 1e-3 * decorrelated) + 2 * 4

    assert_same(cca_ssg, formula)


def test_wmse_matches_the_formula() -> None:
    def whitened(z: Tensor) -> Tensor:
        matrix = torch.stack(
            [
                torch.stack([covariance(z[:, j], z[:, k]) * 9 / 8 for k in range(4)])
                for j in range(4)
            ]
        )
        shrunk = 0.9 * matrix + 0.1 * matrix.trace() / 4 * torch.eye(4, dtype=torch.float64)
        centred = torch.stack([row - torch.stack([mean(list(c)) for c in z.T]) for row in z])
        return centred @ torch.linalg.inv(torch.linalg.cholesky(shrunk)).T

    def formula(z1: Tensor, z2: Tensor) -> Tensor:
        first, second = whitened(z1), whitened(z2)
        cosines = [
            (a * b).sum() / ((a * a).sum() * (b * b).sum()).sqrt()
            for a, b in zip(first, second, strict=True)
        ]
        return mean([2 - 2 * c for c in cosines])

    assert_same(WMSE(shrinkage=0.1), formula)


@pytest.mark.parametrize("loss", [barlow_twins, vicreg, cca_ssg, wmse])
def test_gradient_of_each_anchor(loss: Callable[..., Tensor]) -> None:
    assert torch.autograd.gradcheck(lambda a, b: loss(a, b, reduction="none"), views(6, 3))


def test_whitened_rows_have_unit_covariance() -> None:
    z = torch.randn(200, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mixed = z @ torch.randn(5, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    identity = torch.eye(5, dtype=torch.float64)
    assert torch.allclose(whiten(mixed + 3, 1e-9).T.cov(), identity, atol=1e-6)
    assert not torch.allclose(whiten(mixed + 3, 0.5).T.cov(), identity, atol=0.1)


def test_wmse_whitens_slices_of_both_views_alike() -> None:
    z1, z2 = views(11)
    sliced = WMSE(slice_size=5, reduction="none")(z1, z2, torch.Generator().manual_seed(3))
    order = torch.randperm(11, generator=torch.Generator().manual_seed(3))
    # 11 // 5 slices; the eleventh row is not lost.
    expected = torch.empty(11, dtype=torch.float64)
    for part in (order[:6], order[6:]):
        expected[part] = wmse(z1[part], z2[part], reduction="none")
    assert torch.allclose(sliced, expected)
    assert not torch.allclose(sliced, wmse(z1, z2, reduction="none"))
    assert torch.equal(wmse(z1, z2, slice_size=20), wmse(z1, z2))


@pytest.mark.parametrize("loss", [barlow_twins, cca_ssg, wmse])
@pytest.mark.parametrize("shape", [(12, 4), (3, 8)])
def test_scale_and_shift_change_nothing(
    loss: Callable[..., Tensor], shape: tuple[int, int]
) -> None:
    z1, z2 = (view.detach() for view in views(*shape))
    moved = loss(1e4 * z1 - 7.0, 1e-4 * z2 + torch.arange(shape[1]))
    assert float(moved) == pytest.approx(float(loss(z1, z2)), rel=1e-6)


@LOSSES
def test_collapse_is_not_mistaken_for_signal(loss: Callable[..., Tensor]) -> None:
    # 0.1 summed in float32 is off by roundings, which must not be scaled up.
    collapsed = torch.full((1000, 4), 0.1, requires_grad=True)
    assert torch.equal(centred_columns(collapsed), torch.zeros(1000, 4))
    noisy = collapsed + 2**-27 * (torch.arange(1000) % 2)[:, None]
    assert torch.equal(centred_columns(noisy), torch.zeros(1000, 4))
    assert loss(collapsed, noisy) > 0.05
    spread = torch.randn(1000, 4, generator=torch.Generator().manual_seed(0))
    assert loss(collapsed, collapsed) > 2 * loss(spread, spread)


@LOSSES
def test_half_precision_is_computed_in_single(loss: Callable[..., Tensor]) -> None:
    z1, z2 = (view.detach().bfloat16() for view in views())
    value = loss(z1, z2)
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(float(loss(z1.float(), z2.float())))


def correlated_views() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    common = torch.randn(24, 1, generator=generator, dtype=torch.float64)
    noise = torch.randn(2, 24, 3, generator=generator, dtype=torch.float64)
    return [(common + 0.5 * part).requires_grad_() for part in noise]


def descend(loss: torch.nn.Module, pair: list[Tensor], rate: float, steps: int) -> None:
    optimiser = torch.optim.SGD(pair, lr=rate)
    for _ in range(steps):
        optimiser.zero_grad()
        loss(*pair).backward()
        optimiser.step()


@pytest.mark.parametrize(
    ("loss", "rate", "steps"),
    [
        (BarlowTwins(redundancy=0.1), 2.0, 300),
        (CCASSG(decorrelation=1.0), 0.3, 200),
        (VICReg(), 0.2, 400),
    ],
    ids=["BarlowTwins", "CCASSG", "VICReg"],
)
def test_descent_reaches_alike_uncorrelated_views(
    loss: torch.nn.Module, rate: float, steps: int
) -> None:
    pair = correlated_views()

    def off_diagonal() -> float:
        columns = unit_columns(pair[0].detach())
        return float((columns.T @ columns - torch.eye(3)).abs().max())

    def alike() -> float:
        return float((unit_columns(pair[0]) * unit_columns(pair[1])).sum(0).min().detach())

    assert off_diagonal() > 0.5
    assert alike() < 0.9
    descend(loss, pair, rate, steps)
    assert off_diagonal() < 0.1
    assert alike() > 0.95
    if isinstance(loss, VICReg):
        assert pair[0].std(dim=0).min() > 0.9


def test_wmse_descent_aligns_whitened_directions_without_collapse() -> None:
    # It leaves free what whitening undoes, and the lengths.
    pair = correlated_views()
    assert WMSE()(*pair) > 0.5
    descend(WMSE(), pair, 2.0, 200)
    assert WMSE()(*pair) < 1e-3
    for view in pair:
        assert torch.linalg.svdvals(unit_columns(view.detach())).min() > 0.2


def test_one_row_has_no_correlation() -> None:
    z1, z2 = (view.detach() for view in views(1))
    assert float(barlow_twins(z1, z2)) == 4
    assert float(cca_ssg(z1, z2, decorrelation=0.5)) == pytest.approx(2 * 4 + 0.5 * 8)
    assert float(wmse(z1, z2)) == 2
    spread = 25 * (1 - math.sqrt(1e-4))
    distance = 25 * float((z1 - z2).square().mean())
    assert float(vicreg(z1, z2)) == pytest.approx(spread + distance)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BarlowTwins(redundancy=-1), "redundancy must be .* at least 0; got -1"),
        (lambda: CCASSG(decorrelation=math.inf), "decorrelation must be .*; got inf"),
        (lambda: VICReg(variance=math.nan), "variance must be .*; got nan"),
        (lambda: VICReg(epsilon=0), "epsilon must be .* above 0; got 0"),
        (lambda: WMSE(shrinkage=0), r"shrinkage must lie in \(0, 1\]; got 0"),
        (lambda: WMSE(slice_size=1), "slice_size must be an integer of at least 2; got 1"),
    ],
)
def test_settings_are_checked(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make()


@LOSSES
def test_shapes_are_checked(loss: Callable[..., Tensor]) -> None:
    with pytest.raises(ArgumentError, match="z1 and z2 must both be"):
        loss(torch.randn(3, 2), torch.randn(4, 2))
