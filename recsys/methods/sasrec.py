"""SASRec: self-attentive sequential recommendation, trained with the full softmax.

Kang & McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018 (arXiv 1808.09781).

The encoder is the paper's causal transformer. The objective is the cross-entropy over all items
at every position,

    total = cross_entropy = mean over (user, t) of  -log softmax_i(<h_t, v_i>) at i = s_{t+1},

with the item embeddings v tied between input and output.

Deviations: the paper scores one sampled negative a step with a binary cross-entropy. The full
softmax reaches a far higher accuracy with the same model (Klenitskiy & Vasilev, RecSys 2023,
arXiv 2309.07602), so comparing a contrastive method with the sampled one would flatter the
method. Histories longer than `max_length` are trained in several windows, so that no target is
lost; the authors' code keeps the latest items only. `recsys.encoders.SASRecEncoder` lists how
the encoder differs.

Cost of an epoch over N interactions: O(N d (d + L + num_items)) time. Padding is removed before
the scores and the scores are taken tile by tile, so no (tokens x items) matrix is ever held.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from graphcl.config import Count, tunable
from graphcl.losses import CrossEntropy
from graphcl.methods.contract import MethodConfig
from recsys.data.batches import SequenceBatch, SequenceBatches
from recsys.data.interactions import Interactions
from recsys.data.sequences import pad_histories
from recsys.encoders.sasrec import Norm, SASRecEncoder
from recsys.methods.contract import Recommender


class SASRecConfig(MethodConfig):
    """Settings of SASRec."""

    epochs: int = tunable(60, low=10, high=400, log=True, ge=0)
    learning_rate: float = tunable(1e-3, low=3e-4, high=3e-3, log=True, gt=0)
    evaluate_every: Count = 2
    patience: Count = 5
    dimension: int = tunable(64, choices=[32, 64, 128], ge=1)
    layers: int = tunable(2, choices=[1, 2, 3], ge=1)
    heads: int = tunable(2, choices=[1, 2, 4], ge=1)
    max_length: int = tunable(200, choices=[50, 100, 200], ge=1)
    """Items of a history that the encoder sees; longer ones train in several windows."""
    dropout: float = tunable(0.2, low=0.0, high=0.6, ge=0, lt=1)
    attention_dropout: float = tunable(0.0, choices=[0.0, 0.2], ge=0, lt=1)
    feed_forward: int | None = None
    """Width of the feed-forward layers; null is `dimension`, as in the paper."""
    norm: Norm = tunable("pre", choices=["pre", "post"])
    batch_size: int = tunable(32, choices=[16, 32, 64, 128], ge=1)
    """Histories (windows) in a batch."""


class SASRec(Recommender):
    """A causal transformer over histories, full cross-entropy everywhere (Kang & McAuley 2018)."""

    Config = SASRecConfig
    tasks = ("next-item",)

    def __init__(self, config: SASRecConfig, data: Interactions) -> None:
        super().__init__(config, data)
        self.encoder = SASRecEncoder(
            data.num_items,
            config.dimension,
            layers=config.layers,
            heads=config.heads,
            max_length=config.max_length,
            dropout=config.dropout,
            attention_dropout=config.attention_dropout,
            feed_forward=config.feed_forward,
            norm=config.norm,
        )
        self.to(data.device)
        self.cross_entropy = CrossEntropy()
        self._batches = SequenceBatches(
            data, config.max_length, config.batch_size, self.encoder.padding_id
        )

    def batches(self, generator: torch.Generator) -> Iterator[SequenceBatch]:
        """All windows of all histories once; every item but each user's first is a target."""
        yield from self._batches.epoch(generator)

    def loss(self, batch: SequenceBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """`cross_entropy` of the next item, the mean over all positions of the batch; `total`."""
        hidden = self.encoder(batch.items, batch.lengths)[batch.real]
        value = self.cross_entropy(hidden, self.encoder.item_table, batch.targets)
        return {"total": value, "cross_entropy": value}

    @torch.no_grad()
    def score(self, users: Tensor, history: Interactions) -> Tensor:
        """<hidden state after the latest `max_length` items of `history`, item embedding>.

        Returns (B, num_items). Users without history score every item 0.
        """
        items, lengths = pad_histories(
            history, users, self.config.max_length, self.encoder.padding_id
        )
        training = self.training
        self.eval()
        hidden = self.encoder(items, lengths)
        self.train(training)
        last = hidden[torch.arange(len(users), device=users.device), (lengths - 1).clamp(min=0)]
        return last @ self.encoder.item_table.T

    @torch.no_grad()
    def embed(self, data: Interactions) -> Tensor:
        """The item embeddings (num_items, d)."""
        return self.encoder.item_table.clone()
