"""Where data lie: the CPU or a GPU."""

from __future__ import annotations

from typing import Any

import torch


def data_device(data: Any) -> torch.device:
    """The device of a PyG graph or of a log; the CPU for what holds no tensor that is known."""
    if isinstance(known := getattr(data, "device", None), torch.device):
        return known
    for store in getattr(data, "stores", ()):
        for value in store.values():
            if isinstance(value, torch.Tensor):
                return value.device
    return torch.device("cpu")
