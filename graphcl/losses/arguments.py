"""Argument checks and the reduction that all losses share."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast.checks import check_finite

Reduction = Literal["mean", "sum", "none"]
LOWEST_TEMPERATURE = 1e-3
HIGHEST_TEMPERATURE = 10.0


def inverse_temperature(temperature: float | Tensor) -> float | Tensor:
    """1 / temperature (differentiable for a 0-d tensor), which must lie in [1e-3, 10]."""
    if isinstance(temperature, Tensor):
        if temperature.dim() != 0:
            raise ArgumentError(
                f"temperature must be one number; got shape {tuple(temperature.shape)}"
            )
        check_temperature(float(temperature.detach().double()))
        return temperature.reciprocal()
    check_temperature(temperature)
    return 1.0 / temperature


def check_temperature(temperature: float) -> None:
    """Raise unless the temperature lies in [1e-3, 10]."""
    # A float32 parameter holding 1e-3 is a rounding error away from it.
    slack = 1e-6
    low, high = LOWEST_TEMPERATURE * (1 - slack), HIGHEST_TEMPERATURE * (1 + slack)
    if not low <= temperature <= high:
        raise ArgumentError(
            f"temperature must lie in [{LOWEST_TEMPERATURE}, {HIGHEST_TEMPERATURE}]; "
            f"got {temperature}"
        )


def check_two_views(z1: Tensor, z2: Tensor) -> None:
    """Raise unless both are (N, d) of the same shape and finite."""
    check_same_shape(z1, z2)
    check_finite("z1", z1)
    check_finite("z2", z2)


def check_same_shape(z1: Tensor, z2: Tensor) -> None:
    """Raise unless both are (N, d) of the same shape."""
    if z1.dim() != 2 or z1.shape != z2.shape:
        raise ArgumentError(
            "z1 and z2 must both be (N, d), row i being the same node; "
            f"got {tuple(z1.shape)} and {tuple(z2.shape)}"
        )


def check_weight(name: str, weight: float) -> None:
    """Raise unless the weight of a term is finite and at least 0."""
    if not 0 <= weight < float("inf"):
        raise ArgumentError(f"{name} must be a finite number of at least 0; got {weight}")


def check_fraction(name: str, value: float) -> None:
    """Raise unless the value lies in [0, 1)."""
    if not 0 <= value < 1:
        raise ArgumentError(f"{name} must lie in [0, 1); got {value}")


def check_above_zero(name: str, value: float) -> None:
    """Raise unless finite and above 0."""
    if not 0 < value < float("inf"):
        raise ArgumentError(f"{name} must be a finite number above 0; got {value}")


def negative_columns(positive_scores: Tensor, negative_scores: Tensor) -> Tensor:
    """Negative scores as (n, k), for positive scores (n,); raise for other shapes or NaN."""
    if positive_scores.dim() != 1 or negative_scores.dim() not in (1, 2):
        raise ArgumentError(
            "positive_scores must be (n,) and negative_scores (n,) or (n, k); got "
            f"{tuple(positive_scores.shape)} and {tuple(negative_scores.shape)}"
        )
    if negative_scores.shape[0] != positive_scores.shape[0]:
        raise ArgumentError(
            f"negative_scores must have {positive_scores.shape[0]} rows, one per positive; "
            f"got {negative_scores.shape[0]}"
        )
    check_finite("positive_scores", positive_scores)
    check_finite("negative_scores", negative_scores)
    return negative_scores[:, None] if negative_scores.dim() == 1 else negative_scores


def check_reduction(reduction: str) -> None:
    """Raise unless the reduction is one of mean, sum, none."""
    if reduction not in ("mean", "sum", "none"):
        raise ArgumentError(f"unknown reduction '{reduction}'; allowed: mean, sum, none")


def reduce(values: Tensor, reduction: str, present: Tensor | None = None) -> Tensor:
    """Mean, sum or none of per-anchor values.

    `present` (same shape, bool) marks the anchors that the mean divides by:
    anchors without a target (padding) hold 0 and do not dilute it. The mean of
    no anchor is 0.
    """
    check_reduction(reduction)
    if reduction == "none":
        return values
    total = values.sum()
    if reduction == "sum":
        return total
    if present is None:
        return total / max(values.numel(), 1)
    return total / present.sum().clamp_min(1)


def anchor_values(denominator: Tensor, positive: Tensor) -> Tensor:
    """denominator - positive; a graph-connected 0 for anchors without candidates."""
    return torch.where(torch.isneginf(denominator), 0.0, denominator - positive)


def against_negatives(negatives: Tensor, positive: Tensor) -> Tensor:
    """-log of the positive's share, log(1 + e^{negatives - positive}).

    `negatives` is the log-sum-exp of the negatives only; without any, -inf, the
    value is a graph-connected 0.
    """
    return -torch.nn.functional.logsigmoid(positive - negatives)
