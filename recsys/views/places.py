"""Which places of a padded sequence a view touches."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from graphcl.errors import ArgumentError

Draw = Literal["count", "each"]
"""`count`: exactly floor(rate * n) places, drawn without replacement. `each`: every place by
itself with probability `rate`."""


def uniform(
    shape: tuple[int, ...], generator: torch.Generator | None, device: torch.device
) -> Tensor:
    """float32 on [0, 1), drawn where the generator lives, so that devices agree; then moved."""
    _check_generator(generator)
    source = device if generator is None else generator.device
    return torch.rand(shape, generator=generator, device=source).to(device)


def inside(lengths: Tensor, width: int) -> Tensor:
    """bool (B, width): True at items, False at padding."""
    return torch.arange(width, device=lengths.device) < lengths[:, None]


def share(lengths: Tensor, rate: float) -> Tensor:
    """floor(rate * n), int64 (B,)."""
    # The small number undoes binary rounding, as in 0.29 * 100 = 28.999...
    return (rate * lengths.double() + 1e-9).floor().long()


def check_draw(draw: str) -> Draw:
    """`draw`, provided it is one of `Draw`."""
    if draw not in get_args(Draw):
        raise ArgumentError(f"draw must be one of {', '.join(get_args(Draw))} (got {draw!r})")
    return draw  # type: ignore[return-value]


def drawn_places(
    lengths: Tensor,
    width: int,
    rate: float,
    generator: torch.Generator | None,
    draw: Draw,
    least: int = 0,
) -> Tensor:
    """bool (B, width): the places of real items that a view of this rate touches.

    With "count" at least `least` of each sequence, or all where it has fewer.
    """
    real = inside(lengths, width)
    noise = uniform((len(lengths), width), generator, lengths.device)
    if draw == "each":
        return real & (noise < rate)
    order = noise.masked_fill(~real, 2.0).argsort(dim=1, stable=True)
    count = torch.minimum(share(lengths, rate).clamp(min=least), lengths.long())
    chosen = torch.arange(width, device=lengths.device) < count[:, None]
    return torch.zeros_like(real).scatter(1, order, chosen)


def whole_below(limits: Tensor, generator: torch.Generator | None) -> Tensor:
    """int64, uniform on 0 .. limit - 1 for each limit (of any shape, all >= 1)."""
    _check_generator(generator)
    source = limits.device if generator is None else generator.device
    # 53 random bits: float32 would miss numbers below large limits.
    draws = torch.rand(
        tuple(limits.shape), generator=generator, device=source, dtype=torch.float64
    ).to(limits.device)
    return torch.minimum((draws * limits).long(), limits.long() - 1)


def _check_generator(generator: torch.Generator | None) -> None:
    if generator is not None and not isinstance(generator, torch.Generator):
        raise ArgumentError(
            f"generator must be a torch.Generator or None (got {type(generator).__name__})"
        )
