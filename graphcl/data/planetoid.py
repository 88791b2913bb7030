"""Read Planetoid's `ind.NAME.*` files (Yang et al., ICML 2016)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from graphcl.data.assemble import MASKS, RawGraph
from graphcl.data.pickles import read_pickle
from graphcl.errors import DataError

VALIDATION_NODES = 500


def read_planetoid(origin: str, paths: dict[str, Path]) -> RawGraph:
    """The graph with its public split: the rows of `x`, the next 500, the listed test nodes.

    Test nodes that the files leave out (15 in CiteSeer) get zero features and class 0, as in
    PyTorch Geometric, so that random splits of published results stay comparable.

    Args:
        origin: how error messages call the graph.
        paths: file name -> path of the eight files; their common prefix is free.

    Raises:
        DataError: a file is missing, is refused by the allow-list, or does not fit the others.
    """
    part = {name.split(".", 2)[2]: path for name, path in paths.items()}
    absent = sorted(
        {"x", "tx", "allx", "y", "ty", "ally", "graph", "test.index"} - set(part),
    )
    if absent:
        raise DataError(f"{origin} lacks the Planetoid file '{absent[0]}'")
    train_count = _dense(origin, "y", read_pickle(part["y"])).shape[0]
    features = _dense(origin, "allx", read_pickle(part["allx"]))
    test_features = _dense(origin, "tx", read_pickle(part["tx"]))
    labels = _dense(origin, "ally", read_pickle(part["ally"]))
    test_labels = _dense(origin, "ty", read_pickle(part["ty"]))
    test_index = _test_index(part["test.index"])

    first = features.shape[0]
    fits = (
        len(test_index) == len(test_features) == len(test_labels)
        and first == len(labels)
        and features.shape[1] == test_features.shape[1]
        and labels.shape[1] == test_labels.shape[1]
        and len(test_index) > 0
        and test_index.min() >= first
        and train_count + VALIDATION_NODES <= first
    )
    if not fits:
        raise DataError(f"{origin}: the Planetoid files do not fit together")
    count = int(test_index.max()) + 1
    x = np.zeros((count, features.shape[1]), dtype=np.float32)
    x[:first], x[test_index] = features, test_features
    one_hot = np.zeros((count, labels.shape[1]), dtype=np.float32)
    one_hot[:first], one_hot[test_index] = labels, test_labels

    masks = {name: np.zeros(count, dtype=bool) for name in MASKS}
    masks["train_mask"][:train_count] = True
    masks["val_mask"][train_count : train_count + VALIDATION_NODES] = True
    masks["test_mask"][test_index] = True
    return RawGraph(
        origin=origin,
        x=x,
        edge_index=_neighbour_lists(origin, read_pickle(part["graph"])),
        y=one_hot.argmax(axis=1).astype(np.int64),
        masks=masks,
    )


def _dense(origin: str, name: str, value: Any) -> np.ndarray:
    if isinstance(value, scipy.sparse.csr_matrix):
        value = value.toarray()
    if not isinstance(value, np.ndarray) or value.ndim != 2 or value.dtype.kind not in "biuf":
        raise DataError(f"{origin}: '{name}' must hold a numeric matrix")
    return value.astype(np.float32)


def _test_index(path: Path) -> np.ndarray:
    try:
        return np.array([int(line) for line in path.read_text().split()], dtype=np.int64)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise DataError(f"'{path}' is not a list of node numbers ({error})") from None


def _neighbour_lists(origin: str, graph: Any) -> np.ndarray:
    if not isinstance(graph, dict):
        raise DataError(f"{origin}: 'graph' must hold neighbour lists")
    try:
        sources = np.repeat(
            np.fromiter(graph.keys(), dtype=np.int64, count=len(graph)),
            [len(neighbours) for neighbours in graph.values()],
        )
        targets = np.concatenate([np.asarray(near, dtype=np.int64) for near in graph.values()])
        return np.stack([sources, targets])
    except (TypeError, ValueError) as error:
        raise DataError(f"{origin}: 'graph' must hold neighbour lists ({error})") from None
