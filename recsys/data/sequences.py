"""Batches of histories: gather, cut and pad on the device."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from recsys.data.interactions import Interactions


def pad_histories(
    interactions: Interactions, users: Tensor, max_length: int, padding: int
) -> tuple[Tensor, Tensor]:
    """The latest items of each user, padded on the right.

    Args:
        interactions: the histories.
        users: int64 (B,).
        max_length: at most this many latest items of each user, >= 1.
        padding: the number written after the last item, outside 0..num_items - 1 where it must
            be told from an item.

    Returns:
        items int64 (B, L), oldest first, with L the longest cut history (at least 1), and their
        lengths int64 (B,). Positions count from the start, so a prefix of a history has the same
        positions as the whole.

    Raises:
        ArgumentError: `max_length` is below 1.
    """
    if max_length < 1:
        raise ArgumentError(f"max_length must be at least 1 (got {max_length})")
    if users.numel() == 0:
        return users.new_zeros(0, 1), users.new_zeros(0)
    ends = interactions.offsets[users + 1]
    lengths = (ends - interactions.offsets[users]).clamp(max=max_length)
    place = torch.arange(max(int(lengths.max()), 1), device=users.device)
    inside = place < lengths[:, None]
    source = ((ends - lengths)[:, None] + place).where(inside, torch.zeros_like(place))
    if len(interactions) == 0:
        return torch.full_like(source, padding), lengths
    items = interactions.items[source].long()
    return items.masked_fill(~inside, padding), lengths


def flat_histories(interactions: Interactions, users: Tensor) -> tuple[Tensor, Tensor]:
    """All interactions of some users as (row, item) pairs.

    Args:
        interactions: the histories.
        users: int64 (B,).

    Returns:
        rows int64 (S,), ascending positions in `users`, and items int64 (S,), oldest first.
    """
    starts = interactions.offsets[users]
    lengths = interactions.offsets[users + 1] - starts
    rows = torch.arange(len(users), device=users.device).repeat_interleave(lengths)
    heads = lengths.cumsum(0) - lengths
    place = torch.arange(len(rows), device=users.device) - heads[rows] + starts[rows]
    return rows, interactions.items[place].long()
