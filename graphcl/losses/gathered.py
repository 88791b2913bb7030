"""Rows of all processes in data-parallel training, so that every loss sees the whole batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed

from graphcl.errors import ArgumentError


def gathered(rows: Tensor) -> Tensor:
    """The rows of every process, in the order of their ranks; differentiable.

    Call it on what a loss takes and give the loss the results:

        loss(gathered(z1), gathered(z2)).backward()

    Every process then computes the loss of the whole batch, whichever of the losses it is, and
    `DistributedDataParallel` ends with the gradient of that loss, as if one process had held all
    rows: the backward pass hands each process the gradient of its own rows times the number of
    processes, and DDP takes the mean over the processes. (Gathering without that gradient, as
    some libraries do, leaves out the part of every row as somebody's negative.) The loss is
    computed once on each process; what is shared between them is the encoder.

    Without an initialised process group it returns `rows` themselves. Integers (labels, ids) are
    gathered as well, without gradient.

    Args:
        rows: (n, ...) of this process; n may differ between processes, the rest may not.

    Returns:
        (sum of n, ...), on the device of `rows`.

    Raises:
        ArgumentError: processes hold rows of different shape or dtype.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return rows
    counts = _counts(rows)
    return _Gathered.apply(rows, counts)


def _counts(rows: Tensor) -> list[int]:
    described: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(described, (tuple(rows.shape), str(rows.dtype)))
    if len({(shape[1:], dtype) for shape, dtype in described}) > 1:
        raise ArgumentError(
            f"processes must hold rows of one width and dtype; got {described} by rank"
        )
    return [shape[0] for shape, _ in described]


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: list[int]) -> Tensor:
        rank = distributed.get_rank()
        ctx.start, ctx.count, ctx.world = sum(counts[:rank]), counts[rank], len(counts)
        # all_gather wants equal shapes: shorter parts are padded.
        longest = max(counts)
        padded = rows.new_zeros((longest, *rows.shape[1:]))
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in counts]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        own = gradient[ctx.start : ctx.start + ctx.count]
        return own * ctx.world, None
