"""Drop nodes at random: they stay in place, and all their edges go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch_geometric.transforms import BaseTransform

from graphcl.views.checks import (
    check_edge_index,
    check_fraction,
    check_homogeneous,
    number_of_nodes,
)
from graphcl.views.draws import uniform
from graphcl.views.edge_attributes import keep_edges

if TYPE_CHECKING:
    from torch_geometric.data import Data


def drop_nodes(
    edge_index: Tensor,
    rate: float,
    *,
    num_nodes: int,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Keep every node with probability 1 - rate, and the edges between nodes that are kept.

    Args:
        edge_index: (2, E) node ids in [0, num_nodes).
        rate: expected share of nodes dropped, in [0, 1]; 0 keeps all of them, 1 none.
        num_nodes: N.
        generator: source of randomness; None is torch's global one.

    Returns:
        The edges (2, E') between kept nodes in their order, and the mask `kept` (N,) bool.

    Raises:
        ArgumentError: rate outside [0, 1] or NaN, malformed edge_index, id out of range.
    """
    check_edge_index(edge_index, num_nodes)
    rate = check_fraction("rate", rate)
    kept = uniform(num_nodes, generator, edge_index.device) >= rate
    return edge_index[:, between_kept(edge_index, kept)], kept


def between_kept(edge_index: Tensor, kept: Tensor) -> Tensor:
    """The mask (E,) of edges whose ends are both in `kept` (N,)."""
    return kept[edge_index[0].long()] & kept[edge_index[1].long()]


class DropNodes(BaseTransform):
    r"""Drop nodes uniformly at random, with all their edges.

    GraphCL, You et al., NeurIPS 2020 (arXiv 2010.13902). A node that is dropped stays in its
    place, alone and with its features, so that node i of two views is the same node; a model
    that pools over nodes tells it by having no edge.

    Shapes: `data.edge_index` (2, E) -> (2, E'); edge-level attributes follow; nodes stay.

    Args:
        rate: expected share of nodes dropped, in [0, 1].
        generator: source of randomness; None is torch's global one.

    Raises:
        ArgumentError: rate outside [0, 1] or NaN; no `edge_index`; node ids out of range.

    Example:
        >>> view = DropNodes(0.2, generator=torch.Generator().manual_seed(0))(data)
    """

    def __init__(self, rate: float, *, generator: torch.Generator | None = None) -> None:
        self.rate = check_fraction("rate", rate)
        self.generator = generator

    def forward(self, data: Data) -> Data:
        """The view of `data`; `data` itself is not changed."""
        data = check_homogeneous(data, "edge_index")
        _, kept = drop_nodes(
            data.edge_index, self.rate, num_nodes=number_of_nodes(data), generator=self.generator
        )
        return keep_edges(data, between_kept(data.edge_index, kept))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.rate})"
