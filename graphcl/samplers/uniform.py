"""Uniform negatives."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.negatives import sample_negatives
from graphcl.kernels.row_products import check_columns
from graphcl.samplers.contract import Negatives, check_count, check_rows
from graphcl.samplers.examples import SamplerExample, known_pairs
from graphcl.samplers.free_items import FreeItems, positive_keys


class UniformSampler:
    """Every item that the row has not taken, with equal probability.

    Args:
        num_items: N, at least 1.
        positive_keys: sorted distinct keys `row * N + item` of what rows have taken
            (`graphcl.samplers.positive_keys` makes them). None: nothing.

    Raises:
        ArgumentError: for N below 1 or keys that are not sorted and distinct.

    Example:
        >>> sampler = UniformSampler(100)
        >>> indices, log_probability = sampler(torch.arange(8), 16)
    """

    def __init__(self, num_items: int, positive_keys: Tensor | None = None) -> None:
        if num_items < 1:
            raise ArgumentError(f"num_items must be at least 1; got {num_items}")
        self.num_items = num_items
        device = None if positive_keys is None else positive_keys.device
        ones = torch.ones(num_items, dtype=torch.int64, device=device)
        self._items = FreeItems(ones, positive_keys)

    @staticmethod
    def example(generator: torch.Generator) -> SamplerExample:
        """A sampler of 8 items for 5 rows that have taken some of them."""
        rows, items = known_pairs()
        keys = positive_keys(rows, items, 8)
        return SamplerExample(UniformSampler(8, keys), torch.arange(5), 8, (rows, items))

    def __call__(
        self,
        rows: Tensor,
        count: int,
        generator: torch.Generator | None = None,
        *,
        targets: Tensor | None = None,
    ) -> Negatives:
        """`count` items (M, count) for rows (M,)."""
        check_count(count)
        check_rows("rows", rows)
        self._items = self._items.to(rows.device)
        repeated = rows[:, None].expand(-1, count)
        drawn = sample_negatives(repeated, self.num_items, self._items.keys, generator)
        free = self._free(rows)[:, None]
        # Who has taken everything gets any item from the kernel.
        indices = torch.where(free > 0, drawn, -1)
        log_probability = -free.double().log().where(free > 0, torch.inf)
        return Negatives(indices, log_probability.expand_as(drawn))

    def log_probability(
        self, rows: Tensor, indices: Tensor, *, targets: Tensor | None = None
    ) -> Tensor:
        """(M, k) float64, for items (M, k)."""
        check_rows("rows", rows)
        check_columns("indices", indices, rows.numel(), self.num_items)
        self._items = self._items.to(rows.device)
        low, high = self._window(rows)
        return self._items.probability(rows, indices, low, high).log()

    def _free(self, rows: Tensor) -> Tensor:
        return self._items.free(rows, *self._window(rows))

    def _window(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(rows), torch.full_like(rows, self.num_items)
