"""Draws from a pool of candidates that every row brings along, by weight."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.samplers.contract import Negatives, check_count, check_rows, uniform


class PoolSampler:
    """Draws from each row's own candidates, in proportion to their weights.

    The pool is made anew for every batch, for instance from the highest scores
    of each row with its known positives left out. Draws invert the
    distribution function: O(M (C + k log C)), no loop over rows.

    Args:
        indices: (M, C) int64 candidates, distinct within a row; -1 for none.
        log_weight: (M, C) unnormalised log-probability; -inf: never drawn.

    Raises:
        ArgumentError: for shapes that do not match, or NaN or +inf weights.
    """

    def __init__(self, indices: Tensor, log_weight: Tensor) -> None:
        check_pool(indices, log_weight, "log_weight")
        weight = log_weight.detach().double().masked_fill(indices < 0, -torch.inf)
        if bool((weight.isnan() | (weight == torch.inf)).any()):
            raise ArgumentError("log_weight must be below inf and not NaN")
        # Ascending items, so that one can be looked up by bisection.
        self._items, order = indices.sort(dim=1)
        weight = weight.gather(1, order)
        largest = weight.amax(dim=1, keepdim=True) if indices.shape[1] else weight.new_zeros(())
        largest = largest.masked_fill(largest == -torch.inf, 0.0)
        mass = (weight - largest).exp()
        self._up_to = mass.cumsum(dim=1)
        total = mass.sum(dim=1, keepdim=True).log() + largest
        self._log_probability = (weight - total).masked_fill(weight == -torch.inf, -torch.inf)

    def __call__(
        self,
        rows: Tensor,
        count: int,
        generator: torch.Generator | None = None,
        *,
        targets: Tensor | None = None,
    ) -> Negatives:
        """`count` items (M', count) for rows (M',) of the pool."""
        check_count(count)
        check_rows("rows", rows, self._items.shape[0])
        drawn = uniform((rows.numel(), count), generator, rows)
        if self._items.shape[1] == 0:
            return Negatives(
                torch.full_like(drawn, -1, dtype=torch.int64), torch.full_like(drawn, -torch.inf)
            )
        up_to = self._up_to[rows]
        total = up_to[:, -1:]
        # Strictly below the total, whatever the rounding: the last weight may be 0.
        point = torch.minimum(drawn * total, torch.nextafter(total, torch.zeros_like(total)))
        place = torch.searchsorted(up_to, point, right=True).clamp_(max=up_to.shape[1] - 1)
        indices = torch.where(total > 0, self._items[rows].gather(1, place), -1)
        log_probability = self._log_probability[rows].gather(1, place)
        return Negatives(indices, log_probability.masked_fill(indices < 0, -torch.inf))

    def log_probability(
        self, rows: Tensor, indices: Tensor, *, targets: Tensor | None = None
    ) -> Tensor:
        """(M', k) float64, for items (M', k) and rows (M',) of the pool."""
        check_rows("rows", rows, self._items.shape[0])
        if self._items.shape[1] == 0:
            return torch.full(indices.shape, -torch.inf, dtype=torch.float64, device=rows.device)
        items = self._items[rows]
        place = torch.searchsorted(items, indices.contiguous()).clamp_(max=items.shape[1] - 1)
        found = (items.gather(1, place) == indices) & (indices >= 0)
        return self._log_probability[rows].gather(1, place).masked_fill(~found, -torch.inf)


def check_pool(indices: Tensor, values: Tensor, name: str) -> None:
    """Raise unless both are (M, C) and the indices int64."""
    if indices.dim() != 2 or indices.dtype != torch.int64 or indices.shape != values.shape:
        raise ArgumentError(
            f"indices and {name} must both be (M, C), indices of torch.int64; got "
            f"{tuple(indices.shape)} of {indices.dtype} and {tuple(values.shape)}"
        )


def check_positive_scores(values: Tensor, positive_scores: Tensor) -> Tensor:
    """The scores (M,) as a column, after a check of their shape and that they are finite."""
    if tuple(positive_scores.shape) != values.shape[:1]:
        raise ArgumentError(
            f"positive_scores must have shape ({values.shape[0]},); "
            f"got {tuple(positive_scores.shape)}"
        )
    if not bool(torch.isfinite(positive_scores).all()):
        raise ArgumentError("positive_scores must be finite")
    return positive_scores.detach()[:, None]
