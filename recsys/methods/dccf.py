"""DCCF: disentangled intents as a global view, and graphs weighted by what nodes have in common.

Ren, Xia, Zhao, Yin & Huang, "Disentangled Contrastive Collaborative Filtering", SIGIR 2023
(arXiv 2305.02759).

With A the normalised adjacency of LightGCN, C (d, K) the learned prototypes of K intents of each
side, and X = E^(l-1),

    Z = A X                                                      local view
    I = softmax(X C) C^T         on each side by itself          global view, of intents
    a_ht = (cos(Y_h, Y_t) + 1) / 2  for every edge (h, t),   w(Y)_ht = a_ht / sum_t' a_ht'
    P = w(Z) X,   Q = w(I) X                                     adaptive masks on both views
    E^(l) = Z + I + P + Q + X,   E = sum_{l=0..L} E^(l)
    contrast = sum over l, V in {I, P, Q} and the sides {users, items} of
        mean_{a in batch} [ log sum_{b in batch} exp(cos(Z_a, V_b) / tau) - cos(Z_a, V_a) / tau ]
    total = bpr(E) + contrast_weight * contrast + intent_l2 * (|C_u|^2 + |C_i|^2) + l2

Gradients flow through the masks. A mask is one sampled product of the nodes' unit vectors at the
edges (`graphcl.kernels.sddmm`) and a sparse product with it: the embeddings of both ends of every
edge, which the authors' code gathers and keeps for each of the 2 L masks, exist in slices only.

Deviations from the authors' code: an epoch is every interaction once (theirs: 40 batches of
uniformly drawn users, whatever the data); l2 is per triple and halved (theirs is a sum: its weight
times 2 B is ours); the last 1e-8 in the logarithm of the contrast is not needed.

Cost of a step: 2 L sparse products for Z, and for the masks 4 L sampled and 4 L sparse products,
O(L E d), and twice that backward; O(L (M + N) K d) for the intents; O(L B^2 d) for the contrast.
Memory O(L (E + (M + N) (d + K))).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from graphcl.config import tunable
from graphcl.kernels.sddmm import sddmm
from graphcl.kernels.spmm import spmm
from graphcl.losses import InfoNCE
from graphcl.losses.unit_rows import unit_rows
from recsys.data.batches import TripleBatch
from recsys.data.interactions import Interactions
from recsys.methods.lightgcn import LightGCN, LightGCNConfig
from recsys.methods.sides import batch_contrast


class DCCFConfig(LightGCNConfig):
    """Settings of DCCF: those of LightGCN, the intents' and the contrast's."""

    layers: int = tunable(2, choices=[1, 2, 3], ge=1)
    """Propagation steps L."""
    minimum_epochs: int = 20
    """The contrast delays the ranking: stopping earlier would keep an untrained model."""
    dimension: int = tunable(32, choices=[32, 64, 128], ge=1)
    intents: int = tunable(128, choices=[32, 64, 128], ge=1)
    """K: intents of the users, and as many of the items."""
    intent_l2: float = tunable(5e-3, choices=[0.0, 1e-3, 5e-3], ge=0)
    """Weight of the squared norms of the intents' prototypes."""
    temperature: float = tunable(1.0, low=0.1, high=1.0, log=True, ge=1e-3, le=10)
    contrast_weight: float = tunable(0.1, low=1e-3, high=1.0, log=True, ge=0)


@dataclass(frozen=True)
class Layer:
    """The four views of one layer, each (M + N, d)."""

    local: Tensor
    intent: Tensor
    local_masked: Tensor
    intent_masked: Tensor


class DCCF(LightGCN):
    """LightGCN with intents and adaptive masks, contrasted with each other (Ren et al. 2023)."""

    Config = DCCFConfig
    config: DCCFConfig

    def __init__(self, config: DCCFConfig, data: Interactions) -> None:
        super().__init__(config, data)
        shape = (config.dimension, config.intents)
        self.user_intents = nn.Parameter(torch.empty(shape, device=data.device))
        self.item_intents = nn.Parameter(torch.empty(shape, device=data.device))
        for prototypes in (self.user_intents, self.item_intents):
            nn.init.xavier_normal_(prototypes)
        self.info_nce = InfoNCE(config.temperature, symmetric=False)

    def reset_parameters(self) -> None:
        """Embeddings from Xavier's normal distribution, each side by itself."""
        for side in self.split(self.embeddings.data):
            nn.init.xavier_normal_(side)

    def intent_view(self, nodes: Tensor) -> Tensor:
        """softmax(X C) C^T on each side, (M + N, d)."""
        sides = zip(self.split(nodes), (self.user_intents, self.item_intents), strict=True)
        return torch.cat([torch.softmax(side @ c, dim=1) @ c.T for side, c in sides])

    def masked(self, view: Tensor, nodes: Tensor) -> Tensor:
        """w(Y) X: the mean of each node's neighbours, weighted by their likeness in `view`.

        Both are (M + N, d). A node without neighbours gets zeros.
        """
        likeness = (sddmm(self.interactions, *self.split(unit_rows(view))) + 1) / 2
        graph = self.interactions.with_value(likeness)
        users, items = self.split(nodes)
        sums = torch.cat([spmm(graph, items), spmm(graph.T, users)])
        weight = torch.cat([graph.sum(1), graph.sum(0)])[:, None]
        # All of a node's neighbours may be its exact opposites, or there may be none.
        return torch.where(weight > 0, sums / weight.where(weight > 0, 1.0), 0.0)

    def views(self) -> tuple[Tensor, list[Layer]]:
        """E (M + N, d), and the views of layers 1 .. L."""
        current: Tensor = self.embeddings
        total = current
        layers = []
        for _ in range(self.config.layers):
            local, intent = spmm(self.adjacency, current), self.intent_view(current)
            layer = Layer(local, intent, self.masked(local, current), self.masked(intent, current))
            current = local + intent + layer.local_masked + layer.intent_masked + current
            total = total + current
            layers.append(layer)
        return total, layers

    def propagate(self) -> tuple[Tensor, Tensor]:
        """Final embeddings of all users (M, d) and items (N, d)."""
        return self.split(self.views()[0])

    def loss(self, batch: TripleBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """`bpr`, `contrast`, `intent_l2` and `l2` (all weighted), and their sum `total`."""
        final, layers = self.views()
        users, items = self.split(final)
        nodes = (batch.users, batch.positives)
        contrast = final.new_zeros(())
        for layer in layers:
            anchors = self.split(layer.local)
            for view in (layer.intent, layer.local_masked, layer.intent_masked):
                contrast = contrast + batch_contrast(
                    self.info_nce, anchors, self.split(view), nodes
                )
        prototypes = self.user_intents.square().sum() + self.item_intents.square().sum()
        parts = {
            "bpr": self.ranking_loss(users, items, batch),
            "contrast": self.config.contrast_weight * contrast,
            "intent_l2": self.config.intent_l2 * prototypes,
            "l2": self.penalty(batch),
        }
        return {"total": torch.stack(list(parts.values())).sum(), **parts}
