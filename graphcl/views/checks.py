"""Checks of what a caller hands to a view; each raises an `ArgumentError` of one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from graphcl.errors import ArgumentError

if TYPE_CHECKING:
    from torch_geometric.data import Data


def check_fraction(name: str, value: float) -> float:
    """`value` as a float, provided it lies in [0, 1]; NaN does not."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ArgumentError(f"{name} must be a number in [0, 1], got {value!r}")
    return float(value)


def check_edge_index(edge_index: Tensor, num_nodes: int | None) -> None:
    """Shape (2, E), integers, ids in [0, num_nodes); without `num_nodes` ids >= 0."""
    if edge_index.dim() != 2 or edge_index.size(0) != 2:
        raise ArgumentError(f"edge_index must have shape (2, E), got {tuple(edge_index.shape)}")
    if edge_index.is_floating_point() or edge_index.dtype == torch.bool:
        raise ArgumentError(f"edge_index must hold integers, got {edge_index.dtype}")
    if edge_index.numel() == 0:
        return
    low, high = (int(bound) for bound in torch.aminmax(edge_index))
    if low < 0 or (num_nodes is not None and high >= num_nodes):
        allowed = f"[0, {num_nodes})" if num_nodes is not None else "[0, number of nodes)"
        raise ArgumentError(
            f"edge_index holds node id {low if low < 0 else high}, allowed are {allowed}"
        )


def check_vector(name: str, vector: Tensor, size: int, meaning: str) -> None:
    """Shape (size,)."""
    if vector.shape != (size,):
        raise ArgumentError(
            f"{name} must have shape ({size},), one entry per {meaning}, got {tuple(vector.shape)}"
        )


def check_features(x: Any) -> None:
    """A dense tensor of shape (N, F)."""
    if not isinstance(x, Tensor) or x.layout != torch.strided:
        got = x.layout if isinstance(x, Tensor) else type(x).__name__
        raise ArgumentError(f"x must be a dense tensor, got {got}")
    if x.dim() != 2:
        raise ArgumentError(f"x must have shape (N, F), got {tuple(x.shape)}")


def check_homogeneous(data: Any, *needed: str) -> Data:
    """`data`, provided it is a PyG `Data` that has every attribute in `needed`."""
    from torch_geometric.data import Data

    if not isinstance(data, Data):
        raise ArgumentError(f"this view takes a torch_geometric Data, got {type(data).__name__}")
    for name in needed:
        if getattr(data, name, None) is None:
            raise ArgumentError(f"this view needs data.{name}, which is missing")
    return data


def number_of_nodes(data: Data) -> int:
    """`data.num_nodes`, provided it is known."""
    nodes = data.num_nodes
    if nodes is None:
        raise ArgumentError("data.num_nodes is unknown; set it or data.x")
    return int(nodes)
