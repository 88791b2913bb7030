"""Inner products of each row with its own list of keys, without storing the gathered keys."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast.checks import full_precision
from graphcl.kernels.contrast.pair_logits import pair_products


def row_products(query: Tensor, key: Tensor, columns: Tensor) -> Tensor:
    r"""Products of every row with the keys it lists.

    .. math::
        p_{il} = \langle q_i, k_{c(i, l)} \rangle

    The (M, L, d) tensor of gathered keys exists only in slices, forward and
    backward; memory is O(M L + (M + N) d). Unlike `contrast.pair_logits`, -1 is
    allowed and only the products are looked at, not the whole table: rows of
    `key` that nobody lists cost nothing and may hold anything.

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
    rows = torch.arange(query.shape[0], device=query.device).repeat_interleave(columns.shape[1])
    listed = columns.reshape(-1)
    present = listed >= 0
    if bool(present.all()):
        with full_precision(query):
            return pair_products(query, key, rows, listed, dense=False).view(columns.shape)
    place = present.nonzero().view(-1)
    with full_precision(query):
        products = pair_products(query, key, rows[place], listed[place], dense=False)
    return products.new_zeros(listed.shape).index_copy(0, place, products).view(columns.shape)


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
