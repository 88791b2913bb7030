"""SimANS: ambiguous negatives, neither too hard nor too easy."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.losses.arguments import check_weight
from graphcl.samplers.examples import SamplerExample
from graphcl.samplers.pool import PoolSampler, check_pool, check_positive_scores


class SimANSSampler(PoolSampler):
    r"""Candidates whose score is near that of the positive.

    .. math::
        q_{ij} \propto e^{-a (s_{ij} - s_{i,+} - b)^2}

    Zhou et al. 2022, "SimANS: Simple Ambiguous Negatives Sampling for Dense
    Text Retrieval", arXiv 2210.11773: candidates far above the positive are
    likely false negatives, those far below teach nothing. The authors' description has
    the square, part of their code the absolute difference: `absolute`.
    As a soft weight in place of a draw, -a (s - s₊ - b)² is a log-weight of the pair.

    Args:
        values: (M, C) scores of the candidates; -inf where there is none.
        indices: (M, C) int64 candidates, distinct within a row; -1 for none.
        positive_scores: (M,) score of each row's positive.
        sharpness: a, at least 0; 0 is uniform over the pool.
        offset: b, the wanted score above the positive's; negative: below.
        absolute: -a |s - s₊ - b| in place of the square.

    Raises:
        ArgumentError: for a shape or setting out of range.

    Example:
        >>> scores = torch.randn(8, 100)
        >>> values, indices = scores.topk(20, dim=1)
        >>> sampler = SimANSSampler(values, indices, scores.mean(dim=1))
        >>> negatives, log_probability = sampler(torch.arange(8), 4)
    """

    def __init__(
        self,
        values: Tensor,
        indices: Tensor,
        positive_scores: Tensor,
        sharpness: float = 1.0,
        offset: float = 0.0,
        *,
        absolute: bool = False,
    ) -> None:
        check_pool(indices, values, "values")
        check_weight("sharpness", sharpness)
        if not abs(offset) < float("inf"):
            raise ArgumentError(f"offset must be a finite number; got {offset}")
        present = (indices >= 0) & (values != -torch.inf)
        gap = values.detach().double() - check_positive_scores(values, positive_scores) - offset
        gap = gap.masked_fill(~present, 0.0)
        distance = gap.abs() if absolute else gap.square()
        super().__init__(indices, (-sharpness * distance).masked_fill(~present, -torch.inf))

    @staticmethod
    def example(generator: torch.Generator) -> SamplerExample:
        """Pools of 5 of 9 items, some places empty, one row without any."""
        scores = torch.randn(4, 9, generator=generator, dtype=torch.float64)
        values, indices = scores.topk(5, dim=1)
        indices[1, 3:] = -1
        values[2, 1] = -torch.inf
        indices[3] = -1
        positive = torch.tensor([0.2, 0.0, 0.5, 0.1], dtype=torch.float64)
        return SamplerExample(SimANSSampler(values, indices, positive), torch.arange(4), 9)
