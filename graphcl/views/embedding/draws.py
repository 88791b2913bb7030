"""Random draws for embedding views: made where the generator lives, then moved."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast.checks import check_finite


def uniform(shape: tuple[int, ...], generator: torch.Generator | None, like: Tensor) -> Tensor:
    """Uniform on [0, 1), of the dtype and device of `like`."""
    source = _device(generator, like)
    return torch.rand(shape, generator=generator, device=source, dtype=_dtype(like)).to(like)


def normal(shape: tuple[int, ...], generator: torch.Generator | None, like: Tensor) -> Tensor:
    """Standard normal, of the dtype and device of `like`."""
    source = _device(generator, like)
    return torch.randn(shape, generator=generator, device=source, dtype=_dtype(like)).to(like)


def beta(
    shape: tuple[int, ...],
    concentration: float,
    generator: torch.Generator | None,
    like: Tensor,
) -> Tensor:
    """Beta(c, c), of the dtype and device of `like`: X / (X + Y) of two Gamma(c) variables.

    By logarithms, with Gamma(c) = Gamma(c + 1) U^(1/c): for a small c both variables
    underflow, and the quotient of the zeros would not be the 0 or 1 that it tends to.
    """
    if not 0 < concentration < float("inf"):
        raise ArgumentError(f"concentration must be a finite number above 0; got {concentration}")
    source = _device(generator, like)
    shapes = torch.full((2, *shape), concentration + 1.0, device=source, dtype=torch.float64)
    # torch.distributions.Beta takes no generator; this is what it draws with.
    boosted = torch._standard_gamma(shapes, generator=generator)
    power = torch.rand((2, *shape), generator=generator, device=source, dtype=torch.float64)
    first, second = boosted.log() + torch.log1p(-power) / concentration
    return torch.sigmoid(first - second).to(like)


def integers_below(bound: Tensor, generator: torch.Generator | None) -> Tensor:
    """One integer in 0 .. bound - 1 for every entry of `bound` (int64); 0 where it is 0."""
    source = generator.device if generator is not None else bound.device
    drawn = torch.rand(bound.shape, generator=generator, device=source, dtype=torch.float64)
    return torch.minimum((drawn.to(bound.device) * bound).long(), bound - 1).clamp_min(0)


def permutation(count: int, generator: torch.Generator | None, like: Tensor) -> Tensor:
    """A random order of 0 .. count - 1."""
    source = _device(generator, like)
    return torch.randperm(count, generator=generator, device=source).to(like.device)


def check_embedding(name: str, z: Tensor) -> None:
    """Raise unless (N, d), floating and finite."""
    if z.dim() != 2 or not z.is_floating_point():
        raise ArgumentError(
            f"{name} must be a floating (N, d) tensor; got {z.dtype} {tuple(z.shape)}"
        )
    check_finite(name, z)


def check_strength(strength: float, highest: float = float("inf")) -> None:
    """Raise unless a finite number of at least 0, and at most `highest`."""
    number = not isinstance(strength, bool) and isinstance(strength, (int, float))
    if not number or not 0 <= strength <= highest or strength == float("inf"):
        allowed = "at least 0" if highest == float("inf") else f"in [0, {highest:g}]"
        raise ArgumentError(f"strength must be a finite number {allowed}; got {strength!r}")


def _device(generator: torch.Generator | None, like: Tensor) -> torch.device:
    return generator.device if generator is not None else like.device


def _dtype(like: Tensor) -> torch.dtype:
    # 16-bit uniform numbers are multiples of 2^-11 or 2^-8.
    return torch.float32 if like.element_size() < 4 else like.dtype
