"""GGD: graph group discrimination, the linear-cost baseline.

Zheng, Pan, Lee, Zheng, Yu, "Rethinking and Scaling Up Graph Contrastive Learning: An Extremely
Efficient Approach with Group Discrimination", NeurIPS 2022, arXiv 2206.01535.

The authors find that DGI's summary is nearly constant, and that what trains the encoder is to
tell one group, nodes of the graph, from another, nodes with shuffled features. So each node
is summed up to one number, without a summary:

    y_i = sum_k ( W h_i + b )_k,    L = 1/(2N) sum_i [ softplus(-y_i) + softplus(y~_i) ]

on a graph with masked features. The encoder is one GCN layer with PReLU; embeddings are
H + A_hat^n H, its output and that smoothed over n steps (section 4.3).

Cost per epoch: O(E d + N d F + d^2), F the non-zero features of a node; linear in the graph.

Deviations from the authors' code: a feature is masked with the given probability instead of an
exact share of all being masked; the validation split chooses the epoch instead of the lowest
training loss. Published GGD numbers on ogbn-arxiv keep the best test value; ours never do.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from graphcl.config import Count, tunable
from graphcl.encoders import GCN
from graphcl.kernels.spmm import spmm
from graphcl.losses import JSD
from graphcl.methods.contract import MethodConfig, PortableEncoder
from graphcl.methods.features import FeatureScaling
from graphcl.methods.graph_method import GraphMethod
from graphcl.methods.infomax import encode_with_corruption, shuffled_rows
from graphcl.methods.portable import portable_gcn
from graphcl.views import mask_features


class GGDConfig(MethodConfig):
    """Settings of GGD; the defaults are the authors' for Cora."""

    epochs: int = tunable(500, low=50, high=2000, log=True, ge=0)
    evaluate_every: Count = 20
    dimension: int = tunable(512, choices=[128, 256, 512, 1024], gt=0)
    mask_features: float = tunable(0.2, low=0.0, high=0.8, ge=0, le=1)
    smoothing: int = tunable(5, low=0, high=20, ge=0)
    """n, steps over which the output is smoothed for the embeddings; 0 takes the output alone."""
    feature_scaling: FeatureScaling = "sum"
    """`sum`, every node's (non-negative) features divided by their sum, is the authors'."""


class GGD(GraphMethod):
    """Real nodes from shuffled ones by one number each, at linear cost (Zheng et al. 2022)."""

    Config = GGDConfig

    def __init__(self, config: GGDConfig, data: Any) -> None:
        super().__init__(config, data)
        self.encoder = GCN(data.num_features, [config.dimension], activation="prelu")
        self.projection = nn.Linear(config.dimension, config.dimension)
        self.discrimination = JSD()

    def loss(self, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        """Binary cross-entropy of the two groups."""
        features, _ = mask_features(
            self.features_of(batch), self.config.mask_features, generator=generator
        )
        order = shuffled_rows(batch.num_nodes, generator, batch.x.device)
        real, corrupted = (
            # The sum over the projection's outputs: O(N d) by summing its weights first.
            hidden @ self.projection.weight.sum(dim=0) + self.projection.bias.sum()
            for hidden in encode_with_corruption(
                self.encoder, features, self.matrix_of(batch), order
            )
        )
        discrimination = self.discrimination(real, corrupted)
        return {"discrimination": discrimination, "total": discrimination / 2}

    @torch.no_grad()
    def embed(self, data: Any) -> Tensor:
        """H + A_hat^n H, (N, d)."""
        local: Tensor = super().embed(data)
        if self.config.smoothing == 0:
            return local
        smooth = local
        for _ in range(self.config.smoothing):
            smooth = spmm(self.matrix_of(data), smooth)
        return local + smooth

    def portable_encoder(self) -> PortableEncoder:
        """The encoder and the smoothing, on raw features and edges."""
        config = self.config
        return portable_gcn(
            self.encoder, self.data, scaling=config.feature_scaling, smoothing=config.smoothing
        )
