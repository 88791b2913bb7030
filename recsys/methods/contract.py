"""What every recommender is: a `Method` that scores all items for a batch of users."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.methods.contract import Method
from recsys.data.interactions import Interactions


def check_users(users: Tensor, log: Interactions) -> None:
    """Refuse user numbers that a log does not have; a negative one would count from the end.

    Raises:
        ArgumentError: a number is outside 0 .. num_users - 1.
    """
    if users.numel() == 0:
        return
    low, high = (int(bound) for bound in users.aminmax())
    if low < 0 or high >= log.num_users:
        raise ArgumentError(
            f"users must be numbers in 0..{log.num_users - 1} of '{log.name}' "
            f"(got {low if low < 0 else high})"
        )


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

        Raises:
            ArgumentError: a user number is not one of the log's.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define score()")

    def embed(self, data: Interactions) -> Tensor:
        """Item embeddings (num_items, d), without gradient."""
        raise NotImplementedError(f"{type(self).__name__} does not define embed()")
