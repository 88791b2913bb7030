"""Losses of positive and negative scores against their formulas, in loops over single numbers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from graphcl.errors import ArgumentError, NonFiniteArgumentError
from graphcl.losses import (
    GBCE,
    Asymmetric,
    PropensityPU,
    SelfAdversarial,
    asymmetric,
    binary_cross_entropy,
    entropy_maximisation,
    gbce,
    propensity_pu,
    self_adversarial,
)

PAIRWISE = [
    binary_cross_entropy,
    gbce,
    self_adversarial,
    asymmetric,
    propensity_pu,
    entropy_maximisation,
]


def scores(count: int = 5, negatives: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    positive = 2 * torch.randn(count, generator=generator, dtype=torch.float64)
    negative = 2 * torch.randn(count, negatives, generator=generator, dtype=torch.float64)
    return positive.requires_grad_(), negative.requires_grad_()


def sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


def assert_same(value: Tensor, expected: list[Tensor], leaves: tuple[Tensor, ...]) -> None:
    """The values of all rows, and the gradient of a sum that weighs the rows unequally."""
    wanted = torch.stack(expected)
    assert torch.allclose(value, wanted, rtol=1e-11, atol=1e-13)
    weight = torch.arange(1.0, len(expected) + 1, dtype=value.dtype)
    for ours, theirs in zip(
        torch.autograd.grad((value * weight).sum(), leaves),
        torch.autograd.grad((wanted * weight).sum(), leaves),
        strict=True,
    ):
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_binary_cross_entropy_is_the_formula() -> None:
    positive, negative = scores()
    expected = []
    for i in range(5):
        total = -torch.log(sigmoid(positive[i]))
        for j in range(3):
            total = total - torch.log(1 - sigmoid(negative[i, j]))
        expected.append(total / 4)
    value = binary_cross_entropy(positive, negative, reduction="none")
    assert_same(value, expected, (positive, negative))


@pytest.mark.parametrize("calibration", [0.0, 0.3, 0.75, 1.0])
def test_gbce_is_the_formula(calibration: float) -> None:
    positive, negative = scores()
    alpha = 3 / (20 - 1)
    beta = alpha * (calibration * (1 - 1 / alpha) + 1 / alpha)
    expected = []
    for i in range(5):
        total = -torch.log(sigmoid(positive[i]) ** beta)
        for j in range(3):
            total = total - torch.log(1 - sigmoid(negative[i, j]))
        expected.append(total / 4)
    value = gbce(positive, negative, 20, calibration, reduction="none")
    assert_same(value, expected, (positive, negative))


def test_gbce_is_binary_cross_entropy_without_calibration_or_when_nothing_is_left_out() -> None:
    positive, negative = scores()
    plain = binary_cross_entropy(positive, negative)
    assert torch.equal(gbce(positive, negative, 1000, 0.0), plain)
    assert torch.equal(gbce(positive, negative, 4, 1.0), plain)
    assert torch.equal(gbce(positive, negative), plain)
    assert gbce(positive, negative, 1000) < plain


def test_fully_calibrated_gbce_is_minimised_by_the_true_probability() -> None:
    # One of 10 items is the positive of 30 % of the events, and else the sampled
    # negative of every ninth.
    probability, items, count = 0.3, 10, 1
    grid = torch.linspace(-6, 4, 2001, dtype=torch.float64)
    empty = torch.zeros(2001, 0, dtype=torch.float64)
    beta = count / (items - 1)
    as_positive = -beta * torch.nn.functional.logsigmoid(grid)
    assert torch.allclose(as_positive, gbce_positive(grid, items))
    as_negative = binary_cross_entropy(-grid, empty, reduction="none")
    rate = count / (items - 1)
    expected = probability * as_positive + (1 - probability) * rate * as_negative
    assert float(torch.sigmoid(grid[expected.argmin()])) == pytest.approx(probability, abs=2e-3)


def gbce_positive(grid: Tensor, items: int) -> Tensor:
    """The positive's term alone: far below 0, the one negative adds nothing."""
    negative = torch.full((grid.numel(), 1), -800.0, dtype=torch.float64)
    return 2 * gbce(grid, negative, items, 1.0, reduction="none")


@pytest.mark.parametrize(("margin", "alpha"), [(9.0, 1.0), (0.0, 0.5), (1.5, 0.0)])
def test_self_adversarial_is_the_formula(margin: float, alpha: float) -> None:
    positive, negative = scores()
    expected = []
    for i in range(5):
        weights = [math.exp(alpha * float(negative[i, j].detach())) for j in range(3)]
        total = -torch.log(sigmoid(margin + positive[i]))
        for j in range(3):
            total = total - weights[j] / sum(weights) * torch.log(sigmoid(-margin - negative[i, j]))
        expected.append(total / 2)
    value = self_adversarial(positive, negative, margin, alpha, reduction="none")
    assert_same(value, expected, (positive, negative))


def test_alpha_is_an_inverse_temperature() -> None:
    """Large alpha looks at the hardest negative, alpha 0 at all alike."""
    positive, negative = torch.zeros(1), torch.tensor([[-1.0, 0.0, 3.0]])
    hard = self_adversarial(positive, negative, 0.0, 200.0)
    assert torch.allclose(hard, self_adversarial(positive, negative[:, 2:], 0.0, 1.0))
    even = self_adversarial(positive, negative, 0.0, 0.0)
    each = torch.stack([self_adversarial(positive, negative[:, j : j + 1], 0.0) for j in range(3)])
    assert torch.allclose(even, each.mean())
    assert "inverse temperature" in SelfAdversarial.__doc__.lower()


def test_weights_of_the_negatives_get_a_gradient_only_when_asked() -> None:
    positive, negative = scores()
    stopped = torch.autograd.grad(self_adversarial(positive, negative, 1.0), negative)[0]
    through = torch.autograd.grad(
        self_adversarial(positive, negative, 1.0, detach_weights=False), negative
    )[0]
    assert not torch.allclose(stopped, through, atol=1e-4)


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.4])
@pytest.mark.parametrize("focus", [(0.0, 4.0), (1.0, 0.5), (2.5, 0.0)])
def test_asymmetric_is_the_formula(shift: float, focus: tuple[float, float]) -> None:
    positive, negative = scores()
    expected = []
    for i in range(5):
        p = sigmoid(positive[i])
        total = -((1 - p) ** focus[0]) * torch.log(p)
        for j in range(3):
            q = sigmoid(negative[i, j]) - shift
            if float(q.detach()) > 0:
                total = total - q ** focus[1] * torch.log(1 - q)
        expected.append(total / 4)
    value = asymmetric(positive, negative, *focus, shift, reduction="none")
    assert_same(value, expected, (positive, negative))


def test_asymmetric_without_focus_and_shift_is_binary_cross_entropy() -> None:
    positive, negative = scores()
    plain = binary_cross_entropy(positive, negative)
    assert torch.allclose(asymmetric(positive, negative, 0, 0, 0), plain, rtol=1e-14)
    # As constants the focal weights leave other slopes.
    slopes = [
        torch.autograd.grad(asymmetric(positive, negative, 1, 2, detach_focus=d), positive)[0]
        for d in (True, False)
    ]
    assert not torch.allclose(*slopes)


@pytest.mark.parametrize("shift", [0.0, 0.05])
@pytest.mark.parametrize("focus", [0.01, 0.5, 4.0])
def test_asymmetric_is_finite_for_saturated_scores(shift: float, focus: float) -> None:
    far = torch.tensor([-1e30, -200.0, -104.0, -88.0, 0.0, 88.0, 200.0, 1e30])
    positive, negative = far.clone().requires_grad_(), far[:, None].clone().requires_grad_()
    value = asymmetric(positive, negative, focus, focus, shift, reduction="none")
    value.sum().backward()
    for part in (value, positive.grad, negative.grad):
        assert torch.isfinite(part).all()


@pytest.mark.parametrize("non_negative", [False, True])
def test_propensity_pu_is_the_formula(non_negative: bool) -> None:
    positive, unlabelled = scores()
    propensity = torch.tensor([1.0, 0.2, 0.2, 0.01, 0.9], dtype=torch.float64)
    expected, clamped = [], 0
    for i in range(5):
        e = max(float(propensity[i]), 0.05)
        hidden = (1 - 1 / e) * -torch.log(1 - sigmoid(positive[i]))
        for j in range(3):
            hidden = hidden - torch.log(1 - sigmoid(unlabelled[i, j]))
        if non_negative and float(hidden.detach()) < 0:
            hidden, clamped = 0 * hidden, clamped + 1
        expected.append((hidden - torch.log(sigmoid(positive[i])) / e) / 4)
    assert (clamped > 0) == non_negative, "the clamp must have something to do"
    value = propensity_pu(
        positive, unlabelled, propensity, non_negative=non_negative, reduction="none"
    )
    assert_same(value, expected, (positive, unlabelled))


def test_propensity_pu_of_certain_labels_is_binary_cross_entropy() -> None:
    positive, unlabelled = scores()
    plain = binary_cross_entropy(positive, unlabelled)
    assert torch.allclose(propensity_pu(positive, unlabelled), plain, rtol=1e-14)
    certain = torch.ones(5, dtype=torch.float64)
    assert torch.allclose(propensity_pu(positive, unlabelled, certain), plain, rtol=1e-14)


def test_propensity_pu_is_unbiased_for_the_risk_with_all_labels() -> None:
    """Labels drawn with probability e: the mean risk is that of knowing every positive."""
    x, e = 0.7, 0.3
    generator = torch.Generator().manual_seed(0)
    labelled = torch.rand(200_000, generator=generator) < e
    score = torch.tensor([x], dtype=torch.float64)
    one = score.new_zeros(1, 0)
    of_labelled = float(propensity_pu(score, one, torch.tensor([e], dtype=torch.float64)))
    # An unlabelled positive counts as a negative: -log(1 - sigmoid(x)).
    of_unlabelled = math.log1p(math.exp(x))
    mean = float(torch.where(labelled, of_labelled, of_unlabelled).double().mean())
    assert mean == pytest.approx(math.log1p(math.exp(-x)), abs=0.02)


def test_entropy_maximisation_is_the_formula() -> None:
    positive, unknown = scores()
    expected = []
    for i in range(5):
        total = -torch.log(sigmoid(positive[i]))
        for j in range(3):
            p = sigmoid(unknown[i, j])
            total = total + 0.2 * (p * torch.log(p) + (1 - p) * torch.log(1 - p))
        expected.append(total / 4)
    value = entropy_maximisation(positive, unknown, 0.2, reduction="none")
    assert_same(value, expected, (positive, unknown))


def test_entropy_is_exact_in_its_tails() -> None:
    far = torch.tensor([[0.0, 60.0, -60.0, 1e30]], dtype=torch.float64)
    halves = [
        entropy_maximisation(torch.tensor([1e4]).double(), far[:, j : j + 1], 1.0) for j in range(4)
    ]
    tail = 60 * math.exp(-60) + math.exp(-60)
    assert [-2 * float(half) for half in halves] == pytest.approx(
        [math.log(2), tail, tail, 0.0], rel=1e-12
    )


@pytest.mark.parametrize("loss", PAIRWISE)
def test_without_negatives_only_the_positive_is_left(loss) -> None:
    positive = torch.tensor([0.3, -1.0], requires_grad=True)
    value = loss(positive, torch.empty(2, 0), reduction="none")
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert (positive.grad < 0).all()


@pytest.mark.parametrize("loss", PAIRWISE)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(loss, dtype: torch.dtype) -> None:
    positive, negative = (part.detach().to(dtype) for part in scores())
    value = loss(positive, negative)
    assert value.dtype == torch.float32
    assert torch.equal(value, loss(positive.float(), negative.float()))


@pytest.mark.parametrize("loss", PAIRWISE)
def test_non_finite_scores_are_refused(loss) -> None:
    positive, negative = (part.detach().clone() for part in scores())
    negative[2, 1] = -torch.inf
    with pytest.raises(NonFiniteArgumentError, match=r"_scores must be .* -inf at \[2, 1\]"):
        loss(positive, negative)
    with pytest.raises(ArgumentError, match=r"floating dtype; got torch\.int64"):
        loss(positive.long(), negative.long())


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ArgumentError, match="num_items must be an integer of at least 2; got 1"):
        GBCE(1)
    with pytest.raises(ArgumentError, match=r"calibration .* \[0, 1\]; got 1.5"):
        GBCE(10, 1.5)
    with pytest.raises(ArgumentError, match="at most 2 can be negatives; got 3"):
        gbce(*scores(), 3)
    with pytest.raises(ArgumentError, match=r"alpha must be .* at least 0; got -1"):
        SelfAdversarial(alpha=-1)
    with pytest.raises(ArgumentError, match=r"shift .* \[0, 1\); got 1"):
        Asymmetric(shift=1)
    with pytest.raises(ArgumentError, match=r"minimum_propensity .* \(0, 1\]; got 0"):
        PropensityPU(minimum_propensity=0)
    with pytest.raises(ArgumentError, match=r"propensity must lie in \[0, 1\]; .* \[2, 2\]"):
        propensity_pu(*scores(), torch.full((5,), 2.0))
    with pytest.raises(ArgumentError, match=r"propensity must have shape \(5,\)"):
        propensity_pu(*scores(), torch.ones(4))
