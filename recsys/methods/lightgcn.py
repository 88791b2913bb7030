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

import torch
from torch import Tensor

from graphcl.config import tunable
from graphcl.encoders.lightgcn import bipartite_adjacency, propagate
from graphcl.kernels.spmm import Matrix, SparseMatrix, drop_entries
from recsys.data.interactions import Interactions
from recsys.methods.bpr import BPRMF, BPRConfig


class LightGCNConfig(BPRConfig):
    """Settings of LightGCN: those of BPR-MF and the number of layers."""

    layers: int = tunable(3, choices=[1, 2, 3, 4], ge=0)
    """Propagation steps L; 0 is plain matrix factorisation."""


class LightGCN(BPRMF):
    """Linear propagation over the user-item graph, trained by BPR (He et al. 2020).

    `embeddings` are E^(0), drawn from N(0, 0.1^2) as in the authors' code.
    """

    Config = LightGCNConfig
    config: LightGCNConfig

    def __init__(self, config: LightGCNConfig, data: Interactions) -> None:
        super().__init__(config, data)
        self.interactions = SparseMatrix.from_edge_index(
            torch.stack(data.edges()), shape=(data.num_users, data.num_items)
        )
        """R (M, N): one where a user took an item, however often."""
        self.adjacency = bipartite_adjacency(self.interactions).normalised("symmetric")

    def propagate(self) -> tuple[Tensor, Tensor]:
        """Final embeddings of all users (M, d) and items (N, d)."""
        return self.split(propagate(self.adjacency, self.embeddings, self.config.layers))

    def drop_edges(
        self, rate: float, generator: torch.Generator, *, undirected: bool = True
    ) -> Matrix:
        """The adjacency without a random share of its edges; the others are scaled up.

        Nothing is left out when the method is not training. `undirected` edges leave in both
        directions; otherwise each direction has a draw of its own.
        """
        if not self.training or rate == 0:
            return self.adjacency
        return drop_entries(self.adjacency, rate, generator=generator, undirected=undirected)
