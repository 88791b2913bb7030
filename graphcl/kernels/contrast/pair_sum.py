"""Sum of any function of the logits over every row's candidates, tile by tile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast.backends import resolve_backend
from graphcl.kernels.contrast.candidates import check_sides, excluded_pairs
from graphcl.kernels.contrast.checks import (
    accumulation_dtype,
    check_choice,
    check_finite,
    check_vector,
    full_precision,
    scale_tensor,
)
from graphcl.kernels.contrast.exclusion import Exclusion
from graphcl.kernels.contrast.groups import group_order, group_tile
from graphcl.kernels.contrast.once import differentiable_once
from graphcl.kernels.contrast.pairs import Pairs
from graphcl.kernels.contrast.walk import Plan, Tile, fill

Function = Callable[[Tensor], Tensor]


def pair_sum(
    query: Tensor,
    key: Tensor | None = None,
    *,
    function: Function,
    scale: float | Tensor,
    row_bias: Tensor | None = None,
    column_bias: Tensor | None = None,
    row_ids: Tensor | None = None,
    column_ids: Tensor | None = None,
    row_groups: Tensor | None = None,
    column_groups: Tensor | None = None,
    exclude: Pairs | None = None,
    backend: str = "auto",
    tile: int = 512,
) -> Tensor:
    r"""Sum of an elementwise function of the logits over the candidates of every row.

    .. math::
        y_i = \sum_{j \in C_i} f(scale \cdot \langle q_i, k_j \rangle
            + row\_bias_i + column\_bias_j)

    with C as in `contrast`. Losses without a softmax are of this form: the
    pairwise sigmoid (f = softplus), focal and positive-unlabelled losses, and
    pairwise ranking against a row's positive, whose logit is minus the row bias.

    Args:
        query, key, scale: as in `contrast`.
        function: maps a tensor of logits to one of the same shape and dtype, entry
            by entry, differentiably; called on the tiles, again in the backward pass.
            Tensors that it closes over must not require a gradient.
        row_bias, column_bias: (M,) and (N,), finite, differentiable.
        row_ids, column_ids, row_groups, column_groups, exclude: as in `contrast`.
        backend: "dense" (O(M N) memory, twice differentiable), "tiles" (exact,
            O((M + N) d) memory), or "auto": dense up to `DENSE_LIMIT` entries.
        tile: side of a tile in rows.

    Returns:
        (M,), in float64 for float64 input and float32 otherwise; 0 with gradient 0
        for a row without candidates.

    Raises:
        ArgumentError: for a wrong shape, dtype, device, index or backend name, or a
            function that is not elementwise or closes over something to be trained.
        NonFiniteArgumentError: for NaN or infinity in query, key or a bias.
    """
    shape = check_sides(query, key)
    check_choice(backend, ("auto", "dense", "tiles"), tile)
    backend = resolve_backend(backend, shape, query, ("dense", "tiles"))
    for name, bias, length in (
        ("row_bias", row_bias, shape[0]),
        ("column_bias", column_bias, shape[1]),
    ):
        check_vector(name, bias, length, query, floating=True)
        if bias is not None:
            check_finite(name, bias)
    excluded = excluded_pairs(
        shape,
        query,
        self_similar=key is None,
        row_ids=row_ids,
        column_ids=column_ids,
        row_groups=row_groups,
        column_groups=column_groups,
        exclude=exclude,
    )
    dtype = accumulation_dtype(query)
    query = query.to(dtype)
    key = query if key is None else key.to(dtype)
    _check_function(function, query)
    factor = scale_tensor(scale, query)
    row_bias = None if row_bias is None else row_bias.to(dtype)
    column_bias = None if column_bias is None else column_bias.to(dtype)
    with full_precision(query):
        if backend == "dense" or 0 in shape:
            logits = factor * (query @ key.T)
            logits = logits if row_bias is None else logits + row_bias[:, None]
            logits = logits if column_bias is None else logits + column_bias
            return function(logits).masked_fill(excluded.dense(shape), 0.0).sum(dim=1)
        order = group_order(excluded)
        tile = group_tile(excluded, tile)
        if order is None:
            plan = _plan(shape, tile, excluded)
            return _PairSum.apply(query, key, factor, row_bias, column_bias, function, plan)
        plan = _plan(shape, tile, excluded.reordered(order.rows, order.columns))
        sums = _PairSum.apply(
            query[order.rows],
            key[order.columns],
            factor,
            None if row_bias is None else row_bias[order.rows],
            None if column_bias is None else column_bias[order.columns],
            function,
            plan,
        )
        return order.restore_rows(sums)


def _plan(shape: tuple[int, int], tile: int, excluded: Exclusion) -> Plan:
    tiled = excluded.tiled(tile, shape)
    return Plan(shape, tile, False, False, tiled, tiled)


def _check_function(function: Function, like: Tensor) -> None:
    probe = like.new_zeros((2, 3))
    with torch.enable_grad():
        values = function(probe)
    if not isinstance(values, Tensor) or values.shape != probe.shape:
        got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ArgumentError(f"function must return the shape of its argument, (2, 3); got {got}")
    if values.dtype != probe.dtype:
        raise ArgumentError(f"function must keep the dtype {probe.dtype}; got {values.dtype}")
    if values.requires_grad:
        raise ArgumentError(
            "function must not close over tensors that require a gradient, they would get none; "
            "pass what is to be trained as scale, row_bias or column_bias"
        )


class _PairSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        scale: Tensor,
        row_bias: Tensor | None,
        column_bias: Tensor | None,
        function: Function,
        plan: Plan,
    ) -> Tensor:
        sums = query.new_zeros(plan.shape[0])
        for tile in plan.walk(query, key, scale):
            # A function may return its argument: what follows must not write into it twice.
            values = function(_logits(tile, row_bias, column_bias)).contiguous()
            sums[tile.rows] += fill(values, tile.row_excluded, 0.0).sum(dim=1)
        ctx.save_for_backward(query, key, scale, row_bias, column_bias)
        ctx.function, ctx.plan = function, plan
        return sums

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        query, key, scale, row_bias, column_bias = ctx.saved_tensors
        plan: Plan = ctx.plan
        wanted = ctx.needs_input_grad
        of_query = torch.zeros_like(query) if wanted[0] or wanted[2] else None
        of_key = torch.zeros_like(key) if wanted[1] else None
        of_rows = torch.zeros_like(row_bias) if wanted[3] else None
        of_columns = torch.zeros_like(column_bias) if wanted[4] else None
        for tile in plan.walk(query, key, scale):
            i, j = tile.rows, tile.columns
            logits = _logits(tile, row_bias, column_bias).requires_grad_()
            with torch.enable_grad():
                values = ctx.function(logits)
            if not values.requires_grad:  # a constant function
                continue
            weight = upstream[i, None].expand_as(values)
            (slope,) = torch.autograd.grad(values, logits, weight, allow_unused=True)
            if slope is None:
                continue
            if tile.row_excluded is not None:
                # Of a linear function the slope can be the upstream gradient itself.
                slope = slope.clone(memory_format=torch.contiguous_format)
            block = fill(slope, tile.row_excluded, 0.0)
            if of_rows is not None:
                of_rows[i] += block.sum(dim=1)
            if of_columns is not None:
                of_columns[j] += block.sum(dim=0)
            if of_query is not None:
                of_query[i].addmm_(block, key[j])
            if of_key is not None:
                of_key[j].addmm_(block.T, query[i])
        to_scale = None
        if wanted[2] and of_query is not None:
            to_scale = torch.vdot(of_query.view(-1), query.reshape(-1))
        return (
            of_query.mul_(scale) if wanted[0] and of_query is not None else None,
            of_key.mul_(scale) if of_key is not None else None,
            to_scale,
            of_rows,
            of_columns,
            None,
            None,
        )


def _logits(tile: Tile, row_bias: Tensor | None, column_bias: Tensor | None) -> Tensor:
    logits = tile.products.detach()
    if row_bias is not None:
        logits += row_bias[tile.rows, None]
    if column_bias is not None:
        logits += column_bias[tile.columns]
    return logits
