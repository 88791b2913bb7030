"""Negative items: uniform over what a user has not taken, exactly, without rejection loops."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.errors import ArgumentError


def sample_negatives(
    users: Tensor,
    num_items: int,
    positive_keys: Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    """One item per row, uniform over the items that the row's user has not taken.

    A user with n sorted items s_0 < s_1 < ... has s_j - j free items below s_j, so the r-th free
    item (from 0) is r + #{j: s_j - j <= r}. Drawing r uniformly and bisecting for that count is
    exact: nothing is rejected or drawn again, every row costs one random number, and dense users
    cost as much as sparse ones. Only bisection steps loop, never rows.

    A user who has taken every item has no negative and gets any item, uniformly: under a pairwise
    loss whose positives are uniform too, the expected gradient of such rows is zero.

    Args:
        users: int64 (B,), users numbered from 0; repeat a user for several negatives.
        num_items: number of items, >= 1.
        positive_keys: int64 (E,), the sorted distinct keys `user * num_items + item` of what was
            taken (`recsys.data.Interactions.pair_keys`); neither order nor distinctness is checked.
        generator: source of randomness; numbers are drawn where it lives, then moved.

    Returns:
        int64 (B,), items in 0..num_items - 1.

    Raises:
        ArgumentError: `num_items` is below 1, or a tensor is not int64.
    """
    if num_items < 1:
        raise ArgumentError(f"num_items must be at least 1 (got {num_items})")
    if users.dtype != torch.int64 or positive_keys.dtype != torch.int64:
        raise ArgumentError(
            f"users and positive_keys must be int64 (got {users.dtype} and {positive_keys.dtype})"
        )
    # 53 random bits: the bias of scaling is below num_items / 2**53.
    source = users.device if generator is None else generator.device
    uniform = torch.rand(users.shape, dtype=torch.float64, device=source, generator=generator)
    uniform = uniform.to(users.device)
    if positive_keys.numel() == 0:
        return (uniform * num_items).long().clamp_(max=num_items - 1)
    base = users * num_items
    start = torch.searchsorted(positive_keys, base)
    stop = torch.searchsorted(positive_keys, base + num_items)
    free = num_items - (stop - start)
    full = free == 0
    free = free.where(~full, num_items)
    wanted = torch.minimum((uniform * free).long(), free - 1)
    low, high = torch.zeros_like(start), stop - start
    last = positive_keys.numel() - 1
    widest = int((stop - start).max()) if users.numel() else 0
    for _ in range(widest.bit_length()):
        middle = (low + high) >> 1
        item = positive_keys[(start + middle).clamp_(max=last)] - base
        below = (low < high) & (item - middle <= wanted)
        low = torch.where(below, middle + 1, low)
        high = torch.where(below, high, middle)
    return wanted + low.masked_fill(full, 0)
