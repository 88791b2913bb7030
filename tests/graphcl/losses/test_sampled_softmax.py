"""SampledSoftmax: its formula in loops, and what the correction is for."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from graphcl.errors import ArgumentError, NonFiniteArgumentError
from graphcl.kernels.contrast import BACKENDS
from graphcl.losses import SampledSoftmax, cross_entropy, sampled_softmax

ITEMS = 6
# Unequal, with denominators that divide 20.
FREQUENCY = torch.tensor([8.0, 4.0, 4.0, 2.0, 1.0, 1.0], dtype=torch.float64) / 20


def problem(rows: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(rows, 3, generator=generator, dtype=torch.float64)
    items = torch.randn(ITEMS, 3, generator=generator, dtype=torch.float64)
    target = torch.randint(ITEMS, (rows,), generator=generator)
    return query.requires_grad_(), items.requires_grad_(), target


def definition(query, items, target, negatives, log_q, temperature, bias, target_log_q, removed):
    values = []
    for i in range(query.shape[0]):
        t = int(target[i])
        if t < 0:
            values.append(0.0 * query[i, 0])
            continue
        row = negatives if negatives.dim() == 1 else negatives[i]
        draws = sum(1 for j in row.tolist() if j >= 0)

        def logit(j, i=i):
            total = query.new_zeros(())
            for d in range(query.shape[1]):
                total = total + query[i, d] * items[j, d]
            return total / temperature + bias[j]

        own = logit(t)
        if target_log_q is not None:
            own = own - torch.log(draws * target_log_q[i].exp())
        total = torch.exp(own)
        for place, j in enumerate(row.tolist()):
            if j < 0 or (removed and j == t):
                continue
            q = (log_q if negatives.dim() == 1 else log_q[i])[place].exp()
            total = total + torch.exp(logit(j)) / (draws * q)
        values.append(torch.log(total) - own)
    return torch.stack(values)


@pytest.mark.parametrize("shape", [(7,), (5, 4)])
@pytest.mark.parametrize("removed", [True, False])
@pytest.mark.parametrize("corrected", [True, False])
def test_is_the_formula(shape: tuple[int, ...], removed: bool, corrected: bool) -> None:
    query, items, target = problem()
    target[1] = -1
    generator = torch.Generator().manual_seed(1)
    negatives = torch.randint(-1, ITEMS, shape, generator=generator)
    assert (negatives < 0).any()
    assert (negatives == target[:, None]).any(), "some accidental hit must be there"
    log_q = FREQUENCY.log()[negatives.clamp_min(0)]
    bias = torch.randn(ITEMS, generator=generator, dtype=torch.float64).requires_grad_()
    target_log_q = FREQUENCY.log()[target.clamp_min(0)] if corrected else None
    value = sampled_softmax(
        query,
        items,
        target,
        negatives,
        log_q,
        0.7,
        target_log_probability=target_log_q,
        item_bias=bias,
        remove_accidental_hits=removed,
        reduction="none",
    )
    wanted = definition(query, items, target, negatives, log_q, 0.7, bias, target_log_q, removed)
    assert torch.allclose(value, wanted, rtol=1e-12)
    weight = torch.arange(1.0, 6, dtype=torch.float64)
    leaves = (query, items, bias)
    for ours, theirs in zip(
        torch.autograd.grad((value * weight).sum(), leaves),
        torch.autograd.grad((wanted * weight).sum(), leaves),
        strict=True,
    ):
        assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("backend", BACKENDS)
def test_shared_negatives_are_the_same_negatives_for_every_row(backend: str) -> None:
    query, items, target = problem()
    negatives = torch.tensor([0, 3, 3, 5, -1])
    log_q = FREQUENCY.log()[negatives.clamp_min(0)]
    shared = sampled_softmax(query, items, target, negatives, log_q, backend=backend)
    own = sampled_softmax(query, items, target, negatives.expand(5, -1), log_q.expand(5, -1))
    assert torch.allclose(shared, own, rtol=1e-13)
    for left, right in zip(
        torch.autograd.grad(shared, (query, items)),
        torch.autograd.grad(own, (query, items)),
        strict=True,
    ):
        assert torch.allclose(left, right, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("per_row", [False, True])
def test_draws_in_proportion_to_their_probability_give_the_full_cross_entropy(per_row) -> None:
    """The estimate is exact, in value and gradient, when item j is drawn k q_j times."""
    query, items, target = problem()
    negatives = torch.repeat_interleave(torch.arange(ITEMS), (20 * FREQUENCY).long())
    log_q = FREQUENCY.log()[negatives]
    if per_row:
        negatives, log_q = negatives.expand(5, -1), log_q.expand(5, -1)
    ours = sampled_softmax(query, items, target, negatives, log_q)
    full = cross_entropy(query, items, target)
    assert torch.allclose(ours, full, rtol=1e-12)
    for left, right in zip(
        torch.autograd.grad(ours, (query, items)),
        torch.autograd.grad(full, (query, items)),
        strict=True,
    ):
        assert torch.allclose(left, right, rtol=1e-10, atol=1e-13)
    # The wrong sign, a known bug of libraries, is nowhere near.
    wrong = sampled_softmax(query, items, target, negatives, -log_q)
    assert abs(float((wrong - full).detach())) > 0.1


def test_denominator_is_unbiased() -> None:
    """E over the draw of e^L is e^L of the full softmax: the expectation is summed exactly."""
    query, items, target = problem()
    every = torch.arange(ITEMS)
    values = torch.stack(
        [
            sampled_softmax(
                query, items, target, every[j : j + 1], FREQUENCY[j : j + 1].log(), reduction="none"
            )
            for j in range(ITEMS)
        ]
    )
    expectation = (FREQUENCY[:, None] * values.exp()).sum(dim=0)
    full = cross_entropy(query, items, target, reduction="none")
    assert torch.allclose(expectation, full.exp(), rtol=1e-12)


def test_expected_gradient_approaches_the_full_gradient_with_random_draws() -> None:
    query, items, target = problem()
    generator = torch.Generator().manual_seed(0)
    wanted = torch.autograd.grad(cross_entropy(query, items, target), query)[0]

    def mean_gradient(sign: float) -> Tensor:
        total = torch.zeros_like(wanted)
        for _ in range(200):
            negatives = torch.multinomial(FREQUENCY, 100, replacement=True, generator=generator)
            log_q = sign * FREQUENCY.log()[negatives]
            loss = sampled_softmax(query, items, target, negatives, log_q)
            total += torch.autograd.grad(loss, query)[0] / 200
        return total

    size = float(wanted.norm())
    assert float((mean_gradient(1.0) - wanted).norm()) < 0.02 * size
    assert float((mean_gradient(-1.0) - wanted).norm()) > 0.1 * size


def test_uncorrected_is_a_softmax_over_target_and_negatives() -> None:
    query, items, target = problem()
    negatives = torch.tensor([0, 1, 2, 3, 4, 5])
    value = sampled_softmax(query, items, target, negatives)
    # Every other item once: the plain cross-entropy.
    assert torch.allclose(value, cross_entropy(query, items, target), rtol=1e-12)
    # A uniform probability on both sides cancels, and so does the number of draws.
    uniform = torch.full((6,), 1 / 6, dtype=torch.float64).log()
    both = sampled_softmax(
        query, items, target, negatives, uniform, target_log_probability=uniform[:5]
    )
    assert torch.allclose(both, value, rtol=1e-12)


@pytest.mark.parametrize("shape", [(0,), (5, 0)])
def test_without_negatives_it_is_a_connected_zero(shape: tuple[int, ...]) -> None:
    query, items, target = problem()
    value = sampled_softmax(query, items, target, torch.empty(shape, dtype=torch.int64))
    value.backward()
    assert value == 0
    assert torch.equal(query.grad, torch.zeros_like(query))
    assert torch.equal(items.grad, torch.zeros_like(items))


@pytest.mark.parametrize("shared", [True, False])
def test_rows_whose_every_negative_is_a_hit_or_absent_are_zero(shared: bool) -> None:
    query, items, target = problem(2)
    negatives = torch.full((3,), -1) if shared else torch.stack([target, target, target], 1)
    value = sampled_softmax(query, items, target, negatives, reduction="none")
    value.sum().backward()
    assert torch.equal(value.detach(), torch.zeros(2, dtype=torch.float64))
    assert torch.equal(query.grad, torch.zeros_like(query))


def test_a_well_fitted_row_keeps_its_digits() -> None:
    """softplus of a gap of -50 is e^-50; a difference of logarithms would be 0."""
    query = torch.tensor([[50.0]], dtype=torch.float64)
    items = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    for negatives in (torch.tensor([1]), torch.tensor([[1]])):
        value = sampled_softmax(query, items, torch.tensor([0]), negatives)
        assert float(value) == pytest.approx(math.exp(-50), rel=1e-9)


def test_learned_temperature_gets_its_gradient() -> None:
    query, items, target = problem()
    temperature = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    for negatives in (torch.tensor([0, 3, 5]), torch.tensor([[0, 3, 5]]).expand(5, -1)):
        assert torch.autograd.gradcheck(
            lambda t, n=negatives: sampled_softmax(query, items, target, n, temperature=t),
            temperature,
        )


def test_wrong_arguments_are_named() -> None:
    query, items, target = problem()
    negatives = torch.tensor([0, 1])
    with pytest.raises(ArgumentError, match=r"negatives must lie in -1 .. 5; got .* 6"):
        sampled_softmax(query, items, target, torch.tensor([0, 6]))
    with pytest.raises(ArgumentError, match=r"target must be \(5,\)"):
        sampled_softmax(query, items, target[:4], negatives)
    with pytest.raises(ArgumentError, match=r"shape of negatives, \(2,\); got \(3,\)"):
        sampled_softmax(query, items, target, negatives, torch.zeros(3))
    with pytest.raises(ArgumentError, match="needs log_probability; got None"):
        sampled_softmax(query, items, target, negatives, target_log_probability=torch.zeros(5))
    with pytest.raises(NonFiniteArgumentError, match="log_probability must be finite; got -inf"):
        sampled_softmax(query, items, target, negatives, torch.zeros(2).log())
    infinite = items.detach().clone()
    infinite[target[0]] = torch.inf
    with pytest.raises(NonFiniteArgumentError, match="items must be finite; got inf"):
        sampled_softmax(query, infinite, target, negatives)
    with pytest.raises(ArgumentError, match="temperature must lie in"):
        SampledSoftmax(temperature=0)
