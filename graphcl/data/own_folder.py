"""Read a person's own graph from a folder of small, plain files.

    edges.csv       one edge a line: source,target[,weight]; a header, if any, uses those words
                    (or src, from, head, u and dst, to, tail, v). A first line 0,1 is an edge, so
                    let pandas write the words, or no header. An edge goes both ways, whatever its
                    direction here; weights become `edge_weight`, for use from Python: the methods
                    are those of unweighted graphs
    features.csv    one row for each node, numbers only; or, with a header whose first column is
                    called `id` (or node, node_id), the node's id and then numbers. A first row
                    without any number is a header, and so is one of exactly 0,1,...,F-1 (F >= 3),
                    which pandas writes above columns without names: a first node with just these
                    features needs a header above it
    features.npy    instead: an array (N, F)
    features.npz    instead: a matrix saved by scipy.sparse.save_npz
    nodes.csv       optional, beside .npy and .npz: the node ids in row order, one a line, under
                    the header `id` (or node, node_id)
    labels.csv      optional; one label a line in row order under the header `label`, or id,label
                    (header optional) in any order and for some nodes only

Where ids are given (`features.csv` with `id`, or `nodes.csv`), every file names nodes by them and
they may be any text. Where none are given, a node is its row number, counted from 0. Labels may be
any text: classes are numbered in sorted order (by value when all are integers), and an empty label
or -1 means unknown.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from graphcl.data.assemble import RawGraph
from graphcl.data.numpy_archive import csr_from_parts, load_arrays
from graphcl.data.tables import read_rows
from graphcl.errors import DataError

_FEATURES = ("features.npz", "features.npy", "features.csv")
_ID_WORDS = ("id", "node", "node_id")
# Only known words make a first line a header; anything else there is an edge, so that a first
# edge with two misspelt nodes is an error and not a header.
_SOURCE_WORDS = ("source", "src", "from", "head", "u")
_TARGET_WORDS = ("target", "dst", "to", "tail", "v")


def read_own_folder(folder: Path) -> RawGraph:
    """The graph in `folder`, laid out as this module's docstring says.

    Raises:
        DataError: a file is missing or malformed; the message names the file and line.
    """
    edges = folder / "edges.csv"
    if not edges.is_file():
        raise DataError(f"the folder '{folder}' has no edges.csv (columns source,target[,weight])")
    present = [folder / name for name in _FEATURES if (folder / name).is_file()]
    if len(present) != 1:
        raise DataError(
            f"the folder '{folder}' must have one of {', '.join(_FEATURES)} "
            f"(got {', '.join(path.name for path in present) or 'none'})"
        )
    x, ids = _features(present[0])
    if len(x) == 0:
        raise DataError(f"'{folder}' is an empty graph: '{present[0].name}' has no rows")
    if (folder / "nodes.csv").is_file():
        if ids is not None:
            raise DataError(f"'{folder}' gives node ids twice, in nodes.csv and features.csv")
        ids = _listed_ids(folder / "nodes.csv")
        if len(ids) != len(x):
            raise DataError(f"'{folder / 'nodes.csv'}' lists {len(ids)} nodes for {len(x)} rows")
    number = _numbering(folder, ids, len(x))
    edge_index, weight, lines = _edges(edges, number, len(x))
    y, class_names = None, None
    if (folder / "labels.csv").is_file():
        y, class_names = _labels(folder / "labels.csv", number, len(x))
    return RawGraph(
        origin=f"'{folder}'",
        x=x,
        edge_index=edge_index,
        y=y,
        edge_weight=weight,
        node_ids=ids,
        class_names=class_names,
        edge_places=lines,
    )


def _features(path: Path) -> tuple[np.ndarray, list[str] | None]:
    if path.suffix == ".npy":
        try:
            x = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile) as error:
            raise DataError(f"'{path}' is not a readable .npy array ({error})") from None
        if not isinstance(x, np.ndarray) or x.ndim != 2:
            raise DataError(f"'{path}' must hold one array of shape (nodes, features)")
        return x, None
    if path.suffix == ".npz":
        # The CSR layout of scipy.sparse.save_npz, read here so that the indices are checked.
        return csr_from_parts(f"'{path}'", load_arrays(path)).toarray(), None
    rows = read_rows(path)
    header = rows[0][1]
    named = header[0].lower() in _ID_WORDS
    if header[0] == "":
        raise DataError(f"the first column of '{path}' has no name; call it id or leave it out")
    # pandas numbers columns that have no names.
    numbered = len(header) > 2 and header == [str(place) for place in range(len(header))]
    if named or numbered or not any(_is_number(cell) for cell in header):
        rows = rows[1:]
    ids = [cells[0] for _, cells in rows] if named else None
    values = [(line, cells[1:] if named else cells) for line, cells in rows]
    x = np.empty((len(values), len(values[0][1]) if values else 0), dtype=np.float64)
    for position, (line, cells) in enumerate(values):
        try:
            x[position] = [float(cell) for cell in cells]
        except ValueError:
            column = next(place for place, cell in enumerate(cells) if not _is_number(cell))
            hint = "" if named or column else "; node ids go under the header id"
            raise DataError(
                f"'{path}', line {line}: '{cells[column]}' in feature column {column} is not a "
                f"number{hint}"
            ) from None
        if not np.isfinite(x[position]).all():
            column = int(np.argmax(~np.isfinite(x[position])))
            raise DataError(
                f"'{path}', line {line}: the feature in column {column} is not finite "
                f"(got {cells[column]})"
            )
    return x, ids


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _listed_ids(path: Path) -> list[str]:
    ids = [cells[0] for _, cells in read_rows(path, width=1)]
    if ids[0].lower() not in _ID_WORDS:
        allowed = ", ".join(_ID_WORDS)
        raise DataError(f"'{path}' must begin with the header {allowed} (got '{ids[0]}')")
    return ids[1:]


def _numbering(folder: Path, ids: list[str] | None, count: int) -> Mapping[str, int]:
    if ids is None:
        return {str(position): position for position in range(count)}
    number = {name: position for position, name in enumerate(ids)}
    if len(number) < len(ids):
        twice = next(name for position, name in enumerate(ids) if number[name] != position)
        raise DataError(f"in '{folder}' the node id '{twice}' occurs twice")
    return number


def _node(path: Path, line: int, text: str, number: Mapping[str, int], count: int) -> int:
    node = number.get(text)
    if node is None:
        plain = len(number) == count and (not number or "0" in number)
        allowed = f"nodes are 0 to {count - 1}" if plain else f"none of the {count} nodes has it"
        raise DataError(f"'{path}', line {line}: node id '{text}' does not exist; {allowed}")
    return node


def _edges(
    path: Path, number: Mapping[str, int], count: int
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    rows = read_rows(path)
    width = len(rows[0][1])
    if width not in (2, 3):
        raise DataError(f"'{path}' must have columns source,target[,weight] (got {width} columns)")
    first, second = rows[0][1][:2]
    if first.lower() in _SOURCE_WORDS and second.lower() in _TARGET_WORDS and first not in number:
        rows = rows[1:]
    ends = np.empty((2, len(rows)), dtype=np.int64)
    weight = np.empty(len(rows), dtype=np.float64) if width == 3 else None
    for position, (line, cells) in enumerate(rows):
        ends[0, position] = _node(path, line, cells[0], number, count)
        ends[1, position] = _node(path, line, cells[1], number, count)
        if weight is not None:
            if not _is_number(cells[2]):
                raise DataError(f"'{path}', line {line}: '{cells[2]}' is not an edge weight")
            weight[position] = float(cells[2])
    return ends, weight, np.array([line for line, _ in rows], dtype=np.int64)


def _labels(path: Path, number: Mapping[str, int], count: int) -> tuple[np.ndarray, list[str]]:
    rows = read_rows(path)
    width = len(rows[0][1])
    if width > 2:
        raise DataError(f"'{path}' must have columns label or id,label (got {width} columns)")
    labels = [""] * count
    if rows[0][1][-1].lower() == "label":
        rows = rows[1:]
    if width == 1:
        # An empty line is no row, so here every node needs a label; -1 stands for unknown.
        if len(rows) != count:
            raise DataError(f"'{path}' has {len(rows)} labels for {count} nodes")
        labels = [cells[0] for _, cells in rows]
    else:
        seen: set[int] = set()
        for line, (name, label) in rows:
            node = _node(path, line, name, number, count)
            if node in seen:
                raise DataError(f"'{path}', line {line}: node '{name}' is labelled twice")
            seen.add(node)
            labels[node] = label
    return _class_numbers(labels)


def _class_numbers(labels: list[str]) -> tuple[np.ndarray, list[str]]:
    names = {label for label in labels if label not in ("", "-1")}
    try:
        ordered = sorted(names, key=int)
    except ValueError:
        ordered = sorted(names)
    position = {name: place for place, name in enumerate(ordered)}
    return np.array([position.get(label, -1) for label in labels], dtype=np.int64), ordered
