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
    if compiled and users.numel() > 0:
        first, last = (int(bound) for bound in users.aminmax())
        if first >= 0 and last < users.numel():
            # Fewer users than rows: one look-up for each user.
            pointer = torch.searchsorted(positive_keys, torch.arange(last + 2) * num_items)
            return draw_free(uniform, 1, num_items, users, positive_keys, pointer, anything=True)
    base = users * num_items
    begin = torch.searchsorted(positive_keys, base)
    end = torch.searchsorted(positive_keys, base + num_items)
    if compiled:
        return draw_free(uniform, 1, num_items, users, positive_keys, begin, end, anything=True)
    free = num_items - (end - begin)
    full = free == 0
    free = free.where(~full, num_items)
    wanted = torch.minimum((uniform * free).long(), free - 1)
    low, high = torch.zeros_like(begin), end - begin
    greatest = positive_keys.numel() - 1
    widest = int((end - begin).max()) if users.numel() else 0
    for _ in range(widest.bit_length()):
        middle = (low + high) >> 1
        item = positive_keys[(begin + middle).clamp_(max=greatest)] - base
        below = (low < high) & (item - middle <= wanted)
        low = torch.where(below, middle + 1, low)
        high = torch.where(below, high, middle)
    return wanted + low.masked_fill(full, 0)


def draw_free(
    uniform: Tensor,
    count: int,
    size: int,
    rows: Tensor,
    keys: Tensor,
    begin: Tensor,
    end: Tensor | None = None,
    *,
    anything: bool = False,
    **mass: Tensor,
) -> Tensor:
    """Free items of M rows by the compiled kernel; see `FreeDraws` in sampling.h.

    Args:
        uniform: float64, M * count of them.
        count: draws of a row.
        size: number of items N.
        rows: int64 (M,), their numbers.
        keys: int64 (K,), ascending, K >= 1.
        begin, end: int64 (M,), where each row's keys lie; or `begin` alone, by number of a row.
        anything: what a row that has nothing free gets: any item, otherwise -1.
        mass: `free` and `offset` (M,), `up_to` (N + 1,), `taken_up_to` (K + 1,), all int64. None
            of them: every item counts one and may be drawn.

    Returns:
        int64 of `uniform`'s shape.
    """
    drawn = torch.empty(uniform.shape, dtype=torch.int64)
    arrays = {"uniform": uniform, "row": rows, "key": keys, "begin": begin, **mass}
    if end is not None:
        arrays["end"] = end
    # Contiguous copies have to live until the call is over.
    held = {name: array.contiguous() for name, array in arrays.items()}
    draws = FreeDraws(
        **{name: address(array) for name, array in held.items()},
        rows=rows.numel(),
        count=count,
        items=size,
        keys=keys.numel(),
        item=address(drawn),
        anything=anything,
        threads=torch.get_num_threads(),
    )
    call("draw_free", draws)
    return drawn
