"""The precision that losses compute in."""

from __future__ import annotations

import torch
from torch import Tensor


def widened(tensor: Tensor) -> Tensor:
    """The tensor in float32 where it has 16 bits, as it is otherwise; differentiable."""
    return tensor.to(widened_dtype(tensor.dtype))


def widened_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which a loss of numbers of this floating dtype is computed and returned."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
