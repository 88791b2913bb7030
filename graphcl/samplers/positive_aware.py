"""Positive-aware mining: candidates too near the positive are taken for false negatives."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.losses.arguments import check_weight
from graphcl.samplers.examples import SamplerExample
from graphcl.samplers.pool import PoolSampler, check_pool, check_positive_scores


def positive_aware(
    values: Tensor,
    positive_scores: Tensor,
    margin: float | None = None,
    percentage: float | None = 0.95,
) -> Tensor:
    r"""Which candidates score clearly below the positive.

    .. math::
        s_{ij} \le s_{i,+} - m, \qquad s_{ij} \le s_{i,+} - (1 - r) |s_{i,+}|

    Moreira et al. 2024, "NV-Retriever", arXiv 2407.15831 (TopK-MarginPos and
    TopK-PercPos). For a positive score the second is theirs, s ≤ r s₊; deviation: for a
    negative one r s₊ lies ABOVE s₊ and would keep what it should drop, so the distance is
    taken downwards.

    Args:
        values: (M, C) scores; -inf where there is none (dropped).
        positive_scores: (M,).
        margin: m, at least 0; None: no such bound.
        percentage: r in [0, 1]; None: no such bound.

    Returns:
        (M, C) bool, True for candidates to keep.

    Raises:
        ArgumentError: for a shape or setting out of range.
    """
    positive = check_positive_scores(values, positive_scores)
    keep = values > -torch.inf
    if margin is not None:
        check_weight("margin", margin)
        keep = keep & (values <= positive - margin)
    if percentage is not None:
        if not 0 <= percentage <= 1:
            raise ArgumentError(f"percentage must be a number in [0, 1]; got {percentage}")
        # Where possible by the product, which is rounded as theirs is.
        bound = torch.where(positive >= 0, percentage * positive, (2 - percentage) * positive)
        keep = keep & (values <= bound)
    return keep


class PositiveAwareSampler(PoolSampler):
    """Uniform over the candidates that `positive_aware` keeps.

    NV-Retriever takes the hardest kept ones: `hardest(k)`. Draws from a pool of the highest
    scores come with their log-probability, which a deterministic choice has none of.

    Args:
        values: (M, C) scores of the candidates; -inf where there is none.
        indices: (M, C) int64 candidates, distinct within a row; -1 for none.
        positive_scores: (M,) score of each row's positive.
        margin, percentage: of `positive_aware`.

    Raises:
        ArgumentError: for a shape or setting out of range.

    Example:
        >>> scores = torch.randn(8, 100)
        >>> values, indices = scores.topk(20, dim=1)
        >>> sampler = PositiveAwareSampler(values, indices, values[:, 3], margin=0.05)
        >>> negatives, log_probability = sampler(torch.arange(8), 4)
    """

    def __init__(
        self,
        values: Tensor,
        indices: Tensor,
        positive_scores: Tensor,
        margin: float | None = None,
        percentage: float | None = 0.95,
    ) -> None:
        check_pool(indices, values, "values")
        keep = positive_aware(values.detach(), positive_scores, margin, percentage)
        keep &= indices >= 0
        super().__init__(indices, torch.zeros_like(values).masked_fill(~keep, -torch.inf))
        self._kept_values = values.detach().masked_fill(~keep, -torch.inf)
        self._kept_indices = indices.masked_fill(~keep, -1)

    def hardest(self, count: int) -> Tensor:
        """(M, min(count, C)) the kept candidates of highest score, best first; -1 for none."""
        count = min(count, self._kept_values.shape[1])
        order = self._kept_values.topk(count, dim=1).indices
        return self._kept_indices.gather(1, order)

    @staticmethod
    def example(generator: torch.Generator) -> SamplerExample:
        """Pools of 6 of 9 items; of one row none is kept."""
        scores = torch.randn(4, 9, generator=generator, dtype=torch.float64)
        values, indices = scores.topk(6, dim=1)
        positive = values[:, 1].clone()
        positive[3] = values[3, -1] - 1
        return SamplerExample(PositiveAwareSampler(values, indices, positive), torch.arange(4), 9)
