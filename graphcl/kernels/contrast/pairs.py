"""Inner products of listed pairs, without storing the gathered rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from graphcl.kernels.contrast.once import differentiable_once

_ROWS_AT_A_TIME = 4096


def pair_products(query: Tensor, key: Tensor | None, index: Tensor, *, dense: bool) -> Tensor:
    """(M,) products <q_i, k_index_i>; `key` None means `query` itself.

    `dense` writes it in plain autograd, which can be differentiated twice but
    keeps a gathered copy of the keys.
    """
    if dense:
        return (query * (query if key is None else key).index_select(0, index)).sum(dim=1)
    return _PairProducts.apply(query, key, index)


class _PairProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor | None, index: Tensor) -> Tensor:
        ctx.save_for_backward(query, key, index)
        other = query if key is None else key
        products = query.new_empty(query.shape[0])
        for start in range(0, query.shape[0], _ROWS_AT_A_TIME):
            rows = slice(start, start + _ROWS_AT_A_TIME)
            gathered = other.index_select(0, index[rows])
            torch.sum(gathered.mul_(query[rows]), dim=1, out=products[rows])
        return products

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        query, key, index = ctx.saved_tensors
        other = query if key is None else key
        to_query = torch.zeros_like(query) if ctx.needs_input_grad[0] else None
        to_key = to_query
        if key is not None:
            to_key = torch.zeros_like(key) if ctx.needs_input_grad[1] else None
        for start in range(0, query.shape[0], _ROWS_AT_A_TIME):
            rows = slice(start, start + _ROWS_AT_A_TIME)
            weight = gradient[rows, None]
            if to_query is not None:
                to_query[rows] += other.index_select(0, index[rows]).mul_(weight)
            if to_key is not None:
                to_key.index_add_(0, index[rows], query[rows] * weight)
        return to_query, (None if key is None else to_key), None
