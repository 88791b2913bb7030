"""Tile passes for any logits: running maximum forward, normalised exponentials backward.

Excluded entries become -inf before the maximum is taken, so the shift always
belongs to a candidate and a row of very negative logits keeps its exact value.
"""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.kernels.contrast.operands import Gradients, Operands, Sums
from graphcl.kernels.contrast.walk import Plan, fill, tile_view


def forward(plan: Plan, operands: Operands) -> Sums:
    """Row and column log-sum-exp."""
    query_bias, key_bias = operands.query_bias, operands.key_bias
    rows = RunningLogSumExp(plan.shape[0], operands.key)
    columns = rows if plan.self_similar else RunningLogSumExp(plan.shape[1], operands.key)
    buffer = plan.scratch(operands.key)
    for tile in plan.walk(operands.query, operands.key, operands.scale):
        i, j = tile.rows, tile.columns
        if tile.serves_columns:
            logits = tile_view(buffer, i, j).copy_(tile.products)
            if query_bias is not None:
                logits += query_bias[i, None]
            columns.add(j, fill(logits, tile.column_excluded, -torch.inf), dim=0)
        if key_bias is not None:
            tile.products.add_(key_bias[j])
        rows.add(i, fill(tile.products, tile.row_excluded, -torch.inf), dim=1)
    value = rows.value()
    if plan.self_similar:
        return Sums(value, value)
    return Sums(value, columns.value() if plan.columns else None)


def backward(plan: Plan, operands: Operands, sums: Sums, upstream: Sums, out: Gradients) -> None:
    """Add the gradients of every tile to `out`."""
    query_bias, key_bias = operands.query_bias, operands.key_bias
    row_shift, row_gradient = guarded(sums.rows, upstream.rows)
    column_shift = column_gradient = None
    if sums.columns is not None and upstream.columns is not None:
        column_shift, column_gradient = guarded(sums.columns, upstream.columns)
    buffer = plan.scratch(operands.key)
    for tile in plan.walk(operands.query, operands.key, operands.scale):
        i, j = tile.rows, tile.columns
        mirrored = None
        if column_shift is not None and column_gradient is not None:
            mirrored = torch.sub(tile.products, column_shift[j], out=tile_view(buffer, i, j))
            if query_bias is not None:
                mirrored += query_bias[i, None]
            fill(mirrored, tile.column_excluded, -torch.inf).exp_().mul_(column_gradient[j])
        block = tile.products.sub_(row_shift[i, None])
        if key_bias is not None:
            block += key_bias[j]
        fill(block, tile.row_excluded, -torch.inf).exp_().mul_(row_gradient[i, None])
        if out.key_bias is not None:
            out.key_bias[j] += block.sum(0)
        if mirrored is not None:
            if out.query_bias is not None and tile.serves_columns:
                out.query_bias[i] += mirrored.sum(1)
            block += mirrored
        if out.query is not None:
            out.query[i].addmm_(block, operands.key[j])
        if out.key is not None and (tile.serves_columns or mirrored is None):
            out.key[j].addmm_(block.T, operands.query[i])


class RunningLogSumExp:
    """Log-sum-exp per position, fed block by block."""

    def __init__(self, length: int, like: Tensor) -> None:
        self._maximum = like.new_full((length,), -torch.inf)
        self._sum = like.new_zeros(length)

    def add(self, where: slice, logits: Tensor, dim: int) -> None:
        """Merge a block, reduced along `dim`; the block is overwritten."""
        before = self._maximum[where]
        after = torch.maximum(before, logits.amax(dim))
        # All -inf so far: shift by 0, so that exp gives 0 rather than NaN.
        shift = torch.where(torch.isneginf(after), 0.0, after)
        total = logits.sub_(shift.unsqueeze(dim)).exp_().sum(dim)
        self._sum[where] = self._sum[where] * (before - shift).exp() + total
        self._maximum[where] = after

    def value(self) -> Tensor:
        """The log-sum-exp; -inf where nothing was a candidate."""
        return self._maximum + self._sum.log()


def guarded(log_sum: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Shift and gradient with which an empty row contributes exactly nothing."""
    # An empty row must give exp(l - L) = 0 and gradient 0 whatever comes from
    # upstream, not exp(-inf + inf).
    empty = torch.isneginf(log_sum)
    return log_sum.masked_fill(empty, torch.inf), gradient.masked_fill(empty, 0.0)
