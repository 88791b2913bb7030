"""Negative items: uniform over what a user has not taken, exactly, without rejection loops."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.compiled import Backend, FreeDraws, address, call, use_compiled


def sample_negatives(
    users: Tensor,
    num_items: int,
    positive_keys: Tensor,
    generator: torch.Generator | None = None,
    *,
    backend: Backend = "auto",
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
        backend: "native" bisects in compiled code on the CPU, "torch" with tensors anywhere; the
            same items from the same generator state. "auto" takes the first that can.

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
    compiled = use_compiled(backend, users, positive_keys)
    # 53 random bits: the bias of scaling is below num_items / 2**53.
    source = users.device if generator is None else generator.device
    uniform = torch.rand(users.shape, dtype=torch.float64, device=source, generator=generator)
    uniform = uniform.to(users.device)
    if positive_keys.numel() == 0:
        return (uniform * num_items).long().clamp_(max=num_items - 1)
    base = users * num_items
    begin, end = _keys_of(users, num_items, positive_keys)
    free = num_items - (end - begin)
    full = free == 0
    if compiled:
        drawn = draw_free(uniform, 1, num_items, base, begin, end, positive_keys)
        return drawn.where(~full, (uniform * num_items).long().clamp_(max=num_items - 1))
    free = free.where(~full, num_items)
    wanted = torch.minimum((uniform * free).long(), free - 1)
    low, high = torch.zeros_like(begin), end - begin
    last = positive_keys.numel() - 1
    widest = int((end - begin).max()) if users.numel() else 0
    for _ in range(widest.bit_length()):
        middle = (low + high) >> 1
        item = positive_keys[(begin + middle).clamp_(max=last)] - base
        below = (low < high) & (item - middle <= wanted)
        low = torch.where(below, middle + 1, low)
        high = torch.where(below, high, middle)
    return wanted + low.masked_fill(full, 0)


def _keys_of(users: Tensor, num_items: int, keys: Tensor) -> tuple[Tensor, Tensor]:
    """Where each row's keys begin and end among all."""
    largest = int(users.max()) + 1 if users.numel() else 0
    if largest > users.numel():
        base = users * num_items
        return torch.searchsorted(keys, base), torch.searchsorted(keys, base + num_items)
    # Fewer users than rows: one look-up for each user.
    every = torch.arange(largest + 1, device=users.device) * num_items
    pointer = torch.searchsorted(keys, every)
    return pointer[users], pointer[users + 1]


def draw_free(
    uniform: Tensor,
    count: int,
    size: int,
    base: Tensor,
    begin: Tensor,
    end: Tensor,
    keys: Tensor,
    *,
    mass: dict[str, Tensor] | None = None,
) -> Tensor:
    """Free items of M rows by the compiled kernel; see `FreeDraws` in sampling.h.

    Args:
        uniform: float64, M * count of them.
        count: draws of a row.
        size: number of items N.
        base, begin, end: int64 (M,), the row's first key and where its keys lie among `keys`.
        keys: int64, ascending.
        mass: `free` and `offset` (M,), `up_to` (N + 1,), `taken_up_to` (keys + 1,), all int64.
            None: every item counts one and may be drawn.

    Returns:
        int64 of `uniform`'s shape, -1 where a row has nothing free.
    """
    drawn = torch.empty_like(uniform, dtype=torch.int64)
    arrays = {"base": base, "begin": begin, "end": end, "key": keys, **(mass or {})}
    held = {name: array.contiguous() for name, array in arrays.items()}
    held["uniform"] = uniform.contiguous()
    draws = FreeDraws(
        **{name: address(array) for name, array in held.items()},
        rows=base.numel(),
        count=count,
        items=size,
        item=address(drawn),
        threads=torch.get_num_threads(),
    )
    call("draw_free", draws)
    return drawn
