"""Inner products of listed pairs, without storing the gathered rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from graphcl.kernels.contrast.checks import (
    accumulation_dtype,
    check_finite,
    check_index,
    check_matrix,
    full_precision,
)
from graphcl.kernels.contrast.once import differentiable_once

_PAIRS_AT_A_TIME = 4096


def pair_logits(query: Tensor, key: Tensor | None, rows: Tensor, columns: Tensor) -> Tensor:
    """Inner product <q_rows[p], k_columns[p]> of every listed pair p; no scale.

    Memory is O(P + (M + N) d): the gathered rows are never stored. Differentiable once.

    Args:
        query: (M, d), float16/bfloat16/float32/float64.
        key: (N, d) of the same dtype; None: the query itself.
        rows, columns: (P,) int64 indices into query and key; pairs may repeat.

    Returns:
        (P,), in float64 for float64 input and float32 otherwise.

    Raises:
        ArgumentError: for a wrong shape, dtype, device or index.
        NonFiniteArgumentError: for NaN or infinity in query or key.
    """
    check_matrix("query", query, None)
    if key is not None:
        check_matrix("key", key, query)
    check_finite("query", query)
    if key is not None:
        check_finite("key", key)
    other = query if key is None else key
    check_index("rows", rows, rows.numel(), query.shape[0], query)
    check_index("columns", columns, rows.numel(), other.shape[0], query)
    dtype = accumulation_dtype(query)
    with full_precision(query):
        return pair_products(
            query.to(dtype), None if key is None else key.to(dtype), rows, columns, dense=False
        )


def pair_products(
    query: Tensor, key: Tensor | None, rows: Tensor | None, columns: Tensor, *, dense: bool
) -> Tensor:
    """(P,) products <q_rows, k_columns>; `rows` None: row p, `key` None: `query` itself.

    `dense` writes it in plain autograd, which can be differentiated twice but
    keeps gathered copies.
    """
    if dense:
        gathered = (query if key is None else key).index_select(0, columns)
        return ((query if rows is None else query.index_select(0, rows)) * gathered).sum(dim=1)
    return _PairProducts.apply(query, key, rows, columns)


class _PairProducts(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor | None, rows: Tensor | None, columns: Tensor
    ) -> Tensor:
        ctx.save_for_backward(query, key, rows, columns)
        other = query if key is None else key
        products = query.new_empty(columns.numel())
        for part in _parts(columns.numel()):
            gathered = other.index_select(0, columns[part])
            torch.sum(gathered.mul_(_take(query, rows, part)), dim=1, out=products[part])
        return products

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        query, key, rows, columns = ctx.saved_tensors
        other = query if key is None else key
        to_query = torch.zeros_like(query) if ctx.needs_input_grad[0] else None
        to_key = to_query
        if key is not None:
            to_key = torch.zeros_like(key) if ctx.needs_input_grad[1] else None
        for part in _parts(columns.numel()):
            weight = gradient[part, None]
            if to_query is not None:
                share = other.index_select(0, columns[part]).mul_(weight)
                if rows is None:
                    to_query[part] += share
                else:
                    to_query.index_add_(0, rows[part], share)
            if to_key is not None:
                to_key.index_add_(0, columns[part], _take(query, rows, part) * weight)
        return to_query, (None if key is None else to_key), None, None


def _parts(count: int) -> list[slice]:
    return [slice(at, at + _PAIRS_AT_A_TIME) for at in range(0, count, _PAIRS_AT_A_TIME)]


def _take(query: Tensor, rows: Tensor | None, part: slice) -> Tensor:
    return query[part] if rows is None else query.index_select(0, rows[part])
