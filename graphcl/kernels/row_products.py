"""Inner products of each row with its own list of keys, without storing the gathered keys."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast.once import differentiable_once

ENTRIES_AT_A_TIME = 1 << 20
"""Gathered numbers held at a time: 4 MB in float32."""


def row_products(query: Tensor, key: Tensor, columns: Tensor) -> Tensor:
    r"""Products of every row with the keys it lists.

    .. math::
        p_{il} = \langle q_i, k_{c(i, l)} \rangle

    The (M, L, d) tensor of gathered keys exists only in slices, forward and
    backward; memory is O(M L + (M + N) d).

    Args:
        query: (M, d) floating.
        key: (N, d), same dtype and device.
        columns: (M, L) int64 row of `key`, -1 for none (product 0, no gradient).

    Returns:
        (M, L), in float64 for float64 input and float32 otherwise. Can be differentiated once.

    Raises:
        ArgumentError: for a wrong shape, dtype or index.
    """
    if query.dim() != 2 or key.dim() != 2 or query.shape[1] != key.shape[1]:
        raise ArgumentError(
            "query and key must be (M, d) and (N, d); got "
            f"{tuple(query.shape)} and {tuple(key.shape)}"
        )
    check_columns("columns", columns, query.shape[0], key.shape[0])
    if query.dtype != torch.float64:
        query, key = query.float(), key.float()
    products: Tensor = _RowProducts.apply(query, key, columns)
    return products


def check_columns(name: str, columns: Tensor, rows: int, keys: int) -> None:
    """Raise unless (rows, L) int64 indices in -1 .. keys - 1."""
    if columns.dim() != 2 or columns.shape[0] != rows or columns.dtype != torch.int64:
        raise ArgumentError(
            f"{name} must be ({rows}, L) of torch.int64; "
            f"got {tuple(columns.shape)} of {columns.dtype}"
        )
    check_index(name, columns, keys)


def check_index(name: str, index: Tensor, size: int) -> None:
    """Raise unless every entry lies in -1 .. size - 1."""
    if index.numel() == 0:
        return
    low, high = (int(bound) for bound in index.aminmax())
    if low < -1 or high >= size:
        raise ArgumentError(f"{name} must lie in -1 .. {size - 1}; got values in {low} .. {high}")


class _RowProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, columns: Tensor) -> Tensor:
        ctx.save_for_backward(query, key, columns)
        products = query.new_zeros(columns.shape)
        for rows in _slices(query, columns):
            products[rows] = (_gathered(key, columns[rows]) @ query[rows, :, None]).squeeze(2)
        return products

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        query, key, columns = ctx.saved_tensors
        to_query = torch.zeros_like(query) if ctx.needs_input_grad[0] else None
        to_key = torch.zeros_like(key) if ctx.needs_input_grad[1] else None
        for rows in _slices(query, columns):
            listed = columns[rows]
            weight = gradient[rows].masked_fill(listed < 0, 0.0)
            if to_query is not None:
                to_query[rows] = (weight[:, None] @ _gathered(key, listed)).squeeze(1)
            if to_key is not None:
                parts = weight[:, :, None] * query[rows, None]
                to_key.index_add_(0, listed.clamp_min(0).view(-1), parts.flatten(0, 1))
        return to_query, to_key, None


def _slices(query: Tensor, columns: Tensor) -> list[slice]:
    if columns.numel() == 0:
        return []
    step = max(1, ENTRIES_AT_A_TIME // max(columns.shape[1] * query.shape[1], 1))
    return [slice(start, start + step) for start in range(0, query.shape[0], step)]


def _gathered(key: Tensor, columns: Tensor) -> Tensor:
    rows = key.index_select(0, columns.clamp_min(0).reshape(-1))
    rows = rows.view(*columns.shape, key.shape[1])
    return rows.masked_fill((columns < 0)[:, :, None], 0.0)
