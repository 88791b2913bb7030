"""HCCF: contrast of the user-item graph with a learned hypergraph of users, and one of items.

Xia, Huang, Xu, Zhao, Yin & Huang, "Hypergraph Contrastive Collaborative Filtering", SIGIR 2022
(arXiv 2204.12200).

With A the normalised adjacency of LightGCN, W (d, K) learned for each side, and H = E^(0) W the
degree to which each node belongs to each of K hyperedges,

    Z^(l) = act(A E^(l-1)),     G^(l) = act(H act(H^T E^(l-1)))     on each side by itself
    E^(l) = Z^(l) + G^(l),      E = sum_{l=0..L} E^(l)
    contrast = sum over l = 1 .. L and the sides {users, items} of
        mean_{a in batch} [ log sum_v exp(cos(sg Z^(l)_a, G^(l)_v) / tau)
                            - cos(sg Z^(l)_a, G^(l)_a) / tau ]
    total = bpr(E) + contrast_weight * contrast + l2

v runs over all users, or all items; sg stops the gradient; `dropout` leaves edges out of A and
entries out of H. The N x N matrix H H^T is never formed.

Deviations from the paper follow the authors' torch code: no further layers on top of the
hyperedges (the paper's psi), no residual inside E^(l), BPR in place of a hinge, sg in the contrast.
`slope` 1 makes act the identity, as that code does; the paper's is a leaky ReLU of 0.5. Against
that code: l2 is of the batch's own embeddings (theirs: of all parameters); one mask of edges and
one of H a step (theirs: one a layer), and an edge leaves in both directions.

Cost of a step: that of LightGCN, O(L (M + N) K d) for the hypergraphs and O(L B (M + N) d) for the
contrast in O((M + N) (d + K)) memory.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphcl.config import tunable
from graphcl.kernels.spmm import Matrix, spmm
from graphcl.losses import InfoNCEAllNodes
from recsys.data.batches import TripleBatch
from recsys.data.interactions import Interactions
from recsys.methods.lightgcn import LightGCN, LightGCNConfig
from recsys.methods.sides import Sides, all_node_contrast


class HCCFConfig(LightGCNConfig):
    """Settings of HCCF: those of LightGCN, the hypergraphs' and the contrast's."""

    layers: int = tunable(2, choices=[1, 2, 3], ge=1)
    """Propagation steps L of both views."""
    minimum_epochs: int = 20
    """The contrast delays the ranking: stopping earlier would keep an untrained model."""
    hyperedges: int = tunable(128, choices=[32, 64, 128, 256], ge=1)
    """K: hyperedges of the users, and as many of the items."""
    dropout: float = tunable(0.5, choices=[0.0, 0.25, 0.5], ge=0, lt=1)
    """Share of edges and of entries of H left out at each step; the others are scaled up."""
    slope: float = tunable(1.0, choices=[0.5, 1.0], ge=0, le=1)
    """Slope of act below zero; 1 is no activation."""
    temperature: float = tunable(0.1, low=0.05, high=1.0, log=True, ge=1e-3, le=10)
    contrast_weight: float = tunable(0.2, low=1e-3, high=1.0, log=True, ge=0)


class HCCF(LightGCN):
    """LightGCN with learned hypergraphs as a second, global view (Xia et al. 2022)."""

    Config = HCCFConfig
    config: HCCFConfig

    def __init__(self, config: HCCFConfig, data: Interactions) -> None:
        super().__init__(config, data)
        shape = (config.dimension, config.hyperedges)
        self.user_hyperedges = nn.Parameter(torch.empty(shape, device=data.device))
        self.item_hyperedges = nn.Parameter(torch.empty(shape, device=data.device))
        for weight in (self.user_hyperedges, self.item_hyperedges):
            nn.init.xavier_uniform_(weight)
        self.info_nce = InfoNCEAllNodes(config.temperature)

    def reset_parameters(self) -> None:
        """Embeddings from Xavier's uniform distribution, each side by itself."""
        for side in self.split(self.embeddings.data):
            nn.init.xavier_uniform_(side)

    def act(self, x: Tensor) -> Tensor:
        """A leaky ReLU."""
        return x if self.config.slope == 1 else nn.functional.leaky_relu(x, self.config.slope)

    def memberships(self, generator: torch.Generator | None) -> Sides:
        """H of the users (M, K) and of the items (N, K), with entries left out by `generator`."""
        users, items = self.split(self.embeddings)
        sides = users @ self.user_hyperedges, items @ self.item_hyperedges
        if generator is None or self.config.dropout == 0:
            return sides
        kept = 1 - self.config.dropout
        thinned = []
        for side in sides:
            drawn = torch.rand(side.shape, generator=generator, device=generator.device)
            thinned.append(side * (drawn < kept).to(side.device) / kept)
        return thinned[0], thinned[1]

    def views(
        self, generator: torch.Generator | None = None
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """E, and Z^(l) and G^(l) for l = 1 .. L; each (M + N, d). A generator thins them."""
        adjacency: Matrix = self.adjacency
        if generator is not None:
            adjacency = self.drop_edges(self.config.dropout, generator)
        memberships = self.memberships(generator)
        current: Tensor = self.embeddings
        total = current
        local, global_ = [], []
        for _ in range(self.config.layers):
            local.append(self.act(spmm(adjacency, current)))
            sides = zip(memberships, self.split(current), strict=True)
            global_.append(torch.cat([self.act(h @ self.act(h.T @ e)) for h, e in sides]))
            current = local[-1] + global_[-1]
            total = total + current
        return total, local, global_

    def propagate(self) -> tuple[Tensor, Tensor]:
        """Final embeddings of all users (M, d) and items (N, d), nothing left out."""
        return self.split(self.views()[0])

    def loss(self, batch: TripleBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """`bpr`, `contrast` and `l2` (both weighted) and their sum `total`."""
        final, local, global_ = self.views(generator)
        users, items = self.split(final)
        nodes = (batch.users, batch.positives)
        contrast = final.new_zeros(())
        for graph, hypergraph in zip(local, global_, strict=True):
            query, key = self.split(graph.detach()), self.split(hypergraph)
            of_users, of_items = all_node_contrast(self.info_nce, query, key, nodes)
            contrast = contrast + of_users + of_items
        parts = {
            "bpr": self.ranking_loss(users, items, batch),
            "contrast": self.config.contrast_weight * contrast,
            "l2": self.penalty(batch),
        }
        return {"total": parts["bpr"] + parts["contrast"] + parts["l2"], **parts}
