"""Checks and the row sample that the diagnostics share."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.errors import ArgumentError


def check_embedding(name: str, z: Tensor) -> None:
    """Raise unless (N, d) of a floating dtype."""
    if z.dim() != 2 or not z.is_floating_point():
        raise ArgumentError(
            f"{name} must be a floating (N, d) tensor; got {z.dtype} {tuple(z.shape)}"
        )


def sample_rows(
    count: int, sample: int | None, generator: torch.Generator | None, device: torch.device
) -> Tensor | None:
    """Indices of `sample` of `count` rows without replacement; None when all are taken."""
    if sample is None:
        return None
    if sample < 1:
        raise ArgumentError(f"sample must be at least 1, or None for all rows; got {sample}")
    if sample >= count:
        return None
    drawn_on = device if generator is None else generator.device
    return torch.randperm(count, generator=generator, device=drawn_on)[:sample].to(device)


def undefined(like: Tensor) -> Tensor:
    """A 0-d NaN of the dtype and device of `like`."""
    return torch.full((), torch.nan, dtype=like.dtype, device=like.device)
