"""CCA-SSG: from canonical correlation analysis to self-supervised graph neural networks.

Zhang, Wu, Yan, Wipf, Yu, "From Canonical Correlation Analysis to Self-supervised Graph Neural
Networks", NeurIPS 2021, arXiv 2106.12484.

Two views (dropped edges, masked features), one encoder, no projector, no negatives. With
the embeddings standardised over the nodes, Z~ = (Z - mean) / (deviation sqrt N), equation 4:

    L = || Z~_1 - Z~_2 ||^2 + lambda ( || Z~_1^T Z~_1 - I ||^2 + || Z~_2^T Z~_2 - I ||^2 )

The first term makes the views agree, the second keeps the dimensions from telling the same.
The encoder is a GCN with ReLU after all but the last layer; for graphs whose features say
more than their edges the authors take an MLP (Coauthor-CS), which sees no edge.

Cost per epoch: O(E d + N d^2), linear in the graph; the matrices of the loss are d x d.

Deviations from the authors' code: it has -tr(Z~_1^T Z~_2) for the first term, half of it less
a constant, so its lambda of 1e-3 is `decorrelation: 2e-3` here and the gradient is twice as
large, which Adam does not see; it divides by the deviation with N - 1; it drops the two directions
of an edge apart (`directed_views: true`), here they go together; the MLP's batch normalisation
follows its last layer too, which the loss, standardising its input, does not see.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from graphcl.config import Count, tunable
from graphcl.encoders import GCN, gcn_matrix
from graphcl.kernels.sparse_matrix import SparseMatrix
from graphcl.losses import CCASSG
from graphcl.methods.contract import PortableEncoder
from graphcl.methods.features import FeatureScaling
from graphcl.methods.graph_method import (
    BatchedConfig,
    RandomViewsConfig,
    TwoViewMethod,
    View,
)
from graphcl.methods.portable import portable_gcn


class CCASSGConfig(RandomViewsConfig, BatchedConfig):
    """Settings of CCA-SSG; the defaults are the paper's for Cora."""

    epochs: int = tunable(50, low=20, high=500, log=True, ge=0)
    evaluate_every: Count = 10
    dimension: int = tunable(512, choices=[128, 256, 512], gt=0)
    layers: int = tunable(2, low=1, high=3, ge=1)
    encoder: Literal["gcn", "mlp"] = "gcn"
    decorrelation: float = tunable(2e-3, low=1e-4, high=1e-1, log=True, ge=0)
    """lambda of equation 4, twice that of the authors' code."""
    drop_edges: float = tunable(0.4, low=0.0, high=0.8, ge=0, le=1)
    mask_features: float = tunable(0.1, low=0.0, high=0.8, ge=0, le=1)
    feature_scaling: FeatureScaling = "sum"
    """`sum`: every node's (non-negative) features sum to 1, as Planetoid's graphs come in DGL."""


class CCASSGMethod(TwoViewMethod):
    """Views that agree while their dimensions stay uncorrelated (Zhang et al. 2021)."""

    Config = CCASSGConfig

    def __init__(self, config: CCASSGConfig, data: Any) -> None:
        super().__init__(config, data)
        self.encoder = GCN(
            data.num_features, [config.dimension] * config.layers,
            last_activation=False,
            normalisation="batch" if config.encoder == "mlp" else None,
        )  # fmt: skip
        self.correlation = CCASSG(decorrelation=config.decorrelation)
        self.agreement = CCASSG(decorrelation=0.0)

    def draw_views(self, data: Any, generator: torch.Generator) -> tuple[View, View]:
        """Random edges dropped and columns masked, at the same rates twice."""
        config = self.config
        first, second = (
            self.random_view(data, config.drop_edges, config.mask_features, generator)
            for _ in range(2)
        )
        return first, second

    def drop_probability(self) -> tuple[float, float]:
        """The rate."""
        return self.config.drop_edges, self.config.drop_edges

    def compare(self, z1: Tensor, z2: Tensor, views: tuple[View, View]) -> dict[str, Tensor]:
        """Equation 4."""
        total = self.correlation(z1, z2)
        with torch.no_grad():
            agreement = self.agreement(z1, z2)
        decorrelation = total.detach() - agreement
        return {"agreement": agreement, "decorrelation": decorrelation, "total": total}

    def portable_encoder(self) -> PortableEncoder:
        """The encoder on raw features and edges; an MLP takes no notice of the edges."""
        config = self.config
        return portable_gcn(
            self.encoder, self.data, scaling=config.feature_scaling, edges=config.encoder == "gcn"
        )

    def propagation(
        self, edge_index: Tensor, data: Any, *, undirected: bool = True
    ) -> SparseMatrix:
        """As for any method with a GCN; the identity for an MLP."""
        edges = edge_index if self.config.encoder == "gcn" else edge_index[:, :0]
        return super().propagation(edges, data, undirected=undirected)

    def matrix_of(self, data: Any) -> SparseMatrix:
        """The propagation matrix of the graph; the identity for an MLP."""
        if self.config.encoder == "gcn":
            return super().matrix_of(data)
        return gcn_matrix(data.edge_index[:, :0], data.x.shape[0], undirected=True)
