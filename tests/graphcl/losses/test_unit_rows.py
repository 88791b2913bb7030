"""Row normalisation: exact, twice differentiable, safe at zero and at the ends of the range."""

from __future__ import annotations

import pytest
import torch

from graphcl.losses.unit_rows import unit_rows


def test_matches_torch_and_is_twice_differentiable() -> None:
    rows = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows.requires_grad_()
    assert torch.allclose(unit_rows(rows), torch.nn.functional.normalize(rows, dim=1))
    assert torch.autograd.gradcheck(unit_rows, (rows,))
    assert torch.autograd.gradgradcheck(unit_rows, (rows,))


@pytest.mark.parametrize("size", [1e-11, 1e-3, 1e20, 3e38])
def test_length_is_one_across_the_range_of_float32(size: float) -> None:
    rows = torch.tensor([[1.0, -0.5, 0.25]]) * size
    assert torch.allclose(unit_rows(rows).norm(), torch.tensor(1.0))


def test_zero_stays_zero_with_zero_gradient() -> None:
    rows = torch.tensor([[0.0, 0.0], [1e-20, 0.0], [3.0, 4.0]], requires_grad=True)
    unit = unit_rows(rows)
    unit.sum().backward()
    assert unit.tolist() == [[0.0, 0.0], [0.0, 0.0], pytest.approx([0.6, 0.8])]
    assert torch.equal(rows.grad[:2], torch.zeros(2, 2))


def test_non_finite_input_stays_visible() -> None:
    rows = torch.tensor([[float("nan"), 1.0], [float("inf"), 1.0], [1.0, 0.0]])
    assert unit_rows(rows).isnan().any(dim=1).tolist() == [True, True, False]


def test_half_precision_is_computed_in_float32() -> None:
    assert unit_rows(torch.ones(2, 3, dtype=torch.bfloat16)).dtype == torch.float32
    assert unit_rows(torch.ones(2, 0)).shape == (2, 0)
