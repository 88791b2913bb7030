"""Checks of settings and of tensors, and the reduction, that all losses share."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Literal

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast.checks import check_finite
from graphcl.losses.precision import widened_dtype

Reduction = Literal["mean", "sum", "none"]
LOWEST_TEMPERATURE = 1e-3
HIGHEST_TEMPERATURE = 10.0


def number(name: str, value: float | Tensor) -> float:
    """The value of a number or of a 0-d tensor, detached; raise for anything else."""
    if isinstance(value, Tensor):
        if value.dim() != 0:
            raise ArgumentError(f"{name} must be one number; got shape {tuple(value.shape)}")
        value = value.detach().item()
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ArgumentError(f"{name} must be one number; got {value!r}")
    return float(value)


def plain(value: float | Tensor) -> float:
    """The value of a number or 0-d tensor, for printing; `float` of a parameter warns."""
    return number("value", value)


def inverse_temperature(temperature: float | Tensor) -> float | Tensor:
    """1 / temperature (differentiable for a 0-d tensor), which must lie in [1e-3, 10]."""
    check_temperature(temperature)
    return 1.0 / temperature


def check_temperature(temperature: float | Tensor, name: str = "temperature") -> None:
    """Raise unless the temperature lies in [1e-3, 10]."""
    # A float32 parameter holding 1e-3 is a rounding error away from it.
    slack = 1e-6
    low, high = LOWEST_TEMPERATURE * (1 - slack), HIGHEST_TEMPERATURE * (1 + slack)
    value = number(name, temperature)
    if not low <= value <= high:
        raise ArgumentError(
            f"{name} must lie in [{LOWEST_TEMPERATURE}, {HIGHEST_TEMPERATURE}]; got {value}"
        )


def check_weight(name: str, weight: float | Tensor) -> None:
    """Raise unless the weight of a term is finite and at least 0."""
    value = number(name, weight)
    if not 0 <= value < math.inf:
        raise ArgumentError(f"{name} must be a finite number of at least 0; got {value}")


def check_above_zero(name: str, value: float | Tensor) -> None:
    """Raise unless finite and above 0."""
    value = number(name, value)
    if not 0 < value < math.inf:
        raise ArgumentError(f"{name} must be a finite number above 0; got {value}")


def check_fraction(name: str, value: float | Tensor) -> None:
    """Raise unless the value lies in [0, 1)."""
    value = number(name, value)
    if not 0 <= value < 1:
        raise ArgumentError(f"{name} must lie in [0, 1); got {value}")


def check_count(name: str, value: int, lowest: int = 1) -> None:
    """Raise unless an integer of at least `lowest`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < lowest:
        raise ArgumentError(f"{name} must be an integer of at least {lowest}; got {value!r}")


def check_option(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise unless the value is one of those allowed."""
    if not isinstance(value, str) or value not in allowed:
        raise ArgumentError(f"unknown {name} '{value}'; allowed: {', '.join(allowed)}")


def check_reduction(reduction: str) -> None:
    """Raise unless the reduction is one of mean, sum, none."""
    check_option("reduction", reduction, ("mean", "sum", "none"))


def check_tensor(name: str, tensor: Tensor) -> None:
    """Raise unless a torch tensor that stores all its entries."""
    if not isinstance(tensor, Tensor):
        raise ArgumentError(f"{name} must be a torch tensor; got {type(tensor).__name__}")
    if tensor.layout != torch.strided:
        raise ArgumentError(f"{name} must be a dense tensor; got layout {tensor.layout}")


def check_floating(name: str, tensor: Tensor) -> None:
    """Raise unless a dense tensor of a floating dtype."""
    check_tensor(name, tensor)
    if not tensor.is_floating_point():
        raise ArgumentError(f"{name} must be of a floating dtype; got {tensor.dtype}")


def check_rows(name: str, rows: Tensor, width: int | None = None, fewest: int = 0) -> None:
    """Raise unless floating (n, width), finite, with at least `fewest` rows."""
    check_floating(name, rows)
    if rows.dim() != 2 or width not in (None, rows.shape[1]) or rows.shape[0] < fewest:
        enough = f" with at least {fewest} row" if fewest else ""
        raise ArgumentError(
            f"{name} must be (rows, {'d' if width is None else width}){enough}; "
            f"got {tuple(rows.shape)}"
        )
    check_finite(name, rows)


def check_alike(names: tuple[str, str], first: Tensor, second: Tensor) -> None:
    """Raise unless both are computed in one dtype on one device."""
    kinds = [(widened_dtype(part.dtype), part.device) for part in (first, second)]
    if kinds[0] != kinds[1]:
        raise ArgumentError(
            f"{names[0]} and {names[1]} must be of one dtype on one device; got "
            f"{first.dtype} on {first.device} and {second.dtype} on {second.device}"
        )


def check_two_views(z1: Tensor, z2: Tensor, names: tuple[str, str] = ("z1", "z2")) -> None:
    """Raise unless both are finite floating (N, d), alike in shape, dtype and device."""
    check_same_shape(z1, z2, names)
    check_alike(names, z1, z2)
    for name, view in zip(names, (z1, z2), strict=True):
        check_finite(name, view)


def check_same_shape(z1: Tensor, z2: Tensor, names: tuple[str, str] = ("z1", "z2")) -> None:
    """Raise unless both are floating (N, d) of the same shape."""
    for name, view in zip(names, (z1, z2), strict=True):
        check_floating(name, view)
    if z1.dim() != 2 or z1.shape != z2.shape:
        raise ArgumentError(
            f"{names[0]} and {names[1]} must both be (N, d), row i being the same node; "
            f"got {tuple(z1.shape)} and {tuple(z2.shape)}"
        )


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
    return softplus(negatives - positive)


def softplus(x: Tensor) -> Tensor:
    """log(1 + e^x), exact for every x; torch's turns linear above 20, which is 2e-9 off."""
    return -torch.nn.functional.logsigmoid(-x)
