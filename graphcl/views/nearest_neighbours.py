"""Replace edges by a graph of nearest neighbours in feature space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch_geometric.transforms import BaseTransform

from graphcl.errors import ArgumentError
from graphcl.losses.unit_rows import unit_rows
from graphcl.views.checks import check_features, check_homogeneous, check_vector
from graphcl.views.edge_attributes import replace_edges

if TYPE_CHECKING:
    from torch_geometric.data import Data

# Similarities that are held at a time.
_ENTRIES_PER_BLOCK = 1 << 22


def nearest_neighbours(
    x: Tensor, k: int, *, groups: Tensor | None = None, undirected: bool = True
) -> tuple[Tensor, Tensor]:
    """Edges from every node to its k nearest others by cosine similarity, and the similarities.

    Exact, by blocks of rows: O(N^2 F) time, O(N) memory beside the features and the result;
    meant to run once. Only similarities above 0 make an edge, so that a node whose features
    have nothing in common with any other (all zeros) has none. Of equal ones any are taken.

    Args:
        x: (N, F).
        k: at least 1.
        groups: (N,) neighbours are of the same group only; None is one group.
        undirected: keep an edge in both directions when either end is among the other's nearest;
            False gives edges from the neighbour to the node, k or fewer for every node.

    Returns:
        edge_index (2, E), sorted by source then target, without self-loops or repeats, and the
        similarities (E,) in (0, 1], equal in both directions.

    Raises:
        ArgumentError: k below 1, x not a dense matrix of finite numbers, groups not (N,).
    """
    check_features(x)
    _check_k(k)
    nodes = x.size(0)
    if groups is not None:
        check_vector("groups", groups, nodes, "node")
    if not bool(torch.isfinite(x).all()):
        raise ArgumentError("x must be finite to have nearest neighbours, got NaN or infinity")
    unit = unit_rows(x if x.is_floating_point() else x.to(torch.get_default_dtype()))
    every = torch.arange(nodes, device=x.device)
    parts = []
    for rows in every.split(max(1, _ENTRIES_PER_BLOCK // max(1, nodes))):
        similarity = unit[rows] @ unit.T
        similarity[every[: len(rows)], rows] = 0
        if groups is not None:
            similarity.masked_fill_(groups[rows, None] != groups, 0)
        value, nearest = similarity.topk(min(k, nodes), dim=1)
        place, rank = (value > 0).nonzero(as_tuple=True)
        parts.append(nearest[place, rank] * nodes + rows[place])
    code = torch.cat(parts) if parts else every
    if undirected:
        code = torch.cat([code, code % max(1, nodes) * nodes + code // max(1, nodes)])
    code = torch.unique(code)
    edge_index = torch.stack([code // max(1, nodes), code % max(1, nodes)])
    # Pair by pair, so that both directions have the same bits.
    low, high = edge_index.min(dim=0).values, edge_index.max(dim=0).values
    weight = torch.cat(
        [
            (unit[first] * unit[second]).sum(dim=1)
            for first, second in zip(low.split(1 << 16), high.split(1 << 16), strict=True)
        ]
    )
    return edge_index, weight.clamp(min=torch.finfo(weight.dtype).tiny, max=1)


def _check_k(k: int) -> None:
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ArgumentError(f"k must be an integer of at least 1, got {k!r}")


class NearestNeighbours(BaseTransform):
    r"""Replace the edges by those to the nearest nodes in feature space.

    Edges {i, j} where j is among the k nodes of largest cosine(x_i, x_j) > 0, or i among those
    of j; the feature graph of AM-GCN (Wang et al., KDD 2020, arXiv 2007.02265) and SDCN.
    Deterministic. In a batch of graphs neighbours are of the same graph.

    Shapes: `data.x` (N, F) -> `data.edge_index` (2, E); `data.edge_weight` (E,) is set to the
    similarities. Other edge-level attributes do not survive, since the edges are new ones.

    Args:
        k: neighbours of every node.

    Raises:
        ArgumentError: k below 1; no `x`, or not a dense matrix of finite numbers.

    Example:
        >>> view = NearestNeighbours(5)(data)
    """

    def __init__(self, k: int) -> None:
        _check_k(k)
        self.k = k

    def forward(self, data: Data) -> Data:
        """The view of `data`; `data` itself is not changed."""
        data = check_homogeneous(data, "x")
        edge_index, weight = nearest_neighbours(data.x, self.k, groups=getattr(data, "batch", None))
        return replace_edges(data, edge_index, weight)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.k})"
