"""BadPairMining against a plain dictionary of histories."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from graphcl.errors import ArgumentError, NonFiniteArgumentError
from graphcl.losses import BadPairMining, InfoNCE


def history(count: int = 40) -> list[float]:
    """Losses near 1 but for one instance that is always easy and one that is always hard."""
    generator = torch.Generator().manual_seed(0)
    losses = (1 + 0.1 * torch.randn(count, generator=generator)).tolist()
    losses[3], losses[7] = 0.1, 3.0
    return losses


def trained(mining: BadPairMining, epochs: int) -> BadPairMining:
    losses = torch.tensor(history())
    for _ in range(epochs):
        mining.start_epoch()
        for batch in torch.arange(len(losses)).split(16):
            mining(losses[batch], batch)
    return mining


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("decay", [None, 0.7])
def test_weights_follow_the_formula(decay: float | None, normalised: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    mining = BadPairMining(
        30, warm_up=2, noisy=1.0, faulty=1.0, decay=decay, normalised=normalised, reduction="none"
    ).double()
    means: dict[int, float] = {}
    bad_seen = 0
    for epoch in range(1, 6):
        mining.start_epoch()
        if means:
            centre = sum(means.values()) / len(means)
            variance = sum((m - centre) ** 2 for m in means.values()) / len(means)
        order = torch.randperm(30, generator=generator)
        # The first epoch leaves some instances without history.
        for batch in order[: 20 if epoch == 1 else 30].split(10):
            values = torch.rand(10, generator=generator, dtype=torch.float64) * (1 + batch % 5)
            expected, updated = [], {}
            for i, value in zip(batch.tolist(), values.tolist(), strict=True):
                weight = 1.0
                if epoch > 2 and i in means and abs(means[i] - centre) > math.sqrt(variance):
                    weight = math.exp(-((value - centre) ** 2) / (2 * variance))
                    weight /= 1 if normalised else math.sqrt(2 * math.pi * variance)
                    bad_seen += 1
                expected.append(weight * value)
                if i not in means:
                    updated[i] = value
                else:
                    share = 1 / (int(mining.visits[i]) + 1) if decay is None else 1 - decay
                    updated[i] = (1 - share) * means[i] + share * value
            actual = mining(values, batch)
            assert actual.tolist() == pytest.approx(expected, rel=1e-10)
            means.update(updated)
    assert bad_seen > 10


def test_only_the_noisy_and_the_faulty_pair_are_suppressed_after_the_warm_up() -> None:
    losses = torch.tensor(history())
    everyone = torch.arange(40)
    warm = trained(BadPairMining(40, warm_up=3, faulty=2.0), 3)
    assert torch.equal(warm.weights(losses, everyone), torch.ones(40))
    mining = trained(BadPairMining(40, warm_up=3, faulty=2.0), 4)
    weights = mining.weights(losses, everyone)
    assert (weights < 1).nonzero().view(-1).tolist() == [3, 7]
    assert weights[3] < 0.2
    assert weights[7] < 0.2


def test_weights_carry_no_gradient_and_values_keep_theirs() -> None:
    mining = trained(BadPairMining(40, warm_up=0), 2)
    values = torch.tensor(history(), requires_grad=True)
    mining.start_epoch()
    weights = mining.weights(values, torch.arange(40))
    mining(values, torch.arange(40)).backward()
    assert torch.allclose(values.grad, weights / 40)


def test_it_wraps_a_loss() -> None:
    z1, z2 = torch.randn(2, 40, 8, requires_grad=True)
    mining = trained(BadPairMining(40, warm_up=0), 1)
    values = InfoNCE(reduction="none")(z1, z2)
    assert torch.allclose(mining(values, torch.arange(40)), values.mean())


def test_the_state_travels_through_state_dict() -> None:
    first = trained(BadPairMining(40, warm_up=1), 3)
    second = BadPairMining(40, warm_up=1)
    second.load_state_dict(first.state_dict())
    losses = torch.tensor(history())
    for mining in (first, second):
        mining.start_epoch()
    assert torch.equal(first(losses, torch.arange(40)), second(losses, torch.arange(40)))
    assert torch.equal(first.mean, second.mean)


def test_evaluation_records_nothing() -> None:
    mining = trained(BadPairMining(40), 2).eval()
    before = {name: value.clone() for name, value in mining.state_dict().items()}
    mining(torch.full((40,), 9.0), torch.arange(40))
    assert all(torch.equal(before[name], value) for name, value in mining.state_dict().items())


def test_equal_histories_are_not_bad() -> None:
    mining = BadPairMining(1000, warm_up=0)
    for _ in range(3):
        mining.start_epoch()
        value = mining(torch.full((1000,), 0.1), torch.arange(1000))
    assert float(value) == pytest.approx(0.1)
    assert float(mining.spread) == 0


def test_an_instance_that_repeats_in_a_batch_counts_once() -> None:
    mining = BadPairMining(3, decay=0.5)
    mining.start_epoch()
    mining(torch.tensor([1.0, 3.0, 5.0]), torch.tensor([2, 2, 0]))
    assert mining.mean.tolist() == [5.0, 0.0, 2.0]
    assert mining.visits.tolist() == [1, 0, 1]


def test_an_empty_batch_is_a_zero() -> None:
    mining = BadPairMining(3)
    assert float(mining(torch.zeros(0), torch.zeros(0, dtype=torch.int64))) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda v, i: BadPairMining(-1), "count must be an integer of at least 0; got -1"),
        (lambda v, i: BadPairMining(3, warm_up=1.5), "warm_up must be an integer"),
        (lambda v, i: BadPairMining(3, noisy=0.0), "noisy must be a finite number above 0"),
        (lambda v, i: BadPairMining(3, decay=1.0), r"decay must lie in \(0, 1\) or be None"),
        (lambda v, i: BadPairMining(3, reduction="max"), "allowed: mean, sum, none"),
        (lambda v, i: BadPairMining(2)(v, i), r"index must lie in 0 .. 1; got values in 0 .. 2"),
        (lambda v, i: BadPairMining(3)(v, i[:2]), "one instance per value"),
        (lambda v, i: BadPairMining(3)(v, i.int()), "torch.int64"),
    ],
)
def test_wrong_arguments_are_named(call: Callable[..., object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call(torch.ones(3), torch.arange(3))


def test_non_finite_values_are_refused() -> None:
    with pytest.raises(NonFiniteArgumentError, match="values must be finite"):
        BadPairMining(3)(torch.tensor([1.0, float("nan"), 0.0]), torch.arange(3))


def test_the_documented_example_runs() -> None:
    scope: dict[str, object] = {"torch": torch, "BadPairMining": BadPairMining}
    for line in re.findall(r">>> (.*)", inspect.getdoc(BadPairMining) or ""):
        exec(line, scope)
    assert isinstance(scope["value"], Tensor)
