"""DGI: deep graph infomax.

Velickovic, Fedus, Hamilton, Lio, Bengio, Hjelm, "Deep Graph Infomax", ICLR 2019,
arXiv 1809.10341.

A discriminator tells nodes of the graph from nodes of a corrupted one, whose features are
shuffled between the nodes, by comparing them with a summary of the graph (equation 1):

    s = sigmoid( 1/N sum_i h_i ),    D(h, s) = sigmoid( h^T W s )
    L = -1/(2N) sum_i [ log D(h_i, s) + log( 1 - D(h~_i, s) ) ]

The encoder is one GCN layer with PReLU; embeddings are its output.

Cost per epoch: O(E d + N d F) for two encodings, F the non-zero features of a node; linear
in the graph.

Deviations from the authors' code: it keeps the weights of the epoch with the lowest training
loss and stops when that has not fallen for 20 epochs; here the validation split chooses,
or, where the protocol has none, the last epoch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from graphcl.config import Count, tunable
from graphcl.encoders import GCN
from graphcl.losses import JSD
from graphcl.methods.contract import MethodConfig
from graphcl.methods.features import FeatureScaling
from graphcl.methods.graph_method import GraphMethod
from graphcl.methods.infomax import (
    SummaryDiscriminator,
    encode_with_corruption,
    shuffled_rows,
    summarise,
)


class DGIConfig(MethodConfig):
    """Settings of DGI; the defaults are the paper's for Cora."""

    epochs: int = tunable(300, low=50, high=2000, log=True, ge=0)
    evaluate_every: Count = 20
    dimension: int = tunable(512, choices=[128, 256, 512], gt=0)
    feature_scaling: FeatureScaling = "sum"
    """`sum`, every node's (non-negative) features divided by their sum, is the authors'."""


class DGI(GraphMethod):
    """Nodes against a summary of the graph, shuffled features as negatives (Velickovic 2019)."""

    Config = DGIConfig

    def __init__(self, config: DGIConfig, data: Any) -> None:
        super().__init__(config, data)
        self.encoder = GCN(data.num_features, [config.dimension], activation="prelu")
        self.discriminator = SummaryDiscriminator(config.dimension)
        self.infomax = JSD()

    def loss(self, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        """Equation 1, one corruption."""
        order = shuffled_rows(batch.num_nodes, generator, batch.x.device)
        real, corrupted = encode_with_corruption(
            self.encoder, self.features_of(batch), self.matrix_of(batch), order
        )
        summary = summarise(real)
        # JSD is twice the binary cross-entropy.
        infomax = self.infomax(
            self.discriminator(real, summary), self.discriminator(corrupted, summary)
        )
        return {"infomax": infomax, "total": infomax / 2}
