"""XSimGCL: SimGCL in one propagation, contrasting its final embeddings with one of its layers.

Yu, Xia, Chen, Cui, Hung & Yin, "XSimGCL: Towards Extremely Simple Graph Contrastive Learning for
Recommendation", TKDE 2023 (arXiv 2209.02544).

With A the normalised adjacency of LightGCN and Delta the noise of SimGCL,

    X^(l) = A X^(l-1) + Delta^(l),      X = 1/L sum_{l=1..L} X^(l)
    contrast = sum over the sides {users, items} of
        mean_{a in batch} [ log sum_{b in batch} exp(cos(X_a, X_b^(l*)) / tau)
                            - cos(X_a, X_a^(l*)) / tau ]
    total = bpr(X) + contrast_weight * contrast + l2

The one noisy pass serves ranking and contrast; scores come from the pass without noise.

Deviations from the authors' code: those of SimGCL. Cost of a step: that of LightGCN and O(B^2 d)
for the contrast, in O((M + N) d) memory for each layer.
"""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.config import tunable
from graphcl.errors import ConfigError
from recsys.data.batches import TripleBatch
from recsys.data.interactions import Interactions
from recsys.methods.sides import batch_contrast
from recsys.methods.simgcl import SimGCL, SimGCLConfig


class XSimGCLConfig(SimGCLConfig):
    """Settings of XSimGCL: those of SimGCL and the layer to contrast with."""

    noise: float = tunable(0.2, low=0.02, high=0.3, log=True, ge=0)
    """Length eps of what is added to a row at each layer."""
    contrast_layer: int = tunable(1, choices=[1, 2], ge=1)
    """l*, at most `layers`."""


class XSimGCL(SimGCL):
    """SimGCL with one propagation and a contrast across layers (Yu et al. 2023).

    Raises:
        ConfigError: `contrast_layer` is above `layers`.
    """

    Config = XSimGCLConfig
    config: XSimGCLConfig

    def __init__(self, config: XSimGCLConfig, data: Interactions) -> None:
        if config.contrast_layer > config.layers:
            raise ConfigError(
                f"setting 'contrast_layer' must be at most layers = {config.layers} "
                f"(got {config.contrast_layer})"
            )
        super().__init__(config, data)

    def loss(self, batch: TripleBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """`bpr`, `contrast` and `l2` (both weighted) and their sum `total`."""
        layers = self.noisy_layers(generator)
        final = self.split(torch.stack(layers).mean(0))
        early = self.split(layers[self.config.contrast_layer - 1])
        contrast = batch_contrast(self.info_nce, final, early, (batch.users, batch.positives))
        parts = {
            "bpr": self.ranking_loss(*final, batch),
            "contrast": self.config.contrast_weight * contrast,
            "l2": self.penalty(batch),
        }
        return {"total": parts["bpr"] + parts["contrast"] + parts["l2"], **parts}
