"""Rank every item for every user with a target, a block of users at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from graphcl.errors import ArgumentError, DataError
from recsys.data.interactions import Interactions
from recsys.data.sequences import flat_histories
from recsys.evaluate.metrics import CELLS, TiePolicy, find_places, metrics_per_user
from recsys.methods.contract import Recommender

SeenPolicy = Literal["history_keep_target", "none"]
"""What is no candidate: a user's history except the targets, or nothing."""

LARGEST_BLOCK = 4096


@dataclass(frozen=True)
class Holdout:
    """What is known of the users at some moment, and what they took next."""

    history: Interactions
    targets: Interactions


def rank_users(
    method: Recommender,
    holdout: Holdout,
    cutoffs: Sequence[int],
    *,
    mask_seen: SeenPolicy = "history_keep_target",
    ties: TiePolicy = "mean",
) -> dict[str, Tensor]:
    """Metrics of every user with a target; the whole score matrix never exists.

    Args:
        method: scores the items; it is put into evaluation mode meanwhile.
        holdout: histories and targets; a target taken twice counts once.
        cutoffs: the k of `recall@k` and its like.
        mask_seen: `history_keep_target` takes a user's history out of the candidates, except an
            item that is also a target; `none` keeps all items as candidates.
        ties: see `recsys.evaluate.metrics`.

    Returns:
        Metric name -> float64 (users,), and `user` -> int64 (users,), on the CPU.

    Raises:
        DataError: no user has a target.
        NonFiniteError: the method gave a NaN score.
        ArgumentError: the scores have the wrong shape, or a policy is unknown.
    """
    _check_policy(mask_seen)
    blocks: list[dict[str, Tensor]] = []
    for users, history, targets, scores in _blocks(method, holdout):
        rows, items = flat_histories(targets, users)
        excluded = None if mask_seen == "none" else flat_histories(history, users)
        places = find_places(scores, rows, items, excluded, ties)
        blocks.append({"user": users, **metrics_per_user(places, len(users), cutoffs)})
    return {name: torch.cat([block[name] for block in blocks]).cpu() for name in blocks[0]}


def mean_metrics(per_user: dict[str, Tensor]) -> dict[str, float]:
    """The mean over users of what `rank_users` returned."""
    return {name: float(values.mean()) for name, values in per_user.items() if name != "user"}


def item_coverage(
    method: Recommender,
    holdout: Holdout,
    cutoff: int,
    *,
    mask_seen: SeenPolicy = "history_keep_target",
) -> float:
    """The share of all items that are in the top `cutoff` of some user with a target.

    Raises:
        DataError: no user has a target.
        ArgumentError: the scores have the wrong shape, or the policy is unknown.
    """
    _check_policy(mask_seen)
    found: Tensor | None = None
    for users, history, _, scores in _blocks(method, holdout):
        if mask_seen != "none":
            scores = scores.clone()
            scores[flat_histories(history, users)] = -torch.inf
        top = scores.topk(min(cutoff, scores.shape[1]), dim=1)
        if found is None:
            found = torch.zeros(scores.shape[1], dtype=torch.bool, device=scores.device)
        found[top.indices[top.values > -torch.inf]] = True
    return 0.0 if found is None else float(found.double().mean())


def _check_policy(mask_seen: str) -> None:
    if mask_seen not in get_args(SeenPolicy):
        raise ArgumentError(
            f"mask_seen must be one of {', '.join(get_args(SeenPolicy))} (got {mask_seen!r})"
        )


def _blocks(
    method: Recommender, holdout: Holdout
) -> Iterator[tuple[Tensor, Interactions, Interactions, Tensor]]:
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
    size = max(1, min(LARGEST_BLOCK, CELLS // targets.num_items))
    training = method.training
    method.eval()
    try:
        with torch.no_grad():
            for users in waiting.split(size):
                scores = method.score(users, history)
                if scores.shape != (len(users), targets.num_items):
                    raise ArgumentError(
                        f"score() must give ({len(users)}, {targets.num_items}) scores "
                        f"(got {tuple(scores.shape)})"
                    )
                yield users, history, targets, scores
    finally:
        method.train(training)


def device_of(method: torch.nn.Module) -> torch.device:
    """Where the method's parameters, else its buffers, live; the CPU when it has neither."""
    for tensor in (*method.parameters(), *method.buffers()):
        return tensor.device
    return torch.device("cpu")
