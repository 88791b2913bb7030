"""What the tasks of recommenders share: vectors to export and lists to recommend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch

from graphcl.errors import SealedError
from graphcl.evaluate.contract import Split, Task, VectorTable
from graphcl.methods.contract import Method
from recsys.data.interactions import Interactions
from recsys.evaluate.full_ranking import device_of
from recsys.methods.contract import Recommender
from recsys.recommend import Recommendations

BY_PRODUCT = "The score of an item for a user is the inner product of their vectors."
BY_METHOD = (
    "The scores of this method are no inner products of a few numbers, so there are no user "
    "vectors; the cosine of these tells which items are alike. Recommend with the library."
)


@dataclass(frozen=True)
class Known:
    """Everything that is known of the users, test targets too: for use, when all is measured."""

    history: Interactions
    """What methods read, numbered as in training."""
    also_seen: Interactions | None = None
    """What else users had to do with, such as items that they disliked, numbered alike."""


class RecommenderTask(Task):
    """Base of the tasks that rank items for users.

    `load` keeps a sealed `Known` as `extra["known"]`: what is recommended after the test follows
    all that a user did, which no method may see before.
    """

    reads_tables: ClassVar[bool] = True

    def tables(self, method: Method, split: Split) -> dict[str, VectorTable]:
        """`items`, and `users` where the scores are inner products.

        A user vector of a sequence method is the state after everything that is known of the
        user, test targets too.
        """
        recommender, known = cast(Recommender, method), known_at_last(split)
        train = split.train
        device = device_of(recommender)
        with torch.no_grad():
            users = torch.arange(train.num_users, device=device)
            found = recommender.vectors(users, known.history.to(device))
            embedding = recommender.embed(train.to(device)) if found is None else found[1]
        items = VectorTable(
            train.item_ids,
            embedding.numpy(force=True),
            BY_METHOD if found is None else BY_PRODUCT,
            train.titles,
            "cosine" if found is None else "inner product",
        )
        if found is None:
            return {"items": items}
        meaning = (
            f"{BY_PRODUCT} Where the method reads histories, the vector follows all that the "
            "data set knows of the user, so that it is ready for what comes next."
        )
        users_table = VectorTable(train.user_ids, found[0].numpy(force=True), meaning)
        return {"users": users_table, "items": items}

    def recommendations(self, method: Method, split: Split) -> Recommendations:
        """Lists that follow everything that is known of the users, test targets too."""
        known = known_at_last(split)
        return Recommendations(cast(Recommender, method), known.history, known.also_seen)


def known_at_last(split: Split) -> Known:
    """The seal of `extra["known"]` broken, however often."""
    sealed = split.extra["known"]
    try:
        known: Known = sealed.open()
    except SealedError:
        known = sealed.opened()
    return known
