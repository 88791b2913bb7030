"""GRACE: deep graph contrastive representation learning.

Zhu, Xu, Yu, Liu, Wu, Wang, "Deep Graph Contrastive Representation Learning", ICML
Workshop on Graph Representation Learning and Beyond, 2020, arXiv 2006.04131.

Each epoch draws two views of the graph, each with its own rate of dropped edges and
masked feature columns (section 3.2.1). A shared GCN encodes both; a projection head g
maps to where the loss lives. With theta(u, v) = cosine(g(u), g(v)), the loss of node i
(equation 1) is

    l(u_i, v_i) = -log  e^{theta(u_i, v_i)/tau}
                        / ( sum_j e^{theta(u_i, v_j)/tau} + sum_{j != i} e^{theta(u_i, u_j)/tau} )

and the objective (equation 2) averages l(u_i, v_i) and l(v_i, u_i) over all nodes.
Embeddings are the encoder's output on the whole graph, before the projection head.

Cost per epoch: O(E d + N d^2) for the encoder and 16 N^2 d operations for the loss, in
O(N d) memory.

Deviation from the authors' code: an undirected edge is dropped or kept in both
directions at once; the release draws each direction by itself (`directed_views: true`).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from graphcl.config import Count, tunable
from graphcl.encoders import GCN, ProjectionHead
from graphcl.losses import InfoNCE
from graphcl.methods.features import FeatureScaling
from graphcl.methods.graph_method import (
    BatchedConfig,
    RandomViewsConfig,
    TwoViewMethod,
    View,
)


class GRACEConfig(RandomViewsConfig, BatchedConfig):
    """Settings of GRACE; the defaults are the paper's for Cora."""

    epochs: int = tunable(200, low=50, high=2000, log=True, ge=0)
    learning_rate: float = tunable(5e-4, low=1e-4, high=1e-2, log=True, gt=0)
    weight_decay: float = tunable(1e-5, choices=[0.0, 1e-5, 1e-4], ge=0)
    evaluate_every: Count = 20
    dimension: int = tunable(128, choices=[64, 128, 256, 512], gt=0)
    """Width of the embeddings; the first GCN layer is twice as wide."""
    projection: int = tunable(128, choices=[64, 128, 256, 512], gt=0)
    activation: Literal["relu", "prelu", "rrelu", "elu"] = "relu"
    drop_edges_1: float = tunable(0.2, low=0.0, high=0.8, ge=0, le=1)
    drop_edges_2: float = tunable(0.4, low=0.0, high=0.8, ge=0, le=1)
    mask_features_1: float = tunable(0.3, low=0.0, high=0.8, ge=0, le=1)
    mask_features_2: float = tunable(0.4, low=0.0, high=0.8, ge=0, le=1)
    temperature: float = tunable(0.4, low=0.1, high=1.0, ge=1e-3, le=10)
    feature_scaling: FeatureScaling = "sum"
    """`sum`, every node's (non-negative) features divided by their sum, is the authors'."""

    @property
    def widths(self) -> list[int]:
        """Of the encoder's layers."""
        return [2 * self.dimension, self.dimension]


class GRACE(TwoViewMethod):
    """Two views by edge dropping and feature masking, contrasted node by node (Zhu et al. 2020)."""

    Config = GRACEConfig

    def __init__(self, config: GRACEConfig, data: Any) -> None:
        super().__init__(config, data)
        self.encoder = GCN(data.num_features, config.widths, activation=config.activation)
        self.head = ProjectionHead(config.dimension, config.projection, config.dimension)
        self.contrast = InfoNCE(config.temperature, intra_view=True)

    def draw_views(self, data: Any, generator: torch.Generator) -> tuple[View, View]:
        """Random edges dropped and columns masked, at each view's own rates."""
        config = self.config
        return (
            self.random_view(data, config.drop_edges_1, config.mask_features_1, generator),
            self.random_view(data, config.drop_edges_2, config.mask_features_2, generator),
        )

    def drop_probability(self) -> tuple[float, float]:
        """The rates."""
        return self.config.drop_edges_1, self.config.drop_edges_2

    def compare(self, z1: Tensor, z2: Tensor, views: tuple[View, View]) -> dict[str, Tensor]:
        """Equation 2."""
        contrast = self.contrast(self.head.rotated(z1), self.head.rotated(z2))
        return {"contrast": contrast, "total": contrast}
