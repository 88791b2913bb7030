"""Rank every item for every user with a target, a block of users at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from graphcl.errors import ArgumentError, DataError
from graphcl.kernels.topk import Lists, rank_items
from recsys.data.interactions import Interactions
from recsys.data.sequences import flat_histories
from recsys.evaluate.lists import coverage
from recsys.evaluate.metrics import (
    Scores,
    TiePolicy,
    check_cutoffs,
    find_places,
    metrics_per_user,
)
from recsys.methods.contract import Recommender

SeenPolicy = Literal["history_keep_target", "none"]
"""What is no candidate: a user's history except the targets, or nothing. Functions here also
take "mask" and "keep" for the two."""

SHORT_NAMES: dict[str, SeenPolicy] = {"mask": "history_keep_target", "keep": "none"}

LARGEST_BLOCK = 4096
CELLS = 1 << 24
"""Largest number of scores held at once."""


@dataclass(frozen=True)
class Holdout:
    """What is known of the users at some moment, and what they took next.

    Raises:
        ArgumentError: the two number other users or items.
    """

    history: Interactions
    targets: Interactions

    def __post_init__(self) -> None:
        users = self.history.num_users, self.targets.num_users
        items = self.history.num_items, self.targets.num_items
        if users[0] != users[1] or items[0] != items[1]:
            raise ArgumentError(
                "history and targets must number the same users and items "
                f"(got {users[0]} and {users[1]} users, {items[0]} and {items[1]} items)"
            )


@dataclass(frozen=True)
class Evaluation:
    """What one pass over all users found."""

    per_user: dict[str, Tensor]
    """Metric name -> float64 (users,), and `user` -> int64 (users,), on the CPU."""
    recommended: Tensor
    """int64 (num_items,), on the CPU: how many of the users' lists hold each item."""

    def means(self) -> dict[str, float]:
        """The mean of each metric over users."""
        return mean_metrics(self.per_user)


def evaluate_users(
    method: Recommender,
    holdout: Holdout,
    cutoffs: Sequence[int],
    *,
    mask_seen: SeenPolicy | str = "history_keep_target",
    ties: TiePolicy = "mean",
    list_length: int = 0,
) -> Evaluation:
    """Rank all items for every user with a target; the whole score matrix never exists.

    Args:
        method: scores the items; it is put into evaluation mode meanwhile.
        holdout: histories and targets; a target taken twice counts once.
        cutoffs: the k of `recall@k` and its like, positive integers; none for lists alone.
        mask_seen: `history_keep_target` (or `mask`) takes a user's history out of the
            candidates, except an item that is also a target; `none` (or `keep`) keeps all items
            as candidates.
        ties: see `recsys.evaluate.metrics`.
        list_length: items of the lists that `recommended` counts; 0 makes no lists.

    Raises:
        DataError: no user has a target.
        NonFiniteError: the method gave a NaN score.
        ArgumentError: the scores have the wrong shape, a policy is unknown, or a cutoff is no
            positive integer.
    """
    mask_seen = _check_policy(mask_seen)
    if not isinstance(cutoffs, tuple | list) or cutoffs:
        check_cutoffs(cutoffs)
    blocks: list[dict[str, Tensor]] = []
    recommended = torch.zeros(holdout.targets.num_items, dtype=torch.int64)
    for users, history, targets, scores in _blocks(method, holdout):
        excluded = None if mask_seen == "none" else flat_histories(history, users)
        if cutoffs:
            rows, items = flat_histories(targets, users)
            places = find_places(scores, rows, items, excluded, ties)
            blocks.append({"user": users, **metrics_per_user(places, len(users), cutoffs)})
        if list_length:
            listed = _listed_items(scores, excluded, list_length)
            recommended += torch.bincount(listed, minlength=len(recommended)).cpu()
    names = blocks[0] if blocks else {}
    return Evaluation(
        {name: torch.cat([block[name] for block in blocks]).cpu() for name in names}, recommended
    )


def rank_users(
    method: Recommender,
    holdout: Holdout,
    cutoffs: Sequence[int],
    *,
    mask_seen: SeenPolicy | str = "history_keep_target",
    ties: TiePolicy = "mean",
) -> dict[str, Tensor]:
    """`per_user` of `evaluate_users`; the same arguments and errors."""
    return evaluate_users(method, holdout, cutoffs, mask_seen=mask_seen, ties=ties).per_user


def mean_metrics(per_user: dict[str, Tensor]) -> dict[str, float]:
    """The mean over users of what `rank_users` returned."""
    return {name: float(values.mean()) for name, values in per_user.items() if name != "user"}


def item_coverage(
    method: Recommender,
    holdout: Holdout,
    cutoff: int,
    *,
    mask_seen: SeenPolicy | str = "history_keep_target",
) -> float:
    """The share of all items that are in the top `cutoff` of some user with a target.

    Raises:
        DataError: no user has a target.
        ArgumentError: the scores have the wrong shape, or the policy is unknown.
    """
    found = evaluate_users(method, holdout, (), mask_seen=mask_seen, list_length=cutoff)
    return coverage(found.recommended)


def _listed_items(scores: Scores, excluded: tuple[Tensor, Tensor] | None, length: int) -> Tensor:
    """The items of all lists, one after the other; a list ends where candidates do."""
    count = len(scores if isinstance(scores, Tensor) else scores[0])
    out = None if excluded is None else Lists.from_pairs(*excluded, count)
    top = rank_items(scores, k=length, excluded=out)
    return top.ids[top.scores > -torch.inf]


def _check_policy(mask_seen: str) -> str:
    policy = SHORT_NAMES.get(mask_seen, mask_seen) if isinstance(mask_seen, str) else mask_seen
    if policy not in get_args(SeenPolicy):
        raise ArgumentError(
            f"mask_seen must be one of {', '.join((*get_args(SeenPolicy), *SHORT_NAMES))} "
            f"(got {mask_seen!r})"
        )
    return policy


def _blocks(
    method: Recommender, holdout: Holdout
) -> Iterator[tuple[Tensor, Interactions, Interactions, Scores]]:
    """Blocks of users with their histories, targets and scores, all on the method's device."""
    device = device_of(method)
    history = holdout.history.to(device)
    targets = holdout.targets.unique().to(device)
    waiting = torch.nonzero(targets.lengths() > 0).flatten()
    if len(waiting) == 0:
        raise DataError(
            f"no user of '{targets.name}' has a held-out item to rank; "
            "at least one user with three interactions is needed"
        )
    training = method.training
    method.eval()
    try:
        with torch.no_grad():
            for block in waiting.split(LARGEST_BLOCK):
                for users, scores in _scores(method, block, history):
                    yield users, history, targets, scores
    finally:
        method.train(training)


def _scores(
    method: Recommender, users: Tensor, history: Interactions
) -> Iterator[tuple[Tensor, Scores]]:
    """Vectors where the method has them, else scores of some users at a time."""
    items = history.num_items
    vectors = method.vectors(users, history)
    if vectors is not None:
        shapes = tuple(len(part) for part in vectors)
        if shapes != (len(users), items):
            raise ArgumentError(
                f"vectors() must give {len(users)} user and {items} item vectors (got "
                f"{shapes[0]} and {shapes[1]})"
            )
        yield users, vectors
        return
    for part in users.split(max(1, min(LARGEST_BLOCK, CELLS // items))):
        scores = method.score(part, history)
        if scores.shape != (len(part), items):
            raise ArgumentError(
                f"score() must give ({len(part)}, {items}) scores (got {tuple(scores.shape)})"
            )
        yield part, scores


def device_of(method: torch.nn.Module) -> torch.device:
    """Where the method's parameters, else its buffers, live; the CPU when it has neither."""
    for tensor in (*method.parameters(), *method.buffers()):
        return tensor.device
    return torch.device("cpu")
