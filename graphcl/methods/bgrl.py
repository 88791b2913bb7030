"""BGRL: bootstrapped graph latents, large-scale representation learning on graphs.

Thakoor, Tallec, Azar, Azabou, Dyer, Munos, Velickovic, Valko, "Large-Scale Representation
Learning on Graphs via Bootstrapping", ICLR 2022, arXiv 2102.06514.

Two views (dropped edges, masked features) are encoded by an online encoder and by a target
encoder that follows it as a moving average. A predictor p maps the online embedding of one
view to the target embedding of the other (equation 1, both ways):

    L = 2 - 2/N sum_i cosine( p(h1_i), sg(t2_i) ) + 2 - 2/N sum_i cosine( p(h2_i), sg(t1_i) )

    target <- m target + (1 - m) online,    m from m_0 to 1 along a cosine

There are no negatives. The learning rate rises linearly for the warm-up and then falls to 0
along a cosine. The encoder is a two-layer GCN with batch normalisation and PReLU.

Cost per epoch: O(E d + N d^2), linear in the graph; four encodings, no pair of nodes.

Deviations from the authors' code: the loss is halved (the mean over the two directions),
which AdamW does not see; the two directions of an edge are dropped together, with
`directed_views: true` apart as theirs are; the target moves at the start of the next epoch
instead of the end of this one, so its last move, which no embedding depends on, is left
out. There is no early rule in the paper; where the protocol has a validation split, it
chooses the epoch.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from graphcl.config import Count, tunable
from graphcl.encoders import GCN, MovingAverage, ProjectionHead
from graphcl.losses import Bootstrap
from graphcl.methods.features import FeatureScaling
from graphcl.methods.graph_method import GraphMethod, RandomViewsConfig, View


class BGRLConfig(RandomViewsConfig):
    """Settings of BGRL; the defaults are a short run's, the configs have the paper's."""

    epochs: int = tunable(1000, low=200, high=10000, log=True, ge=0)
    learning_rate: float = tunable(5e-4, low=1e-5, high=1e-2, log=True, gt=0)
    weight_decay: float = tunable(1e-5, choices=[0.0, 1e-5, 1e-4], ge=0)
    evaluate_every: Count = 50
    warm_up: Count = 100
    """Epochs in which the learning rate rises from 0."""
    widths: tuple[int, ...] = (256, 128)
    """Of the encoder's layers; the last is the embedding's."""
    predictor: int = tunable(512, choices=[256, 512, 1024], gt=0)
    momentum: float = tunable(0.99, low=0.9, high=0.999, ge=0, le=1)
    """m_0, of the target at the start."""
    drop_edges_1: float = tunable(0.4, low=0.0, high=0.8, ge=0, le=1)
    drop_edges_2: float = tunable(0.1, low=0.0, high=0.8, ge=0, le=1)
    mask_features_1: float = tunable(0.1, low=0.0, high=0.8, ge=0, le=1)
    mask_features_2: float = tunable(0.2, low=0.0, high=0.8, ge=0, le=1)
    feature_scaling: FeatureScaling = "sum"
    """`sum`, every node's (non-negative) features divided by their sum, is the authors'."""


class BGRL(GraphMethod):
    """A predictor of a slowly moving target's embedding of another view (Thakoor et al. 2022)."""

    Config = BGRLConfig

    def __init__(self, config: BGRLConfig, data: Any) -> None:
        super().__init__(config, data)
        self.encoder = GCN(
            data.num_features, list(config.widths), activation="prelu",
            # The release's momentum of 0.99 is the weight of the newest batch.
            normalisation="batch", batch_momentum=0.99,
        )  # fmt: skip
        self.target = MovingAverage(self.encoder, reset=True)
        self.predictor = ProjectionHead(config.widths[-1], config.predictor, activation="prelu")
        self.bootstrap = Bootstrap()
        self._optimizer: torch.optim.Optimizer | None = None

    def optimizer(self) -> torch.optim.Optimizer:
        """AdamW; `epoch_start` sets its learning rate."""
        self._optimizer = torch.optim.AdamW(
            self.parameters(),
            lr=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
        )
        return self._optimizer

    def epoch_start(self, epoch: int, generator: torch.Generator) -> None:
        """The learning rate of this epoch, and the target's move after the last one."""
        config = self.config
        if epoch > 1:
            progress = min(1.0, (epoch - 1) / max(1, config.epochs))
            momentum = 1 - (1 - config.momentum) * (1 + math.cos(math.pi * progress)) / 2
            self.target.update(self.encoder, momentum)
        for group in self._optimizer.param_groups if self._optimizer else ():
            group["lr"] = config.learning_rate * warm_up_and_cosine(
                epoch, config.warm_up, config.epochs
            )

    def loss(self, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        """Both directions of equation 1 on two fresh views of the whole graph."""
        config = self.config
        first = self.random_view(batch, config.drop_edges_1, config.mask_features_1, generator)
        second = self.random_view(batch, config.drop_edges_2, config.mask_features_2, generator)
        parts = {
            "first": self._predict(first, second),
            "second": self._predict(second, first),
        }
        return {**parts, "total": (parts["first"] + parts["second"]) / 2}

    def _predict(self, view: View, other: View) -> Tensor:
        prediction = self.predictor(self.encoder(view.features, view.matrix))
        distance: Tensor = self.bootstrap(prediction, self.target(other.features, other.matrix))
        return distance


def warm_up_and_cosine(epoch: int, warm_up: int, epochs: int) -> float:
    """The share of the learning rate at `epoch` (1-based): linear rise, then a half cosine to 0."""
    if epoch <= warm_up:
        return epoch / warm_up
    return (1 + math.cos(math.pi * (epoch - warm_up) / max(1, epochs - warm_up + 1))) / 2
