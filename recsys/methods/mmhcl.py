"""MMHCL: hypergraphs of users by what they took and of items by their modalities.

Guo, Zhang, Wang, Wang, Zhang, Liu & Cui, "MMHCL: Multi-Modal Hypergraph Contrastive Learning for
Recommendation", ACM TOMM 2025 (arXiv 2504.16576).

With R the user-item matrix, I_m (N, N) the `neighbours` nearest items of each item in modality m
(itself included), and three tables of embeddings X (users and items), P (users) and Q (items),

    user-item:  E = LightGCN(X)
    user-user:  W_U = D^-1 (R R^T - diag(R 1)),              P' = W_U^user_layers P
    item-item:  W_I = D^-1/2 (sum_m I_m I_m^T) D^-1/2,       Q' = W_I^item_layers Q
    u = E_u + P' / |P'|,     i = E_i + Q' / |Q'|             row by row
    contrast of the users, with c the cosine and over all of them:
        mean_a [ log ( sum_b e^{c(u_a, P'_b) / tau} + sum_{b != a} e^{c(u_a, u_b) / tau} )
                 - c(u_a, P'_a) / tau ]                      and of the items, of i and Q'
    total = bpr(u, i) + user_weight * users + item_weight * items + l2
    l2 = weight / (2 B) sum over the batch of |u|^2 + |i|^2 + |j|^2

with D the row sums of what it scales. Neither R R^T nor I_m I_m^T is formed: each is applied as two
sparse products, R (R^T P) and I_m (I_m^T Q). The columns of R (items) are hyperedges of users, the
rows' neighbourhoods are hyperedges of items.

Deviations from the authors' code: an epoch is every interaction once (theirs: as many batches of
1024 distinct users, with one of their items each); the learning rate does not decay; with `anchors`
"batch" the batch's distinct nodes, instead of all, are contrasted with all others, at a fraction of
the cost. Their NDCG is relative to the hits found and compares only where a user has one target.

Cost of a step: that of LightGCN, 2 user_layers + 2 |m| item_layers sparse products, and
O(a (M + N) d) for the contrast of a anchors, in O((M + N) d) memory. Once: nearest neighbours, N^2
cosines in each modality, in blocks.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from graphcl.config import tunable
from graphcl.encoders.lightgcn import propagate
from graphcl.kernels.contrast import contrast
from graphcl.losses.unit_rows import unit_rows
from recsys.data.batches import TripleBatch
from recsys.data.interactions import Interactions
from recsys.data.neighbours import feature_neighbours
from recsys.methods.hypergraph import Hypergraph
from recsys.methods.item_features import needed_item_features
from recsys.methods.lightgcn import LightGCN, LightGCNConfig


class MMHCLConfig(LightGCNConfig):
    """Settings of MMHCL: those of LightGCN, the hypergraphs' and the contrast's."""

    layers: int = tunable(2, choices=[1, 2, 3], ge=0)
    """Propagation steps over the user-item graph."""
    user_layers: int = tunable(2, choices=[1, 2, 3], ge=0)
    """Propagation steps over the users' hypergraph."""
    item_layers: int = tunable(2, choices=[1, 2, 3], ge=0)
    """Propagation steps over the items' hypergraph."""
    minimum_epochs: int = 20
    """The contrast delays the ranking: stopping earlier would keep an untrained model."""
    l2: float = tunable(1e-3, choices=[1e-5, 1e-4, 1e-3, 1e-2], ge=0)
    """Weight of the squared norms of the batch's final embeddings."""
    neighbours: int = tunable(5, choices=[5, 10], ge=1)
    """Items in the neighbourhood of an item in each modality, itself included."""
    temperature: float = tunable(0.5, low=0.3, high=0.7, ge=1e-3, le=10)
    user_weight: float = tunable(0.1, low=1e-2, high=1.0, log=True, ge=0)
    """Weight of the users' contrast."""
    item_weight: float = tunable(0.1, low=1e-2, high=1.0, log=True, ge=0)
    """Weight of the items' contrast."""
    anchors: Literal["all", "batch"] = "all"
    """Nodes that are contrasted with all nodes at each step."""


class MMHCL(LightGCN):
    """LightGCN fused with hypergraphs of users and of items by modality (Guo et al. 2025).

    Raises:
        DataError: the items of `data` have no features.
    """

    Config = MMHCLConfig
    config: MMHCLConfig
    tasks = ("ranking", "cold-start")

    def __init__(self, config: MMHCLConfig, data: Interactions) -> None:
        features = needed_item_features(data, "mmhcl")
        super().__init__(config, data)
        self.user_table = nn.Parameter(torch.empty(data.num_users, config.dimension))
        self.item_table = nn.Parameter(torch.empty(data.num_items, config.dimension))
        for table in (self.user_table, self.item_table):
            nn.init.xavier_uniform_(table)
        self.to(data.device)
        self.user_hypergraph = Hypergraph.mean_of_others(self.interactions)
        self.item_hypergraph = Hypergraph.symmetric(
            [feature_neighbours(f, config.neighbours, itself=True) for f in features.values()]
        )

    def reset_parameters(self) -> None:
        """Embeddings from Xavier's uniform distribution, each side by itself."""
        for side in self.split(self.embeddings.data):
            nn.init.xavier_uniform_(side)

    def views(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """The final u (M, d) and i (N, d), and P' and Q' of the hypergraphs."""
        users, items = self.split(propagate(self.adjacency, self.embeddings, self.config.layers))
        alike_users: Tensor = self.user_table
        alike_items: Tensor = self.item_table
        for _ in range(self.config.user_layers):
            alike_users = self.user_hypergraph(alike_users)
        for _ in range(self.config.item_layers):
            alike_items = self.item_hypergraph(alike_items)
        final = users + unit_rows(alike_users), items + unit_rows(alike_items)
        return final, (alike_users, alike_items)

    def propagate(self) -> tuple[Tensor, Tensor]:
        """Final embeddings of all users (M, d) and items (N, d)."""
        return self.views()[0]

    def loss(self, batch: TripleBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """`bpr`, `user_contrast`, `item_contrast` and `l2` (weighted) and their sum `total`."""
        final, alike = self.views()
        nodes: list[Tensor | None] = [batch.users, batch.positives]
        if self.config.anchors == "all":
            nodes = [None, None]
        of_users, of_items = map(self.contrast, final, alike, nodes)
        parts = {
            "bpr": self.ranking_loss(*final, batch),
            "user_contrast": self.config.user_weight * of_users,
            "item_contrast": self.config.item_weight * of_items,
            "l2": self.final_penalty(*final, batch),
        }
        return {"total": torch.stack(list(parts.values())).sum(), **parts}

    def contrast(self, fused: Tensor, alike: Tensor, nodes: Tensor | None) -> Tensor:
        """The contrast of one side, unweighted: mean over `nodes`, all of them for None."""
        one, other = unit_rows(fused), unit_rows(alike)
        every = torch.arange(len(one), device=one.device)
        anchors = every if nodes is None else torch.unique(nodes)
        output = contrast(
            one[anchors],
            torch.cat([other, one]),
            scale=1 / self.config.temperature,
            positive=anchors,
            row_ids=anchors,
            # A node is no candidate for itself in the fused view.
            column_ids=torch.cat([torch.full_like(every, -1), every]),
        )
        return (output.denominator - output.positive).mean()

    def final_penalty(self, users: Tensor, items: Tensor, batch: TripleBatch) -> Tensor:
        """Squared norms of the batch's final embeddings, halved, per triple, weighted."""
        rows = users[batch.users], items[batch.positives], items[batch.negatives]
        squares = torch.stack([row.square().sum() for row in rows]).sum()
        return self.config.l2 / (2 * len(batch.users)) * squares
