"""Pairs that are left out of a log-sum-exp, found from ids and kept in linear memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Above this many pairs per row and column, ids are compared tile by tile
# instead of listing the pairs: a list could grow to M x N when ids repeat.
LISTED_PAIRS_PER_ROW = 16


@dataclass(frozen=True)
class Exclusion:
    """A set of (row, column) pairs: a list, plus ids whose equality excludes.

    `rows` and `columns` (P,) list pairs, repeats allowed. `row_ids` (M,) and
    `column_ids` (N,) are set only when listing their matches would take more
    than `LISTED_PAIRS_PER_ROW * (M + N)` entries.
    """

    rows: Tensor
    columns: Tensor
    row_ids: Tensor | None = None
    column_ids: Tensor | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no pair is excluded."""
        return self.rows.numel() == 0 and self.row_ids is None

    def transposed(self) -> Exclusion:
        """The same pairs with rows and columns exchanged."""
        return Exclusion(self.columns, self.rows, self.column_ids, self.row_ids)

    def with_pairs(self, rows: Tensor, columns: Tensor) -> Exclusion:
        """This set and more listed pairs."""
        return Exclusion(
            torch.cat([self.rows, rows]),
            torch.cat([self.columns, columns]),
            self.row_ids,
            self.column_ids,
        )

    def same_pairs(self, other: Exclusion) -> bool:
        """Whether `other` is known to hold the same pairs (False when in doubt)."""
        if (self.row_ids is None) != (other.row_ids is None):
            return False
        if self.row_ids is not None and not (
            _equal(self.row_ids, other.row_ids) and _equal(self.column_ids, other.column_ids)
        ):
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
        mask[self.rows, self.columns] = True
        return mask

    def tiled(self, tile: int, shape: tuple[int, int]) -> TiledExclusion:
        """The pairs sorted by the tile they fall in."""
        return TiledExclusion(self, tile, shape)


class TiledExclusion:
    """Answers which entries of one tile are excluded.

    Memory: O(pairs), plus O(tile^2) while a tile is compared by ids.
    """

    def __init__(self, exclusion: Exclusion, tile: int, shape: tuple[int, int]) -> None:
        self._row_ids, self._column_ids = exclusion.row_ids, exclusion.column_ids
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

    def inside(self, rows: slice, columns: slice) -> Tensor | None:
        """Flat positions (row-major within the tile) that are excluded, or None."""
        listed = self._flat.get((rows.start, columns.start))
        if self._row_ids is None or self._column_ids is None:
            return listed
        equal = self._row_ids[rows, None] == self._column_ids[None, columns]
        matched = equal.view(-1).nonzero().view(-1)
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


def _equal(left: Tensor | None, right: Tensor | None) -> bool:
    return left is right or (left is not None and right is not None and torch.equal(left, right))
