"""Rows scaled to length one, safe for zero, tiny and huge vectors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from graphcl.losses.precision import widened

ZERO_BELOW = 1e-12


def unit_rows(rows: Tensor) -> Tensor:
    """Each row of `rows` (n, d) divided by its Euclidean length; twice differentiable.

    A row whose largest entry is below `ZERO_BELOW` in magnitude has no
    direction: it becomes 0 and receives gradient 0 (dividing by a small
    constant instead would multiply its gradient by 1e12). Rows are divided by
    their largest entry first, so that no square overflows or vanishes.
    float16 and bfloat16 are computed and returned in float32. NaN and infinity
    stay visible as NaN.
    """
    rows = widened(rows)
    if rows.shape[1] == 0:
        return rows
    unit, _ = _UnitRows.apply(rows)
    return unit


def row_products(first: Tensor, second: Tensor) -> Tensor:
    """(n,) inner products of the rows of two (n, d), in their dtype under autocast too."""
    # vecdot is a matrix product inside, which autocast rounds to 16 bits.
    return (first * second).sum(dim=1)


class _UnitRows(torch.autograd.Function):
    # Keeps only its output; composing it from torch operators keeps two copies
    # of the embeddings, and its backward makes four more.

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> tuple[Tensor, Tensor]:
        # As vector_norm of order infinity, which takes ten times as long on a CPU.
        largest = torch.maximum(rows.amax(1, keepdim=True), -rows.amin(1, keepdim=True))
        absent = largest < ZERO_BELOW
        largest.masked_fill_(absent, 1.0)
        unit = rows / largest
        length = torch.linalg.vector_norm(unit, dim=1, keepdim=True)
        factor = length.reciprocal().masked_fill_(absent, 0.0)
        unit.mul_(factor)
        inverse_length = factor / largest
        ctx.save_for_backward(unit, inverse_length)
        return unit, inverse_length

    @staticmethod
    def backward(ctx: Any, to_unit: Tensor, to_inverse: Tensor) -> Tensor:
        # unit = x / |x| and inverse = 1 / |x|; rows without direction have both 0.
        # The second output exists so that this formula can be differentiated again.
        unit, inverse_length = ctx.saved_tensors
        along = torch.linalg.vecdot(to_unit, unit)[:, None] + inverse_length * to_inverse
        to_rows = torch.addcmul(to_unit, unit, along, value=-1)
        if torch.is_grad_enabled():
            return to_rows * inverse_length
        # In place: embeddings are the largest thing in memory.
        return to_rows.mul_(inverse_length)
