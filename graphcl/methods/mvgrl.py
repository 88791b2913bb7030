"""MVGRL: contrastive multi-view representation learning on graphs.

Hassani, Khasahmadi, "Contrastive Multi-View Representation Learning on Graphs", ICML 2020,
arXiv 2006.05582.

Two fixed views: the graph, and its diffusion (personalised PageRank with restart alpha, or
heat). Each has its own one-layer GCN with PReLU. As in DGI, a bilinear discriminator tells
nodes from nodes with shuffled features, but by the summary of the other view:

    L = L_jsd(nodes of the graph, summary of the diffusion)
      + L_jsd(nodes of the diffusion, summary of the graph)

Embeddings are the sum of both encoders' outputs.

Cost per epoch: O(E d + N k d + N d F), F the non-zero features of a node: the diffusion keeps
the k largest entries of a node (`top_k`) instead of all N. Before training the diffusion is
computed once, O(N E) in O(N) memory.

Deviations from the authors' code: the diffusion is sparse where theirs is a dense N x N matrix,
and training takes the whole graph where theirs crops four blocks of 2000 consecutive nodes; the
shared heads that the paper puts before the discriminator are left out, as in their code; the
epoch is chosen by validation, not by the training loss. Their Cora accuracy of 86.8 is of
another split than the public one and has not been reproduced (issue 7 of their repository).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from graphcl.config import Count, tunable
from graphcl.encoders import GCN
from graphcl.kernels.sparse_matrix import SparseMatrix
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
from graphcl.views import diffuse_edges


class MVGRLConfig(MethodConfig):
    """Settings of MVGRL; the defaults are the paper's for Cora."""

    epochs: int = tunable(300, low=50, high=3000, log=True, ge=0)
    evaluate_every: Count = 20
    dimension: int = tunable(512, choices=[128, 256, 512], gt=0)
    diffusion: Literal["ppr", "heat"] = "ppr"
    alpha: float = tunable(0.2, low=0.05, high=0.5, gt=0, le=1)
    """Restart probability of personalised PageRank."""
    time: float = tunable(5.0, low=1.0, high=10.0, gt=0)
    """Of the heat kernel."""
    top_k: int = tunable(64, low=16, high=256, gt=0)
    """Entries of the diffusion that every node keeps."""
    feature_scaling: FeatureScaling = "sum"
    """`sum`, every node's (non-negative) features divided by their sum, is the authors'."""


class MVGRL(GraphMethod):
    """Nodes of a graph against a summary of its diffusion, and back (Hassani 2020)."""

    Config = MVGRLConfig

    def __init__(self, config: MVGRLConfig, data: Any) -> None:
        super().__init__(config, data)
        self.encoder = GCN(data.num_features, [config.dimension], activation="prelu")
        self.diffusion_encoder = GCN(data.num_features, [config.dimension], activation="prelu")
        self.discriminator = SummaryDiscriminator(config.dimension)
        self.infomax = JSD()
        self.diffusion = self.diffuse(data)

    def diffuse(self, data: Any) -> SparseMatrix:
        """The diffusion of a graph, the `top_k` largest entries of every node."""
        edge_index, weight = diffuse_edges(
            data.edge_index, num_nodes=data.num_nodes, kernel=self.config.diffusion,
            alpha=self.config.alpha, time=self.config.time, top_k=self.config.top_k,
        )  # fmt: skip
        return SparseMatrix.from_edge_index(
            edge_index, weight, shape=int(data.num_nodes), rows="target"
        )

    def loss(self, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        """Both views' nodes against the other's summary, one corruption."""
        features = self.features_of(batch)
        order = shuffled_rows(batch.num_nodes, generator, batch.x.device)
        graph = encode_with_corruption(self.encoder, features, self.matrix_of(batch), order)
        diffusion = encode_with_corruption(self.diffusion_encoder, features, self.diffusion, order)
        parts = {
            "graph": self._infomax(graph, summarise(diffusion[0])),
            "diffusion": self._infomax(diffusion, summarise(graph[0])),
        }
        # The mean binary cross-entropy over both views; JSD is twice the cross-entropy.
        return {**parts, "total": (parts["graph"] + parts["diffusion"]) / 4}

    @torch.no_grad()
    def embed(self, data: Any) -> Tensor:
        """The sum (N, d) of both views' embeddings."""
        features = self.features_of(data)
        diffusion = self.diffusion if data is self.data else self.diffuse(data)
        embedding: Tensor = self.encoder(features, self.matrix_of(data)) + self.diffusion_encoder(
            features, diffusion
        )
        return embedding

    def portable_encoder(self) -> None:
        """None: the diffusion of a graph is no plain function of tensors."""

    def _infomax(self, nodes: tuple[Tensor, Tensor], summary: Tensor) -> Tensor:
        real, corrupted = (self.discriminator(part, summary) for part in nodes)
        value: Tensor = self.infomax(real, corrupted)
        return value
