"""Negatives in proportion to a power of their popularity."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast.checks import check_finite
from graphcl.kernels.row_products import check_columns
from graphcl.samplers.contract import Negatives, check_count, check_rows
from graphcl.samplers.examples import SamplerExample, known_pairs
from graphcl.samplers.free_items import FreeItems, positive_keys

TOTAL_MASS = 1 << 40


class PopularitySampler:
    r"""Items that the row has not taken, in proportion to a power of their counts.

    .. math::
        q_{ij} = c_j^{\,p} \Big/ \sum_{l \notin P_i} c_l^{\,p}, \qquad j \notin P_i

    Power 0.75 is that of word2vec (Mikolov et al. 2013, arXiv 1310.4546), 1 is plain
    popularity, 0 uniform. Exact without rejection: every draw costs one random
    number and two bisections. Masses are rounded to one part in 2^40 of the
    total (and up to that part where the count is above 0), and the
    log-probability is that of the rounded masses.

    Args:
        counts: (N,) how often each item occurs, at least 0; 0 is never drawn unless power is 0.
        power: p, at least 0.
        positive_keys: sorted distinct keys `row * N + item` of what rows have taken.
            None: nothing.

    Raises:
        ArgumentError: for counts or a power out of range, or keys that are not
            sorted and distinct.
        NonFiniteArgumentError: for NaN or infinite counts.

    Example:
        >>> sampler = PopularitySampler(torch.randint(1, 50, (100,)))
        >>> indices, log_probability = sampler(torch.arange(8), 16)
    """

    def __init__(
        self, counts: Tensor, power: float = 0.75, positive_keys: Tensor | None = None
    ) -> None:
        if counts.dim() != 1 or counts.numel() == 0:
            raise ArgumentError(f"counts must be (N,), N >= 1; got {tuple(counts.shape)}")
        if not 0 <= power < float("inf"):
            raise ArgumentError(f"power must be a finite number of at least 0; got {power}")
        check_finite("counts", counts)
        if bool((counts < 0).any()):
            raise ArgumentError(f"counts must be at least 0; got {float(counts.min()):g}")
        # Relative to the largest, so that no power overflows.
        weight = (counts.double() / counts.max().clamp_min(1e-300)).pow(power)
        if not bool((weight > 0).any()):
            raise ArgumentError("counts must be above 0 for some item; all are 0")
        mass = (weight / weight.sum() * TOTAL_MASS).round().long()
        self.num_items = counts.numel()
        self._items = FreeItems(mass.clamp_min(1).where(weight > 0, 0), positive_keys)

    @staticmethod
    def example(generator: torch.Generator) -> SamplerExample:
        """A sampler of 8 items for 5 rows that have taken some of them."""
        rows, items = known_pairs()
        counts = torch.tensor([5, 1, 40, 3, 0, 9, 2, 12])
        sampler = PopularitySampler(counts, 0.75, positive_keys(rows, items, 8))
        return SamplerExample(sampler, torch.arange(5), 8, (rows, items))

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
        indices = self._items.draw(rows, *self._window(rows), count, generator)
        return Negatives(indices, self.log_probability(rows, indices))

    def log_probability(
        self, rows: Tensor, indices: Tensor, *, targets: Tensor | None = None
    ) -> Tensor:
        """(M, k) float64, for items (M, k)."""
        check_rows("rows", rows)
        check_columns("indices", indices, rows.numel(), self.num_items)
        return self._items.probability(rows, indices, *self._window(rows)).log()

    def _window(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(rows), torch.full_like(rows, self.num_items)
