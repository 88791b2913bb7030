"""CSGCL: community-strength-enhanced graph contrastive learning.

Chen, Zhao, Li, Tian, Wang, Zhang, "CSGCL: Community-Strength-Enhanced Graph Contrastive
Learning", IJCAI 2023, arXiv 2305.04658.

Communities are detected once, before training. The strength of community c is its own
contribution to modularity, S_c = e_c / m - (vol_c / 2m)^2, and S_i is that of node i's
community. Strength enters in three places:

- communal edge dropping (CED): edges inside strong communities are kept more often;
- communal attribute voting (CAV): features that strong communities use are masked less;
- the Team-up objective: with theta_ij = (cosine(h_i, h_j) + gamma_t (S_i + S_j)) / tau,

      l_i = -log e^{theta_ii} / ( sum_j e^{theta_ij} + sum_{j != i} e^{theta'_ij} )

  where theta' compares within a view. gamma_t = min(max(0, (t - t_0) / 100), gamma_max)
  at epoch t: plain InfoNCE first, communities later.

The anchor's own term gamma_t S_i cancels between numerator and denominator, so Team-up
is InfoNCE with the log-weight gamma_t S_j / tau on every key j; that is how it is
computed here.

Cost per epoch: as GRACE, O(E d + N d^2) and 16 N^2 d operations in O(N d) memory, plus
one community detection, O(E), before training.

Deviations from the authors' code: an undirected edge is dropped or kept in both
directions at once (`directed_views: true` draws them apart, as the release does), and a
feature whose strength-weighted sum is not positive counts as the weakest instead of
becoming NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from graphcl.config import tunable
from graphcl.encoders import GCN, ProjectionHead
from graphcl.kernels.communities import community_strength, detect_communities
from graphcl.losses import InfoNCE
from graphcl.methods.features import scale_features
from graphcl.methods.grace import GRACEConfig
from graphcl.methods.graph_method import TwoViewMethod, View, of_batch
from graphcl.views import (
    community_keep_probability,
    community_mask_probability,
    drop_edges_with_probability,
    mask_features_with_probability,
)


class CSGCLConfig(GRACEConfig):
    """Settings of CSGCL: GRACE's, with the rates as means of CED and CAV, and Team-up's."""

    team_up_start: int = tunable(100, low=0, high=2000, ge=0)
    """t_0: the last epoch of plain InfoNCE."""
    team_up_most: float = tunable(1.0, low=0.1, high=10.0, log=True, ge=0)
    """gamma_max."""
    communities: Literal["leiden", "louvain"] = "leiden"
    resolution: float = tunable(1.0, low=0.3, high=3.0, log=True, gt=0)


@dataclass(frozen=True)
class CommunalView:
    """What one view draws from in every epoch."""

    keep_edges: Tensor
    """Probability of keeping each edge (E,), by CED."""
    mask_features: Tensor
    """Probability of masking each feature column (F,), by CAV."""


class CSGCL(TwoViewMethod):
    """Views and contrast guided by community strength (Chen et al. 2023)."""

    Config = CSGCLConfig

    def __init__(self, config: CSGCLConfig, data: Any) -> None:
        super().__init__(config, data)
        labels = detect_communities(
            data.edge_index, data.num_nodes,
            method=config.communities, resolution=config.resolution, seed=0,
        )  # fmt: skip
        self.strength = community_strength(data.edge_index, labels)[labels]
        self.inside = labels[data.edge_index[0]] == labels[data.edge_index[1]]
        dense = scale_features(data.x, config.feature_scaling)
        # The probabilities stay the same for the whole training; only the draws change.
        self.communal_views = [
            CommunalView(
                community_keep_probability(data.edge_index, labels, self.strength, edge_rate),
                community_mask_probability(dense, self.strength, feature_rate),
            )
            for edge_rate, feature_rate in (
                (config.drop_edges_1, config.mask_features_1),
                (config.drop_edges_2, config.mask_features_2),
            )
        ]
        self.encoder = GCN(data.num_features, config.widths, activation=config.activation)
        self.head = ProjectionHead(config.dimension, config.projection, config.dimension)
        self.contrast = InfoNCE(config.temperature, intra_view=True)
        self.gamma = 0.0

    def epoch_start(self, epoch: int, generator: torch.Generator) -> None:
        """gamma_t of the Team-up schedule."""
        rising = max(0.0, (epoch - self.config.team_up_start) / 100)
        self.gamma = min(rising, self.config.team_up_most)

    def draw_views(self, data: Any, generator: torch.Generator) -> tuple[View, View]:
        """CED and CAV, for either view."""
        first, second = (self._draw_view(data, view, generator) for view in self.communal_views)
        return first, second

    def drop_probability(self) -> tuple[Tensor, Tensor]:
        """Of every edge, by CED."""
        first, second = (1 - view.keep_edges for view in self.communal_views)
        return first, second

    def compare(self, z1: Tensor, z2: Tensor, views: tuple[View, View]) -> dict[str, Tensor]:
        """The Team-up objective."""
        strength = of_batch(self.strength, views[0].nodes)
        bias = self.gamma * strength / self.config.temperature if self.gamma else None
        contrast = self.contrast(self.head.rotated(z1), self.head.rotated(z2), column_bias=bias)
        return {"contrast": contrast, "total": contrast}

    def histograms(self) -> dict[str, Tensor]:
        """Community strengths, and what CED and CAV draw from in the two views."""
        values = {"community strength of the nodes": self.strength}
        for number, view in enumerate(self.communal_views, start=1):
            kept = f"probability that view {number} keeps an edge"
            values[f"{kept}/inside a community"] = view.keep_edges[self.inside]
            values[f"{kept}/between communities"] = view.keep_edges[~self.inside]
        for number, view in enumerate(self.communal_views, start=1):
            values[f"probability that a feature is masked/view {number}"] = view.mask_features
        return values

    def _draw_view(self, data: Any, view: CommunalView, generator: torch.Generator) -> View:
        undirected = not self.config.directed_views
        edge_index, _ = drop_edges_with_probability(
            data.edge_index, of_batch(view.keep_edges, data.get("e_id")),
            generator=generator, keep_undirected=undirected,
        )  # fmt: skip
        x, _ = mask_features_with_probability(
            self.features_of(data), view.mask_features, generator=generator
        )
        matrix = self.propagation(edge_index, data, undirected=undirected)
        return View(x, matrix, edge_index, data.get("n_id"))
