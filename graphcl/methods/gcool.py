"""gCooL: graph communal contrastive learning.

Li, Jing, Tong, "Graph Communal Contrastive Learning", WWW 2022, arXiv 2110.14863.

Views are GCA's: edges and features of little centrality are dropped more often. Communities
are learned with the embeddings. With h the L2-normalised projection and Phi (K, d) the centres,

    R = softmax( sg(h) . Phi / |Phi| / tau )                              (N, K)

- Dense community aggregation (DeCA): many edges inside communities, few between. With
  F = R^T A R over the edges of the view,

      L_deca = lambda (sum F - tr F) / (N (N - 1)) - tr F / N + |R|^2 / (2 N)

  averaged over the views. Rows of R sum to 1, so sum F is the number of edges, a constant:
  lambda only changes the weight of tr F by a share of lambda/(N - 1), next to nothing.
- Reweighted cross-contrast (ReSC): with hard communities y = argmax R and c_k the mean of h in
  community k, a node of one view against the communities of the other,

      l_i = -log  e^{h1_i . c_y / tau} / ( e^{h1_i . c_y / tau}
                                           + sum_{k != y} omega_k e^{h1_i . c_k / tau} ),
      y = y2_i,   c of view 2,   omega_k = exp(-gamma |c_y - c_k|^2)

  so that near communities count more as negatives; both ways.
- Nodes: InfoNCE between the views, both ways.

    L = L_node + alpha ( beta L_deca + (1 - beta) L_comm ),
    alpha = max(0, 1 - t / (fade stride)),  beta = exp(-t / stride)        at epoch t

Embeddings are the encoder's output on the whole graph.

`variant: released` is what the authors' code does: omega = 1, and nodes of the first view as
the only anchors of L_node. Unit vectors differ by at most 4 in |c_y - c_k|^2, so that with the
published gamma of 2e-5 to 8e-5 omega is 0.9997 or more, and the two variants differ by the
direction of L_node alone. In both, communities fade out after a fifth of `stride` epochs, a
small part of a training of several strides.

Cost per epoch: O(E (d + K) + N d (d + K)) and 8 N^2 d operations in O(N d) memory.

Deviations from the authors' code: F is a sparse product, where it has a dense N x N adjacency;
see also `graphcl.methods.gca`, whose `directed_views: true` gives the authors' views.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from graphcl.config import tunable
from graphcl.kernels.sparse_matrix import SparseMatrix
from graphcl.kernels.spmm import spmm
from graphcl.losses import InfoNCE
from graphcl.losses.meta_nodes import meta_nodes
from graphcl.losses.unit_rows import unit_rows
from graphcl.methods.gca import GCA, GCAConfig
from graphcl.methods.graph_method import View


class GCooLConfig(GCAConfig):
    """Settings of gCooL: GCA's, and those of the communities."""

    hidden: int = tunable(256, choices=[128, 256, 512, 1024], gt=0)
    """Width of the first GCN layer."""
    communities: int = tunable(10, low=4, high=32, gt=0)
    """K."""
    between: float = tunable(0.9, low=0.1, high=1.0, ge=0)
    """lambda, the weight of edges between communities."""
    nearness: float = tunable(8e-5, low=1e-5, high=1.0, log=True, ge=0)
    """gamma of omega; 0 weighs all communities alike."""
    stride: int = tunable(500, low=100, high=2000, gt=0)
    fade: float = tunable(0.2, low=0.1, high=1.0, gt=0)
    """alpha reaches 0 after this share of `stride` epochs."""
    variant: Literal["paper", "released"] = "paper"

    @property
    def widths(self) -> list[int]:
        """Of the encoder's layers."""
        return [self.hidden, self.dimension]


class GCooL(GCA):
    """Adaptive views contrasted by nodes and by communities learned with them (Li et al. 2022)."""

    Config = GCooLConfig

    def __init__(self, config: GCooLConfig, data: Any) -> None:
        super().__init__(config, data)
        self.centres = nn.Parameter(torch.randn(config.communities, config.dimension))
        self.contrast = InfoNCE(config.temperature, symmetric=config.variant == "paper")
        self.alpha = self.beta = 1.0

    def epoch_start(self, epoch: int, generator: torch.Generator) -> None:
        """alpha and beta of the schedule."""
        config = self.config
        self.alpha = max(0.0, 1 - epoch / (config.fade * config.stride))
        self.beta = math.exp(-epoch / config.stride)

    def compare(self, z1: Tensor, z2: Tensor, views: tuple[View, View]) -> dict[str, Tensor]:
        """Nodes, and while alpha is above 0 the communities."""
        h = [unit_rows(self.head(z)) for z in (z1, z2)]
        nodes = self.contrast(*h)
        if self.alpha == 0:
            return {"nodes": nodes, "total": nodes}
        shares = [self.community_shares(rows) for rows in h]
        aggregation = torch.stack(
            [
                dense_aggregation(share, view.edge_index, self.config.between)
                for share, view in zip(shares, views, strict=True)
            ]
        ).mean()
        nearness = self.config.nearness if self.config.variant == "paper" else 0.0
        communities = torch.stack(
            [
                community_contrast(
                    h[own], h[other], shares[other].argmax(dim=1),
                    clusters=self.config.communities,
                    temperature=self.config.temperature, nearness=nearness,
                )
                for own, other in ((0, 1), (1, 0))
            ]
        ).mean()  # fmt: skip
        communal = self.beta * aggregation + (1 - self.beta) * communities
        return {
            "nodes": nodes,
            "aggregation": aggregation,
            "communities": communities,
            "total": nodes + self.alpha * communal,
        }

    def community_shares(self, h: Tensor) -> Tensor:
        """R (N, K) of unit rows h; gradients reach the centres only."""
        logits = h.detach() @ unit_rows(self.centres).T / self.config.temperature
        return logits.softmax(dim=1)


def dense_aggregation(shares: Tensor, edge_index: Tensor, between: float) -> Tensor:
    """L_deca of shares R (N, K), rows summing to 1, and edges (2, E): O(E K)."""
    count = len(shares)
    adjacency = SparseMatrix.from_edge_index(edge_index, shape=count, dtype=shares.dtype)
    inside = (shares * spmm(adjacency, shares)).sum()
    crossing = adjacency.entries - inside
    pairs = max(count * (count - 1), 1)  # one node has no edges to divide
    return between * crossing / pairs - inside / count + shares.square().sum() / (2 * count)


def community_contrast(
    h: Tensor,
    other: Tensor,
    assignment: Tensor,
    *,
    clusters: int,
    temperature: float,
    nearness: float,
) -> Tensor:
    """L_comm of unit rows h (N, d) against the communities of the other view's rows.

    Centroids get no gradient; an empty community's is 0.
    """
    centroids = meta_nodes(other.detach(), assignment, clusters).centroids
    apart = (centroids[:, None] - centroids).square().sum(dim=2)
    logits = h @ centroids.T / temperature - nearness * apart[assignment]
    return cross_entropy(logits, assignment)
