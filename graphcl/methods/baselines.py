"""What every table of graph results is read against: no learning at all.

Raw features show what the graph adds; a random encoder shows what training adds. On some
graphs a random GCN is close to published methods (about 69 % on ogbn-arxiv), so no number
is printed without both.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from graphcl.encoders import GCN
from graphcl.kernels.sparse_matrix import SparseMatrix
from graphcl.methods.contract import Method, MethodConfig, PortableEncoder
from graphcl.methods.features import prepare_features
from graphcl.methods.meta_path_graph import meta_path_graph
from graphcl.methods.portable import portable_gcn

TASKS = (
    "node-classification",
    "link-prediction",
    "clustering",
    "heterogeneous-node-classification",
)


class BaselineConfig(MethodConfig):
    """Nothing is trained."""

    epochs: int = 0


class RandomEncoderConfig(BaselineConfig):
    """Settings of the random encoder."""

    dimension: int = 128
    """Width of the embeddings; the first GCN layer is twice as wide."""
    neighbours: int = 100
    """Of a node on each meta-path of a heterogeneous graph: the most similar by PathSim."""


class RawFeatures(Method):
    """The node features themselves, no graph and no training."""

    Config = BaselineConfig
    tasks = TASKS
    trainable = False

    def embed(self, data: Any) -> Tensor:
        """The features (N, F), of a heterogeneous graph those of the target nodes.

        Target nodes without features are all alike: one constant column.
        """
        nodes = data[data.target] if isinstance(data, HeteroData) else data
        features: Tensor | None = nodes.get("x")
        return torch.ones(int(nodes.num_nodes), 1) if features is None else features


class RandomEncoder(Method):
    """A two-layer GCN with random weights, the encoder of GRACE and CSGCL before training."""

    Config = RandomEncoderConfig
    tasks = TASKS
    trainable = False

    def __init__(self, config: RandomEncoderConfig, data: Any) -> None:
        super().__init__(config, data)
        features, _ = self._inputs(data)
        self.encoder = GCN(features.shape[1], [2 * config.dimension, config.dimension])

    @torch.no_grad()
    def embed(self, data: Any) -> Tensor:
        """Encoder output (N, dimension); of a heterogeneous graph over the mean meta-path graph."""
        embedding: Tensor = self.encoder(*self._inputs(data))
        return embedding

    def portable_encoder(self) -> PortableEncoder | None:
        """The encoder on raw features and edges; None on a heterogeneous graph."""
        if isinstance(self.data, HeteroData):
            return None
        return portable_gcn(self.encoder, self.data, scaling="sum")

    def _inputs(self, data: Any) -> tuple[Tensor | SparseMatrix, Tensor | SparseMatrix]:
        if not isinstance(data, HeteroData):
            return prepare_features(data.x, "sum"), data.edge_index
        neighbours = [self.config.neighbours] * len(data.meta_paths)
        graph = meta_path_graph(data, neighbours, feature_scaling="sum")
        return graph.features[graph.target], graph.mean_matrix()
