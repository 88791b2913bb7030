"""What sequence recommenders share: settings, an encoder, packed training, scoring."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from graphcl.config import Count, tunable
from graphcl.methods.contract import MethodConfig, PortableEncoder
from recsys.data.batches import SequenceBatch, SequenceBatches
from recsys.data.interactions import Interactions
from recsys.data.sequences import pad_histories
from recsys.encoders.contract import SequenceEncoder
from recsys.encoders.gru4rec import GRU4RecEncoder
from recsys.encoders.sasrec import Activation, Norm, SASRecEncoder
from recsys.methods.contract import Recommender, check_users
from recsys.methods.next_item_loss import EVERY, NextItemChoice, NextItemLoss

USERS_TOGETHER = 256
"""Histories encoded at once when scoring: few enough that they are about equally long."""

EncoderChoice = Literal["sasrec", "ligr", "gru4rec"]


class SequentialConfig(MethodConfig):
    """Settings that every sequence method has."""

    epochs: int = tunable(60, low=10, high=400, log=True, ge=0)
    learning_rate: float = tunable(1e-3, low=3e-4, high=3e-3, log=True, gt=0)
    evaluate_every: Count = 2
    patience: Count = 5
    minimum_epochs: Count = 10
    dimension: int = tunable(64, choices=[32, 64, 128], ge=1)
    layers: int = tunable(2, choices=[1, 2, 3], ge=1)
    max_length: int = tunable(200, choices=[50, 100, 200], ge=1)
    """Items of a history that the encoder sees; longer ones train in several windows."""
    dropout: float = tunable(0.2, low=0.0, high=0.6, ge=0, lt=1)
    batch_size: int = tunable(32, choices=[16, 32, 64, 128], ge=1)
    """Histories (windows) in a batch on average: more where they are short, so that every batch has
    about equally many targets."""
    loss: NextItemChoice = tunable("ce", choices=["ce", "sampled", "gbce"])
    """How the next item is predicted: ce (full softmax), sampled, gbce, bce, bpr."""
    negatives: int = tunable(256, choices=[64, 256, 1024], ge=1)
    """Negatives of a sampled loss; no use to ce. The original SASRec: bce with 1."""
    correct_sampling: bool = tunable(True, choices=[True, False])
    """Whether loss sampled estimates the full softmax (logQ) or counts the negatives alone."""
    shared_negatives: bool = True
    """Whether a batch shares the negatives of sampled and gbce; far cheaper than its own for every
    position, and coarser."""
    calibration: float = tunable(0.75, choices=[0.5, 0.75, 1.0], ge=0, le=1)
    """t of gbce."""


class TransformerConfig(SequentialConfig):
    """Settings of sequence methods on a transformer."""

    heads: int = tunable(2, choices=[1, 2, 4], ge=1)
    attention_dropout: float = tunable(0.0, choices=[0.0, 0.2], ge=0, lt=1)
    feed_forward: int | None = None
    """Width of the feed-forward layers; null is `dimension`, as in the paper."""
    norm: Norm = tunable("pre", choices=["pre", "post"])
    activation: Activation = tunable("relu", choices=["relu", "gelu"])
    encoder: EncoderChoice = "sasrec"
    """sasrec, ligr (gated layers, norm pre), or gru4rec (one recurrent layer per `layers`)."""


class SequentialRecommender(Recommender):
    """Base of the sequence methods: an encoder with tied output, trained on all positions.

    A method on top adds its own parts to `next_item(...)` in `loss`; it may encode anything with
    `self.encoder` (`last` gives one state a sequence) and draw its views from `self.data`.
    """

    config: Any
    tasks = ("next-item",)
    divides_batches = True
    rounds_contrasts_only = True
    tokens = 0
    """Further input ids, such as a mask, that the encoder gets (`encoder.mask_id`)."""
    causal = True
    """Whether a position sees its past only; a transformer may see both sides."""

    def __init__(self, config: SequentialConfig, data: Interactions) -> None:
        super().__init__(config, data)
        self.encoder = self.make_encoder()
        self.next_item_loss = NextItemLoss(
            config.loss,
            data,
            config.negatives,
            config.calibration,
            config.correct_sampling,
            config.shared_negatives,
        )
        self.to(data.device)
        self._batches = SequenceBatches(
            data, config.max_length, config.batch_size, self.encoder.padding_id
        )

    def make_encoder(self) -> SequenceEncoder:
        """The encoder that the settings ask for."""
        config = self.config
        shared = {
            "layers": config.layers,
            "max_length": config.max_length,
            "dropout": config.dropout,
            "tokens": self.tokens,
        }
        if config.encoder == "gru4rec":
            return GRU4RecEncoder(self.data.num_items, config.dimension, **shared)
        return SASRecEncoder(
            self.data.num_items,
            config.dimension,
            heads=config.heads,
            attention_dropout=config.attention_dropout,
            feed_forward=config.feed_forward,
            norm=config.norm,
            activation=config.activation,
            gated=config.encoder == "ligr",
            causal=self.causal,
            **shared,
        )

    def batches(self, generator: torch.Generator) -> Iterator[Any]:
        """All windows of all histories once; every item but each user's first is a target."""
        yield from self._batches.epoch(generator)

    def loss(self, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        """The next-item loss of all positions, under its own name, and `total`."""
        value = self.next_item(batch, generator)
        return {"total": value, self.next_item_loss.name: value}

    def next_item(
        self, batch: SequenceBatch, generator: torch.Generator, hidden: Tensor | None = None
    ) -> Tensor:
        """The next-item loss, the mean over all positions of a packed batch.

        Args:
            batch: the windows.
            generator: source of negatives.
            hidden: (T, d) states at the real positions, `encoder(...)[batch.real]`, where the
                caller has them already.

        Processes that train together divide the windows.
        """
        positions, share = len(batch.targets), self.sharing.of(len(batch.lengths))
        users, part = batch.users.repeat_interleave(batch.lengths, output_size=positions), EVERY
        if share.count > 1:
            part = batch.positions(share.rows)
            hidden = None if hidden is None else hidden[part]
            batch = batch.rows(share.rows)
        if hidden is None:
            hidden = self.encoder(batch.items, batch.lengths)[batch.real]
        value: Tensor = self.next_item_loss(
            hidden, self.encoder.item_table, batch.targets, users, generator, part
        )
        return share.mean(value, len(batch.targets), positions)

    def optimizer(self) -> torch.optim.Optimizer:
        """Adam in one pass over each parameter: the item table is most of a small model."""
        return torch.optim.Adam(
            self.parameters(),
            lr=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
            fused=True,
        )

    @torch.no_grad()
    def score(self, users: Tensor, history: Interactions) -> Tensor:
        """<state after the latest `history_length` items of `history`, item embedding>.

        Returns (B, num_items). Users without history score every item 0.
        """
        states, items = self.vectors(users, history)
        return states @ items.T

    def score_newcomers(self, users: Tensor, history: Interactions) -> Tensor:
        """As `score`: a user is a history here, whether trained on or not."""
        return self.score(users, history)

    @torch.no_grad()
    def vectors(self, users: Tensor, history: Interactions) -> tuple[Tensor, Tensor]:
        """States after the latest items (B, d) and item embeddings (num_items, d)."""
        return self.user_states(users, history), self.encoder.item_table

    @torch.no_grad()
    def user_states(self, users: Tensor, history: Interactions) -> Tensor:
        """The state (B, d) after each user's latest `history_length` items, without dropout.

        Zero without history. Users of about equal length are encoded together.
        """
        check_users(users, history)
        training = self.training
        self.eval()
        states = self.encoder.item_table.new_zeros(len(users), self.encoder.dimension)
        encoder = self.history_encoder()
        order = torch.argsort(history.lengths()[users], stable=True)
        for part in order.split(USERS_TOGETHER):
            items, lengths = pad_histories(
                history, users[part], self.history_length, self.encoder.padding_id
            )
            states[part] = encoder(items, lengths)
        self.train(training)
        return states

    @property
    def history_length(self) -> int:
        """How many of a user's latest items are read."""
        length: int = self.config.max_length
        return length

    def history_encoder(self) -> nn.Module:
        """What turns histories, items (B, L) and lengths (B,), into user vectors (B, d)."""
        return HistoryEncoder(self.encoder)

    @torch.no_grad()
    def embed(self, data: Interactions) -> Tensor:
        """The item embeddings (num_items, d)."""
        return self.encoder.item_table.clone()

    def portable_encoder(self) -> PortableEncoder:
        """Item numbers -> user vector."""
        longest = self.history_length
        # torch.export follows a recurrence step by step, so its length is fixed.
        fixed = isinstance(self.encoder, GRU4RecEncoder) or longest < 2
        length = longest if fixed else 2
        device = self.encoder.item_table.device
        return PortableEncoder(
            self.history_encoder(),
            {
                "items": torch.zeros(2, length, dtype=torch.int64, device=device),
                "lengths": torch.full((2,), length, device=device),
            },
            {
                "items": {0: ("batch", None)} | ({} if fixed else {1: ("length", longest)}),
                "lengths": {0: ("batch", None)},
            },
            f"items int64 (batch, {longest if fixed else f'length <= {longest}'}): the latest "
            "items of each user, oldest first, as row numbers of the items table, filled up at "
            "the end with any row number; lengths int64 (batch,): how many of them count; "
            "returns user vectors (batch, d), whose inner products with the items' vectors are "
            "the scores",
        )


class HistoryEncoder(nn.Module):
    """Histories -> the state after the last item of each: what `torch.export` takes along."""

    def __init__(self, encoder: SequenceEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
        """(B, L) and (B,) integers -> (B, d)."""
        return self.encoder.last(items, lengths)
