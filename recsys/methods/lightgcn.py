"""LightGCN: propagation over the user-item graph without weights or activations.

He, Deng, Wang, Li, Zhang & Wang, "LightGCN: Simplifying and Powering Graph Convolution Network
for Recommendation", SIGIR 2020 (arXiv 2002.02126).

With R the user-item matrix and A = D_u^-1/2 R D_i^-1/2,

    E_u^(l) = A E_i^(l-1),   E_i^(l) = A^T E_u^(l-1)          l = 1 .. L       (equation 3)
    E = 1/(L+1) sum_{l=0..L} E^(l)                                            (equation 4)
    total = bpr + l2
    bpr = mean softplus(<e_u, e_j> - <e_u, e_i>)                              (equation 15)
    l2  = weight / (2 B) sum over the batch of |E_u^(0)|^2 + |E_i^(0)|^2 + |E_j^(0)|^2

over B triples of a user u, an item i it took and an item j it did not.

Deviations from the authors' code: triples are drawn per interaction, each once an epoch, not per
uniformly drawn user; negatives never hit a training item, which the authors' code allows in rare
cases by batching. Cost of a step: 2 L sparse products forward and as many backward,
O(L E d), for E interactions; an epoch takes E / batch_size steps, so a large batch is cheap.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from graphcl.config import Count, tunable
from graphcl.encoders.lightgcn import bipartite_adjacency, propagate
from graphcl.kernels.sparse_matrix import SparseMatrix
from graphcl.losses import BPR
from graphcl.methods.contract import MethodConfig
from recsys.data.batches import TripleBatch, TripleBatches
from recsys.data.interactions import Interactions
from recsys.methods.contract import Recommender


class LightGCNConfig(MethodConfig):
    """Settings of LightGCN."""

    epochs: int = tunable(100, low=20, high=1000, log=True, ge=0)
    learning_rate: float = tunable(5e-3, low=5e-4, high=2e-2, log=True, gt=0)
    evaluate_every: Count = 5
    patience: Count = 5
    dimension: int = tunable(64, choices=[32, 64, 128], ge=1)
    layers: int = tunable(3, choices=[1, 2, 3, 4], ge=0)
    """Propagation steps L; 0 is plain matrix factorisation."""
    batch_size: int = tunable(2048, choices=[1024, 2048, 4096, 8192], ge=1)
    """Triples in a batch."""
    l2: float = tunable(1e-4, low=1e-6, high=1e-1, log=True, ge=0)
    """Weight of the squared norms of the batch's own embeddings."""


class LightGCN(Recommender):
    """Linear propagation over the user-item graph, trained by BPR (He et al. 2020)."""

    Config = LightGCNConfig
    tasks = ("ranking", "next-item")

    def __init__(self, config: LightGCNConfig, data: Interactions) -> None:
        super().__init__(config, data)
        self.num_users = data.num_users
        nodes = data.num_users + data.num_items
        self.embeddings = nn.Parameter(torch.empty(nodes, config.dimension))
        """E^(0): users first, then items."""
        self.reset_parameters()
        self.to(data.device)
        edges = torch.stack(data.edges())
        self.interactions = SparseMatrix.from_edge_index(
            edges, shape=(data.num_users, data.num_items)
        )
        """R (M, N): one where a user took an item, however often."""
        self.adjacency = bipartite_adjacency(self.interactions).normalised("symmetric")
        self.bpr = BPR()
        self._batches = TripleBatches(data, config.batch_size)
        self._cached: tuple[tuple[int, int], tuple[Tensor, Tensor]] | None = None

    def reset_parameters(self) -> None:
        """Embeddings from N(0, 0.1^2), as in the authors' code."""
        nn.init.normal_(self.embeddings, std=0.1)

    def batches(self, generator: torch.Generator) -> Iterator[TripleBatch]:
        """Every training interaction once, each with a negative item."""
        yield from self._batches.epoch(generator)

    def propagate(self) -> tuple[Tensor, Tensor]:
        """Final embeddings of all users (M, d) and items (N, d)."""
        return self.split(propagate(self.adjacency, self.embeddings, self.config.layers))

    def split(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """(M + N, d) -> users (M, d) and items (N, d)."""
        return nodes[: self.num_users], nodes[self.num_users :]

    def loss(self, batch: TripleBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """`bpr`, `l2` (weighted) and their sum `total`."""
        users, items = self.propagate()
        parts = {"bpr": self.ranking_loss(users, items, batch), "l2": self.penalty(batch)}
        return {"total": parts["bpr"] + parts["l2"], **parts}

    def ranking_loss(self, users: Tensor, items: Tensor, batch: TripleBatch) -> Tensor:
        """BPR of the batch from final embeddings."""
        anchor = users[batch.users]
        positive = (anchor * items[batch.positives]).sum(1)
        negative = (anchor * items[batch.negatives]).sum(1)
        return self.bpr(positive, negative)

    def penalty(self, batch: TripleBatch) -> Tensor:
        """Squared norms of the batch's own (layer 0) embeddings, halved, per triple, weighted."""
        rows = (
            batch.users,
            self.num_users + batch.positives,
            self.num_users + batch.negatives,
        )
        squares = torch.stack([self.embeddings[row].square().sum() for row in rows]).sum()
        return self.config.l2 / (2 * len(batch.users)) * squares

    @torch.no_grad()
    def representations(self) -> tuple[Tensor, Tensor]:
        """Final embeddings (M, d) and (N, d) without gradient, kept until a parameter changes."""
        # torch counts every change in place: optimiser steps and loaded states alike.
        version = (self.embeddings.data_ptr(), self.embeddings._version)
        if self._cached is None or self._cached[0] != version:
            self._cached = (version, self.propagate())
        return self._cached[1]

    @torch.no_grad()
    def score(self, users: Tensor, history: Interactions) -> Tensor:
        """<e_u, e_i> for all items, (B, num_items); `history` is not used."""
        all_users, items = self.representations()
        return all_users[users] @ items.T

    @torch.no_grad()
    def embed(self, data: Interactions) -> Tensor:
        """Final item embeddings (num_items, d)."""
        return self.representations()[1].clone()
