"""What every recommender is: a `Method` that scores all items for a batch of users."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from graphcl.methods.contract import Method
from recsys.data.interactions import Interactions


class Recommender(Method):
    """Base of all recommenders. `data` is the training log (`Interactions`).

    Users and items are numbered alike in every log a recommender meets. Every later log is
    passed in, never kept: what a method learned from is `data` alone.
    """

    data: Interactions

    def __init__(self, config: Any, data: Interactions) -> None:
        super().__init__(config, data)

    def score(self, users: Tensor, history: Interactions) -> Tensor:
        """Scores of all items for some users, higher is better, without gradient.

        Args:
            users: int64 (B,).
            history: all that is known about the users at that moment: train at validation time,
                train and validation at test time. Graph methods use the user numbers and may
                ignore it; sequence methods read the users' items from it.

        Returns:
            (B, num_items), finite. Seen items are scored like any other: the evaluation and
            `recommend` decide whether to leave them out.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define score()")

    def vectors(self, users: Tensor, history: Interactions) -> tuple[Tensor, Tensor] | None:
        """User vectors (B, d) and item vectors (num_items, d) whose inner products are the scores.

        The evaluation then ranks without ever holding the scores. Arguments are those of `score`,
        and there is no gradient. None, the default, where scores are something else; whoever
        overrides `score` of a method that has vectors overrides this too.
        """
        return None

    def embed(self, data: Interactions) -> Tensor:
        """Item embeddings (num_items, d), without gradient."""
        raise NotImplementedError(f"{type(self).__name__} does not define embed()")
