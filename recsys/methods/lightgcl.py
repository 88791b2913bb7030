"""LightGCL: contrast with a low-rank view of the whole user-item graph.

Cai, Huang, Xia & Ren, "LightGCL: Simple Yet Effective Graph Contrastive Learning for
Recommendation", ICLR 2023 (arXiv 2302.08191).

With A = D_u^-1/2 R D_i^-1/2 and its truncated SVD A ~ U S V^T of rank q,

    E_u^(l) = A E_i^(l-1),           E_i^(l) = A^T E_u^(l-1)            main view, l = 1 .. L
    G_u^(l) = U S (V^T E_i^(l-1)),   G_i^(l) = V S (U^T E_u^(l-1))      low-rank view
    E = sum_{l=0..L} E^(l),          G = E^(0) + sum_{l=1..L} G^(l)
    contrast = sum over the sides {users, items} of
        mean_{a in batch} [ log sum_{v} exp(cos(G_a, E_v) / tau) - cos(G_a, E_a) / tau ]
    total = bpr(E) + contrast_weight * contrast + l2

The low-rank view stays factored: O(q (M + N) d) a layer, never M x N.

Deviations. The paper and the code its authors released later are two different algorithms. The
variant "cosine", the only one here, follows the released code except where that code is unstable:

- similarity is the cosine; released: raw inner products, whose exponential overflows in float32
  at 88.7 tau (paper: cosine);
- no clamping; released: the positive logit is clamped to [-5, 5], where its gradient vanishes;
- anchors are the batch's distinct users and distinct positive items; released: users as often
  as they occur, and positive together with negative items; paper: a random half of the batch;
- negatives are all users or items, as released (`negatives="all"`), or the batch's distinct
  ones (`negatives="batch"`), as in the paper;
- the two sides are means over their anchors, as released; paper: sums;
- the contrast is of the final embeddings E and G, as released, which share E^(0); paper: of each
  layer by itself, with a learned matrix on the low-rank side;
- sparse products carry no activation and no residual, as released; paper: LeakyReLU(0.5) and
  a residual;
- the SVD is of the normalised A, as released (paper: of R), and is nearly exact (block Krylov);
  released: two power iterations without oversampling;
- BPR on one negative per interaction, as released; paper: a hinge over many pairs a user;
- l2 penalises the batch's own embeddings, halved and per triple, as LightGCN does; released:
  all parameters at every step;
- edge dropout draws one mask a step for both directions; released: two.

The released weight 0.2 belongs to the released loss. The cosine loss pushes all nodes apart, which
on dense data costs accuracy beyond a weight of about 0.01.

Cost of a step: that of LightGCN, plus O(q L (M + N) d) for the view and O(A (M + N) d) for the
contrast of A anchors, in O((M + N) d) memory.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from graphcl.config import tunable
from graphcl.encoders.lightgcn import propagate
from graphcl.errors import ConfigError
from graphcl.kernels.spmm import Matrix, drop_entries, spmm
from graphcl.kernels.svd import truncated_svd
from graphcl.losses import InfoNCEAllNodes
from recsys.data.batches import TripleBatch
from recsys.data.interactions import Interactions
from recsys.methods.lightgcn import LightGCN, LightGCNConfig

DEFAULT_RANK = 5
SVD_SEED = 0
"""The SVD is exact up to rounding of its last digits, so its random start is not a run's seed."""


class LightGCLConfig(LightGCNConfig):
    """Settings of LightGCL: those of LightGCN and the contrast's."""

    layers: int = tunable(2, choices=[1, 2, 3], ge=1)
    """Propagation steps L of both views."""
    variant: Literal["cosine"] = "cosine"
    """Which LightGCL; the module lists how it differs from the paper and the released code."""
    negatives: Literal["all", "batch"] = tunable("all", choices=["all", "batch"])
    """Candidates of the contrast: every user or item, or the batch's distinct ones."""
    rank: int = tunable(DEFAULT_RANK, choices=[5, 10, 20, 50], ge=1)
    """Rank q of the low-rank view, at most the number of users and of items; up to the default 5
    it is lowered to that on smaller logs."""
    temperature: float = tunable(0.2, low=0.05, high=2.0, log=True, ge=1e-3, le=10)
    contrast_weight: float = tunable(0.01, low=1e-4, high=1.0, log=True, ge=0)
    edge_dropout: float = tunable(0.0, choices=[0.0, 0.1, 0.25], ge=0, lt=1)
    """Share of edges left out of the main view at each step; the others are scaled up."""


class LightGCL(LightGCN):
    """LightGCN contrasted with a low-rank (SVD) view of the whole graph (Cai et al. 2023).

    Raises:
        ConfigError: a `rank` above 5 exceeds the number of users or items.
    """

    Config = LightGCLConfig
    config: LightGCLConfig
    user_factor: Tensor
    """U (M, q), orthonormal columns."""
    item_factor: Tensor
    """V (N, q), orthonormal columns."""
    singular: Tensor
    """Diagonal of S (q,), largest first."""

    def __init__(self, config: LightGCLConfig, data: Interactions) -> None:
        super().__init__(config, data)
        self.info_nce = InfoNCEAllNodes(config.temperature)
        generator = torch.Generator().manual_seed(SVD_SEED)
        largest = min(data.num_users, data.num_items)
        if config.rank > max(largest, DEFAULT_RANK):
            raise ConfigError(
                f"setting 'rank' must be at most {largest} for {data.num_users} users and "
                f"{data.num_items} items (got {config.rank})"
            )
        # Nobody chose the default, so it has to work on a log of three users too.
        svd = truncated_svd(
            self.interactions.normalised("symmetric"),
            min(config.rank, largest),
            generator=generator,
        )
        self.register_buffer("user_factor", svd.left, persistent=False)
        self.register_buffer("item_factor", svd.right, persistent=False)
        self.register_buffer("singular", svd.singular, persistent=False)

    def reset_parameters(self) -> None:
        """Embeddings from Xavier's uniform distribution, each side by itself (released code)."""
        for side in self.split(self.embeddings.data):
            nn.init.xavier_uniform_(side)

    def views(self, adjacency: Matrix) -> tuple[Tensor, Tensor]:
        """The main view E and the low-rank view G, each (M + N, d).

        Both apply a matrix to E^(0) + ... + E^(L-1), so one product of each serves all layers.
        """
        inner = propagate(adjacency, self.embeddings, self.config.layers - 1, readout="sum")
        main = self.embeddings + spmm(adjacency, inner)
        return main, self.embeddings + self.low_rank(inner)

    def low_rank(self, nodes: Tensor) -> Tensor:
        """[[0, U S V^T], [V S U^T, 0]] times `nodes` (M + N, d), never forming the product."""
        users, items = self.split(nodes)
        to_users = (self.user_factor * self.singular) @ (self.item_factor.T @ items)
        to_items = (self.item_factor * self.singular) @ (self.user_factor.T @ users)
        return torch.cat([to_users, to_items])

    def propagate(self) -> tuple[Tensor, Tensor]:
        """Final embeddings of all users (M, d) and items (N, d), the main view's sum."""
        main = propagate(self.adjacency, self.embeddings, self.config.layers, readout="sum")
        return self.split(main)

    def loss(self, batch: TripleBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """`bpr`, `contrast` and `l2` (both weighted) and their sum `total`."""
        main, low_rank = self.views(self._drop_edges(generator))
        users, items = self.split(main)
        low_rank_users, low_rank_items = self.split(low_rank)
        contrast = self.contrast(low_rank_users, users, batch.users)
        contrast = contrast + self.contrast(low_rank_items, items, batch.positives)
        parts = {
            "bpr": self.ranking_loss(users, items, batch),
            "contrast": self.config.contrast_weight * contrast,
            "l2": self.penalty(batch),
        }
        return {"total": parts["bpr"] + parts["contrast"] + parts["l2"], **parts}

    def contrast(self, view: Tensor, main: Tensor, nodes: Tensor) -> Tensor:
        """InfoNCE of the distinct `nodes`: low-rank view against the main view, unweighted."""
        anchors = torch.unique(nodes)
        if self.config.negatives == "all":
            return self.info_nce(view[anchors], main, anchors)
        own_row = torch.arange(len(anchors), device=anchors.device)
        return self.info_nce(view[anchors], main[anchors], own_row)

    def _drop_edges(self, generator: torch.Generator) -> Matrix:
        rate = self.config.edge_dropout
        if not self.training or rate == 0:
            return self.adjacency
        return drop_entries(self.adjacency, rate, generator=generator)
