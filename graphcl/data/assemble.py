"""Check arrays from any reader and make one canonical PyG `Data` of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from graphcl.errors import DataError

if TYPE_CHECKING:
    from torch_geometric.data import Data

MASKS = ("train_mask", "val_mask", "test_mask")


@dataclass
class RawGraph:
    """What a reader found, before checks; `origin` is how error messages call it.

    Attributes:
        origin: name or path of the graph.
        x: features (N, F).
        edge_index: (2, E) node numbers, in either or both directions.
        y: labels (N,), integers from 0, -1 where unknown; None without labels.
        edge_weight: (E,) or None.
        node_ids: N ids of the source; None stands for 0..N-1.
        masks: boolean masks (N,), or (N, S) of S splits, by the names in `MASKS`, all three or
            none; a mask (N,) beside wider ones is the same in every split.
        class_names: names of the classes 0..C-1 when `y` counts them so, or None.
        edge_places: for each edge where it stands in the source ("line 7"), or None.
    """

    origin: str
    x: np.ndarray
    edge_index: np.ndarray
    y: np.ndarray | None = None
    edge_weight: np.ndarray | None = None
    node_ids: Sequence[str] | np.ndarray | None = None
    masks: dict[str, np.ndarray] | None = None
    class_names: list[str] | None = None
    edge_places: np.ndarray | None = None


def assemble(raw: RawGraph) -> Data:
    """The canonical graph: undirected, coalesced, without self loops, sorted by row then column.

    An edge listed more than once, in either direction, stays once and keeps its largest weight.
    Classes are the distinct labels: where these are not 0..C-1 they are numbered so in their order,
    and `class_names` tells what they were.

    Returns:
        `Data` with `x` float32 (N, F), `edge_index` int64 (2, E) holding both directions,
        `num_nodes`, `node_ids` (int64 tensor, or list of str), and where known `y` int64 (N,),
        `edge_weight` float32 (E,), `train_mask`/`val_mask`/`test_mask` and `class_names`.

    Raises:
        DataError: empty graph, non-finite feature or weight, node number out of range, or arrays
            that do not fit together.
    """
    from torch_geometric.data import Data

    x = _features(raw)
    count = x.shape[0]
    edges = _edges(raw, count)
    weight = _weights(raw, edges.shape[1])
    edge_index, edge_weight = undirected(
        torch.from_numpy(edges), count, None if weight is None else torch.from_numpy(weight)
    )
    if edge_index.shape[1] == 0:
        raise DataError(f"{raw.origin} is an empty graph: it has no edge besides self loops")
    data = Data(x=torch.from_numpy(x), edge_index=edge_index)
    data.num_nodes = count
    if edge_weight is not None:
        data.edge_weight = edge_weight
    if raw.y is not None:
        labels, class_names = _labels(raw, count)
        data.y = torch.from_numpy(labels)
        if class_names is not None:
            data.class_names = class_names
    data.node_ids = _node_ids(raw, count)
    for name, mask in (raw.masks or {}).items():
        mask = np.asarray(mask)
        if mask.ndim not in (1, 2) or len(mask) != count or mask.dtype != np.bool_:
            raise DataError(
                f"{raw.origin}: {name} must hold {count} booleans, one for each node, or a column "
                f"of them for each split (got {mask.dtype} of shape {mask.shape})"
            )
        data[name] = torch.from_numpy(mask.copy())
    return data


def undirected(
    edge_index: Tensor, num_nodes: int, edge_weight: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """Both directions of every edge once, without self loops, sorted by row then column.

    Args:
        edge_index: (2, E) int64.
        num_nodes: N.
        edge_weight: (E,) or None; of repeated edges the largest weight stays.
    """
    row, column = edge_index
    keep = row != column
    low = torch.minimum(row, column)[keep]
    high = torch.maximum(row, column)[keep]
    code = torch.cat([low * num_nodes + high, high * num_nodes + low])
    code, position = torch.unique(code, return_inverse=True)
    result = torch.stack([code // num_nodes, code % num_nodes])
    if edge_weight is None:
        return result, None
    weight = edge_weight[keep].repeat(2)
    largest = weight.new_full(code.shape, -torch.inf)
    return result, largest.scatter_reduce(0, position, weight, reduce="amax")


def _features(raw: RawGraph) -> np.ndarray:
    x = np.asarray(raw.x)
    if x.ndim != 2 or x.dtype.kind not in "biuf":
        raise DataError(
            f"{raw.origin}: features must be a numeric array of shape (nodes, features) "
            f"(got {x.dtype} of shape {x.shape})"
        )
    if x.shape[0] == 0 or x.shape[1] == 0:
        raise DataError(f"{raw.origin} is an empty graph: features have shape {x.shape}")
    with np.errstate(over="ignore"):
        x = np.ascontiguousarray(x, dtype=np.float32)
    if not x.flags.writeable:
        x = x.copy()
    # A sum is finite unless an element is not (or it overflows): one pass, no boolean matrix.
    if not np.isfinite(x.sum(dtype=np.float64)):
        bad = np.argwhere(~np.isfinite(x))
        if len(bad):
            row, column = (int(value) for value in bad[0])
            raise DataError(
                f"{raw.origin}: the feature in row {row}, column {column} (counted from 0) is not "
                f"a finite float32 (got {np.asarray(raw.x)[row, column]})"
            )
    return x


def _edges(raw: RawGraph, count: int) -> np.ndarray:
    edges = np.asarray(raw.edge_index)
    if edges.ndim != 2 or edges.shape[0] != 2 or edges.dtype.kind not in "iu":
        raise DataError(
            f"{raw.origin}: edge_index must hold integers in shape (2, edges) "
            f"(got {edges.dtype} of shape {edges.shape})"
        )
    outside = (edges < 0) | (edges >= count)
    if outside.any():
        place = int(np.argmax(outside.any(axis=0)))
        value = int(edges[:, place][outside[:, place]][0])
        where = f"edge {place}" if raw.edge_places is None else f"line {raw.edge_places[place]}"
        raise DataError(
            f"{raw.origin}, {where}: node {value} does not exist; nodes are 0 to {count - 1}"
        )
    return np.ascontiguousarray(edges, dtype=np.int64)


def _weights(raw: RawGraph, count: int) -> np.ndarray | None:
    if raw.edge_weight is None:
        return None
    weight = np.asarray(raw.edge_weight)
    if weight.shape != (count,) or weight.dtype.kind not in "biuf":
        raise DataError(
            f"{raw.origin}: edge_weight must hold {count} numbers, one for each edge "
            f"(got {weight.dtype} of shape {weight.shape})"
        )
    weight = np.array(weight, dtype=np.float32)
    bad = ~(np.isfinite(weight) & (weight >= 0))
    if bad.any():
        place = int(np.argmax(bad))
        where = f"edge {place}" if raw.edge_places is None else f"line {raw.edge_places[place]}"
        raise DataError(
            f"{raw.origin}, {where}: an edge weight must be finite and not negative "
            f"(got {weight[place]})"
        )
    return weight


def _labels(raw: RawGraph, count: int) -> tuple[np.ndarray, list[str] | None]:
    labels = np.asarray(raw.y)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(
            f"{raw.origin}: labels must be one integer for each node "
            f"(got {labels.dtype} of shape {labels.shape})"
        )
    if len(labels) != count:
        raise DataError(f"{raw.origin} has {len(labels)} labels for {count} nodes")
    labels = np.array(labels, dtype=np.int64)
    if (labels < -1).any():
        place = int(np.argmax(labels < -1))
        raise DataError(
            f"{raw.origin}: the label of node {place} is {labels[place]}; a label is 0 or more, "
            f"or -1 for unknown"
        )
    if raw.class_names is not None:
        return labels, list(raw.class_names)
    classes = np.unique(labels[labels >= 0])
    if len(classes) == 0 or classes[-1] == len(classes) - 1:
        return labels, None
    numbered = np.where(labels >= 0, np.searchsorted(classes, labels), -1)
    return numbered.astype(np.int64), [str(label) for label in classes]


def _node_ids(raw: RawGraph, count: int) -> Tensor | list[str]:
    if raw.node_ids is None:
        return torch.arange(count)
    if len(raw.node_ids) != count:
        raise DataError(f"{raw.origin} has {len(raw.node_ids)} node ids for {count} nodes")
    ids = np.asarray(raw.node_ids)
    if len(np.unique(ids)) < count:
        values, counts = np.unique(ids, return_counts=True)
        raise DataError(f"{raw.origin}: node id '{values[np.argmax(counts)]}' occurs twice")
    if ids.dtype.kind in "iu":
        return torch.from_numpy(ids.astype(np.int64))
    return [str(value) for value in raw.node_ids]
