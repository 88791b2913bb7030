"""Top-k lists under the caller's own ids: for users, for newcomers, and for items.

    Recommendations(method, history).for_users(["anna", "ben"], k=10)

Everything returns a pandas `DataFrame` with one row for each recommended item, best first:
whom or what it is for, `rank` from 1, `item`, `title` where the log has titles, and `score`. A
list is shorter than k where fewer items are left. Equal scores stand in the order of the log's
items. The scores of a block of users exist at a time, never those of all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from graphcl.errors import ArgumentError, NonFiniteError
from graphcl.kernels import topk
from recsys.data.interactions import Interactions
from recsys.data.sequences import flat_histories
from recsys.evaluate.full_ranking import CELLS, LARGEST_BLOCK, device_of
from recsys.ids import is_several, item_numbers, listed, plain, user_numbers
from recsys.methods.contract import Recommender

SEEN = ("mask", "keep")


@dataclass(frozen=True)
class Recommendations:
    """What a trained recommender recommends.

    Every list carries the ids of the log. Users, items and candidates are one id or any number of
    them: a list, a Series, an array, a tensor (`recsys.ids.listed`). Errors of all of them:
    `UnknownNameError` names the nearest id for one that is not known; `ArgumentError` is raised
    for what holds no ids, a k that is no whole number of at least 1, or a `seen` that is neither
    word; `NonFiniteError` for scores that are NaN or infinite.
    """

    method: Recommender
    history: Interactions
    """All that is known of the users, numbered as in training."""
    also_seen: Interactions | None = None
    """Further interactions, numbered alike, that count as seen: items that users disliked."""

    def for_users(
        self,
        users: Any,
        k: int = 10,
        *,
        seen: str = "mask",
        candidates: Any = None,
    ) -> pd.DataFrame:
        """The best items for users that the method was trained on.

        Args:
            users: ids as the log has them, or one; an integer id may also be given as text.
            k: items a list.
            seen: "mask" leaves out what a user has taken, "keep" recommends that too.
            candidates: ids of the only items to recommend; None for all.

        Returns:
            A table with the columns `user`, `rank`, `item`, `title` (if any), `score`.
        """
        numbers = user_numbers(self.history, users)
        also = [] if self.also_seen is None else [self.also_seen]
        logs = [] if _keeps(seen) else [log.to("cpu") for log in (self.history, *also)]
        known = self.history.to(device_of(self.method))
        lists = self._lists(
            lambda block: self.method.score(numbers[block].to(known.device), known),
            lambda block: [flat_histories(log, numbers[block]) for log in logs],
            len(numbers), k, candidates,
        )  # fmt: skip
        return self._table("user", self.history.user_ids[numbers.numpy()], lists)

    def for_newcomers(
        self,
        histories: Any,
        k: int = 10,
        *,
        seen: str = "mask",
        candidates: Any = None,
    ) -> pd.DataFrame:
        """The best items for people who are known by a few items each, and were not trained on.

        Sequence methods read such a history as any other; ItemKNN and EASE add up what its items
        speak for. Methods with a vector for every user take the mean of its items' vectors for
        the newcomer's (`Recommender.score_newcomers`).

        Args:
            histories: a list (or Series, or array) of histories, each of item ids (or titles,
                where they are unique), oldest first. One history may be given by itself, and so
                may the only item of one.
            k, seen, candidates: as in `for_users`.

        Returns:
            A table as of `for_users`, with `history`, the position in `histories`, for `user`.

        Raises:
            ConfigError: the method knows people only by their training.
            ArgumentError: a history is empty, or ids stand beside histories.
        """
        histories = _histories(histories)
        lengths = [len(history) for history in histories]
        if 0 in lengths:
            raise ArgumentError(
                f"a history needs at least one item (number {lengths.index(0)} of {len(lengths)}, "
                "from 0, has none)"
            )
        log = Interactions.from_indices(
            torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths)),
            item_numbers(self.history, [item for history in histories for item in history]),
            item_ids=self.history.item_ids,
            name="newcomers",
        )
        known = log.to(device_of(self.method))
        lists = self._lists(
            lambda block: self.method.score_newcomers(block.to(known.device), known),
            lambda block: [] if _keeps(seen) else [flat_histories(log, block)],
            len(lengths), k, candidates,
        )  # fmt: skip
        return self._table("history", np.arange(len(lengths)), lists)

    def similar_items(self, items: Any, k: int = 10, *, candidates: Any = None) -> pd.DataFrame:
        """The items most like some items, themselves left out.

        By the cosine of the item embeddings, or by what the method itself calls similar
        (`Recommender.item_similarity`).

        Args:
            items: item ids, or titles where they are unique.
            k, candidates: as in `for_users`.

        Returns:
            A table as of `for_users`, with `similar_to`, an item id, for `user`.

        Raises:
            ConfigError: the method does not tell items apart.
        """
        numbers = item_numbers(self.history, items)
        device = device_of(self.method)
        lists = self._lists(
            lambda block: self.method.item_similarity(numbers[block].to(device)),
            lambda block: [(torch.arange(len(block)), numbers[block])],
            len(numbers), k, candidates,
        )  # fmt: skip
        return self._table("similar_to", self.history.item_ids[numbers.numpy()], lists)

    @torch.no_grad()
    def _lists(
        self,
        score: Callable[[Tensor], Tensor],
        excluded: Callable[[Tensor], list[tuple[Tensor, Tensor]]],
        count: int,
        k: int,
        candidates: Any,
    ) -> Lists:
        k = _whole(k)
        num_items = self.history.num_items
        left_out = torch.zeros(num_items, dtype=torch.bool)
        if candidates is not None:
            left_out[:] = True
            left_out[item_numbers(self.history, listed("candidates", candidates))] = False
        training = self.method.training
        self.method.eval()
        size = max(1, min(LARGEST_BLOCK, CELLS // num_items))
        parts = [_best(torch.zeros(0, num_items), [], k, 0)]
        try:
            for start in range(0, count, size):
                block = torch.arange(start, min(start + size, count))
                scores = score(block).cpu().clone()
                _check_finite(scores, self.method)
                scores[:, left_out] = -torch.inf
                parts.append(_best(scores, excluded(block), k, start))
        finally:
            self.method.train(training)
        rows, ranks, items, values = (torch.cat(part) for part in zip(*parts, strict=True))
        return rows, ranks, items, values

    def _table(self, kind: str, asked: np.ndarray, lists: Lists) -> pd.DataFrame:
        rows, ranks, items, scores = (part.numpy() for part in lists)
        columns = {kind: asked[rows], "rank": ranks, "item": self.history.item_ids[items]}
        if self.history.titles is not None:
            columns["title"] = self.history.titles[items]
        return pd.DataFrame({**columns, "score": scores.astype(np.float64)})


Lists = tuple[Tensor, Tensor, Tensor, Tensor]
"""Row, rank from 1, item number and score of everything recommended, all (R,)."""


def _check_finite(scores: Tensor, method: Recommender) -> None:
    # A sum is finite unless an element is not (or it overflows), and far sooner taken.
    if bool(torch.isfinite(scores.sum())) or bool(torch.isfinite(scores).all()):
        return
    raise NonFiniteError(f"{type(method).__name__} gave scores that are not finite")


def _best(scores: Tensor, excluded: list[tuple[Tensor, Tensor]], k: int, first_row: int) -> Lists:
    """The finite ones of the `k` largest of each row, equal ones in the order of the items."""
    out = None
    if excluded:
        rows, items = (torch.cat(part) for part in zip(*excluded, strict=True))
        out = topk.Lists.from_pairs(rows, items, len(scores))
    top = topk.rank_items(scores, k=min(k, scores.shape[1]), excluded=out)
    rows, places = torch.nonzero(top.scores > -torch.inf, as_tuple=True)
    return first_row + rows, places + 1, top.ids[rows, places], top.scores[rows, places]


def _histories(given: Any) -> list[list[Any]]:
    parts = list(given) if is_several(given) and not isinstance(given, Mapping) else [given]
    several = [is_several(part) for part in parts]
    if isinstance(given, pd.DataFrame) or not any(several):
        return [listed("histories", given)]
    if not all(several):
        single = parts[several.index(False)]
        raise ArgumentError(
            f"histories must be ids, or lists of ids, and not both (got {single!r} beside a list)"
        )
    return [listed("a history", part) for part in parts]


def _whole(k: Any) -> int:
    number = plain(k)
    if not isinstance(number, Integral) or isinstance(number, bool) or number < 1:
        raise ArgumentError(f"k must be a whole number of at least 1 (got {k!r})")
    return int(number)


def _keeps(seen: str) -> bool:
    if seen not in SEEN:
        raise ArgumentError(f"seen must be one of {', '.join(SEEN)} (got {seen!r})")
    return seen == "keep"
