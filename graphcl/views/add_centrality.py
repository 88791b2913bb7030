"""Compute a centrality once and store it on the graph for the views that use it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from torch import Tensor
from torch_geometric.transforms import BaseTransform

from graphcl.views.centrality import Centrality, check_centrality, node_centrality
from graphcl.views.checks import check_homogeneous, check_vector, number_of_nodes

if TYPE_CHECKING:
    from torch_geometric.data import Data


def centrality_of(data: Data, kind: Centrality) -> Tensor:
    """`node_centrality` of a graph (N,): read from `data` where it is stored, else computed.

    Reads `data.degree_centrality`, `data.eigenvector_centrality` or `data.pagerank_centrality`.
    """
    nodes = number_of_nodes(data)
    stored = getattr(data, f"{kind}_centrality", None)
    if stored is None:
        return node_centrality(data.edge_index, nodes, kind)
    check_vector(f"data.{kind}_centrality", stored, nodes, "node")
    return stored


class AddCentrality(BaseTransform):
    """Store each node's centrality on the graph.

    Sets `data.degree_centrality` (or `eigenvector_centrality`, `pagerank_centrality`), (N,) of
    torch's default dtype. Put it in front of views by centrality: they then weigh by the graph as
    it was here, as GCA does (Zhu et al., WWW 2021), and not by what an earlier view left of it, and
    need not compute anything at every call. What `data` already has is kept.

    Args:
        centrality: "degree", "eigenvector" or "pagerank".

    Raises:
        ArgumentError: unknown centrality; no `edge_index`; ids out of range.

    Example:
        >>> data = AddCentrality("pagerank")(data)
        >>> view = DropEdgesByCentrality(0.3, centrality="pagerank")(data)
    """

    def __init__(self, centrality: Centrality = "degree") -> None:
        check_centrality(centrality)
        self.centrality: Centrality = centrality

    def forward(self, data: Data) -> Data:
        """A shallow copy of `data` with the attribute; `data` itself is not changed."""
        result = copy.copy(check_homogeneous(data, "edge_index"))
        result[f"{self.centrality}_centrality"] = centrality_of(result, self.centrality)
        return result

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.centrality!r})"
