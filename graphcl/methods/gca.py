"""GCA: graph contrastive learning with adaptive augmentation.

Zhu, Xu, Yu, Liu, Wu, Wang, "Graph Contrastive Learning with Adaptive Augmentation", WWW
2021, arXiv 2010.14945.

GRACE with views that spare what matters. With phi the centrality of a node (degree,
eigenvector or PageRank):

- an edge has the score s_uv = log (phi_u + phi_v) / 2 and is dropped with probability
  min( p_e (max s - s_uv) / (max s - mean s), p_tau )                   (equations 3 to 6);
- a feature has s_f = log sum_u |x_uf| phi_u and is masked with probability
  min( p_f (max s - s_f) / (max s - mean s), p_tau )                    (equations 7 to 9).

The objective is GRACE's: InfoNCE with negatives from both views (equations 1 and 2).
Embeddings are the encoder's output on the whole graph, before the projection head.

Cost per epoch: as GRACE, O(E d + N d^2) and 16 N^2 d operations in O(N d) memory, plus one
centrality, O(E) a step, before training.

Deviations from the authors' code: it weighs an undirected edge by its target alone and draws
its two directions apart (`directed_views: true` does so); features are weighed as they come,
which for the bags of words that it turns to 0 and 1 is the same.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from graphcl.config import tunable
from graphcl.encoders import GCN, ProjectionHead
from graphcl.losses import InfoNCE
from graphcl.methods.grace import GRACEConfig
from graphcl.methods.graph_method import TwoViewMethod, View, of_batch
from graphcl.views import (
    centrality_keep_probability,
    drop_edges_with_probability,
    feature_mask_probability,
    mask_features_with_probability,
    node_centrality,
)
from graphcl.views.centrality import Centrality


class GCAConfig(GRACEConfig):
    """Settings of GCA: GRACE's, with the rates as means, and the centrality."""

    centrality: Centrality = tunable("degree", choices=["degree", "eigenvector", "pagerank"])
    threshold: float = tunable(0.7, low=0.5, high=1.0, ge=0, le=1)
    """p_tau: no edge or feature is dropped with a higher probability."""
    directed_views: bool = False
    """Weigh an edge by its target and drop its directions apart, as the authors' code does."""


class GCA(TwoViewMethod):
    """Two views that spare central nodes' edges and features (Zhu et al. 2021)."""

    Config = GCAConfig

    def __init__(self, config: GCAConfig, data: Any) -> None:
        super().__init__(config, data)
        phi = node_centrality(data.edge_index, data.num_nodes, config.centrality)
        # The probabilities stay the same for the whole training; only the draws change.
        self.keep_edges = [
            centrality_keep_probability(
                data.edge_index, phi, rate, config.threshold, directed=config.directed_views
            )
            for rate in (config.drop_edges_1, config.drop_edges_2)
        ]
        self.mask_features = [
            feature_mask_probability(data.x, phi, rate, config.threshold)
            for rate in (config.mask_features_1, config.mask_features_2)
        ]
        self.encoder = GCN(data.num_features, config.widths, activation=config.activation)
        self.head = ProjectionHead(config.dimension, config.projection, config.dimension)
        self.contrast = InfoNCE(config.temperature, intra_view=True)

    def draw_views(self, data: Any, generator: torch.Generator) -> tuple[View, View]:
        """Equations 3 to 9, for either view."""
        first, second = (
            self._draw_view(data, keep_edges, mask_features, generator)
            for keep_edges, mask_features in zip(self.keep_edges, self.mask_features, strict=True)
        )
        return first, second

    def drop_probability(self) -> tuple[Tensor, Tensor]:
        """Of every edge, by its centrality."""
        return 1 - self.keep_edges[0], 1 - self.keep_edges[1]

    def compare(self, z1: Tensor, z2: Tensor, views: tuple[View, View]) -> dict[str, Tensor]:
        """GRACE's objective."""
        contrast = self.contrast(self.head.rotated(z1), self.head.rotated(z2))
        return {"contrast": contrast, "total": contrast}

    def histograms(self) -> dict[str, Tensor]:
        """What the two views draw from."""
        drawn = {"an edge is kept": self.keep_edges, "a feature is masked": self.mask_features}
        return {
            f"probability that {what}/view {number}": probability
            for what, views in drawn.items()
            for number, probability in enumerate(views, start=1)
        }

    def _draw_view(
        self, data: Any, keep_edges: Tensor, mask_features: Tensor, generator: torch.Generator
    ) -> View:
        undirected = not self.config.directed_views
        edge_index, _ = drop_edges_with_probability(
            data.edge_index, of_batch(keep_edges, data.get("e_id")),
            generator=generator, keep_undirected=undirected,
        )  # fmt: skip
        x, _ = mask_features_with_probability(
            self.features_of(data), mask_features, generator=generator
        )
        matrix = self.propagation(edge_index, data, undirected=undirected)
        return View(x, matrix, edge_index, data.get("n_id"))
