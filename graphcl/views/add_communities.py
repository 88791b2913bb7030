"""Detect communities once and store them on the graph for the views that use them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Literal

from torch import Tensor
from torch_geometric.transforms import BaseTransform

from graphcl.kernels.communities import community_strength, detect_communities
from graphcl.views.checks import check_homogeneous, check_vector, number_of_nodes

if TYPE_CHECKING:
    from torch_geometric.data import Data


def node_communities(
    data: Data,
    *,
    method: Literal["leiden", "louvain"] = "leiden",
    resolution: float = 1.0,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """(labels, node_strength), each (N,): read from `data` where stored, else computed.

    Reads `data.community` (int64 labels) and `data.community_strength` (the strength
    S_{c(i)} of each node's community, `community_strength(edge_index, labels)[labels]`).
    """
    nodes = number_of_nodes(data)
    labels = getattr(data, "community", None)
    strength = getattr(data, "community_strength", None)
    if labels is None:
        labels = detect_communities(
            data.edge_index, nodes, method=method, resolution=resolution, seed=seed
        )
        strength = None
    check_vector("data.community", labels, nodes, "node")
    if strength is None:
        strength = community_strength(data.edge_index, labels)[labels]
    check_vector("data.community_strength", strength, nodes, "node")
    return labels, strength


class AddCommunities(BaseTransform):
    """Store each node's community and that community's strength on the graph.

    Sets `data.community` (N,) int64 and `data.community_strength` (N,) float, S_i = S_{c(i)}
    with S_c = e_c / m - (vol_c / (2m))^2 (CSGCL, Chen et al., IJCAI 2023). Put it in front of
    community views, so that they need not detect communities at every call. What `data`
    already has is kept.

    Args:
        method: "leiden" or "louvain".
        resolution: larger values give more and smaller communities.
        seed: same seed, same communities.

    Raises:
        ArgumentError: see `graphcl.kernels.communities.detect_communities`.

    Example:
        >>> data = AddCommunities(seed=0)(data)
        >>> view = DropEdgesByCommunity(0.3)(data)
    """

    def __init__(
        self,
        *,
        method: Literal["leiden", "louvain"] = "leiden",
        resolution: float = 1.0,
        seed: int = 0,
    ) -> None:
        self.method: Literal["leiden", "louvain"] = method
        self.resolution = resolution
        self.seed = seed

    def forward(self, data: Data) -> Data:
        """A shallow copy of `data` with the two attributes; `data` itself is not changed."""
        result = copy.copy(check_homogeneous(data, "edge_index"))
        result.community, result.community_strength = node_communities(
            result, method=self.method, resolution=self.resolution, seed=self.seed
        )
        return result
