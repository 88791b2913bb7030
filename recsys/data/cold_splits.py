"""Splits in which some items, or some users, are new at the time of the test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from graphcl.errors import ArgumentError, DataError
from recsys.data.interactions import Interactions
from recsys.data.splits import InteractionSplit, draw_within, random_parts, split_by_part

COLD_SHARE = 0.1
"""Of the items (users), cold at validation; as many others are cold at the test."""
WARM_FRACTIONS = (0.8, 0.1, 0.1)

Side = Literal["items", "users"]


@dataclass(frozen=True)
class ColdSplit:
    """A split, and who is cold in it."""

    parts: InteractionSplit
    validation_cold: Tensor
    """bool (num_items or num_users,): cold at validation."""
    test_cold: Tensor
    """bool, likewise: cold at the test, others than at validation."""


def cold_split(interactions: Interactions, side: Side, kept: int, *, seed: int) -> ColdSplit:
    """Deal a log so that a tenth of one side is new at validation, and another tenth at the test.

    Of a cold item (user) `kept` interactions, drawn at random, stay in train; all others are
    validation or test targets. Interactions of warm ones are dealt 8:1:1 within each user, as
    `random_ratio_per_user` does.

    Args:
        interactions: without repeated pairs, or a pair leaks.
        side: which side is cold.
        kept: interactions of a cold one that are known, >= 0. Only those with more can be cold.
        seed: same seed, same split.

    Raises:
        ArgumentError: `side` or `kept` is out of range.
        DataError: fewer than three items (users) have more than `kept` interactions.
    """
    if side not in ("items", "users"):
        raise ArgumentError(f"side must be 'items' or 'users' (got {side!r})")
    if kept < 0:
        raise ArgumentError(f"kept must be at least 0 (got {kept})")
    generator = torch.Generator().manual_seed(seed)
    users = interactions.users().cpu()
    owners = users if side == "users" else interactions.items.long().cpu()
    count = interactions.num_users if side == "users" else interactions.num_items
    able = torch.nonzero(torch.bincount(owners, minlength=count) > kept).flatten()
    if len(able) < 3:
        raise DataError(
            f"a split with cold {side} needs three {side} with more than {kept} interactions "
            f"(got {len(able)} in '{interactions.name}')"
        )
    size = max(1, int(COLD_SHARE * len(able)))
    drawn = able[torch.randperm(len(able), generator=generator)]
    group = torch.zeros(count, dtype=torch.int64)
    group[drawn[:size]] = 2
    group[drawn[size : 2 * size]] = 1
    held = (draw_within(owners, generator) >= kept).long()
    part = group[owners] * held
    warm = group[owners] == 0
    dealt = interactions.select(warm.to(interactions.device))
    part[warm] = random_parts(dealt, WARM_FRACTIONS, generator).cpu()
    return ColdSplit(
        split_by_part(interactions, part.to(interactions.device)), group == 1, group == 2
    )
