"""What a sampler is, and what it gives: items and the log-probability of each."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from graphcl.errors import ArgumentError


class Negatives(NamedTuple):
    """Drawn negatives of M rows.

    `indices` (M, k) int64 items, -1 where a row has nothing to draw from;
    `log_probability` (M, k) float64, log q of each draw, -inf at -1. Both are
    (k,) where all rows share the same negatives. They are the `negatives` and
    `log_probability` of `graphcl.losses.SampledSoftmax`.
    """

    indices: Tensor
    log_probability: Tensor


@runtime_checkable
class Sampler(Protocol):
    """Draws items for rows with replacement, and knows the probability of each item."""

    def __call__(
        self,
        rows: Tensor,
        count: int,
        generator: torch.Generator | None = None,
        *,
        targets: Tensor | None = None,
    ) -> Negatives:
        """`count` independent draws for each of `rows` (M,) int64.

        `targets` (M,) int64 are the rows' true items; only some samplers look at them.
        """
        ...

    def log_probability(
        self, rows: Tensor, indices: Tensor, *, targets: Tensor | None = None
    ) -> Tensor:
        """(M, k) float64: log-probability that one draw for row i is `indices[i, j]`; -inf: never.

        Of the target itself, it is the `target_log_probability` of sampled softmax.
        """
        ...


def uniform(shape: tuple[int, ...], generator: torch.Generator | None, like: Tensor) -> Tensor:
    """Uniform float64 numbers in [0, 1), drawn where the generator lives."""
    source = generator.device if generator is not None else like.device
    drawn = torch.rand(shape, dtype=torch.float64, device=source, generator=generator)
    return drawn.to(like.device)


def check_count(count: int) -> None:
    """Raise unless the number of draws is at least 0."""
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise ArgumentError(f"count must be an integer of at least 0; got {count!r}")


def check_rows(name: str, rows: Tensor, size: int | None = None) -> None:
    """Raise unless (M,) int64, at least 0 and, where there is a size, below it."""
    if rows.dim() != 1 or rows.dtype != torch.int64:
        raise ArgumentError(
            f"{name} must be (M,) of torch.int64; got {tuple(rows.shape)} of {rows.dtype}"
        )
    if rows.numel() == 0:
        return
    low, high = (int(bound) for bound in rows.aminmax())
    if low < 0 or (size is not None and high >= size):
        allowed = "at least 0" if size is None else f"in 0 .. {size - 1}"
        raise ArgumentError(f"{name} must be {allowed}; got values in {low} .. {high}")
