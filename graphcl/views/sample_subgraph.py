"""Keep the part of a graph that random walks reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch_geometric.transforms import BaseTransform

from graphcl.errors import ArgumentError
from graphcl.kernels.sparse_matrix import SparseMatrix
from graphcl.views.checks import (
    check_edge_index,
    check_fraction,
    check_homogeneous,
    number_of_nodes,
)
from graphcl.views.drop_nodes import between_kept
from graphcl.views.edge_attributes import keep_edges

if TYPE_CHECKING:
    from torch_geometric.data import Data

# Every round begins its walks at nodes not reached yet, so that few are left after this many.
_ROUNDS = 8


def sample_subgraph(
    edge_index: Tensor,
    rate: float,
    *,
    num_nodes: int,
    walk_length: int = 16,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Keep the nodes that random walks reach first, a share of 1 - rate, and the edges between.

    As many walks as could reach the nodes that are missing, if none met another, start together
    at random nodes not reached yet and go `walk_length` steps along the edges; then as many as
    could reach those still missing, and so on. A walk ends at a node without outgoing edges.
    What eight rounds do not reach (many isolated nodes) is filled up at random.

    Args:
        edge_index: (2, E) node ids in [0, num_nodes).
        rate: share of nodes left out, in [0, 1], rounded to whole nodes.
        num_nodes: N.
        walk_length: steps of a walk, at least 1.
        generator: source of randomness; None is torch's global one.

    Returns:
        The edges (2, E') between kept nodes in their order, and the mask `kept` (N,) bool.

    Raises:
        ArgumentError: rate outside [0, 1] or NaN, walk_length below 1, malformed edge_index, id
            out of range.
    """
    check_edge_index(edge_index, num_nodes)
    rate = check_fraction("rate", rate)
    _check_length(walk_length)
    wanted = round(num_nodes * (1 - rate))
    kept = _first_reached(edge_index, num_nodes, wanted, walk_length, generator)
    return edge_index[:, between_kept(edge_index, kept)], kept


def _first_reached(
    edge_index: Tensor,
    num_nodes: int,
    wanted: int,
    walk_length: int,
    generator: torch.Generator | None,
) -> Tensor:
    """The mask (N,) of the `wanted` nodes that are reached first; ties are broken at random."""
    device = edge_index.device if generator is None else generator.device
    graph = SparseMatrix.from_edge_index(edge_index.to(device), shape=num_nodes)
    degree = graph.row_pointer[1:] - graph.row_pointer[:-1]
    order = torch.randperm(num_nodes, generator=generator, device=device)
    never = _ROUNDS * (walk_length + 1)
    reached_at = torch.full((num_nodes,), never, device=device)
    for turn in range(_ROUNDS):
        free = order[reached_at[order] == never]
        missing = wanted - (num_nodes - len(free))
        if missing <= 0:
            break
        walkers = free[: -(-missing // (walk_length + 1))]
        for step in range(walk_length + 1):
            time = torch.full_like(walkers, turn * (walk_length + 1) + step)
            reached_at.scatter_reduce_(0, walkers, time, reduce="amin")
            walkers = walkers[degree[walkers] > 0]
            draw = torch.rand(len(walkers), generator=generator, device=device)
            # The product can round up to the degree itself.
            chosen = (draw * degree[walkers]).long().minimum(degree[walkers] - 1)
            walkers = graph.column[graph.row_pointer[walkers] + chosen]
    first = order[reached_at[order].argsort(stable=True)[:wanted]]
    kept = torch.zeros(num_nodes, dtype=torch.bool, device=device)
    kept[first] = True
    return kept.to(edge_index.device)


def _check_length(walk_length: int) -> None:
    if isinstance(walk_length, bool) or not isinstance(walk_length, int) or walk_length < 1:
        raise ArgumentError(f"walk_length must be an integer of at least 1, got {walk_length!r}")


class SampleSubgraph(BaseTransform):
    r"""Keep the subgraph that random walks reach, and isolate all other nodes.

    GraphCL, You et al., NeurIPS 2020 (arXiv 2010.13902), "subgraph"; walks as in GraphSAINT,
    Zeng et al., ICLR 2020. Nodes that are left out stay in their place, alone and with their
    features, so that node i of two views is the same node.

    Shapes: `data.edge_index` (2, E) -> (2, E'); edge-level attributes follow; nodes stay.

    Args:
        rate: share of nodes left out, in [0, 1].
        walk_length: steps of a walk; long ones keep few large pieces, short ones many small.
        generator: source of randomness; None is torch's global one.

    Raises:
        ArgumentError: rate outside [0, 1] or NaN; walk_length below 1; no `edge_index`; node ids
            out of range.

    Example:
        >>> view = SampleSubgraph(0.2, generator=torch.Generator().manual_seed(0))(data)
    """

    def __init__(
        self,
        rate: float,
        *,
        walk_length: int = 16,
        generator: torch.Generator | None = None,
    ) -> None:
        self.rate = check_fraction("rate", rate)
        _check_length(walk_length)
        self.walk_length = walk_length
        self.generator = generator

    def forward(self, data: Data) -> Data:
        """The view of `data`; `data` itself is not changed."""
        data = check_homogeneous(data, "edge_index")
        _, kept = sample_subgraph(
            data.edge_index,
            self.rate,
            num_nodes=number_of_nodes(data),
            walk_length=self.walk_length,
            generator=self.generator,
        )
        return keep_edges(data, between_kept(data.edge_index, kept))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.rate})"
