"""Scores of positives and of their negatives, checked, as the pairwise losses take them."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast.checks import check_finite
from graphcl.losses.arguments import negative_columns


def score_pairs(
    positive_scores: Tensor, negative_scores: Tensor, name: str = "negative_scores"
) -> tuple[Tensor, Tensor]:
    """The scores as (n,) and (n, k), finite, in float32 or float64.

    `name` is what the caller's public argument for the second is called.

    Raises:
        ArgumentError: for shapes that do not match or an integer dtype.
        NonFiniteArgumentError: for NaN or infinity.
    """
    for label, scores in (("positive_scores", positive_scores), (name, negative_scores)):
        if not scores.is_floating_point():
            raise ArgumentError(f"{label} must be of a floating dtype; got {scores.dtype}")
        check_finite(label, scores)
    both = positive_scores, negative_columns(positive_scores, negative_scores)
    first, second = (part if part.dtype == torch.float64 else part.float() for part in both)
    return first, second


def mean_of_terms(positive: Tensor, negative: Tensor) -> Tensor:
    """(n,): the positive's term (n,) and its k negatives' (n, k), averaged over the k + 1."""
    return (positive + negative.sum(dim=1)) / (negative.shape[1] + 1)
