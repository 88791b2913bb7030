"""The largest products of every row, over tiles."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast.candidates import check_sides, excluded_pairs
from graphcl.kernels.contrast.checks import accumulation_dtype, check_choice, full_precision
from graphcl.kernels.contrast.exclusion import Exclusion, inverse_order
from graphcl.kernels.contrast.groups import group_order, group_tile
from graphcl.kernels.contrast.pairs import Pairs
from graphcl.kernels.contrast.walk import Plan, fill


class TopCandidates(NamedTuple):
    """The `count` largest products of every row, largest first, and their columns.

    `values` (M, count), -inf where a row has fewer candidates; `indices`
    (M, count) int64, -1 there.
    """

    values: Tensor
    indices: Tensor


@torch.no_grad()
def top_candidates(
    query: Tensor,
    key: Tensor | None = None,
    *,
    count: int,
    row_ids: Tensor | None = None,
    column_ids: Tensor | None = None,
    row_groups: Tensor | None = None,
    column_groups: Tensor | None = None,
    exclude: Pairs | None = None,
    tile: int = 512,
) -> TopCandidates:
    """The `count` candidates of every row with the largest inner product; no gradient.

    Exact and deterministic: of equal products the lower column comes first,
    whatever the tile. Memory O((M + N) d + M count + tile^2).

    Args:
        query, key: as in `contrast`.
        count: how many, at least 1.
        row_ids, column_ids, row_groups, column_groups, exclude: as in `contrast`.
        tile: side of a tile in rows.

    Returns:
        `TopCandidates`; values in float64 for float64 input and float32 otherwise.

    Raises:
        ArgumentError: for a wrong shape, dtype, device, index or count.
        NonFiniteArgumentError: for NaN or infinity in query or key.
    """
    shape = check_sides(query, key)
    check_choice("auto", ("auto",), tile)
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ArgumentError(f"count must be a positive integer; got {count!r}")
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
    query = query.detach().to(accumulation_dtype(query))
    key = query if key is None else key.detach().to(query.dtype)
    order = group_order(excluded)
    tile = group_tile(excluded, tile)
    with full_precision(query):
        if order is None:
            return _search(query, key, count, excluded, tile)
        # Sorting by group is stable, so within a row's group lower columns stay first.
        values, indices = _search(
            query[order.rows],
            key[order.columns],
            count,
            excluded.reordered(order.rows, order.columns),
            tile,
        )
        columns = torch.where(indices >= 0, order.columns[indices.clamp_min(0)], -1)
        back = inverse_order(order.rows)
        return TopCandidates(values[back], columns[back])


def _search(
    query: Tensor, key: Tensor, count: int, excluded: Exclusion, tile: int
) -> TopCandidates:
    shape = (query.shape[0], key.shape[0])
    values = query.new_full((shape[0], count), -torch.inf)
    indices = torch.full((shape[0], count), -1, dtype=torch.int64, device=query.device)
    if 0 in shape:
        return TopCandidates(values, indices)
    tiled = excluded.tiled(tile, shape)
    plan = Plan(shape, tile, False, False, tiled, tiled)
    for block in plan.walk(query, key):
        i, j = block.rows, block.columns
        products = fill(block.products, block.row_excluded, -torch.inf)
        found, at = _largest(products, min(count, products.shape[1]))
        at = torch.where(torch.isneginf(found), -1, at + j.start)
        # Those found before have lower columns and come first among equals.
        joined = torch.cat([values[i], found], dim=1)
        places = torch.cat([indices[i], at], dim=1)
        merged, rank = joined.sort(dim=1, descending=True, stable=True)
        values[i], indices[i] = merged[:, :count], places.gather(1, rank[:, :count])
    return TopCandidates(values, indices)


def _largest(products: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` largest of every row, lower columns first among equals."""
    found, at = products.topk(count, dim=1)
    # topk may pick any of the entries equal to the last one; such rows are sorted whole.
    last = found[:, -1:]
    open_choice = (products == last).sum(dim=1) > (found == last).sum(dim=1)
    open_choice &= ~torch.isneginf(last[:, 0])
    if bool(open_choice.any()):
        ordered, rank = products[open_choice].sort(dim=1, descending=True, stable=True)
        found[open_choice], at[open_choice] = ordered[:, :count], rank[:, :count]
    at, rank = at.sort(dim=1)
    found, rank = found.gather(1, rank).sort(dim=1, descending=True, stable=True)
    return found, at.gather(1, rank)
