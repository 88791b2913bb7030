"""What methods with one encoder on one graph share: features, a random view, embeddings."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from graphcl.encoders import GCN, gcn_matrix
from graphcl.kernels.sparse_matrix import SparseMatrix
from graphcl.methods.contract import Method, PortableEncoder
from graphcl.methods.features import prepare_features
from graphcl.methods.portable import portable_gcn
from graphcl.views import drop_edges, mask_features


class GraphMethod(Method):
    """Prepares the features once; embeddings are those of `self.encoder` on the whole graph.

    A subclass has `normalise_features` in its Config and sets `self.encoder`.
    """

    tasks = ("node-classification", "link-prediction", "clustering")
    encoder: Any

    def __init__(self, config: Any, data: Any) -> None:
        super().__init__(config, data)
        self.features = prepare_features(data.x, scale=config.normalise_features)
        self._matrix: SparseMatrix | None = None

    @torch.no_grad()
    def embed(self, data: Any) -> Tensor:
        """Encoder output (N, d) on the un-augmented graph."""
        embedding: Tensor = self.encoder(self.features_of(data), self.matrix_of(data))
        return embedding

    def portable_encoder(self) -> PortableEncoder | None:
        """The encoder on raw features and edges, where it is a GCN."""
        if not isinstance(self.encoder, GCN):
            return None
        return portable_gcn(self.encoder, self.data, scale=self.config.normalise_features)

    def features_of(self, data: Any) -> Tensor | SparseMatrix:
        """The features of `data` as the encoder takes them."""
        if data is self.data:
            return self.features
        return prepare_features(data.x, scale=self.config.normalise_features)

    def matrix_of(self, data: Any) -> SparseMatrix:
        """The propagation matrix of the un-augmented graph; that of the training data is kept."""
        if data is not self.data:
            return gcn_matrix(data.edge_index, data.num_nodes)
        if self._matrix is None:
            self._matrix = gcn_matrix(data.edge_index, data.num_nodes, undirected=True)
        return self._matrix

    def random_view(
        self, data: Any, edge_rate: float, feature_rate: float, generator: torch.Generator
    ) -> tuple[Tensor | SparseMatrix, SparseMatrix]:
        """Features and propagation matrix with random edges dropped and columns masked.

        The two corruptions of GRACE (Zhu et al. 2020, section 3.2.1), both directions of an edge
        together; what most two-view methods draw in every epoch.
        """
        edge_index, _ = drop_edges(
            data.edge_index, edge_rate, num_nodes=data.num_nodes, generator=generator
        )
        x, _ = mask_features(self.features, feature_rate, generator=generator)
        return x, gcn_matrix(edge_index, data.num_nodes, undirected=True)
