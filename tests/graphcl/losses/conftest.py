"""Scalar loops: what a loss is compared with, in numbers that autograd can follow."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor


class Loops:
    """Vectors as lists of 0-d tensors; the definitions in the tests loop over them."""

    @staticmethod
    def random(*shape: int, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    @staticmethod
    def dot(a: Tensor, b: Tensor) -> Tensor:
        total = a[0] * b[0]
        for k in range(1, len(a)):
            total = total + a[k] * b[k]
        return total

    @classmethod
    def cosine(cls, a: Tensor, b: Tensor) -> Tensor:
        return cls.dot(a, b) / torch.sqrt(cls.dot(a, a) * cls.dot(b, b))

    @classmethod
    def unit(cls, a: Tensor) -> list[Tensor]:
        length = torch.sqrt(cls.dot(a, a))
        return [entry / length for entry in a]

    @staticmethod
    def agree(
        loss: Callable[..., Tensor],
        definition: Callable[..., list[Tensor]],
        *inputs: Tensor,
        tolerance: float = 1e-10,
    ) -> None:
        """Per-anchor values of both are the same, and so are the gradients of a weighted sum."""
        leaves = [part.detach().clone().requires_grad_() for part in inputs]
        values, expected = loss(*leaves), torch.stack(definition(*leaves))
        assert values.shape == expected.shape
        torch.testing.assert_close(values, expected, rtol=tolerance, atol=tolerance)
        weights = torch.linspace(0.5, 2.0, len(expected), dtype=torch.float64)
        got = torch.autograd.grad((values * weights).sum(), leaves)
        wanted = torch.autograd.grad((expected * weights).sum(), leaves)
        for one, other in zip(got, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@pytest.fixture(scope="session")
def loops() -> type[Loops]:
    return Loops
