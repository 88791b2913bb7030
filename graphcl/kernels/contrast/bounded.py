"""Tile passes for bounded logits: one unshifted exponential serves rows and columns.

When every |s_ij| plus the spread of the biases stays below a limit, e^{s_ij}
can neither overflow nor lose a term, so no running maximum is needed and the
same E = e^s is right for the row sums and for the column sums:

    rows_i = log sum_j E_ij e^{key_bias_j},  columns_j = log sum_i E_ij e^{query_bias_i}.

Cosine similarities with a temperature above 1/limit are always of this kind.
"""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.kernels.contrast.operands import Gradients, Operands, Sums
from graphcl.kernels.contrast.walk import Plan, Tile, fill, tile_view

# Under half the exponent range, so that sums, weights and upstream gradients
# multiplied together still keep clear of overflow and of denormal numbers.
LIMIT = {torch.float32: 40.0, torch.float64: 300.0}

PROBED_ROWS = 16
"""Rows whose logits are looked at before the others are trusted."""


def is_bounded(operands: Operands) -> bool:
    """Whether Cauchy-Schwarz guarantees that no exponential leaves the safe range."""
    return largest_logit(operands) <= LIMIT[operands.query.dtype]


def largest_logit(operands: Operands) -> float:
    """What no logit exceeds in size, by Cauchy-Schwarz, with the spread of the biases.

    Infinite or NaN when in doubt: for products that overflow, and for rows so short that the
    squares in their norm vanish, which would understate it.
    """
    query_norm = torch.linalg.vector_norm(operands.query, dim=1).max()
    key_norm = torch.linalg.vector_norm(operands.key, dim=1).max()
    spread = operands.scale * query_norm * key_norm
    for bias in (operands.query_bias, operands.key_bias):
        if bias is not None:
            lowest = torch.where(torch.isneginf(bias), bias.max(), bias).min()
            spread = spread + (bias.max() - lowest)
    number = torch.finfo(operands.query.dtype)
    shortest = torch.minimum(query_norm, key_norm)
    reliable = shortest >= number.tiny**0.5 / number.eps
    return float(spread.where(reliable, torch.inf))


def looks_bounded(operands: Operands) -> bool:
    """Whether a few rows suggest that the logits are bounded where Cauchy-Schwarz cannot say.

    Trained states and items are long without pointing the same way: the bound of their products is
    several times what any of them reaches. A guess; `was_bounded` tells.
    """
    if operands.query_bias is not None or operands.key_bias is not None:
        return False
    step = max(1, operands.query.shape[0] // PROBED_ROWS)
    probe = operands.scale * (operands.query[::step] @ operands.key.T)
    return bool(probe.amax() <= LIMIT[operands.query.dtype])


def was_bounded(sums: Sums) -> bool:
    """Whether unshifted sums of exponentials lost nothing; the guess of `looks_bounded` held.

    With every log-sum-exp inside the limits, no exponential was above e^limit, and one that
    vanished was smaller than e^-limit times the sum it is missing from.
    """
    for part in (sums.rows, sums.columns):
        # Not so for NaN either.
        if part is not None and not bool((part.abs() <= LIMIT[part.dtype]).all()):
            return False
    return True


def forward(plan: Plan, operands: Operands) -> Sums:
    """Row and column log-sum-exp."""
    key = operands.key
    key_weight, key_shift = weights(operands.key_bias, key)
    query_weight, query_shift = weights(operands.query_bias, operands.query)
    row_sum = key.new_zeros(plan.shape[0])
    column_sum = row_sum if plan.self_similar else key.new_zeros(plan.shape[1])
    for tile in plan.walk(operands.query, operands.key, operands.scale):
        for_rows, for_columns = _exponentials(tile)
        row_sum[tile.rows].addmv_(for_rows, key_weight[tile.columns])
        if tile.serves_columns:
            column_sum[tile.columns].addmv_(for_columns.T, query_weight[tile.rows])
    rows = row_sum.log_().add_(key_shift)
    if plan.self_similar:
        return Sums(rows, rows)
    return Sums(rows, column_sum.log_().add_(query_shift) if plan.columns else None)


def backward(plan: Plan, operands: Operands, sums: Sums, upstream: Sums, out: Gradients) -> None:
    """Add the gradients of every tile to `out`."""
    key_weight, key_shift = weights(operands.key_bias, operands.key)
    row_share = share(upstream.rows, sums.rows, key_shift)
    if sums.columns is None or upstream.columns is None:
        _backward_rows_only(plan, operands, row_share, key_weight, out)
        return
    query_weight, query_shift = weights(operands.query_bias, operands.query)
    column_share = share(upstream.columns, sums.columns, query_shift)
    # The factor of E_ij is a sum of two outer products: a (., 2) x (2, .) product.
    left = torch.stack([row_share, query_weight], dim=1)
    right = torch.stack([key_weight, column_share])
    buffer = plan.scratch(operands.key)
    for tile in plan.walk(operands.query, operands.key, operands.scale):
        i, j = tile.rows, tile.columns
        for_rows, for_columns = _exponentials(tile)
        if out.key_bias is not None:
            out.key_bias[j] += for_rows.T.mv(row_share[i]).mul_(key_weight[j])
        if out.query_bias is not None and tile.serves_columns:
            out.query_bias[i] += for_columns.mv(column_share[j]).mul_(query_weight[i])
        if for_rows is for_columns:
            block = for_rows.mul_(torch.mm(left[i], right[:, j], out=tile_view(buffer, i, j)))
        else:
            block = for_rows * torch.outer(row_share[i], key_weight[j])
            block += for_columns * torch.outer(query_weight[i], column_share[j])
        if out.query is not None:
            out.query[i].addmm_(block, operands.key[j])
        if out.key is not None and tile.serves_columns:
            out.key[j].addmm_(block.T, operands.query[i])


def _backward_rows_only(
    plan: Plan, operands: Operands, share: Tensor, weight: Tensor, out: Gradients
) -> None:
    # Row and column factors are folded into the operands, so E is used as it is.
    weighted_key, shared_query = operands.key, operands.query
    if out.query is not None and operands.key_bias is not None:
        weighted_key = weighted_key * weight[:, None]
    if out.key is not None:
        shared_query = shared_query * share[:, None]
    for tile in plan.walk(operands.query, operands.key, operands.scale):
        i, j = tile.rows, tile.columns
        block, _ = _exponentials(tile)
        if out.query is not None:
            out.query[i].addmm_(block, weighted_key[j])
        if out.key is not None:
            out.key[j].addmm_(block.T, shared_query[i])
        if out.key_bias is not None:
            out.key_bias[j].addmv_(block.T, share[i])
    if out.query is not None:
        out.query.mul_(share[:, None])
    if out.key is not None:
        out.key.mul_(weight[:, None])
    if out.key_bias is not None:
        out.key_bias.mul_(weight)


def _exponentials(tile: Tile) -> tuple[Tensor, Tensor]:
    """E without what the rows, and without what the columns, leave out: one tensor if equal."""
    for_rows = for_columns = tile.products.exp_()
    if tile.row_excluded is not tile.column_excluded:
        for_columns = fill(for_rows.clone(), tile.column_excluded, 0.0)
    return fill(for_rows, tile.row_excluded, 0.0), for_columns


def weights(bias: Tensor | None, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Weights e^{bias - shift}, at most 1, and the shift."""
    if bias is None:
        return rows.new_ones(rows.shape[0]), rows.new_zeros(())
    shift = bias.max()
    shift = torch.where(torch.isneginf(shift), 0.0, shift)
    return (bias - shift).exp(), shift


def share(gradient: Tensor, log_sum: Tensor, shift: Tensor) -> Tensor:
    """Upstream gradient over the sum of exponentials; 0 where the sum is empty."""
    return torch.where(torch.isneginf(log_sum), 0.0, gradient * (shift - log_sum).exp())
