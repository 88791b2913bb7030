"""Log-sum-exp over pairs whose weights are a small network of both ends, learned with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from graphcl.errors import ArgumentError, NonFiniteArgumentError
from graphcl.kernels.contrast.backends import resolve_backend
from graphcl.kernels.contrast.candidates import check_sides
from graphcl.kernels.contrast.checks import (
    accumulation_dtype,
    check_choice,
    check_finite,
    check_matrix,
    full_precision,
    scale_tensor,
)
from graphcl.kernels.contrast.dense import guarded_log_sum_exp
from graphcl.kernels.contrast.exclusion import nothing_excluded
from graphcl.kernels.contrast.once import differentiable_once
from graphcl.kernels.contrast.running import RunningLogSumExp, guarded
from graphcl.kernels.contrast.walk import Plan

LogWeight = Callable[..., Tensor]
"""`log_weight(row_terms (h, r), column_terms (w, c), *parameters)` -> (h, w)."""


def learned_weight_log_sum_exp(
    query: Tensor,
    key: Tensor,
    *,
    scale: float | Tensor,
    log_weight: LogWeight,
    row_terms: Tensor,
    column_terms: Tensor,
    parameters: Sequence[Tensor] = (),
    normalised: bool = True,
    backend: str = "auto",
    tile: int = 256,
) -> Tensor:
    r"""Log of the weighted sum of e^{logit} over all columns, the weights being learned.

    .. math::
        y_i = \log \sum_j e^{w_{ij} + scale \cdot \langle q_i, k_j \rangle}
            \; \Big[ - \log \frac{1}{N} \sum_j e^{w_{ij}} \Big], \qquad
        w_{ij} = log\_weight(r_i, c_j)

    Gradients reach the weights: `contrast` takes them as constants, or for listed pairs. With
    `normalised` (the term in brackets) the weights of every row count relative to their mean, so
    that they say which columns matter more and cannot lower y by becoming small together; y is
    then at least scale times the smallest product.

    Args:
        query: (M, d); key: (N, d); scale: as in `contrast`.
        log_weight: `log_weight(rows (h, r), columns (w, c), *parameters)` gives the (h, w)
            log-weights of a block from its rows of the two sides' terms, differentiably; called
            on the blocks, again in the backward pass. Whatever is to be trained must be an
            argument.
        row_terms: (M, r); column_terms: (N, c), floating.
        parameters: what all pairs share, floating. `log_weight` gets all of these in the dtype
            of the result.
        normalised: weights relative to the mean of their row.
        backend: "dense" (O(M N) memory, twice differentiable), "tiles" (exact, O((M + N) (d +
            r)) memory and what `log_weight` takes for a tile), or "auto": dense up to
            `DENSE_LIMIT` entries.
        tile: side of a tile in rows.

    Returns:
        (M,), in float64 for float64 input and float32 otherwise; -inf without columns.

    Raises:
        ArgumentError: for a wrong shape, dtype, device or backend name.
        NonFiniteArgumentError: for NaN or infinity in an argument, or a log-weight that is NaN
            or +inf.
    """
    shape = check_sides(query, key)
    check_choice(backend, ("auto", "dense", "tiles"), tile)
    backend = resolve_backend(backend, shape, query, ("dense", "tiles"))
    for name, terms, length in (
        ("row_terms", row_terms, shape[0]),
        ("column_terms", column_terms, shape[1]),
    ):
        check_matrix(name, terms, None)
        check_finite(name, terms)
        if terms.shape[0] != length:
            raise ArgumentError(f"{name} must have {length} rows; got {terms.shape[0]}")
    dtype = accumulation_dtype(query)
    query, key, row_terms, column_terms = (
        part.to(dtype) for part in (query, key, row_terms, column_terms)
    )
    parameters = [part.to(dtype) for part in parameters]
    factor = scale_tensor(scale, query)
    if 0 in shape:
        connected = 0.0 * (query.sum() + key.sum() + row_terms.sum() + column_terms.sum())
        return query.new_full((shape[0],), -torch.inf) + connected
    with full_precision(query):
        if backend == "dense":
            weights = _checked(log_weight, row_terms, column_terms, parameters)
            value = guarded_log_sum_exp(factor * (query @ key.T) + weights)
            size = guarded_log_sum_exp(weights) if normalised else None
        else:
            value, size = _LearnedWeights.apply(
                query, key, factor, row_terms, column_terms, log_weight, normalised,
                _plan(shape, tile, query), *parameters,
            )  # fmt: skip
    if bool(torch.isnan(value).any()) or bool(torch.isposinf(value).any()):
        raise NonFiniteArgumentError("log_weight returned a log-weight that is NaN or +inf")
    if size is None:
        return value
    # A row of which every weight is 0 has no mean; its value is -inf already.
    return value - torch.where(torch.isneginf(size), 0.0, size - math.log(shape[1]))


def _plan(shape: tuple[int, int], tile: int, like: Tensor) -> Plan:
    nothing = nothing_excluded(like.device).tiled(tile, shape)
    return Plan(shape, tile, False, False, nothing, nothing)


def _checked(
    log_weight: LogWeight, rows: Tensor, columns: Tensor, parameters: Sequence[Tensor]
) -> Tensor:
    values = log_weight(rows, columns, *parameters)
    wanted = (rows.shape[0], columns.shape[0])
    if not isinstance(values, Tensor) or tuple(values.shape) != wanted:
        got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ArgumentError(f"log_weight must return {wanted} for such rows; got {got}")
    if values.dtype != rows.dtype:
        raise ArgumentError(f"log_weight must keep the dtype {rows.dtype}; got {values.dtype}")
    return values


class _LearnedWeights(torch.autograd.Function):
    """Both log-sum-exps in one walk; the weights of a tile are computed anew in backward."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        scale: Tensor,
        row_terms: Tensor,
        column_terms: Tensor,
        log_weight: LogWeight,
        normalised: bool,
        plan: Plan,
        *parameters: Tensor,
    ) -> tuple[Tensor, Tensor | None]:
        values = RunningLogSumExp(plan.shape[0], key)
        sizes = RunningLogSumExp(plan.shape[0], key) if normalised else None
        for tile in plan.walk(query, key, scale):
            i, j = tile.rows, tile.columns
            weights = _checked(log_weight, row_terms[i], column_terms[j], parameters)
            values.add(i, tile.products.add_(weights), dim=1)
            if sizes is not None:
                sizes.add(i, weights.clone(), dim=1)
        value, size = values.value(), None if sizes is None else sizes.value()
        ctx.save_for_backward(query, key, scale, row_terms, column_terms, value, size, *parameters)
        ctx.log_weight, ctx.plan = log_weight, plan
        return value, size

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, to_value: Tensor, to_size: Tensor | None) -> tuple[Tensor | None, ...]:
        query, key, scale, row_terms, column_terms, value, size, *parameters = ctx.saved_tensors
        plan: Plan = ctx.plan
        of_query, of_key = torch.zeros_like(query), torch.zeros_like(key)
        of_rows, of_columns = torch.zeros_like(row_terms), torch.zeros_like(column_terms)
        of_parameters = [torch.zeros_like(part) for part in parameters]
        shift, to_value = guarded(value, to_value)
        if size is not None and to_size is not None:
            size_shift, to_size = guarded(size, to_size)
        leaves = [part.detach().requires_grad_() for part in parameters]
        for tile in plan.walk(query, key, scale):
            i, j = tile.rows, tile.columns
            row_end, column_end = (
                part.detach().requires_grad_() for part in (row_terms[i], column_terms[j])
            )
            with torch.enable_grad():
                weights = _checked(ctx.log_weight, row_end, column_end, leaves)
            block = tile.products.add_(weights.detach()).sub_(shift[i, None])
            block.exp_().mul_(to_value[i, None])
            of_query[i].addmm_(block, key[j])
            of_key[j].addmm_(block.T, query[i])
            if not weights.requires_grad:  # constant weights
                continue
            if size is not None and to_size is not None:
                shares = (weights.detach() - size_shift[i, None]).exp_()
                block.addcmul_(shares, to_size[i, None])
            slopes = torch.autograd.grad(
                weights, [row_end, column_end, *leaves], block, allow_unused=True
            )
            for total, slope in zip(
                (of_rows[i], of_columns[j], *of_parameters), slopes, strict=True
            ):
                if slope is not None:
                    total += slope
        to_scale = torch.vdot(of_query.view(-1), query.reshape(-1))
        return (
            of_query.mul_(scale),
            of_key.mul_(scale),
            to_scale,
            of_rows,
            of_columns,
            None,
            None,
            None,
            *of_parameters,
        )
