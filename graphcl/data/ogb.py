"""Read a node-property set of the Open Graph Benchmark as it lies on disk after its download.

    raw/num-node-list.csv.gz              N
    raw/edge.csv.gz                       source,target, one edge a line, nodes from 0
    raw/node-feat.csv.gz                  the features of a node a line
    raw/node-label.csv.gz                 its class
    split/SCHEME/train.csv.gz             node numbers, one a line; valid.csv.gz and test.csv.gz

W. Hu, M. Fey, M. Zitnik, Y. Dong, H. Ren, B. Liu, M. Catasta, J. Leskovec. Open Graph Benchmark:
datasets for machine learning on graphs. NeurIPS 2020, arXiv 2005.00687. The pickled copies that
other programs leave beside these files (`processed/`, `.pt`) are not read.
"""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path

import numpy as np

from graphcl.data.assemble import MASKS, RawGraph
from graphcl.data.limits import check_memory, unpacked_lines
from graphcl.errors import DataError

PARTS = ("train.csv.gz", "valid.csv.gz", "test.csv.gz")
"""The files of the split, in the order of `MASKS`."""


def read_ogb(origin: str, paths: dict[str, Path]) -> RawGraph:
    """The graph with its split; one label a node.

    Args:
        origin: how error messages call the graph.
        paths: file name -> path of the seven files.

    Raises:
        DataError: a file is missing or malformed, or does not fit the others.
    """
    counted = ("num-node-list.csv.gz", "edge.csv.gz", "node-feat.csv.gz", "node-label.csv.gz")
    for name in (*counted, *PARTS):
        if name not in paths:
            raise DataError(f"{origin} lacks the file '{name}'")
    sizes, edges, features, labels = (paths[name] for name in counted)
    stated = _numbers(sizes, np.int64, most=2)
    if stated.shape != (1, 1) or stated[0, 0] < 1:
        raise DataError(f"'{sizes}' must hold the number of nodes of one graph")
    count = int(stated[0, 0])
    # Labels and masks alone; this comes before any array of that size.
    check_memory(f"{origin} with {count} nodes", 11 * count)
    ends = _numbers(edges, np.int64)
    if ends.shape[1] != 2:
        raise DataError(f"'{edges}' must have columns source,target (got {ends.shape[1]} columns)")
    y = _of_every_node(labels, np.int64, count)
    if y.shape[1] != 1:
        raise DataError(f"'{labels}' must have one label a node (got {y.shape[1]} columns)")
    return RawGraph(
        origin=origin,
        x=_of_every_node(features, np.float32, count),
        edge_index=ends.T,
        y=y[:, 0],
        masks={mask: _mask(paths[name], count) for mask, name in zip(MASKS, PARTS, strict=True)},
    )


def _of_every_node(path: Path, kind: type, count: int) -> np.ndarray:
    values = _numbers(path, kind, most=count + 1)
    if len(values) != count:
        found = len(values) if len(values) < count else f"more than {count}"
        raise DataError(f"'{path}' has {found} rows for {count} nodes")
    return values


def _mask(path: Path, count: int) -> np.ndarray:
    nodes = _numbers(path, np.int64, most=count + 1)
    if nodes.shape[1] != 1:
        raise DataError(f"'{path}' must have one node a line (got {nodes.shape[1]} columns)")
    outside = (nodes[:, 0] < 0) | (nodes[:, 0] >= count)
    if outside.any():
        place = int(np.argmax(outside))
        raise DataError(
            f"'{path}', row {place + 1}: node {nodes[place, 0]} does not exist; "
            f"nodes are 0 to {count - 1}"
        )
    mask = np.zeros(count, dtype=bool)
    mask[nodes[:, 0]] = True
    return mask


def _numbers(path: Path, kind: type, most: int | None = None) -> np.ndarray:
    """The numbers of a packed table without header, (rows, columns), of `most` rows at the most."""
    lines = unpacked_lines(path)
    first = next(lines, "")
    if most is not None:
        check_memory(f"'{path}'", most * (first.count(",") + 1) * np.dtype(kind).itemsize)
    try:
        with warnings.catch_warnings():
            # What is no error for numpy: an empty table, and in old versions 1.5 as an integer.
            warnings.simplefilter("error")
            return np.loadtxt(
                itertools.chain([first], lines),
                kind, comments=None, delimiter=",", ndmin=2, max_rows=most,
            )  # fmt: skip
    except UserWarning:
        raise DataError(f"'{path}' is empty") from None
    except (ValueError, OverflowError, MemoryError, DeprecationWarning) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"'{path}' is not a table of numbers ({reason[:300]})") from None
