"""Our methods as RecBole's models."""

from __future__ import annotations

from typing import Any

import torch
from recbole.model.abstract_recommender import GeneralRecommender, SequentialRecommender
from recbole.utils import InputType
from torch import Tensor

from recsys.data.batches import TripleBatch
from recsys.methods.contract import Recommender
from recsys.recbole.logs import histories_of, interactions_of


class OwnBatch:
    """One of a method's own batches; RecBole's trainer calls `to` on what it iterates."""

    def __init__(self, content: Any) -> None:
        self.content = content

    def to(self, device: torch.device) -> OwnBatch:
        """Itself: a method's batches are where its data is."""
        return self


class BridgedModel:
    """What the two kinds share: `method_class` and `settings` are set by the class made for a run.

    Users and items are numbered from 1 by RecBole, from 0 by us.
    """

    method_class: type[Recommender]
    settings: Any
    method: Recommender
    generator: torch.Generator

    def build(self, config: Any, log: Any) -> None:
        """Make the method for the training log."""
        device = config["device"]
        self.method = self.method_class(self.settings, log.to(device)).to(device)
        self.generator = torch.Generator(device=device).manual_seed(config["seed"])

    def with_padding(self, scores: Tensor) -> Tensor:
        """Scores (B, N) as RecBole's (B, N + 1); it takes the padding item out itself."""
        return torch.nn.functional.pad(scores.float(), (1, 0), value=-torch.inf)


class BridgedGeneral(BridgedModel, GeneralRecommender):
    """A method that needs users and items only; RecBole samples its negatives."""

    input_type = InputType.PAIRWISE

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.log = interactions_of(dataset)
        self.build(config, self.log)

    def calculate_loss(self, interaction: Any) -> Tensor:
        """The total loss of one of RecBole's batches."""
        users, positives, negatives = (
            interaction[field] - 1 for field in (self.USER_ID, self.ITEM_ID, self.NEG_ITEM_ID)
        )
        return self.method.loss(TripleBatch(users, positives, negatives), self.generator)["total"]

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores of all items for the batch's users."""
        users = interaction[self.USER_ID] - 1
        return self.with_padding(self.method.score(users, self.method.data))

    def predict(self, interaction: Any) -> Tensor:
        """Scores of pairs."""
        users, back = torch.unique(interaction[self.USER_ID] - 1, return_inverse=True)
        scores = self.method.score(users, self.method.data).float()
        return scores[back, interaction[self.ITEM_ID] - 1]


class BridgedSequential(BridgedModel, SequentialRecommender):
    """A sequence method; it trains on its own windows, all positions at once.

    RecBole's data set lists every prefix of every history as a row of its own, a hundred times the
    work for the same (prefix, target) pairs; training takes the histories, evaluation the rows.
    """

    input_type = InputType.POINTWISE

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.log = interactions_of(dataset, sequential=True)
        self.build(config, self.log)

    def calculate_loss(self, batch: OwnBatch) -> Tensor:
        """The total loss of one of the method's batches."""
        return self.method.loss(batch.content, self.generator)["total"]

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores of all items after the batch's histories."""
        items, lengths = interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN]
        history = histories_of(items, lengths, self.n_items - 1)
        rows = torch.arange(len(items), device=items.device)
        return self.with_padding(self.method.score(rows, history))

    def predict(self, interaction: Any) -> Tensor:
        """Scores of (history, item) pairs."""
        scores = self.full_sort_predict(interaction)
        return scores.gather(1, interaction[self.ITEM_ID][:, None]).squeeze(1)
