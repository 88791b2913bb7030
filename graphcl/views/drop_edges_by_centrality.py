"""Drop edges between unimportant nodes more often (GCA's adaptive edge dropping)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch_geometric.transforms import BaseTransform

from graphcl.views.add_centrality import centrality_of
from graphcl.views.centrality import Centrality, check_centrality
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

# The eigenvector of a component that is not the dominant one tends to zero; its log must not.
_SMALLEST_CENTRALITY = 1e-8


def centrality_keep_probability(
    edge_index: Tensor,
    centrality: Tensor,
    rate: float,
    threshold: float = 0.7,
    *,
    directed: bool = False,
) -> Tensor:
    """Probability of keeping each edge (GCA, Zhu et al., WWW 2021, arXiv 2010.14945, eq. 3-5).

        w_uv = (phi_u + phi_v) / 2   (directed: phi_v),     s_uv = log w_uv
        drop = min( rate (max s - s_uv) / (max s - mean s), threshold ),    keep = 1 - drop

    Deviations: the authors' code uses phi_v for undirected graphs too, which makes the view
    directed; when all s are equal every edge is dropped with probability `rate` instead of 0/0.

    Args:
        edge_index: (2, E) node ids in [0, N).
        centrality: (N,) non-negative; see `graphcl.views.centrality.node_centrality`.
        rate: in [0, 1]; the mean probability of dropping before the cut at `threshold`.
        threshold: largest probability of dropping, in [0, 1].
        directed: weigh an edge by its target alone.

    Returns:
        (E,) in [1 - threshold, 1], of `centrality`'s dtype.

    Raises:
        ArgumentError: rate or threshold outside [0, 1], ids out of range, wrong shapes.
    """
    rate = check_fraction("rate", rate)
    threshold = check_fraction("threshold", threshold)
    check_vector("centrality", centrality, centrality.numel(), "node")
    check_edge_index(edge_index, centrality.numel())
    source, target = edge_index[0].long(), edge_index[1].long()
    weight = centrality[target]
    if weight.numel() == 0:
        return torch.ones_like(weight)
    if not directed:
        weight = (centrality[source] + weight) / 2
    score = weight.clamp(min=_SMALLEST_CENTRALITY).log()
    distance = score.max() - score
    mean = distance.mean()
    drop = rate * distance / mean if mean > 0 else torch.full_like(score, rate)
    return 1 - drop.clamp(max=threshold)


def drop_edges_by_centrality(
    edge_index: Tensor,
    rate: float,
    *,
    centrality: Tensor,
    threshold: float = 0.7,
    generator: torch.Generator | None = None,
    keep_undirected: bool = True,
) -> tuple[Tensor, Tensor]:
    """One draw with `centrality_keep_probability`; see there for arguments and formula.

    `keep_undirected=False` weighs an edge by its target and draws each direction independently.

    Returns:
        The kept edges (2, E') in their order, and the mask `kept` (E,) bool.
    """
    keep = centrality_keep_probability(
        edge_index, centrality, rate, threshold, directed=not keep_undirected
    )
    return drop_edges_with_probability(
        edge_index, keep, generator=generator, keep_undirected=keep_undirected
    )


class DropEdgesByCentrality(BaseTransform):
    r"""Drop edges between nodes of low centrality more often than others.

    With phi the centrality, s_uv = log((phi_u + phi_v) / 2): an edge is dropped with probability
    min(rate (max s - s_uv) / (max s - mean s), threshold). GCA, Zhu et al., WWW 2021 (arXiv
    2010.14945), eq. 3-5; deviations are listed at `centrality_keep_probability`.

    Uses `data.degree_centrality` and the like (set by `AddCentrality`) if present; otherwise it is
    that of the edges which it is given, at every call.

    Shapes: `data.edge_index` (2, E) -> (2, E'); edge-level attributes follow; nodes stay.

    Args:
        rate: in [0, 1]; about the share of edges dropped, less what the threshold cuts off.
        centrality: "degree", "eigenvector" or "pagerank".
        threshold: largest probability of dropping an edge.
        keep_undirected: one draw per unordered pair; False draws every listed edge, weighed by
            its target.
        generator: source of randomness; None is torch's global one.

    Raises:
        ArgumentError: rate or threshold outside [0, 1] or NaN; unknown centrality; no
            `edge_index`; ids out of range.

    Example:
        >>> view = DropEdgesByCentrality(0.3, centrality="pagerank")(data)
    """

    def __init__(
        self,
        rate: float,
        *,
        centrality: Centrality = "degree",
        threshold: float = 0.7,
        keep_undirected: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        self.rate = check_fraction("rate", rate)
        self.threshold = check_fraction("threshold", threshold)
        check_centrality(centrality)
        self.centrality: Centrality = centrality
        self.keep_undirected = keep_undirected
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
        return 1 - centrality_keep_probability(
            data.edge_index,
            centrality_of(data, self.centrality),
            self.rate,
            self.threshold,
            directed=not self.keep_undirected,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.rate}, centrality={self.centrality!r})"
