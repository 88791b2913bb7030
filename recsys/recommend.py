"""Top-k lists under the caller's own ids: for users, for newcomers, and for items.

Every function returns a pandas `DataFrame` with one row for each recommended item, best first:
whom or what it is for, `rank` from 1, `item`, `title` where the log has titles, and `score`. A
list is shorter than k where fewer items are left. Equal scores stand in the order of the log's
items. The scores of a block of users exist at a time, never those of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from graphcl.errors import ArgumentError, NonFiniteError
from recsys.data.interactions import Interactions
from recsys.data.sequences import flat_histories
from recsys.evaluate.full_ranking import LARGEST_BLOCK, device_of
from recsys.evaluate.metrics import CELLS
from recsys.ids import item_numbers, user_numbers
from recsys.methods.contract import Recommender

SEEN = ("mask", "keep")


def recommend(
    method: Recommender,
    users: Sequence[Any],
    history: Interactions,
    k: int = 10,
    *,
    seen: str = "mask",
    also_seen: Interactions | None = None,
    candidates: Iterable[Any] | None = None,
) -> pd.DataFrame:
    """The best items for users that the method was trained on.

    Args:
        method: a trained recommender.
        users: ids as the log has them; an integer id may also be given as text.
        history: what is known of the users, numbered as in training.
        k: items a list.
        seen: "mask" leaves out what a user has taken, "keep" recommends that too.
        also_seen: further interactions to leave out, numbered alike, such as items that a user
            disliked; what is in `history` is left out anyway.
        candidates: ids of the only items to recommend; None for all.

    Returns:
        A table with the columns `user`, `rank`, `item`, `title` (where there are any), `score`.

    Raises:
        UnknownNameError: no such user or candidate; the message gives the nearest.
        ArgumentError: `k` is below 1, or `seen` is neither word.
        NonFiniteError: the method gave a score that is NaN or infinite.
    """
    numbers = user_numbers(history, users)
    logs = [] if _keeps(seen) else [history, *([] if also_seen is None else [also_seen])]
    device = device_of(method)
    known = history.to(device)
    lists = _lists(
        lambda block: method.score(numbers[block].to(device), known),
        lambda block: [flat_histories(log, numbers[block]) for log in logs],
        len(numbers), history, k, candidates, method,
    )  # fmt: skip
    return _table("user", history.user_ids[numbers.numpy()], lists, history)


def recommend_to_newcomers(
    method: Recommender,
    histories: Sequence[Sequence[Any]],
    data: Interactions,
    k: int = 10,
    *,
    seen: str = "mask",
    candidates: Iterable[Any] | None = None,
) -> pd.DataFrame:
    """The best items for people who are known by a few items each, and were not trained on.

    Sequence methods read such a history as any other; ItemKNN and EASE add up what its items
    speak for. Methods with a vector for every user take the mean of its items' vectors for the
    newcomer's (see `Recommender.score_newcomers`).

    Args:
        method: a trained recommender.
        histories: item ids (or titles, where they are unique), oldest first; one history may be
            given by itself.
        data: any log with the method's items.
        k, seen, candidates: as in `recommend`.

    Returns:
        A table as of `recommend`, with `history`, the position in `histories`, for `user`.

    Raises:
        ConfigError: the method knows people only by their training.
        UnknownNameError: no such item; the message gives the nearest.
        ArgumentError: a history is empty, `k` is below 1, or `seen` is neither word.
        NonFiniteError: the method gave a score that is NaN or infinite.
    """
    if len(histories) > 0 and isinstance(histories[0], str | int | np.integer):
        histories = [histories]
    lengths = [len(history) for history in histories]
    if not lengths or min(lengths) == 0:
        raise ArgumentError(f"a history needs at least one item (got {list(histories)!r})")
    items = item_numbers(data, [item for history in histories for item in history])
    log = Interactions.from_indices(
        torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths)),
        items,
        item_ids=data.item_ids,
        titles=data.titles,
        name="newcomers",
    )
    device = device_of(method)
    known = log.to(device)
    lists = _lists(
        lambda block: method.score_newcomers(block.to(device), known),
        lambda block: [] if _keeps(seen) else [flat_histories(log, block)],
        len(lengths), log, k, candidates, method,
    )  # fmt: skip
    return _table("history", np.arange(len(lengths)), lists, log)


def similar_items(
    method: Recommender,
    items: Sequence[Any],
    data: Interactions,
    k: int = 10,
    *,
    candidates: Iterable[Any] | None = None,
) -> pd.DataFrame:
    """The items most like some items, themselves left out.

    By the cosine of the item embeddings, or by what the method itself calls similar (see
    `Recommender.item_similarity`).

    Args:
        method: a trained recommender.
        items: item ids, or titles where they are unique.
        data: any log with the method's items.
        k, candidates: as in `recommend`.

    Returns:
        A table as of `recommend`, with `similar_to`, an item id, for `user`.

    Raises:
        ConfigError: the method does not tell items apart.
        UnknownNameError: no such item; the message gives the nearest.
        ArgumentError: `k` is below 1.
        NonFiniteError: the method gave a score that is NaN or infinite.
    """
    numbers = item_numbers(data, items)
    device = device_of(method)
    lists = _lists(
        lambda block: method.item_similarity(numbers[block].to(device)),
        lambda block: [(torch.arange(len(block)), numbers[block])],
        len(numbers), data, k, candidates, method,
    )  # fmt: skip
    return _table("similar_to", data.item_ids[numbers.numpy()], lists, data)


Lists = tuple[Tensor, Tensor, Tensor, Tensor]
"""Row, rank from 1, item number and score of everything recommended, all (R,)."""


@torch.no_grad()
def _lists(
    score: Callable[[Tensor], Tensor],
    excluded: Callable[[Tensor], list[tuple[Tensor, Tensor]]],
    count: int,
    data: Interactions,
    k: int,
    candidates: Iterable[Any] | None,
    method: Recommender,
) -> Lists:
    if k < 1:
        raise ArgumentError(f"k must be at least 1 (got {k})")
    allowed = None
    if candidates is not None:
        allowed = torch.zeros(data.num_items, dtype=torch.bool)
        allowed[item_numbers(data, list(candidates))] = True
    training = method.training
    method.eval()
    size = max(1, min(LARGEST_BLOCK, CELLS // data.num_items))
    parts = [_best(torch.zeros(0, data.num_items), k, 0)]
    try:
        for start in range(0, count, size):
            block = torch.arange(start, min(start + size, count))
            scores = score(block).cpu().clone()
            if not bool(torch.isfinite(scores).all()):
                raise NonFiniteError(f"{type(method).__name__} gave scores that are not finite")
            for pairs in excluded(block):
                scores[pairs] = -torch.inf
            if allowed is not None:
                scores[:, ~allowed] = -torch.inf
            parts.append(_best(scores, k, start))
    finally:
        method.train(training)
    rows, ranks, items, values = (torch.cat(part) for part in zip(*parts, strict=True))
    return rows, ranks, items, values


def _best(scores: Tensor, k: int, first_row: int) -> Lists:
    """The finite ones of the `k` largest of each row, equal ones in the order of the items."""
    k = min(k, scores.shape[1])
    # Among equals topk takes any, in any order, others on another machine.
    values, items = scores.topk(min(k + 1, scores.shape[1]), dim=1)
    cut_through = (values[:, k - 1] == values[:, -1]) & (values[:, -1] > -torch.inf)
    items = items[:, :k].sort(dim=1).values
    order = scores.gather(1, items).argsort(dim=1, descending=True, stable=True)
    items = items.gather(1, order)
    if values.shape[1] > k and bool(cut_through.any()):
        order = scores[cut_through].argsort(dim=1, descending=True, stable=True)
        items[cut_through] = order[:, :k]
    values = scores.gather(1, items)
    rows, places = torch.nonzero(values > -torch.inf, as_tuple=True)
    return first_row + rows, places + 1, items[rows, places], values[rows, places]


def _table(kind: str, asked: np.ndarray, lists: Lists, data: Interactions) -> pd.DataFrame:
    rows, ranks, items, scores = (part.numpy() for part in lists)
    columns = {kind: asked[rows], "rank": ranks, "item": data.item_ids[items]}
    if data.titles is not None:
        columns["title"] = data.titles[items]
    return pd.DataFrame({**columns, "score": scores.astype(np.float64)})


def _keeps(seen: str) -> bool:
    if seen not in SEEN:
        raise ArgumentError(f"seen must be one of {', '.join(SEEN)} (got {seen!r})")
    return seen == "keep"
