"""Whether Triton's kernels can compute somewhere."""

from __future__ import annotations

import importlib.util
import os

import torch
from torch import Tensor


def triton_serves(like: Tensor) -> bool:
    """Whether they can on the device of `like`; does not import triton."""
    if like.device.type != "cuda" or os.environ.get("TRITON_INTERPRET") == "1":
        return False
    if importlib.util.find_spec("triton") is None:
        return False
    # Older devices lack bfloat16 and asynchronous copies.
    return torch.cuda.get_device_capability(like.device) >= (8, 0)
