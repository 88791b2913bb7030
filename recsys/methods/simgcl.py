"""SimGCL: contrast of two noisy propagations, without touching the graph.

Yu, Yin, Xia, Chen, Cui & Nguyen, "Are Graph Augmentations Necessary? Simple Graph Contrastive
Learning for Recommendation", SIGIR 2022 (arXiv 2112.08679).

With A the normalised adjacency of LightGCN and Delta a fresh uniform direction of length eps in the
orthant of the row it is added to,

    E^(l) = A E^(l-1),                  E  = 1/L sum_{l=1..L} E^(l)               (main view)
    X^(l) = A X^(l-1) + Delta^(l),      X  = 1/L sum_{l=1..L} X^(l)
    contrast = sum over the sides {users, items} of
        mean_{a in batch} [ log sum_{b in batch} exp(cos(X'_a, X''_b) / tau)
                            - cos(X'_a, X''_a) / tau ]
    total = bpr(E) + contrast_weight * contrast + l2

with X', X'' two draws of X. Layer 0 is left out of every mean, as in the paper.

Deviations from the authors' code: the temperature is a setting (theirs is fixed at 0.2); `l2` is
squared norms, the negative item included, per triple (theirs: norms, without the negative item);
BPR is a softplus (theirs adds 1e-5 inside the logarithm).

Cost of a step: three propagations, 3 L sparse products forward and backward, and O(B^2 d) for the
contrast in O((M + N) d) memory. XSimGCL needs one propagation for the same.
"""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.config import tunable
from graphcl.encoders.lightgcn import propagate
from graphcl.kernels.spmm import spmm
from graphcl.losses import InfoNCE
from graphcl.views.embedding.noise import signed_noise
from recsys.data.batches import TripleBatch
from recsys.data.interactions import Interactions
from recsys.methods.lightgcn import LightGCN, LightGCNConfig
from recsys.methods.sides import batch_contrast


class SimGCLConfig(LightGCNConfig):
    """Settings of SimGCL: those of LightGCN and the contrast's."""

    layers: int = tunable(3, choices=[1, 2, 3], ge=1)
    """Propagation steps L of all views."""
    minimum_epochs: int = 20
    """The contrast delays the ranking: stopping earlier would keep an untrained model."""
    temperature: float = tunable(0.2, low=0.1, high=0.5, ge=1e-3, le=10)
    contrast_weight: float = tunable(0.1, low=1e-3, high=1.0, log=True, ge=0)
    noise: float = tunable(0.1, low=0.02, high=0.3, log=True, ge=0)
    """Length eps of what is added to a row at each layer."""


class SimGCL(LightGCN):
    """LightGCN with uniform noise on every layer as its augmentation (Yu et al. 2022)."""

    Config = SimGCLConfig
    config: SimGCLConfig

    def __init__(self, config: SimGCLConfig, data: Interactions) -> None:
        super().__init__(config, data)
        self.info_nce = InfoNCE(config.temperature, symmetric=False)

    def propagate(self) -> tuple[Tensor, Tensor]:
        """Final embeddings of all users (M, d) and items (N, d): the mean of layers 1 to L."""
        inner = propagate(self.adjacency, self.embeddings, self.config.layers - 1)
        return self.split(spmm(self.adjacency, inner))

    def noisy_layers(self, generator: torch.Generator) -> list[Tensor]:
        """X^(1) .. X^(L), each (M + N, d), with fresh noise."""
        layers: list[Tensor] = [self.embeddings]
        for _ in range(self.config.layers):
            clean = spmm(self.adjacency, layers[-1])
            layers.append(signed_noise(clean, self.config.noise, generator=generator))
        return layers[1:]

    def loss(self, batch: TripleBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """`bpr`, `contrast` and `l2` (both weighted) and their sum `total`."""
        users, items = self.propagate()
        first, second = (
            self.split(torch.stack(self.noisy_layers(generator)).mean(0)) for _ in range(2)
        )
        contrast = batch_contrast(self.info_nce, first, second, (batch.users, batch.positives))
        parts = {
            "bpr": self.ranking_loss(users, items, batch),
            "contrast": self.config.contrast_weight * contrast,
            "l2": self.penalty(batch),
        }
        return {"total": parts["bpr"] + parts["contrast"] + parts["l2"], **parts}
