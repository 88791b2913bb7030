"""Drop edges between and inside weak communities first (community-aware edge dropping)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch_geometric.transforms import BaseTransform

from graphcl.views.add_communities import node_communities
from graphcl.views.checks import (
    check_edge_index,
    check_fraction,
    check_homogeneous,
    check_vector,
)
from graphcl.views.drop_edges import drop_edges_with_probability
from graphcl.views.edge_attributes import keep_edges

if TYPE_CHECKING:
    from torch_geometric.data import Data


def community_keep_probability(
    edge_index: Tensor,
    labels: Tensor,
    node_strength: Tensor,
    rate: float,
    threshold: float = 1.0,
) -> Tensor:
    """Probability of keeping each edge (CED of CSGCL, Chen et al., IJCAI 2023).

        w_uv = S_c            if c(u) = c(v) = c,     -(S_c(u) + S_c(v))  otherwise
        w    <- (w - min w) / (max w - min w)
        keep = clip( (1 - rate) w / mean(w), 1 - threshold, 1 )

    Deviations: rate 0 keeps every edge (the formula alone would drop edges with w < mean w),
    and when all w are equal (one community, or one edge) every edge is kept with probability
    1 - rate, before the clip, instead of 0/0.

    Args:
        edge_index: (2, E) node ids in [0, N).
        labels: (N,) community of each node.
        node_strength: (N,) strength of each node's community; from
            `graphcl.kernels.communities.community_strength`, index its result by `labels`.
        rate: in [0, 1].
        threshold: largest probability of dropping an edge, in [0, 1].

    Returns:
        (E,) in [0, 1], of `node_strength`'s dtype; equal for both directions of an edge.

    Raises:
        ArgumentError: rate or threshold outside [0, 1], ids out of range, wrong shapes.
    """
    rate = check_fraction("rate", rate)
    threshold = check_fraction("threshold", threshold)
    check_vector("node_strength", node_strength, labels.numel(), "node")
    check_edge_index(edge_index, labels.numel())
    source, target = edge_index[0].long(), edge_index[1].long()
    strength = node_strength[source]
    if rate == 0 or strength.numel() == 0:
        return torch.ones_like(strength)
    across = labels[source] != labels[target]
    weight = torch.where(across, -(strength + node_strength[target]), strength)
    low, high = torch.aminmax(weight)
    if high > low:
        weight = (weight - low) / (high - low)
        keep = (1 - rate) * weight / weight.mean()
    else:
        keep = torch.full_like(weight, 1 - rate)
    return keep.clamp(1 - threshold, 1)


def drop_edges_by_community(
    edge_index: Tensor,
    rate: float,
    *,
    labels: Tensor,
    node_strength: Tensor,
    threshold: float = 1.0,
    generator: torch.Generator | None = None,
    keep_undirected: bool = True,
) -> tuple[Tensor, Tensor]:
    """One draw with `community_keep_probability`; see there for arguments and formula.

    `keep_undirected=False` draws each direction of an edge independently, as the authors'
    code does; the view is then directed.

    Returns:
        The kept edges (2, E') in their order, and the mask `kept` (E,) bool.
    """
    keep = community_keep_probability(edge_index, labels, node_strength, rate, threshold)
    return drop_edges_with_probability(
        edge_index, keep, generator=generator, keep_undirected=keep_undirected
    )


class DropEdgesByCommunity(BaseTransform):
    r"""Drop edges of weak communities and between communities more often than others.

    Community-aware edge dropping (CED) of CSGCL, Chen et al., IJCAI 2023: with S_c the strength
    of community c, w_uv = S_c inside a community and -(S_c(u) + S_c(v)) across, scaled to
    [0, 1]; an edge is kept with probability clip((1 - rate) w / mean(w), 1 - threshold, 1).

    Uses `data.community` and `data.community_strength` (set by `AddCommunities`) if present;
    otherwise it detects communities at every call. Deviations from the authors' code: both
    directions of an edge share one draw unless `keep_undirected=False`; rate 0 is the identity;
    equal weights do not divide by zero.

    Shapes: `data.edge_index` (2, E) -> (2, E'); edge-level attributes follow; nodes stay.

    Args:
        rate: in [0, 1]; about the share of edges dropped, less what the clip at 1 cuts off.
        threshold: largest probability of dropping an edge.
        keep_undirected: one draw per unordered pair instead of one per listed edge.
        method: "leiden" or "louvain", where communities are not given.
        resolution: of the detection.
        seed: of the detection.
        generator: source of randomness for the draw; None is torch's global one.

    Raises:
        ArgumentError: rate or threshold outside [0, 1] or NaN; no `edge_index`; ids out of range.

    Example:
        >>> view = DropEdgesByCommunity(0.3)(data)
    """

    def __init__(
        self,
        rate: float,
        *,
        threshold: float = 1.0,
        keep_undirected: bool = True,
        method: Literal["leiden", "louvain"] = "leiden",
        resolution: float = 1.0,
        seed: int = 0,
        generator: torch.Generator | None = None,
    ) -> None:
        self.rate = check_fraction("rate", rate)
        self.threshold = check_fraction("threshold", threshold)
        self.keep_undirected = keep_undirected
        self.method: Literal["leiden", "louvain"] = method
        self.resolution = resolution
        self.seed = seed
        self.generator = generator

    def forward(self, data: Data) -> Data:
        """The view of `data`; `data` itself is not changed."""
        data = check_homogeneous(data, "edge_index")
        _, kept = drop_edges_with_probability(
            data.edge_index,
            1 - self.drop_probability(data),
            generator=self.generator,
            keep_undirected=self.keep_undirected,
        )
        return keep_edges(data, kept)

    def drop_probability(self, data: Data) -> Tensor:
        """With which each listed edge of `data` is dropped, (E,)."""
        labels, strength = node_communities(
            data, method=self.method, resolution=self.resolution, seed=self.seed
        )
        keep = community_keep_probability(
            data.edge_index, labels, strength, self.rate, self.threshold
        )
        return 1 - keep

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.rate})"
