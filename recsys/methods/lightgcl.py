"""LightGCL: contrast with a low-rank view of the whole user-item graph.

Cai, Huang, Xia & Ren, "LightGCL: Simple Yet Effective Graph Contrastive Learning for
Recommendation", ICLR 2023 (arXiv 2302.08191).

With A = D_u^-1/2 R D_i^-1/2 and a truncated SVD B ~ U S V^T of rank q,

    Z_u^(l) = act(A E_i^(l-1)),           Z_i^(l) = act(A^T E_u^(l-1))        main view, l = 1 .. L
    G_u^(l) = act(U S (V^T E_i^(l-1))),   G_i^(l) = act(V S (U^T E_u^(l-1)))  low-rank view
    E = sum_{l=0..L} E^(l),               G = E^(0) + sum_{l=1..L} G^(l)
    total = ranking(E) + contrast_weight * contrast + l2

The low-rank view stays factored: O(q (M + N) d) a layer, never M x N. The paper and the code that
its authors released later are two different algorithms; both are here, and a third that is
stable (`variant`):

                 released                  paper                       cosine
    act          none                      leaky ReLU, slope 0.5       none
    E^(l)        Z^(l)                     Z^(l) + E^(l-1)             Z^(l)
    B            A, two power iterations   R                           A, nearly exact
    contrast of  G and E, inner products,  Z^(l) and W^(l) G^(l),      G and E, cosine
                 positive logit clamped    cosine, each layer
    candidates   all users, all items      half of the batch's         all, or the batch's
    anchors      the batch's rows, with    the same half, a sum        the batch's users and
                 negative items, a mean                                positive items, a mean
    ranking      BPR                       hinge                       BPR
    l2           all parameters            the batch's embeddings      the batch's embeddings

    contrast = sum over the sides {users, items} of
        mean_a [ log sum_v exp(s(G_a, E_v) / tau) - s(G_a, E_a) / tau ]    (paper: Z_a and W G_v)

Deviations. The released code takes log(sum(exp(.)) + 1e-8), which overflows in float32 at 88.7 tau
(it is an exact log-sum-exp here), draws a mask of edges for each layer (here for each step), and
scores with the embeddings of the last training step (here anew). Its clamp of the positive logit to
[-5, 5] is kept, and with it a gradient of exactly 0 beyond. The paper's hinge is over up to 40
pairs for each of 256 users; here it is the mean over the batch's triples.

The weights differ by orders of magnitude: 0.2 belongs to the released mean of unbounded logits,
1e-7 to the paper's sum. The cosine loss pushes all nodes apart, which on dense data costs accuracy
beyond a weight of about 0.01.

Cost of a step: that of LightGCN, plus O(q L (M + N) d) for the view and O(a (M + N) d) for the
contrast of a anchors with all nodes, in O((M + N) d) memory.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from graphcl.config import tunable
from graphcl.encoders.lightgcn import propagate
from graphcl.errors import ConfigError
from graphcl.kernels.spmm import Matrix, spmm
from graphcl.kernels.svd import truncated_svd
from graphcl.losses import InfoNCE, InfoNCEAllNodes
from recsys.data.batches import TripleBatch
from recsys.data.interactions import Interactions
from recsys.methods.lightgcn import LightGCN, LightGCNConfig

DEFAULT_RANK = 5
SVD_SEED = 0
"""The SVD is exact up to rounding of its last digits, so its random start is not a run's seed."""
SLOPE = 0.5
"""Of the paper's leaky ReLU."""
LIMIT = 5.0
"""Of the released code's positive logit."""
ANCHOR_SHARE = 0.5
"""Of the batch's nodes that the paper contrasts."""

Layers = list[tuple[Tensor, Tensor]]
"""Z^(l) and G^(l), each (M + N, d), for l = 1 .. L."""


class LightGCLConfig(LightGCNConfig):
    """Settings of LightGCL: those of LightGCN and the contrast's."""

    layers: int = tunable(2, choices=[1, 2, 3], ge=1)
    """Propagation steps L of both views."""
    variant: Literal["cosine", "released", "paper"] = "cosine"
    """Which LightGCL; the module's table says how they differ."""
    negatives: Literal["all", "batch"] = tunable("all", choices=["all", "batch"])
    """Candidates of variant cosine: every user or item, or the batch's distinct ones."""
    rank: int = tunable(DEFAULT_RANK, choices=[5, 10, 20, 50], ge=1)
    """Rank q of the low-rank view, at most the number of users and of items; up to the default 5
    it is lowered to that on smaller logs."""
    temperature: float = tunable(0.2, low=0.05, high=2.0, log=True, ge=1e-3, le=10)
    contrast_weight: float = tunable(0.01, low=1e-4, high=1.0, log=True, ge=0)
    edge_dropout: float = tunable(0.0, choices=[0.0, 0.1, 0.25], ge=0, lt=1)
    """Share of edges left out of the main view at each step; the others are scaled up. Variant
    released draws the two directions of an edge apart."""


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
        largest = min(data.num_users, data.num_items)
        if config.rank > max(largest, DEFAULT_RANK):
            raise ConfigError(
                f"setting 'rank' must be at most {largest} for {data.num_users} users and "
                f"{data.num_items} items (got {config.rank})"
            )
        paper = config.variant == "paper"
        # Nobody chose the default, so it has to work on a log of three users too.
        svd = truncated_svd(
            self.interactions if paper else self.interactions.normalised("symmetric"),
            min(config.rank, largest),
            generator=torch.Generator().manual_seed(SVD_SEED),
            method="power" if config.variant == "released" else "krylov",
        )
        self.register_buffer("user_factor", svd.left, persistent=False)
        self.register_buffer("item_factor", svd.right, persistent=False)
        self.register_buffer("singular", svd.singular, persistent=False)
        if config.variant == "released":
            self.info_nce: nn.Module = InfoNCEAllNodes(
                config.temperature, normalise=False, positive_limit=LIMIT, reduction="none"
            )
        elif paper:
            self.info_nce = InfoNCE(config.temperature, symmetric=False, reduction="sum")
            self.weights = nn.ParameterList(
                nn.init.xavier_uniform_(torch.empty(config.dimension, config.dimension))
                for _ in range(config.layers)
            ).to(data.device)
        else:
            self.info_nce = InfoNCEAllNodes(config.temperature)

    def reset_parameters(self) -> None:
        """Embeddings from Xavier's uniform distribution, each side by itself (released code)."""
        for side in self.split(self.embeddings.data):
            nn.init.xavier_uniform_(side)

    def views(self, adjacency: Matrix) -> tuple[Tensor, Tensor]:
        """E and G of variants released and cosine, each (M + N, d).

        Both apply a matrix to E^(0) + ... + E^(L-1), so one product of each serves all layers.
        """
        inner = propagate(adjacency, self.embeddings, self.config.layers - 1, readout="sum")
        main = self.embeddings + spmm(adjacency, inner)
        return main, self.embeddings + self.low_rank(inner)

    def layer_views(self, adjacency: Matrix) -> tuple[Tensor, Layers]:
        """E (M + N, d), and Z^(l) and G^(l), of variant paper."""
        current: Tensor = self.embeddings
        total = current
        layers: Layers = []
        for _ in range(self.config.layers):
            main = nn.functional.leaky_relu(spmm(adjacency, current), SLOPE)
            layers.append((main, nn.functional.leaky_relu(self.low_rank(current), SLOPE)))
            current = main + current
            total = total + current
        return total, layers

    def low_rank(self, nodes: Tensor) -> Tensor:
        """[[0, U S V^T], [V S U^T, 0]] times `nodes` (M + N, d), never forming the product."""
        users, items = self.split(nodes)
        to_users = (self.user_factor * self.singular) @ (self.item_factor.T @ items)
        to_items = (self.item_factor * self.singular) @ (self.user_factor.T @ users)
        return torch.cat([to_users, to_items])

    def propagate(self) -> tuple[Tensor, Tensor]:
        """Final embeddings of all users (M, d) and items (N, d), the main view's sum."""
        if self.config.variant == "paper":
            return self.split(self.layer_views(self.adjacency)[0])
        main = propagate(self.adjacency, self.embeddings, self.config.layers, readout="sum")
        return self.split(main)

    def loss(self, batch: TripleBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """`bpr` (variant paper: `hinge`), `contrast` and `l2` (weighted), and their sum `total`."""
        released = self.config.variant == "released"
        adjacency = self.drop_edges(self.config.edge_dropout, generator, undirected=not released)
        if self.config.variant == "paper":
            main, layers = self.layer_views(adjacency)
            ranking = {"hinge": self.hinge(*self.split(main), batch)}
            contrast = self.paper_contrast(layers, batch, generator)
        else:
            main, low_rank = self.views(adjacency)
            ranking = {"bpr": self.ranking_loss(*self.split(main), batch)}
            items = batch.positives
            if released:
                items = torch.cat([items, batch.negatives])
            contrast = torch.stack(
                [
                    self.contrast(view, candidates, nodes)
                    for view, candidates, nodes in zip(
                        self.split(low_rank), self.split(main), (batch.users, items), strict=True
                    )
                ]
            ).sum()
        parts = {
            **ranking,
            "contrast": self.config.contrast_weight * contrast,
            "l2": self.all_parameters_penalty() if released else self.penalty(batch),
        }
        return {"total": torch.stack(list(parts.values())).sum(), **parts}

    def contrast(self, view: Tensor, main: Tensor, nodes: Tensor) -> Tensor:
        """InfoNCE of `nodes`: low-rank view against the main view, unweighted."""
        anchors, occurrences = torch.unique(nodes, return_counts=True)
        if self.config.variant == "released":
            # A mean over rows with repetitions, each distinct one computed once.
            values: Tensor = self.info_nce(view[anchors], main, anchors)
            return values @ (occurrences / len(nodes)).to(values)
        if self.config.negatives == "all":
            value: Tensor = self.info_nce(view[anchors], main, anchors)
        else:
            own_row = torch.arange(len(anchors), device=anchors.device)
            value = self.info_nce(view[anchors], main[anchors], own_row)
        return value

    def paper_contrast(
        self, layers: Layers, batch: TripleBatch, generator: torch.Generator
    ) -> Tensor:
        """Sum over layers, sides and a random half of the batch's distinct nodes, unweighted."""
        total = self.embeddings.new_zeros(())
        for side, nodes in enumerate((batch.users, batch.positives)):
            distinct = torch.unique(nodes)
            drawn = torch.rand(len(distinct), generator=generator, device=generator.device)
            anchors = distinct[(drawn < ANCHOR_SHARE).to(distinct.device)]
            for (main, low_rank), weight in zip(layers, self.weights, strict=True):
                query, key = self.split(main)[side][anchors], self.split(low_rank)[side][anchors]
                total = total + self.info_nce(query, key @ weight.T)
        return total

    def hinge(self, users: Tensor, items: Tensor, batch: TripleBatch) -> Tensor:
        """Mean over the triples of max(0, 1 - s(u, i) + s(u, j))."""
        anchor = users[batch.users]
        gap = (anchor * (items[batch.positives] - items[batch.negatives])).sum(1)
        return (1 - gap).clamp(min=0).mean()

    def all_parameters_penalty(self) -> Tensor:
        """Squared norm of all parameters, weighted."""
        return self.config.l2 * self.embeddings.square().sum()
