"""Tables of similar items, and draws from them."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast import top_candidates
from recsys.views.checks import (
    check_count,
    check_fits,
    check_floats,
    check_histories,
    check_integers,
    check_range,
    check_tensor,
)
from recsys.views.places import whole_below

TILE = 1024
"""Rows compared at once: twice as fast as half as many on a CPU."""


def nearest_rows(
    embedding: Tensor,
    count: int,
    *,
    groups: Tensor | None = None,
    pool: Tensor | None = None,
) -> Tensor:
    """The rows most similar to each row by cosine.

    Exact; memory O(M d + M count), time O(M P d) with P rows in the pool.

    Args:
        embedding: floating (M, d); a row of zeros, of which nothing is known, neither has
            neighbours nor is one.
        count: neighbours wanted of each row, at least 1.
        groups: integers (M,): rows of the same group are no neighbours (subsequences of one
            user, which may hold the target). By default only the row itself is none.
        pool: int64 (P,), the only rows that may be neighbours, each once; None for all.

    Returns:
        int64 (M, count), most similar first, -1 where there are fewer.

    Raises:
        ArgumentError: a shape, dtype or number is out of range.
        NonFiniteArgumentError: `embedding` holds NaN or infinity.
    """
    count = check_count("count", count)
    check_floats("embedding", embedding, "(M, d)", 2)
    for name, given in (("groups", groups), ("pool", pool)):
        if given is not None:
            check_integers(name, given)
            if given.dim() != 1:
                raise ArgumentError(f"{name} must be of one dimension (got {tuple(given.shape)})")
    if groups is not None and len(groups) != len(embedding):
        raise ArgumentError(f"groups must be ({len(embedding)},), one a row (got {len(groups)})")
    if pool is not None:
        check_range("pool", pool.cpu(), 0, len(embedding) - 1)
        pool = pool.long().unique()
    known = (embedding != 0).any(1)
    numbers = torch.arange(len(embedding), device=embedding.device)
    ids = numbers if groups is None else groups.long()
    rows = numbers[known]
    columns = rows if pool is None else pool[known[pool]]
    unit = torch.nn.functional.normalize(embedding.float(), dim=1)
    found = top_candidates(
        unit[rows],
        unit[columns],
        count=count,
        row_ids=ids[rows],
        column_ids=ids[columns],
        tile=TILE,
    ).indices
    nearest = torch.full((len(embedding), count), -1, device=embedding.device)
    nearest[rows] = columns[found.clamp(min=0)].where(found >= 0, -1) if len(columns) else found
    return nearest


def co_occurring_items(items: Tensor, offsets: Tensor, num_items: int, count: int) -> Tensor:
    r"""The items most similar to each item by who took them.

    .. math::
        s_{ij} = \frac{1}{\sqrt{n_i n_j}} \sum_{u \ni i, j} \frac{1}{\log(1 + |u|)}

    over the users u who took both, n being the number of users of an item: item-to-item
    collaborative filtering with a penalty for active users, the similarity of CoSeRec (Liu et
    al. 2021, arXiv 2108.06479). Repetitions count once.

    Args:
        items, offsets: histories as flat integers (N,) and ascending int64 (users + 1,).
        num_items: items are 0 .. num_items - 1.
        count: neighbours wanted of each item, at least 1.

    Returns:
        int64 (num_items, count), most similar first, lower numbers first among equals, -1 where
        there are fewer.

    Raises:
        ArgumentError: a shape, dtype or number is out of range.
    """
    import numpy as np
    from scipy import sparse

    count, num_items = check_count("count", count), check_count("num_items", num_items)
    check_histories(items, offsets)
    flat = items.cpu().numpy()
    if len(flat) and (flat.min() < 0 or flat.max() >= num_items):
        raise ArgumentError(
            f"items must lie in 0..{num_items - 1} (got {flat.min()}..{flat.max()})"
        )
    shape = (len(offsets) - 1, num_items)
    # A copy: repetitions are summed in place, and the memory is that of the caller's histories.
    taken = sparse.csr_matrix(
        (np.ones(len(flat)), flat, offsets.cpu().numpy()), shape=shape, copy=True
    )
    taken.sum_duplicates()
    taken.data[:] = 1.0
    size = np.diff(taken.indptr)
    weight = 1 / np.log1p(np.maximum(size, 1))
    popular = np.maximum(np.bincount(taken.indices, minlength=num_items), 1) ** -0.5
    scaled = taken @ sparse.diags(popular)
    similar = sparse.csr_matrix(scaled.T @ sparse.diags(weight) @ scaled)
    similar.setdiag(0)
    similar.eliminate_zeros()
    rows = np.repeat(np.arange(num_items), np.diff(similar.indptr))
    # One sort for all rows: by row, then falling similarity, then number.
    order = np.lexsort((similar.indices, -similar.data, rows))
    rank = np.arange(len(rows)) - similar.indptr[rows]
    best = rank < count
    table = np.full((num_items, count), -1, dtype=np.int64)
    table[rows[best], rank[best]] = similar.indices[order][best]
    return torch.from_numpy(table).to(items.device)


class NeighbourTable:
    """Uniform draws of a similar item, in O(1) each.

    Args:
        neighbours: integers (num_items, K): the similar items of each item, in any order, -1
            (or any negative number) where there are fewer than K.

    Raises:
        ArgumentError: not such a table.
    """

    def __init__(self, neighbours: Tensor) -> None:
        check_tensor("neighbours", neighbours)
        if (
            neighbours.dim() != 2
            or neighbours.is_floating_point()
            or neighbours.dtype == torch.bool
            or 0 in neighbours.shape
        ):
            raise ArgumentError(
                "neighbours must be integers (num_items, K) with K >= 1 "
                f"(got {neighbours.dtype} of shape {tuple(neighbours.shape)})"
            )
        table = neighbours.long()
        self.highest = int(table.max())
        """The largest item that a draw may give."""
        if self.highest >= len(table):
            raise ArgumentError(
                f"neighbours must be below the number of items, {len(table)} (got {self.highest})"
            )
        known = table >= 0
        # Real neighbours first, in their order, so that a draw is one number below their count.
        order = (~known).to(torch.int8).argsort(dim=1, stable=True)
        self.table = table.gather(1, order)
        self.counts = known.sum(1)

    def draw(self, items: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """A similar item of each, and bool: whether there is one (else the item itself).

        Numbers outside the table (mask tokens, padding) have none.
        """
        if items.device != self.table.device:
            raise ArgumentError(
                f"items must be on the table's device {self.table.device}, got {items.device}; "
                "move one of them with .to"
            )
        listed = (items >= 0) & (items < len(self.table))
        number = items.long().where(listed, torch.zeros_like(items, dtype=torch.long))
        check_fits("neighbours", max(self.highest, 0), items)
        counts = self.counts[number] * listed
        rank = whole_below(counts.clamp(min=1), generator)
        has = counts > 0
        return self.table[number, rank].to(items.dtype).where(has, items), has

    def to(self, device: torch.device | str) -> NeighbourTable:
        """The same table on `device`."""
        return NeighbourTable(self.table.to(device))
