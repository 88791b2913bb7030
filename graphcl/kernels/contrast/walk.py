"""Walks the tiles of the product matrix, one reused buffer at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from graphcl.kernels.contrast.exclusion import TiledExclusion
from graphcl.kernels.contrast.problem import BlockWeight


@dataclass(frozen=True)
class Tile:
    """One block of scaled products and what is excluded in it.

    `products` (h, w) is scale <q_i, k_j>, plus the block weight where the plan has
    one, for i in `rows`, j in `columns`; it is scratch that the visitor may
    overwrite. `row_excluded` and `column_excluded` hold flat positions left out of
    the row and of the column sums.
    `serves_columns` says whether the tile also feeds the column sums.
    """

    rows: slice
    columns: slice
    products: Tensor
    row_excluded: Tensor | None
    column_excluded: Tensor | None
    serves_columns: bool


@dataclass(frozen=True)
class Plan:
    """The shape of a pass over the tiles, the same forward and backward.

    With `self_similar`, s is symmetric: only tiles on and above the diagonal
    are computed and the column sums of a tile belong to the row sums of its
    mirror image, so the accumulators of rows and columns are the same tensor.
    Tiles that hold no candidate because their groups differ are left out. A block
    weight belongs to plans that serve rows only.
    """

    shape: tuple[int, int]
    tile: int
    self_similar: bool
    columns: bool
    row_excluded: TiledExclusion
    column_excluded: TiledExclusion
    block_weight: BlockWeight | None = None

    @property
    def two_sided(self) -> bool:
        """Whether each tile serves its rows and its columns."""
        return self.columns or self.self_similar

    def scratch(self, like: Tensor) -> Tensor:
        """Uninitialised room for one tile."""
        rows, columns = (min(self.tile, length) for length in self.shape)
        return torch.empty(rows * columns, dtype=like.dtype, device=like.device)

    def walk(self, query: Tensor, key: Tensor, scale: Tensor | None = None) -> Iterator[Tile]:
        """Every tile that can hold a candidate; `Tile.products` is overwritten by the next step."""
        buffer = self.scratch(key)
        shared = self.row_excluded is self.column_excluded
        for rows in _blocks(0, self.shape[0], self.tile):
            start = rows.start if self.self_similar else 0
            # Scaled strip by strip: a scaled copy of all rows would be another (M, d).
            strip = query[rows] if scale is None else query[rows] * scale
            for columns in _blocks(start, self.shape[1], self.tile):
                if self._is_empty(rows, columns, shared):
                    continue
                products = tile_view(buffer, rows, columns)
                torch.mm(strip, key[columns].T, out=products)
                if self.block_weight is not None:
                    products += self.block_weight(rows, columns)
                on_diagonal = self.self_similar and rows.start == columns.start
                serves_columns = self.two_sided and not on_diagonal
                row_excluded = self.row_excluded.inside(rows, columns)
                column_excluded = row_excluded
                if self.two_sided and not shared:
                    column_excluded = self.column_excluded.inside(rows, columns)
                yield Tile(rows, columns, products, row_excluded, column_excluded, serves_columns)

    def _is_empty(self, rows: slice, columns: slice, shared: bool) -> bool:
        if not self.row_excluded.everything(rows, columns):
            return False
        return shared or not self.two_sided or self.column_excluded.everything(rows, columns)


def tile_view(buffer: Tensor, rows: slice, columns: slice) -> Tensor:
    """The buffer seen as a contiguous matrix of the size of one tile."""
    height, width = rows.stop - rows.start, columns.stop - columns.start
    return buffer[: height * width].view(height, width)


def fill(block: Tensor, positions: Tensor | None, value: float) -> Tensor:
    """Overwrite flat positions of a contiguous block, in place."""
    if positions is not None:
        block.view(-1).index_fill_(0, positions, value)
    return block


def _blocks(start: int, stop: int, size: int) -> Iterator[slice]:
    for first in range(start, stop, size):
        yield slice(first, min(first + size, stop))
