"""Scores of positives and of their negatives, checked, as the pairwise losses take them."""

from __future__ import annotations

from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast.checks import check_finite
from graphcl.losses.arguments import check_alike, check_floating
from graphcl.losses.precision import widened


def score_pairs(
    positive_scores: Tensor, negative_scores: Tensor, name: str = "negative_scores"
) -> tuple[Tensor, Tensor]:
    """The scores as (n,) and (n, k), finite, in float32 or float64.

    `name` is what the caller's public argument for the second is called.

    Raises:
        ArgumentError: for shapes that do not match or an integer dtype.
        NonFiniteArgumentError: for NaN or infinity.
    """
    names = ("positive_scores", name)
    for label, scores in zip(names, (positive_scores, negative_scores), strict=True):
        check_floating(label, scores)
        check_finite(label, scores)
    check_alike(names, positive_scores, negative_scores)
    if positive_scores.dim() != 1 or negative_scores.dim() not in (1, 2):
        raise ArgumentError(
            f"positive_scores must be (n,) and {name} (n,) or (n, k); got "
            f"{tuple(positive_scores.shape)} and {tuple(negative_scores.shape)}"
        )
    if negative_scores.shape[0] != positive_scores.shape[0]:
        raise ArgumentError(
            f"{name} must have {positive_scores.shape[0]} rows, one per positive; "
            f"got {negative_scores.shape[0]}"
        )
    columns = negative_scores[:, None] if negative_scores.dim() == 1 else negative_scores
    return widened(positive_scores), widened(columns)


def mean_of_terms(positive: Tensor, negative: Tensor) -> Tensor:
    """(n,): the positive's term (n,) and its k negatives' (n, k), averaged over the k + 1."""
    return (positive + negative.sum(dim=1)) / (negative.shape[1] + 1)
