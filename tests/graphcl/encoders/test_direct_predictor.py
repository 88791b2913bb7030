"""`DirectPredictor` is the matrix function of the running correlation that its formula says."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from graphcl.encoders import DirectPredictor
from graphcl.errors import ArgumentError
from graphcl.losses import bootstrap


def batches(count: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([2.0, 1.0, 0.5, 0.0], dtype=torch.float64)
    return [
        scale * torch.randn(9, 4, generator=generator, dtype=torch.float64) for _ in range(count)
    ]


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_equals_the_formula(power: float) -> None:
    predictor = DirectPredictor(4, momentum=0.3, epsilon=0.01, power=power).double()
    correlation = None
    for batch in batches():
        predictor.update(batch)
        outer = sum(torch.outer(row, row) for row in batch) / 9
        correlation = outer if correlation is None else 0.3 * correlation + 0.7 * outer
    assert torch.allclose(predictor.correlation, correlation, rtol=1e-12)
    relative = correlation / torch.linalg.matrix_norm(correlation, 2)
    expected = relative + 0.01 * torch.eye(4, dtype=torch.float64)
    if power == 0.5:
        # The symmetric root, without eigenvectors: its square is the matrix.
        root = predictor.weight - 0.01 * torch.eye(4, dtype=torch.float64)
        assert torch.allclose(root @ root, relative, atol=1e-10)
        assert torch.linalg.eigvalsh(root).min() > -1e-10
    else:
        assert torch.allclose(predictor.weight, expected, atol=1e-10)
    features = batches(4)[-1]
    assert torch.allclose(predictor(features), features @ predictor.weight.T)


def test_starts_as_the_identity_and_has_nothing_to_train() -> None:
    predictor = DirectPredictor(4)
    features = torch.randn(5, 4, requires_grad=True)
    assert torch.equal(predictor(features), features)
    assert list(predictor.parameters()) == []
    predictor.update(features)
    predictor(features).sum().backward()
    expected = predictor.weight.sum(dim=1).expand(5, 4)
    assert torch.allclose(features.grad, expected)


def test_state_survives_a_checkpoint() -> None:
    first, second = DirectPredictor(4).double(), DirectPredictor(4).double()
    one, two, _ = batches()
    first.update(one)
    second.load_state_dict(first.state_dict())
    for predictor in (first, second):
        predictor.update(two)
    assert torch.equal(first.weight, second.weight)


def test_features_of_zero_leave_the_floor() -> None:
    predictor = DirectPredictor(3, epsilon=0.2)
    predictor.update(torch.zeros(5, 3))
    assert torch.allclose(predictor.weight, 0.2 * torch.eye(3))
    before = {name: part.clone() for name, part in predictor.state_dict().items()}
    predictor.update(torch.zeros(0, 3))
    assert all(torch.equal(part, before[name]) for name, part in predictor.state_dict().items())


def test_training_does_not_collapse() -> None:
    # Linear encoder, two noisy views, no negatives: the spectrum stays spread.
    generator = torch.Generator().manual_seed(0)
    encoder = torch.nn.Linear(6, 3, bias=False)
    torch.nn.init.normal_(encoder.weight, generator=generator)
    predictor = DirectPredictor(3)
    optimiser = torch.optim.SGD(encoder.parameters(), lr=0.1, weight_decay=1e-4)
    x = torch.randn(64, 6, generator=generator)
    before = None
    for _ in range(150):
        view1, view2 = (
            encoder(x + 0.3 * torch.randn(64, 6, generator=generator)) for _ in range(2)
        )
        predictor.update(view1)
        optimiser.zero_grad()
        loss = bootstrap(predictor(view1), view2) + bootstrap(predictor(view2), view1)
        before = float(loss.detach()) if before is None else before
        loss.backward()
        optimiser.step()
    values = torch.linalg.svdvals(encoder(x).detach())
    assert values[1] > 0.2 * values[0]
    assert float(loss.detach()) < before


def test_arguments_are_checked() -> None:
    with pytest.raises(ArgumentError, match=r"momentum must lie in \[0, 1\); got 1"):
        DirectPredictor(4, momentum=1)
    with pytest.raises(ArgumentError, match=r"epsilon must be .* above 0; got 0"):
        DirectPredictor(4, epsilon=0)
    with pytest.raises(ArgumentError, match="features must be at least 1; got 0"):
        DirectPredictor(0)
    predictor = DirectPredictor(4)
    with pytest.raises(ArgumentError, match=r"features must be \(N, 4\); got shape \(2, 3\)"):
        predictor.update(torch.zeros(2, 3))
    with pytest.raises(ArgumentError, match="features must be finite"):
        predictor.update(torch.full((2, 4), torch.nan))
    assert torch.equal(predictor.weight, torch.eye(4))
    assert not predictor.started
