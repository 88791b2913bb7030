"""Two slopes for one logit: a steeper value, the gradient of the flatter one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from graphcl.errors import ArgumentError


def steeper(
    query: Tensor, key: Tensor | None, scale: Tensor, hardness: float
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Query, key and slope whose logits are (scale + a) s, differentiated as scale s + a sg(s)."""
    if hardness == 0:
        return query, key, scale
    slope = scale + hardness
    if not bool(torch.isfinite(slope.detach())):
        raise ArgumentError(
            f"scale + hardness must be finite in {slope.dtype}; "
            f"got {float(scale.detach())} + {hardness}"
        )
    ratio = (scale / slope).detach()
    query = _ScaledGradient.apply(query, ratio)
    return query, None if key is None else _ScaledGradient.apply(key, ratio), slope


class _ScaledGradient(torch.autograd.Function):
    # The slope itself is differentiated as it is: d(scale s + a sg(s)) / d scale = s.

    @staticmethod
    def forward(ctx: Any, rows: Tensor, ratio: Tensor) -> Tensor:
        ctx.save_for_backward(ratio)
        return rows.view_as(rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (ratio,) = ctx.saved_tensors
        return gradient * ratio, None
