"""Brings the rows and columns of one group together, so that whole tiles can be left out.

When only columns of the row's own group are candidates, M x N pairs are asked
for but few are candidates. Sorted by group these lie along the diagonal of the
matrix, and the tiles beside it are never computed: the work falls from M N to
about the sum of the products of the group sizes, in O((M + N) d) memory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from graphcl.kernels.contrast.exclusion import Exclusion, inverse_order
from graphcl.kernels.contrast.problem import Problem

# Below this side the overhead of a tile outweighs its arithmetic.
_SMALLEST_TILE = 64


@dataclass(frozen=True)
class GroupOrder:
    """Places by group: row `rows[i]` and column `columns[j]` move to places i and j."""

    rows: Tensor
    columns: Tensor

    def restore_rows(self, values: Tensor) -> Tensor:
        """(M, ...) values of the sorted rows, back in the caller's order."""
        return values[inverse_order(self.rows)]

    def restore_columns(self, values: Tensor) -> Tensor:
        """(N, ...) values of the sorted columns, back in the caller's order."""
        return values[inverse_order(self.columns)]


def group_order(excluded: Exclusion) -> GroupOrder | None:
    """The order that sorts both sides by group; None without groups or if they are sorted."""
    row_groups, column_groups = excluded.row_groups, excluded.column_groups
    if row_groups is None or column_groups is None:
        return None
    if all(bool((ids[1:] >= ids[:-1]).all()) for ids in (row_groups, column_groups)):
        return None
    return GroupOrder(row_groups.argsort(stable=True), column_groups.argsort(stable=True))


def group_tile(excluded: Exclusion, tile: int) -> int:
    """A smaller tile where most rows are in groups much smaller than the tile.

    A tile far larger than a group holds mostly excluded pairs. The size is that of the
    group of an average row, so that one large group among many small ones decides.
    """
    if excluded.row_groups is None or excluded.row_groups.numel() == 0:
        return tile
    sizes = excluded.row_groups.unique(return_counts=True)[1].double()
    usual = int(sizes.square().sum() / sizes.sum())
    return min(tile, max(_SMALLEST_TILE, 2 * usual))


def reordered(problem: Problem, order: GroupOrder) -> Problem:
    """The problem with its rows and columns moved; a block weight cannot be."""
    same = problem.key is None and bool((order.rows == order.columns).all())
    key = problem.query if problem.key is None and not same else problem.key
    return replace(
        problem,
        query=problem.query[order.rows],
        key=None if key is None else key[order.columns],
        query_bias=None if problem.query_bias is None else problem.query_bias[order.rows],
        key_bias=None if problem.key_bias is None else problem.key_bias[order.columns],
        row_excluded=problem.row_excluded.reordered(order.rows, order.columns),
        column_excluded=problem.column_excluded.reordered(order.rows, order.columns),
    )
