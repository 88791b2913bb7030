"""What every table of graph results is read against: no learning at all.

Raw features show what the graph adds; a random encoder shows what training adds. On some
graphs a random GCN is close to published methods (about 69 % on ogbn-arxiv), so no number
is printed without both.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from graphcl.encoders import GCN
from graphcl.methods.contract import Method, MethodConfig, PortableEncoder
from graphcl.methods.features import prepare_features
from graphcl.methods.portable import portable_gcn


class BaselineConfig(MethodConfig):
    """Nothing is trained."""

    epochs: int = 0


class RandomEncoderConfig(BaselineConfig):
    """Settings of the random encoder."""

    dimension: int = 128
    """Width of the embeddings; the first GCN layer is twice as wide."""


class RawFeatures(Method):
    """The node features themselves, no graph and no training."""

    Config = BaselineConfig
    tasks = ("node-classification", "link-prediction", "clustering")
    trainable = False

    def embed(self, data: Any) -> Tensor:
        """The features (N, F)."""
        features: Tensor = data.x
        return features


class RandomEncoder(Method):
    """A two-layer GCN with random weights, the encoder of GRACE and CSGCL before training."""

    Config = RandomEncoderConfig
    tasks = ("node-classification", "link-prediction", "clustering")
    trainable = False

    def __init__(self, config: RandomEncoderConfig, data: Any) -> None:
        super().__init__(config, data)
        self.encoder = GCN(data.num_features, [2 * config.dimension, config.dimension])

    @torch.no_grad()
    def embed(self, data: Any) -> Tensor:
        """Encoder output (N, dimension)."""
        embedding: Tensor = self.encoder(prepare_features(data.x, scale=True), data.edge_index)
        return embedding

    def portable_encoder(self) -> PortableEncoder:
        """The encoder on raw features and edges."""
        return portable_gcn(self.encoder, self.data, scale=True)
