"""FeatureCL: features of users and items, adaptively weighted and fused, for who and what is new.

RECONSTRUCTED FROM ITS ABSTRACT. Hu, An, Yu, Du & Luo, "Contrastive Learning for Cold Start
Recommendation with Adaptive Feature Fusion", ICCECE 2025 (arXiv 2502.03664). The abstract names the
parts (adaptive feature selection, fusion, a contrast of feature views); no code is public, and
their formulas below are ours. Numbers must not be read as those of the paper.

On each side, with x_f the vector of feature field f of a node, e its embedding by number, and n a
learned vector that stands for an unknown number,

    selection:  w = sigmoid(W_2 relu(W_1 [x_1 .. x_F])),   s = MLP(sum_f w_f x_f)
    fusion:     v = beta e + (1 - beta) s,   beta = softmax over {e, s} of q . tanh(V .)
    score:      <v_u, v_i>
    contrast = sum over the sides of InfoNCE(v', v'')      in the batch, by cosine
    total = bpr(v) + contrast_weight * contrast + l2

A node without training interactions has n in place of e, and while training every node has with
probability `id_dropout` (as in DropoutNet, Volkovs et al. 2017), so that the path through the
features learns to do alone. v' and v'' draw these anew and leave out each x_f with probability
`mask_rate`.

Deviations from the paper: not known, except that there are no context features (hour, weekday).
Cost of a step: O((M + N) F d^2) for three views, and O(B^2 d) for the contrast.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from graphcl.config import tunable
from graphcl.errors import DataError
from graphcl.losses import InfoNCE
from recsys.data.batches import TripleBatch, TripleBatches
from recsys.data.features import Feature
from recsys.data.interactions import Interactions
from recsys.methods.bpr import BPRMF, BPRConfig
from recsys.methods.feature_encoder import FeatureEncoder
from recsys.methods.sides import Sides, batch_contrast


class FeatureCLConfig(BPRConfig):
    """Settings of FeatureCL: those of BPR-MF and the contrast's."""

    learning_rate: float = tunable(2e-3, low=5e-4, high=1e-2, log=True, gt=0)
    id_dropout: float = tunable(0.3, choices=[0.0, 0.1, 0.3, 0.5], ge=0, lt=1)
    """Share of nodes that are trained as if their number were unknown."""
    mask_rate: float = tunable(0.2, choices=[0.1, 0.2, 0.4], ge=0, lt=1)
    """Share of feature fields that a view leaves out."""
    temperature: float = tunable(0.2, low=0.1, high=0.5, ge=1e-3, le=10)
    contrast_weight: float = tunable(0.05, low=1e-3, high=1.0, log=True, ge=0)
    negatives: Literal["all", "known"] = "all"
    """Items that may be negatives: all, or those with training interactions. As negatives only,
    new items are learned to be nobody's by their features. On MovieLens-100k with cold items (12
    epochs, seeds 0 and 1, validation) known gives them a recall@20 of 0.36 and 0.42, all 0.32
    and 0.36; warm items lose: 0.26 and 0.26 against 0.27 and 0.28."""


class FusedFeatures(nn.Module):
    """One side: selects and fuses the features of n nodes with their embeddings.

    Args:
        features: of the n nodes, by name; none leaves their embeddings as they are.
        dimension: d.
        known: bool (n,), which nodes have training interactions.
    """

    known: Tensor

    def __init__(self, features: Mapping[str, Feature], dimension: int, known: Tensor) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(
            FeatureEncoder(feature, dimension) for feature in features.values()
        )
        self.unknown = nn.Parameter(torch.zeros(dimension))
        self.register_buffer("known", known, persistent=False)
        fields = len(self.encoders)
        if fields:
            self.select = nn.Sequential(
                nn.Linear(fields * dimension, dimension),
                nn.ReLU(),
                nn.Linear(dimension, fields),
            )
            self.network = nn.Sequential(
                nn.Linear(dimension, dimension), nn.ReLU(), nn.Linear(dimension, dimension)
            )
            self.attention = nn.Linear(dimension, dimension)
            self.query = nn.Parameter(torch.randn(dimension) / dimension**0.5)

    def forward(
        self,
        embeddings: Tensor,
        generator: torch.Generator | None = None,
        id_dropout: float = 0.0,
        mask_rate: float = 0.0,
    ) -> Tensor:
        """v (n, d) from e (n, d); draws are made only where given a generator."""
        known = self.known
        if generator is not None:
            known = known & ~self._drawn((len(known),), id_dropout, generator)
        own = torch.where(known[:, None], embeddings, self.unknown)
        if not len(self.encoders):
            return own
        fields = torch.stack([encoder() for encoder in self.encoders], dim=1)
        if generator is not None:
            fields = fields * ~self._drawn((*fields.shape[:2], 1), mask_rate, generator)
        weight = torch.sigmoid(self.select(fields.flatten(1)))
        semantic = self.network((weight[..., None] * fields).sum(1))
        sources = torch.stack([own, semantic])
        share = torch.softmax(torch.tanh(self.attention(sources)) @ self.query, dim=0)
        return (share[..., None] * sources).sum(0)

    def _drawn(self, shape: tuple[int, ...], rate: float, generator: torch.Generator) -> Tensor:
        drawn = torch.rand(shape, generator=generator, device=generator.device) < rate
        return drawn.to(self.unknown.device)


class FeatureCL(BPRMF):
    """Adaptive fusion of features with a contrast, for cold start (from Hu et al. 2025).

    Raises:
        DataError: neither users nor items of `data` have features.
    """

    Config = FeatureCLConfig
    config: FeatureCLConfig
    tasks = ("cold-start", "ranking")

    def __init__(self, config: FeatureCLConfig, data: Interactions) -> None:
        if not data.user_features and not data.item_features:
            raise DataError(
                f"featurecl needs features of the users or items, and '{data.name}' has none; a "
                "RecBole .user or .item file beside the .inter file gives them"
            )
        super().__init__(config, data)
        taken = data.lengths() > 0, data.item_counts() > 0
        self.users = FusedFeatures(data.user_features, config.dimension, taken[0])
        self.items = FusedFeatures(data.item_features, config.dimension, taken[1])
        self.to(data.device)
        self.info_nce = InfoNCE(config.temperature)
        self._batches = TripleBatches(
            data, config.batch_size, among_taken=config.negatives == "known"
        )

    def propagate(self) -> tuple[Tensor, Tensor]:
        """Final embeddings of all users (M, d) and items (N, d)."""
        users, items = self.split(self.embeddings)
        return self.users(users), self.items(items)

    def view(self, generator: torch.Generator, mask_rate: float) -> Sides:
        """Final embeddings with numbers and feature fields left out at random."""
        users, items = self.split(self.embeddings)
        rate = self.config.id_dropout
        return (
            self.users(users, generator, rate, mask_rate),
            self.items(items, generator, rate, mask_rate),
        )

    def loss(self, batch: TripleBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """`bpr`, `contrast` and `l2` (both weighted) and their sum `total`."""
        users, items = self.view(generator, 0.0)
        first, second = (self.view(generator, self.config.mask_rate) for _ in range(2))
        nodes = (batch.users, batch.positives)
        parts = {
            "bpr": self.ranking_loss(users, items, batch),
            "contrast": self.config.contrast_weight
            * batch_contrast(self.info_nce, first, second, nodes),
            "l2": self.penalty(batch),
        }
        return {"total": torch.stack(list(parts.values())).sum(), **parts}
