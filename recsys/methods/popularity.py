"""Popularity: everybody is recommended the items with the most training interactions.

The baseline that every learned recommender must beat. The score of an item is its number of
training interactions, for every user; the order among equals is left to the tie policy of the
evaluation. Cost: one count of the log.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from graphcl.errors import ConfigError
from graphcl.methods.contract import MethodConfig
from recsys.data.interactions import Interactions
from recsys.methods.contract import Recommender, check_users


class PopularityConfig(MethodConfig):
    """Nothing to set: there is nothing to learn."""

    epochs: int = 0


class Popularity(Recommender):
    """Rank items by how often they were taken in the training data."""

    Config: ClassVar[type[MethodConfig]] = PopularityConfig
    tasks: ClassVar[tuple[str, ...]] = ("ranking", "next-item", "cold-start")
    trainable: ClassVar[bool] = False

    counts: Tensor

    def __init__(self, config: PopularityConfig, data: Interactions) -> None:
        super().__init__(config, data)
        # float64 is exact for every count; float32 would merge counts above 2**24.
        self.register_buffer("counts", data.item_counts().double())

    def score(self, users: Tensor, history: Interactions) -> Tensor:
        """Training interactions of each item, the same for every user: float64 (B, num_items)."""
        check_users(users, self.data)
        return self.counts.expand(len(users), -1)

    def embed(self, data: Interactions) -> Tensor:
        """Training interactions of each item, float64 (num_items, 1)."""
        return self.counts[:, None]

    def vectors(self, users: Tensor, history: Interactions) -> tuple[Tensor, Tensor]:
        """One for every user and the count of every item, (B, 1) and (num_items, 1)."""
        return self.counts.new_ones(len(users), 1), self.counts[:, None]

    def score_newcomers(self, users: Tensor, history: Interactions) -> Tensor:
        """The same for a newcomer as for everybody."""
        check_users(users, history)
        return self.counts.expand(len(users), -1)

    def item_similarity(self, items: Tensor) -> Tensor:
        """Raises ConfigError: items are not told apart by what they are like."""
        raise ConfigError("popularity knows how often items are taken, not which are alike")
