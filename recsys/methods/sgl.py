"""SGL: contrast of two randomly thinned graphs, drawn anew every epoch.

Wu, Wang, Feng, He, Chen, Lian & Xie, "Self-supervised Graph Learning for Recommendation", SIGIR
2021 (arXiv 2010.10783).

    node drop:   users and items leave with probability rho, and their edges with them
    edge drop:   edges leave with probability rho
    random walk: edge drop with another draw at every layer
    X', X'' = LightGCN on two such graphs, E = LightGCN on the whole graph
    contrast = sum over the sides {users, items} of
        mean_{a in batch} [ log sum_{v} exp(cos(X'_a, X''_v) / tau)
                            - cos(X'_a, X''_a) / tau ]
    total = bpr(E) + contrast_weight * contrast + l2

v runs over all users, or all items. Thinned graphs are normalised by their own degrees, and an
edge leaves in both directions.

Deviations from the authors' code: edges are kept independently of one another instead of a fixed
share of them; the contrast is a mean over the batch's distinct users and distinct positive items
(theirs: a sum over all its rows, beside a summed BPR, so that weights compare).

Cost of a step: three propagations, 3 L sparse products forward and backward, and O(B (M + N) d) for
the contrast in O((M + N) d) memory. Cost of an epoch's graphs: O(E), on the data's device.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from graphcl.config import tunable
from graphcl.encoders.lightgcn import bipartite_adjacency
from graphcl.kernels.sparse_matrix import SparseMatrix
from graphcl.kernels.spmm import spmm
from graphcl.losses import InfoNCEAllNodes
from recsys.data.batches import TripleBatch
from recsys.data.interactions import Interactions
from recsys.methods.lightgcn import LightGCN, LightGCNConfig
from recsys.methods.sides import all_node_contrast

Graphs = list[SparseMatrix]
"""One normalised adjacency for each layer."""


class SGLConfig(LightGCNConfig):
    """Settings of SGL: those of LightGCN and the contrast's."""

    layers: int = tunable(3, choices=[1, 2, 3], ge=1)
    """Propagation steps L of all views."""
    minimum_epochs: int = 20
    """The contrast delays the ranking: stopping earlier would keep an untrained model."""
    augmentation: Literal["edge", "node", "walk"] = tunable(
        "edge", choices=["edge", "node", "walk"]
    )
    """What leaves the graph: edges, nodes, or other edges at every layer."""
    drop_rate: float = tunable(0.1, choices=[0.0, 0.1, 0.2, 0.3, 0.4], ge=0, lt=1)
    """rho: the probability to leave."""
    temperature: float = tunable(0.2, low=0.1, high=0.5, ge=1e-3, le=10)
    contrast_weight: float = tunable(0.1, low=1e-3, high=1.0, log=True, ge=0)


class SGL(LightGCN):
    """LightGCN with a contrast of two thinned graphs (Wu et al. 2021)."""

    Config = SGLConfig
    config: SGLConfig

    def __init__(self, config: SGLConfig, data: Interactions) -> None:
        super().__init__(config, data)
        self.info_nce = InfoNCEAllNodes(config.temperature)
        self._graphs: list[Graphs] = []

    def epoch_start(self, epoch: int, generator: torch.Generator) -> None:
        """Draw the epoch's two views."""
        self._graphs = [self.draw_view(generator) for _ in range(2)]

    def draw_view(self, generator: torch.Generator) -> Graphs:
        """The normalised adjacency of each layer of one view."""
        if self.config.augmentation == "walk":
            return [self.thinned(generator) for _ in range(self.config.layers)]
        return [self.thinned(generator)] * self.config.layers

    def thinned(self, generator: torch.Generator) -> SparseMatrix:
        """The normalised adjacency (M + N, M + N) of what one draw leaves of the graph."""
        matrix = self.interactions
        if self.config.augmentation == "node":
            users, items = (self._stay(size, generator) for size in matrix.shape)
            kept = users[matrix.row] & items[matrix.column]
        else:
            kept = self._stay(matrix.entries, generator)
        edges = torch.stack([matrix.row[kept], matrix.column[kept]])
        left = SparseMatrix.from_edge_index(edges, shape=matrix.shape, dtype=matrix.dtype)
        return bipartite_adjacency(left).normalised("symmetric")

    def _stay(self, count: int, generator: torch.Generator) -> Tensor:
        drawn = torch.rand(count, generator=generator, device=generator.device)
        return (drawn >= self.config.drop_rate).to(self.embeddings.device)

    def view(self, graphs: Graphs) -> tuple[Tensor, Tensor]:
        """LightGCN on other graphs: users (M, d) and items (N, d)."""
        # Horner's scheme runs from the last layer to the first.
        result: Tensor = self.embeddings
        for graph in reversed(graphs):
            result = self.embeddings + spmm(graph, result)
        return self.split(result / (len(graphs) + 1))

    def loss(self, batch: TripleBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """`bpr`, `contrast` and `l2` (both weighted) and their sum `total`."""
        if not self._graphs:
            self.epoch_start(1, generator)
        first, second = (self.view(graphs) for graphs in self._graphs)
        nodes = (batch.users, batch.positives)
        of_users, of_items = all_node_contrast(self.info_nce, first, second, nodes)
        users, items = self.propagate()
        parts = {
            "bpr": self.ranking_loss(users, items, batch),
            "contrast": self.config.contrast_weight * (of_users + of_items),
            "l2": self.penalty(batch),
        }
        return {"total": parts["bpr"] + parts["contrast"] + parts["l2"], **parts}
