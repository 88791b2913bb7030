"""Log-sum-exp over all combinations of rows of several matrices, without storing them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from graphcl.kernels.contrast import contrast

# Candidate rows held at a time.
ROWS_AT_A_TIME = 4096


def product_log_sum_exp(
    anchor: Tensor, others: list[Tensor], scale: float | Tensor, backend: str = "auto"
) -> Tensor:
    r"""Log-sum-exp of every anchor's products with all combinations of rows of the others.

    .. math::
        L_i = \log \sum_{j_1} \cdots \sum_{j_k} e^{s \langle a_i, b^1_{j_1} \odot \cdots
            \odot b^k_{j_k} \rangle}

    Args:
        anchor: (M, d).
        others: k >= 1 matrices (N, d).
        scale: s, a positive number or 0-d tensor.
        backend: of `graphcl.kernels.contrast.contrast`.

    Returns:
        (M,), differentiable once in everything. The N^k candidates are made a few
        thousand at a time, again in the backward pass: memory O((M + k N) d).
    """
    factor = torch.as_tensor(scale, dtype=anchor.dtype, device=anchor.device)
    total: Tensor = _ProductLogSumExp.apply(factor, backend, anchor, *others)
    return total


class _ProductLogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scale: Tensor, backend: str, anchor: Tensor, *others: Tensor) -> Tensor:
        total = anchor.new_full((anchor.shape[0],), -torch.inf)
        for rows in _chunks(others):
            total = torch.logaddexp(total, _part(scale, backend, anchor, others, rows))
        ctx.backend = backend
        ctx.save_for_backward(scale, anchor, *others, total)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        scale, anchor, *others, total = ctx.saved_tensors
        leaves = [part.detach().requires_grad_() for part in (scale, anchor, *others)]
        gradients = [torch.zeros_like(leaf) for leaf in leaves]
        for rows in _chunks(others):
            with torch.enable_grad():
                part = _part(leaves[0], ctx.backend, leaves[1], leaves[2:], rows)
            share = torch.exp(part.detach() - total)
            for sum_, more in zip(
                gradients, torch.autograd.grad(part, leaves, upstream * share), strict=True
            ):
                sum_ += more
        return gradients[0], None, *gradients[1:]


def _chunks(others: tuple[Tensor, ...] | list[Tensor]) -> Iterator[Tensor]:
    """Numbers of combinations of rows of all others but the first, which is taken whole."""
    count = others[0].shape[0]
    if count == 0:
        return
    step = max(1, ROWS_AT_A_TIME // count)
    combinations = count ** (len(others) - 1)
    for start in range(0, combinations, step):
        yield torch.arange(start, min(start + step, combinations), device=others[0].device)


def _part(
    scale: Tensor,
    backend: str,
    anchor: Tensor,
    others: tuple[Tensor, ...] | list[Tensor],
    combinations: Tensor,
) -> Tensor:
    count = others[0].shape[0]
    outer = torch.ones_like(others[0][:1]).expand(combinations.numel(), -1)
    for other in others[1:]:
        outer = outer * other[combinations % count]
        combinations = combinations // count
    key = (outer[:, None] * others[0]).flatten(0, 1)
    return contrast(anchor, key, scale=scale, backend=backend).denominator
