"""Keep a subset of a PyG graph's edges, and what belongs to them."""

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
    following = [
        name
        for name in data.keys()  # noqa: SIM118 (iterating over a Data yields pairs)
        if not name.startswith("edge_label") and result.is_edge_attr(name)
    ]
    selected = {name: _select(data, name, kept) for name in following}
    for name, value in selected.items():
        result[name] = value
    return result


def _select(data: Data, name: str, kept: Tensor) -> Any:
    value = data[name]
    if isinstance(value, (list, tuple)):
        return list(itertools.compress(value, kept.tolist()))
    dimension = data.__cat_dim__(name, value)
    if isinstance(value, Tensor):
        return value.index_select(dimension, kept.nonzero().view(-1).to(value.device))
    return value.compress(kept.cpu().numpy(), axis=dimension)
