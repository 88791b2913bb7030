"""Which users or items are alike by a feature: exact nearest neighbours by cosine."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.sparse_matrix import SparseMatrix
from graphcl.losses.unit_rows import unit_rows
from recsys.data.features import Feature, Labels

CELLS = 1 << 24
"""Largest number of cosines held at once."""


def feature_neighbours(feature: Feature, count: int, *, itself: bool) -> SparseMatrix:
    """The `count` nearest neighbours of each row by the cosine of a feature, as a graph.

    Args:
        feature: numbers, or labels taken as vectors of ones.
        count: neighbours kept, itself included where asked; at least 1.
        itself: whether a row is its own first neighbour or none.

    Returns:
        (n, n) with ones; row r holds the neighbours of r. A row of which nothing is known (zeros,
        no labels) is nobody's neighbour but its own, and has no other. Of equal cosines any may
        be kept.

    Raises:
        ArgumentError: `count` is below 1.
    """
    if count < 1:
        raise ArgumentError(f"count must be at least 1 (got {count})")
    size = len(feature)
    known, cosines = _cosines(feature)
    width = min(count, size)
    step = max(1, CELLS // max(1, size))
    rows, columns = [], []
    for start in range(0, size, step):
        block = cosines(start, min(start + step, size))
        place = torch.arange(len(block), device=block.device)
        block[:, ~known] = -torch.inf
        block[~known[start : start + step]] = -torch.inf
        block[place, start + place] = torch.inf if itself else -torch.inf
        best = block.topk(width, dim=1)
        kept = best.values > -torch.inf
        rows.append((start + place)[:, None].expand_as(kept)[kept])
        columns.append(best.indices[kept])
    edges = torch.stack([torch.cat(rows), torch.cat(columns)]) if rows else torch.zeros(2, 0).long()
    return SparseMatrix.from_edge_index(edges, shape=size)


def _cosines(feature: Feature) -> tuple[Tensor, Callable[[int, int], Tensor]]:
    """Which rows are known, and a function that gives the cosines of some rows with all."""
    if not isinstance(feature, Labels):
        unit = unit_rows(feature.values)
        return unit.abs().sum(1) > 0, lambda start, stop: unit[start:stop] @ unit.T
    device = feature.labels.device
    length = feature.offsets.diff().clamp(min=1).rsqrt().float()
    matrix = feature.matrix()
    scaled = matrix.with_value(matrix.value * length[matrix.row]).to_scipy()

    def product(start: int, stop: int) -> Tensor:
        return torch.from_numpy((scaled[start:stop] @ scaled.T).toarray()).to(device)

    return feature.offsets.diff() > 0, product
