"""A few users with what they were recommended, in words, for a person to look at."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from recsys.data.interactions import Interactions
from recsys.evaluate.full_ranking import Holdout, SeenPolicy, device_of
from recsys.methods.contract import Recommender

USERS, HISTORY, LENGTH, HELD_OUT = 5, 8, 10, 10
"""Examples, and of each: latest known items, recommended items, held-out items."""


@torch.no_grad()
def example_lists(
    method: Recommender, holdout: Holdout, mask_seen: SeenPolicy = "history_keep_target"
) -> dict[str, np.ndarray]:
    """What some users took, what they were recommended, and which of it they took next.

    The users are spread evenly over how much is known of them; how good their lists are plays
    no part in the choice.

    Args:
        method: in evaluation mode.
        holdout: what the method was tested on.
        mask_seen: whether a list leaves out what the user is known to have taken, as in the test.

    Returns:
        Arrays for `snapshot.npz`, one row for each of at most 5 users; text is unicode, and empty
        text fills a row that is shorter:

        `examples/user` (e,): the caller's own user ids;
        `examples/history` (e, 8): titles (ids where there are none) of the latest known items,
        oldest first;
        `examples/recommended` (e, 10): titles of the recommended items, best first;
        `examples/hit` (e, 10) bool: whether that item is held out, which is what the test counts;
        `examples/held_out` (e, 10): titles of held-out items, the first ones in the log's order.
    """
    history, targets = holdout.history, holdout.targets.unique()
    waiting = torch.nonzero(targets.lengths() > 0).flatten()
    order = waiting[torch.sort(history.lengths()[waiting], stable=True).indices]
    count = min(USERS, len(order))
    users = order[((torch.arange(count) + 0.5) * len(order) / max(count, 1)).long()]
    device = device_of(method)
    scores = method.score(users.to(device), history.to(device)).float().cpu()
    title = _titles(history)
    known, listed, held_out = [], [], []
    hit = np.zeros((count, LENGTH), dtype=np.bool_)
    for row, user in enumerate(users.tolist()):
        target = targets.history(user).long()
        best = _best(scores[row].clone(), history.history(user).long(), target, mask_seen)
        hit[row, : len(best)] = torch.isin(best, target).numpy()
        known.append(title[history.history(user)[-HISTORY:].numpy()])
        listed.append(title[best.numpy()])
        held_out.append(title[target[:HELD_OUT].numpy()])
    return {
        "examples/user": history.user_ids[users.numpy()].astype(np.str_),
        "examples/history": _filled(known, HISTORY),
        "examples/recommended": _filled(listed, LENGTH),
        "examples/hit": hit,
        "examples/held_out": _filled(held_out, HELD_OUT),
    }


def _best(scores: Tensor, known: Tensor, target: Tensor, mask_seen: SeenPolicy) -> Tensor:
    """The first items of one list; equal scores in the order of the item numbers."""
    excluded = torch.zeros(len(scores), dtype=torch.bool)
    if mask_seen != "none":
        excluded[known] = True
        excluded[target] = False
    order = torch.sort(scores, descending=True, stable=True).indices
    return order[~excluded[order]][:LENGTH]


def _titles(log: Interactions) -> np.ndarray:
    ids = log.item_ids.astype(np.str_)
    if log.titles is None:
        return ids
    titles = log.titles.astype(np.str_)
    return np.where(titles == "", ids, titles)


def _filled(rows: list[np.ndarray], width: int) -> np.ndarray:
    return np.array([[*row, *[""] * (width - len(row))] for row in rows], dtype=np.str_).reshape(
        len(rows), width
    )
