"""A learnable scale of the logits, kept as its logarithm."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from graphcl.errors import ArgumentError
from graphcl.losses.arguments import HIGHEST_TEMPERATURE, LOWEST_TEMPERATURE, number

LOWEST_LOG_SCALE = -math.log(HIGHEST_TEMPERATURE)
HIGHEST_LOG_SCALE = -math.log(LOWEST_TEMPERATURE)


def number_or_parameter(value: float | Tensor | None, start: float) -> float | Tensor:
    """The given value, or for None a new parameter that starts at `start`."""
    return nn.Parameter(torch.tensor(start)) if value is None else value


def scale_from_log(log_scale: float | Tensor) -> float | Tensor:
    """e^log_scale, which must lie in [0.1, 1000] (an inverse temperature); differentiable."""
    value = number("log_scale", log_scale)
    # A float32 parameter at the bound is a rounding error away from it.
    if not LOWEST_LOG_SCALE - 1e-6 <= value <= HIGHEST_LOG_SCALE + 1e-6:
        raise ArgumentError(
            f"log_scale must lie in [{LOWEST_LOG_SCALE:.3f}, {HIGHEST_LOG_SCALE:.3f}], the "
            f"logarithms of 0.1 and 1000; got {value}"
        )
    return log_scale.exp() if isinstance(log_scale, Tensor) else math.exp(log_scale)
