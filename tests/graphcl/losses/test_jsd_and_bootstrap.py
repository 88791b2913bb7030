"""JSD and Bootstrap against their formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.losses import JSD, Bootstrap, bootstrap, jsd


def scores() -> tuple[Tensor, Tensor]:
    positive, negative = JSD.example(6, 3, torch.Generator().manual_seed(0), torch.float64)
    return positive.requires_grad_(), negative.requires_grad_()


def test_jsd_matches_the_formula_and_its_derivative() -> None:
    positive, negative = scores()
    expected = [
        math.log1p(math.exp(-p.item())) + sum(math.log1p(math.exp(n.item())) for n in row) / 3
        for p, row in zip(positive, negative, strict=True)
    ]
    values = JSD(reduction="none")(positive, negative)
    assert values.tolist() == pytest.approx(expected, rel=1e-12)
    to_positive, to_negative = torch.autograd.grad(values.sum(), (positive, negative))
    assert torch.allclose(to_positive, torch.sigmoid(positive) - 1, rtol=1e-12)
    assert torch.allclose(to_negative, torch.sigmoid(negative) / 3, rtol=1e-12)
    assert torch.autograd.gradcheck(jsd, (positive, negative))


def test_jsd_is_twice_the_cross_entropy_of_dgi() -> None:
    positive, negative = scores()
    first = negative[:, 0]
    labels = torch.cat([torch.ones(6), torch.zeros(6)]).double()
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.cat([positive, first]), labels
    )
    assert jsd(positive, first).item() == pytest.approx(2 * entropy.item(), rel=1e-12)


def test_jsd_is_exact_for_large_scores() -> None:
    large = torch.tensor([30.0, -1000.0, 1000.0], dtype=torch.float64)
    values = jsd(large, -large, reduction="none")
    expected = [2 * math.log1p(math.exp(-30)), 2000.0, 0.0]
    assert values.tolist() == pytest.approx(expected, rel=1e-12)


def test_jsd_of_scores_that_tell_nothing() -> None:
    assert float(jsd(torch.zeros(3), torch.zeros(3, 5))) == pytest.approx(2 * math.log(2))
    assert float(jsd(torch.zeros(3), torch.zeros(3, 0))) == pytest.approx(math.log(2))


def test_jsd_descent_separates_the_scores() -> None:
    positive, negative = (part.detach().requires_grad_() for part in scores())
    optimiser = torch.optim.SGD([positive, negative], lr=20.0)
    for _ in range(50):
        optimiser.zero_grad()
        jsd(positive, negative).backward()
        optimiser.step()
    assert positive.min() > 3
    assert negative.max() < -2


def test_jsd_checks_shapes() -> None:
    with pytest.raises(ArgumentError, match=r"positive_scores must be \(n,\)"):
        jsd(torch.zeros(3, 1), torch.zeros(3))
    with pytest.raises(ArgumentError, match="must have 3 rows, one per positive; got 2"):
        jsd(torch.zeros(3), torch.zeros(2, 4))


def embeddings() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    prediction, target = Bootstrap.example(6, 4, generator, torch.float64)
    return prediction.requires_grad_(), target


def test_bootstrap_matches_the_formula_and_its_derivative() -> None:
    prediction, target = embeddings()
    expected = []
    for q, y in zip(prediction.tolist(), target.tolist(), strict=True):
        length = math.hypot(*q) * math.hypot(*y)
        expected.append(2 - 2 * sum(a * b for a, b in zip(q, y, strict=True)) / length)
    values = Bootstrap(reduction="none")(prediction, target)
    assert values.tolist() == pytest.approx(expected, rel=1e-12)
    # d cos / dq = (y/|y| - cos q/|q|) / |q|
    q, y = prediction.detach(), target / target.norm(dim=1, keepdim=True)
    length = q.norm(dim=1, keepdim=True)
    cosine = (q * y).sum(dim=1, keepdim=True) / length
    slope = -2 * (y - cosine * q / length) / length
    assert torch.allclose(torch.autograd.grad(values.sum(), prediction)[0], slope, rtol=1e-10)


def test_bootstrap_leaves_the_target_without_gradient() -> None:
    prediction, target = embeddings()
    target.requires_grad_()
    bootstrap(prediction, target).backward()
    assert prediction.grad is not None
    assert target.grad is None


def test_bootstrap_ignores_lengths() -> None:
    prediction, target = embeddings()
    stretched = bootstrap(1e3 * prediction, 1e-3 * target)
    assert torch.allclose(stretched, bootstrap(prediction, target), rtol=1e-12)
    assert float(bootstrap(target, 3 * target)) == pytest.approx(0, abs=1e-12)
    assert float(bootstrap(target, -target)) == pytest.approx(4)


def test_bootstrap_descent_turns_predictions_to_targets() -> None:
    prediction, target = embeddings()
    optimiser = torch.optim.SGD([prediction], lr=3.0)
    for _ in range(100):
        optimiser.zero_grad()
        bootstrap(prediction, target).backward()
        optimiser.step()
    assert bootstrap(prediction, target).item() < 1e-3


def test_bootstrap_checks_shapes() -> None:
    with pytest.raises(ArgumentError, match="prediction and target must both be"):
        bootstrap(torch.zeros(3, 2), torch.zeros(3, 4))
