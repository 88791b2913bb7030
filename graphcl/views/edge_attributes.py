"""Keep a subset of a PyG graph's edges and what belongs to them, or replace them by others."""

from __future__ import annotations

import copy
import itertools
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from torch_geometric.data import Data


def keep_edges(data: Data, kept: Tensor) -> Data:
    """A shallow copy of `data` with the edges where `kept` (E,) is true.

    `edge_index` and everything edge-level (`edge_weight`, `edge_attr`, time stamps, ...) follow
    the mask. `edge_label` and `edge_label_index` are supervision, not edges, and stay.
    """
    result = copy.copy(data)
    selected = {name: _select(data, name, kept) for name in _edge_level(data)}
    for name, value in selected.items():
        result[name] = value
    return result


def replace_edges(data: Data, edge_index: Tensor, edge_weight: Tensor) -> Data:
    """A shallow copy of `data` with new edges (2, E) and weights (E,).

    Everything edge-level of the old ones is gone, but for the supervision that `keep_edges` names.
    """
    result = copy.copy(data)
    for name in _edge_level(data):
        del result[name]
    result.edge_index, result.edge_weight = edge_index, edge_weight
    return result


def _edge_level(data: Data) -> list[str]:
    return [
        name
        for name in data.keys()  # noqa: SIM118 (iterating over a Data yields pairs)
        if not name.startswith("edge_label") and data.is_edge_attr(name)
    ]


def _select(data: Data, name: str, kept: Tensor) -> Any:
    value = data[name]
    if isinstance(value, (list, tuple)):
        return list(itertools.compress(value, kept.tolist()))
    dimension = data.__cat_dim__(name, value)
    if isinstance(value, Tensor):
        return value.index_select(dimension, kept.nonzero().view(-1).to(value.device))
    return value.compress(kept.cpu().numpy(), axis=dimension)
