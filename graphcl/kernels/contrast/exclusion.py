"""Pairs that are left out of a log-sum-exp, found from ids and kept in linear memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

# Above this many pairs per row and column, ids are compared tile by tile
# instead of listing the pairs: a list could grow to M x N when ids repeat.
LISTED_PAIRS_PER_ROW = 16


@dataclass(frozen=True)
class Exclusion:
    """A set of (row, column) pairs: a list, ids that must differ, groups that must agree.

    `rows` and `columns` (P,) list pairs, repeats allowed. `row_ids` (M,) and
    `column_ids` (N,) are set only when listing their matches would take more
    than `LISTED_PAIRS_PER_ROW * (M + N)` entries. `row_groups` (M,) and
    `column_groups` (N,) exclude every pair of different groups.
    """

    rows: Tensor
    columns: Tensor
    row_ids: Tensor | None = None
    column_ids: Tensor | None = None
    row_groups: Tensor | None = None
    column_groups: Tensor | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no pair is excluded (False when in doubt)."""
        return self.rows.numel() == 0 and self.row_ids is None and self.row_groups is None

    def transposed(self) -> Exclusion:
        """The same pairs with rows and columns exchanged."""
        return Exclusion(
            self.columns,
            self.rows,
            self.column_ids,
            self.row_ids,
            self.column_groups,
            self.row_groups,
        )

    def with_pairs(self, rows: Tensor, columns: Tensor) -> Exclusion:
        """This set and more listed pairs."""
        return replace(
            self,
            rows=torch.cat([self.rows, rows]),
            columns=torch.cat([self.columns, columns]),
        )

    def reordered(self, row_order: Tensor, column_order: Tensor) -> Exclusion:
        """The set after row `row_order[i]` has moved to place i, and columns likewise."""

        def moved(ids: Tensor | None, order: Tensor) -> Tensor | None:
            return None if ids is None else ids[order]

        return Exclusion(
            inverse_order(row_order)[self.rows],
            inverse_order(column_order)[self.columns],
            moved(self.row_ids, row_order),
            moved(self.column_ids, column_order),
            moved(self.row_groups, row_order),
            moved(self.column_groups, column_order),
        )

    def contains(self, rows: Tensor, columns: Tensor) -> Tensor:
        """(P,) bool: whether each pair (rows[p], columns[p]) is in the set."""
        found = torch.zeros_like(rows, dtype=torch.bool)
        if rows.numel() == 0:
            return found
        if self.rows.numel():
            width = torch.maximum(self.columns.max(), columns.max()) + 1
            found = torch.isin(rows * width + columns, self.rows * width + self.columns)
        if self.row_ids is not None and self.column_ids is not None:
            found = found | (self.row_ids[rows] == self.column_ids[columns])
        if self.row_groups is not None and self.column_groups is not None:
            found = found | (self.row_groups[rows] != self.column_groups[columns])
        return found

    def same_pairs(self, other: Exclusion) -> bool:
        """Whether `other` is known to hold the same pairs (False when in doubt)."""
        vectors = ("row_ids", "column_ids", "row_groups", "column_groups")
        if not all(_equal(getattr(self, name), getattr(other, name)) for name in vectors):
            return False
        if self.rows.shape != other.rows.shape:
            return False
        if torch.equal(self.rows, other.rows) and torch.equal(self.columns, other.columns):
            return True
        if self.rows.numel() == 0:
            return True
        width = torch.maximum(self.columns.max(), other.columns.max()) + 1
        mine = (self.rows * width + self.columns).sort().values
        theirs = (other.rows * width + other.columns).sort().values
        return torch.equal(mine, theirs)

    def dense(self, shape: tuple[int, int]) -> Tensor:
        """Boolean (M, N) matrix, True where excluded. Only for the dense backend."""
        mask = torch.zeros(shape, dtype=torch.bool, device=self.rows.device)
        if self.row_ids is not None and self.column_ids is not None:
            mask |= self.row_ids[:, None] == self.column_ids[None, :]
        if self.row_groups is not None and self.column_groups is not None:
            mask |= self.row_groups[:, None] != self.column_groups[None, :]
        mask[self.rows, self.columns] = True
        return mask

    def tiled(self, tile: int, shape: tuple[int, int]) -> TiledExclusion:
        """The pairs sorted by the tile they fall in."""
        return TiledExclusion(self, tile, shape)


class TiledExclusion:
    """Answers which entries of one tile are excluded.

    Memory: O(pairs), plus O(tile^2) while a tile is compared by ids or groups.
    """

    def __init__(self, exclusion: Exclusion, tile: int, shape: tuple[int, int]) -> None:
        self._row_ids, self._column_ids = exclusion.row_ids, exclusion.column_ids
        self._row_groups, self._column_groups = exclusion.row_groups, exclusion.column_groups
        self._tile = tile
        self._row_range = _ranges(exclusion.row_groups, tile)
        self._column_range = _ranges(exclusion.column_groups, tile)
        self._flat: dict[tuple[int, int], Tensor] = {}
        rows, columns = exclusion.rows, exclusion.columns
        if rows.numel() == 0:
            return
        tiles_across = -(-shape[1] // tile)
        keys = (rows // tile) * tiles_across + columns // tile
        keys, order = keys.sort()
        rows, columns = rows[order], columns[order]
        width = (shape[1] - (columns // tile) * tile).clamp_max(tile)
        flat = (rows % tile) * width + columns % tile
        present, counts = torch.unique_consecutive(keys, return_counts=True)
        for key, part in zip(present.tolist(), flat.split(counts.tolist()), strict=True):
            self._flat[key // tiles_across * tile, key % tiles_across * tile] = part

    def everything(self, rows: slice, columns: slice) -> bool:
        """Whether groups are known to exclude the whole tile (False when in doubt)."""
        if self._row_groups is None or self._column_groups is None:
            return False
        lowest, highest = self._row_range[rows.start // self._tile]
        first, last = self._column_range[columns.start // self._tile]
        return highest < first or last < lowest

    def inside(self, rows: slice, columns: slice) -> Tensor | None:
        """Flat positions (row-major within the tile) that are excluded, or None."""
        listed = self._flat.get((rows.start, columns.start))
        excluded = None
        if self._row_ids is not None and self._column_ids is not None:
            excluded = self._row_ids[rows, None] == self._column_ids[None, columns]
        if self._row_groups is not None and self._column_groups is not None:
            of_rows = self._row_range[rows.start // self._tile]
            of_columns = self._column_range[columns.start // self._tile]
            one_group = of_rows == of_columns and of_rows[0] == of_rows[1]
            if not one_group:
                foreign = self._row_groups[rows, None] != self._column_groups[None, columns]
                excluded = foreign if excluded is None else excluded | foreign
        if excluded is None:
            return listed
        matched = excluded.view(-1).nonzero().view(-1)
        both = matched if listed is None else torch.cat([matched, listed])
        return both if both.numel() else None


def nothing_excluded(device: torch.device) -> Exclusion:
    """The empty set."""
    empty = torch.empty(0, dtype=torch.long, device=device)
    return Exclusion(empty, empty)


def diagonal(count: int, device: torch.device) -> Exclusion:
    """Every row excludes the column of its own position."""
    position = torch.arange(count, device=device)
    return Exclusion(position, position)


def match_ids(row_ids: Tensor, column_ids: Tensor) -> Exclusion:
    """Every pair with `row_ids[i] == column_ids[j]`.

    One sort and two binary searches: O((M + N) log N + pairs) time and
    O(M + N + pairs) memory; ids may repeat on both sides. When the pairs
    outnumber `LISTED_PAIRS_PER_ROW * (M + N)` the ids themselves are kept.
    """
    ordered, order = column_ids.sort()
    # A column of a matrix of labels, say; torch warns of the copy it would make itself.
    row_ids = row_ids.contiguous()
    first = torch.searchsorted(ordered, row_ids)
    counts = torch.searchsorted(ordered, row_ids, right=True) - first
    total = int(counts.sum())
    nothing = nothing_excluded(row_ids.device)
    if total > LISTED_PAIRS_PER_ROW * (row_ids.numel() + column_ids.numel()):
        return Exclusion(nothing.rows, nothing.columns, row_ids, column_ids)
    if total == 0:
        return nothing
    rows = torch.repeat_interleave(counts)
    # Position of each pair within the run of its row, then within `order`.
    within = torch.arange(total, device=rows.device) - (counts.cumsum(0) - counts)[rows]
    return Exclusion(rows, order[first[rows] + within])


def within_groups(excluded: Exclusion, row_groups: Tensor, column_groups: Tensor) -> Exclusion:
    """The set and every pair of different groups."""
    return replace(excluded, row_groups=row_groups, column_groups=column_groups)


def inverse_order(order: Tensor) -> Tensor:
    """The place to which each element moves: `order[inverse_order(order)]` counts 0, 1, ..."""
    place = torch.empty_like(order)
    place[order] = torch.arange(order.numel(), device=order.device)
    return place


def _ranges(groups: Tensor | None, tile: int) -> list[tuple[int, int]]:
    """Lowest and highest group of every block of `tile` rows."""
    if groups is None or groups.numel() == 0:
        return []
    tile = min(tile, groups.numel())
    padding = -groups.numel() % tile
    padded = torch.cat([groups, groups[-1:].expand(padding)]).view(-1, tile)
    lowest, highest = padded.aminmax(dim=1)
    return list(zip(lowest.tolist(), highest.tolist(), strict=True))


def _equal(left: Tensor | None, right: Tensor | None) -> bool:
    return left is right or (left is not None and right is not None and torch.equal(left, right))
