"""Backward passes that cannot be differentiated, and say so instead of returning zeros."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Gradients = tuple[Tensor | None, ...]


def differentiable_once(backward: Callable[..., Gradients]) -> Callable[..., Gradients]:
    """Run a backward pass without a graph; differentiating its result raises RuntimeError.

    torch's own `once_differentiable` lets a second derivative vanish silently
    when the incoming gradient is a constant, as it is for `loss.backward()`.
    """

    @functools.wraps(backward)
    def sealed(ctx: Any, *upstream: Tensor | None) -> Gradients:
        with torch.no_grad():
            gradients = backward(ctx, *upstream)
        if not torch.is_grad_enabled():
            return gradients
        inputs = [part for part in (*ctx.saved_tensors, *upstream) if part is not None]
        return tuple(
            None if gradient is None else _Sealed.apply(gradient, *inputs) for gradient in gradients
        )

    return sealed


class _Sealed(torch.autograd.Function):
    # Depends on everything the gradient depends on, so that every path by which
    # a second derivative could be asked for leads through here.

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, *inputs: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Gradients:
        raise RuntimeError(
            "this backend of the contrast can be differentiated once; "
            "use backend='dense' for second derivatives"
        )
