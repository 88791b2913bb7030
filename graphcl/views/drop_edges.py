"""Drop edges at random: the same rate for every edge, or a given probability for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch_geometric.transforms import BaseTransform

from graphcl.views.checks import (
    check_edge_index,
    check_fraction,
    check_homogeneous,
    check_vector,
    number_of_nodes,
)
from graphcl.views.draws import uniform, uniform_per_pair
from graphcl.views.edge_attributes import keep_edges

if TYPE_CHECKING:
    from torch_geometric.data import Data


def drop_edges(
    edge_index: Tensor,
    rate: float,
    *,
    num_nodes: int | None = None,
    generator: torch.Generator | None = None,
    keep_undirected: bool = True,
) -> tuple[Tensor, Tensor]:
    """Keep every edge with probability 1 - rate.

    Args:
        edge_index: (2, E) node ids.
        rate: expected share of edges dropped, in [0, 1]; 0 keeps all of them, 1 none.
        num_nodes: ids are checked against it; None checks the sign only.
        generator: source of randomness; None is torch's global one.
        keep_undirected: one draw per unordered node pair, so that both directions (and all
            repetitions) of an edge share their fate and an undirected graph stays undirected.
            On a directed graph the marginal probabilities are the same. False draws
            independently for each listed edge.

    Returns:
        The kept edges (2, E') in their order, and the mask `kept` (E,) bool.

    Raises:
        ArgumentError: rate outside [0, 1] or NaN, malformed edge_index, id out of range.
    """
    check_edge_index(edge_index, num_nodes)
    keep = 1.0 - check_fraction("rate", rate)
    kept = draw_kept_edges(edge_index, keep, generator=generator, keep_undirected=keep_undirected)
    return edge_index[:, kept], kept


def drop_edges_with_probability(
    edge_index: Tensor,
    keep_probability: Tensor,
    *,
    generator: torch.Generator | None = None,
    keep_undirected: bool = True,
) -> tuple[Tensor, Tensor]:
    """Keep edge e with probability `keep_probability[e]`, (E,).

    The per-epoch half of a weighted view: compute the probabilities once, draw every epoch.
    With `keep_undirected` both directions share one draw, and stay together where their
    probabilities are equal. Ids are not checked again here.

    Returns:
        The kept edges (2, E') in their order, and the mask `kept` (E,) bool.

    Raises:
        ArgumentError: `keep_probability` has another shape than (E,).
    """
    check_vector("keep_probability", keep_probability, edge_index.size(1), "edge")
    kept = draw_kept_edges(
        edge_index, keep_probability, generator=generator, keep_undirected=keep_undirected
    )
    return edge_index[:, kept], kept


def draw_kept_edges(
    edge_index: Tensor,
    keep_probability: Tensor | float,
    *,
    generator: torch.Generator | None = None,
    keep_undirected: bool = True,
) -> Tensor:
    """The mask alone, (E,) bool: true with the given probability, a number or (E,)."""
    if keep_undirected:
        draw = uniform_per_pair(edge_index, generator)
    else:
        draw = uniform(edge_index.size(1), generator, edge_index.device)
    return draw < keep_probability


class DropEdges(BaseTransform):
    r"""Drop edges uniformly at random, both directions of an undirected edge together.

    Every edge {u, v} is kept with probability 1 - rate:  m_uv ~ Bernoulli(1 - rate), A'_uv =
    m_uv A_uv with m_uv = m_vu. Rong et al., "DropEdge", ICLR 2020; GRACE (Zhu et al. 2020)
    draws the two directions independently, which is `keep_undirected=False`.

    Shapes: `data.edge_index` (2, E) -> (2, E'); edge-level attributes follow; nodes stay.

    Args:
        rate: expected share of edges dropped, in [0, 1].
        keep_undirected: one draw per unordered pair instead of one per listed edge.
        generator: source of randomness; None is torch's global one.

    Raises:
        ArgumentError: rate outside [0, 1] or NaN; no `edge_index`; node ids out of range.

    Example:
        >>> view = DropEdges(0.3, generator=torch.Generator().manual_seed(0))(data)
    """

    def __init__(
        self,
        rate: float,
        *,
        keep_undirected: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        self.rate = check_fraction("rate", rate)
        self.keep_undirected = keep_undirected
        self.generator = generator

    def forward(self, data: Data) -> Data:
        """The view of `data`; `data` itself is not changed."""
        data = check_homogeneous(data, "edge_index")
        _, kept = drop_edges(
            data.edge_index,
            self.rate,
            num_nodes=number_of_nodes(data),
            generator=self.generator,
            keep_undirected=self.keep_undirected,
        )
        return keep_edges(data, kept)

    def drop_probability(self, data: Data) -> Tensor:
        """With which each listed edge of `data` is dropped, (E,)."""
        return torch.full(data.edge_index.shape[1:], self.rate, device=data.edge_index.device)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.rate})"
