"""Semantic item graphs enhanced by co-occurrence, perturbed by modulus, aligned with behaviour.

RECONSTRUCTED FROM ITS ABSTRACT. Zhang, Zhou, Zeng, Niyato & Shen, "Semantic Item Graph Enhancement
for Multimodal Recommendation", 2025 (arXiv 2508.06154). The abstract names the parts; no code is
public, and their formulas below are ours. Numbers must not be read as those of the paper.

With S_m the `neighbours` nearest items of each in modality m, C the cosines of items by who took
them (`co_occurring` kept for each), A LightGCN's matrix, and norm(B) = D_r^-1/2 B D_c^-1/2,

    behaviour:  h = LightGCN(E)                                    users and items
    semantics:  z_m(items) = norm(S_m + alpha C)^item_layers x_m,  x_m an encoder of the features
                z_m(users) = mean of z_m over the items they took
                z = sum_m softmax_m(q . tanh(V z_m)) z_m
    perturbation of a row e, with Delta ~ U(0, 1)^d and its modulus against the mean of all:
                e' = e + noise g(|e|) sign(e) * Delta / |Delta|,   g = |e| / mean |e| in [1/2, 2]
    perturb = InfoNCE(z', z'')              two draws
    anchor  = sum_m InfoNCE(sg h, z_m)      behaviour anchors, modalities move
    align   = InfoNCE(h, z)                 in both directions
    total = bpr(h + z) + perturb_weight * perturb + anchor_weight * anchor + align_weight * align
            + l2

Each InfoNCE is by cosine among the batch's distinct users, and among its distinct positive items,
and a sum of the two sides.

Deviations from the paper: not known. Cost of a step: that of LightGCN, item_layers + 1 sparse
products and O(|m| B^2 d) for each modality m. Once: nearest neighbours, N^2 cosines, in blocks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphcl.config import tunable
from graphcl.encoders.lightgcn import propagate
from graphcl.kernels.spmm import SparseMatrix, spmm
from graphcl.losses import InfoNCE
from graphcl.losses.unit_rows import unit_rows
from recsys.data.batches import TripleBatch
from recsys.data.features import Feature
from recsys.data.interactions import Interactions
from recsys.data.neighbours import feature_neighbours
from recsys.methods.feature_encoder import FeatureEncoder
from recsys.methods.item_features import needed_item_features
from recsys.methods.itemknn import cosine_neighbours
from recsys.methods.lightgcn import LightGCN, LightGCNConfig
from recsys.methods.sides import Sides, batch_contrast

BOUNDS = (0.5, 2.0)
"""Of g, the personal intensity of the perturbation."""


class SemanticItemGraphConfig(LightGCNConfig):
    """Settings of the semantic item graphs: those of LightGCN, the graphs' and the contrasts'."""

    layers: int = tunable(2, choices=[1, 2, 3], ge=0)
    """Propagation steps of behaviour."""
    minimum_epochs: int = 20
    """The contrasts delay the ranking: stopping earlier would keep an untrained model."""
    item_layers: int = tunable(1, choices=[1, 2], ge=0)
    """Propagation steps over the items' semantic graphs."""
    neighbours: int = tunable(10, choices=[5, 10, 20], ge=1)
    """Nearest items by a modality."""
    co_occurring: int = tunable(10, choices=[5, 10, 20], ge=1)
    """Nearest items by who took them."""
    alpha: float = tunable(0.5, low=0.1, high=1.0, ge=0)
    """Weight of co-occurrence in a semantic graph."""
    noise: float = tunable(0.1, low=0.02, high=0.3, log=True, ge=0)
    """Length of what is added to a row of average modulus."""
    temperature: float = tunable(0.2, low=0.1, high=0.5, ge=1e-3, le=10)
    perturb_weight: float = tunable(0.01, low=1e-3, high=0.1, log=True, ge=0)
    anchor_weight: float = tunable(0.01, low=1e-3, high=0.1, log=True, ge=0)
    align_weight: float = tunable(0.01, low=1e-3, high=0.1, log=True, ge=0)


class SemanticItemGraph(LightGCN):
    """LightGCN with enhanced semantic item graphs (reconstructed from Zhang et al. 2025).

    Raises:
        DataError: the items of `data` have no features.
    """

    Config = SemanticItemGraphConfig
    config: SemanticItemGraphConfig
    tasks = ("ranking", "cold-start")

    def __init__(self, config: SemanticItemGraphConfig, data: Interactions) -> None:
        features = needed_item_features(data, "semantic-item-graph")
        super().__init__(config, data)
        self.encoders = nn.ModuleList(
            FeatureEncoder(feature, config.dimension) for feature in features.values()
        )
        self.attention = nn.Linear(config.dimension, config.dimension)
        self.query = nn.Parameter(torch.randn(config.dimension) / config.dimension**0.5)
        self.to(data.device)
        edges, weights = self._co_occurrence(data)
        self.item_graphs = [self._item_graph(f, edges, weights) for f in features.values()]
        """norm(S_m + alpha C) of each modality, (N, N)."""
        self.user_means = self.interactions.normalised("row")
        self.inner = InfoNCE(config.temperature, symmetric=False)
        self.both_ways = InfoNCE(config.temperature)

    def _co_occurrence(self, data: Interactions) -> tuple[Tensor, Tensor]:
        similar, cosine = cosine_neighbours(data, self.config.co_occurring)
        shared = cosine > 0
        items = torch.arange(data.num_items, device=similar.device)[:, None].expand_as(similar)
        return torch.stack([items[shared], similar[shared]]), cosine[shared]

    def _item_graph(self, feature: Feature, edges: Tensor, weights: Tensor) -> SparseMatrix:
        semantic = feature_neighbours(feature, self.config.neighbours, itself=True)
        # An edge of both kinds is listed twice, and counts as their sum.
        return SparseMatrix.from_edge_index(
            torch.cat([torch.stack([semantic.row, semantic.column]), edges], dim=1),
            torch.cat([semantic.value, self.config.alpha * weights.to(semantic.dtype)]),
            shape=semantic.shape,
        ).normalised("symmetric")

    def modalities(self) -> list[Sides]:
        """z_m of all users (M, d) and items (N, d), for each modality."""
        sides = []
        for encoder, graph in zip(self.encoders, self.item_graphs, strict=True):
            items = encoder()
            for _ in range(self.config.item_layers):
                items = spmm(graph, items)
            sides.append((spmm(self.user_means, items), items))
        return sides

    def fused(self, modalities: list[Sides]) -> Sides:
        """z of all users (M, d) and items (N, d)."""
        fused = []
        for side in zip(*modalities, strict=True):
            stacked = torch.stack(side)
            weight = torch.softmax(torch.tanh(self.attention(stacked)) @ self.query, dim=0)
            fused.append((weight[..., None] * stacked).sum(0))
        return fused[0], fused[1]

    def propagate(self) -> tuple[Tensor, Tensor]:
        """Final embeddings h + z of all users (M, d) and items (N, d)."""
        users, items = self.behaviour()
        semantic_users, semantic_items = self.fused(self.modalities())
        return users + semantic_users, items + semantic_items

    def behaviour(self) -> Sides:
        """h of all users (M, d) and items (N, d)."""
        return self.split(propagate(self.adjacency, self.embeddings, self.config.layers))

    def perturbed_sides(self, sides: Sides, generator: torch.Generator) -> Sides:
        """e' of the users and of the items."""
        users, items = sides
        noise = self.config.noise
        return perturbed(users, noise, generator), perturbed(items, noise, generator)

    def loss(self, batch: TripleBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """`bpr`, `perturb`, `anchor`, `align` and `l2` (weighted) and their sum `total`."""
        config, nodes = self.config, (batch.users, batch.positives)
        behaviour, modalities = self.behaviour(), self.modalities()
        fused = self.fused(modalities)
        final = behaviour[0] + fused[0], behaviour[1] + fused[1]
        first, second = (self.perturbed_sides(fused, generator) for _ in range(2))
        anchors = behaviour[0].detach(), behaviour[1].detach()
        anchored = [batch_contrast(self.inner, anchors, modality, nodes) for modality in modalities]
        parts = {
            "bpr": self.ranking_loss(*final, batch),
            "perturb": config.perturb_weight * batch_contrast(self.inner, first, second, nodes),
            "anchor": config.anchor_weight * torch.stack(anchored).sum(),
            "align": config.align_weight * batch_contrast(self.both_ways, behaviour, fused, nodes),
            "l2": self.penalty(batch),
        }
        return {"total": torch.stack(list(parts.values())).sum(), **parts}


def perturbed(rows: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    """Rows (n, d) moved within their orthant, long ones farther: the module's e'."""
    drawn = torch.rand(rows.shape, generator=generator, device=generator.device)
    direction = unit_rows(drawn.to(rows.device, rows.dtype))
    length = rows.detach().norm(dim=1, keepdim=True)
    mean = length.mean() if len(rows) else length.sum()
    intensity = (length / mean.clamp(min=1e-12)).clamp(*BOUNDS)
    return rows + noise * intensity * rows.detach().sign() * direction
