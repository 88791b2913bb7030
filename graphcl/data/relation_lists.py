"""Read a heterogeneous graph from lists of relations, features, labels and splits.

    schema          what the files mean: `graphcl.data.heterogeneous_schema`
    relations       text files of two columns, source and target number, counted from 0; separated
                    by white space or a comma
    features        `.npz` (scipy.sparse.save_npz) or `.npy`, one row for each node of the type
    labels          `.npy`, a whole number for each node of the target type, below 0 for unknown;
                    classes are numbered anew in the order of their values
    train_K.npy     with val_K.npy and test_K.npy: node numbers of the split with K labelled nodes
                    per class; a number that occurs twice counts once

The layout of HeCo's data (Wang et al., KDD 2021). No file may hold pickled objects.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from graphcl.data.heterogeneous_schema import HeterogeneousSchema, Relation
from graphcl.data.limits import check_memory, check_unpacked
from graphcl.errors import DataError, MissingDataError

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

Split = tuple[Tensor, Tensor, Tensor]

_PARTS = ("train", "val", "test")
_UNREADABLE = (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile)


def read_relation_lists(
    name: str, schema: HeterogeneousSchema, paths: Mapping[str, Path]
) -> HeteroData:
    """The graph that `schema` describes, from its files (file name -> path).

    Raises:
        MissingDataError: a file that the schema names, or part of a split, is not there.
        DataError: a file is malformed; the message names it.
    """
    from torch_geometric.data import HeteroData

    for file in schema.files():
        if file not in paths:
            raise MissingDataError(f"heterogeneous graph '{name}' lacks the file '{file}'")
    targets = schema.nodes[schema.target]
    data = HeteroData()
    for kind, count in schema.nodes.items():
        data[kind].num_nodes = count
        if kind in schema.features:
            data[kind].x = _features(paths[schema.features[kind]], kind, count)
    data[schema.target].y = _labels(paths[schema.labels], targets)
    for relation in schema.relations:
        edges = _edges(paths[relation.file], relation, schema.nodes)
        data[relation.source, "to", relation.target].edge_index = edges
    data.target = schema.target
    data.meta_paths = dict(schema.meta_paths)
    data.splits = _splits(paths, targets)
    data.name = name
    return data


def _features(path: Path, kind: str, count: int) -> Tensor:
    check_unpacked(path)
    try:
        if path.suffix == ".npz":
            untyped: Any = scipy.sparse.load_npz(path)
            matrix = untyped.tocsr()
            check_memory(f"'{path}'", matrix.shape[0] * matrix.shape[1] * 8)
            # An index outside the shape would be written past the end of the array.
            matrix.check_format(full_check=True)
            values = matrix.toarray()
        else:
            values = np.load(path, allow_pickle=False)
    except DataError:
        raise
    except _UNREADABLE as error:
        raise DataError(f"'{path}' holds no readable features ({error})") from None
    _check_array(path, values)
    if values.ndim != 2 or values.dtype.kind not in "biuf" or values.shape[0] != count:
        raise DataError(
            f"'{path}' must hold {count} rows of numbers, one for each {kind} "
            f"(got {values.dtype} of shape {values.shape})"
        )
    x = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
    if values.shape[1] == 0 or not bool(torch.isfinite(x).all()):
        raise DataError(f"'{path}' must hold at least one feature, all of them finite numbers")
    return x


def _labels(path: Path, count: int) -> Tensor:
    values = _whole_numbers(path)
    if values.shape != (count,):
        raise DataError(f"'{path}' must hold {count} labels (got shape {values.shape})")
    known = values >= 0
    classes = np.unique(values[known])
    if not len(classes):
        raise DataError(f"'{path}' holds no label of 0 or more")
    numbered = np.where(known, np.searchsorted(classes, values), -1)
    return torch.from_numpy(numbered.astype(np.int64))


def _whole_numbers(path: Path) -> np.ndarray:
    """Those of a .npy file; some files store them as floats."""
    try:
        values = np.load(path, allow_pickle=False)
    except _UNREADABLE as error:
        raise DataError(f"'{path}' is not a readable .npy file ({error})") from None
    _check_array(path, values)
    exact = 2.0**53
    if (
        values.dtype.kind not in "iuf"
        or not np.array_equal(values, np.round(values))
        or (values.size and np.abs(values.astype(np.float64)).max() > exact)
    ):
        raise DataError(f"'{path}' must hold whole numbers (got {values.dtype})")
    return values.astype(np.int64)


def _check_array(path: Path, values: object) -> None:
    if not isinstance(values, np.ndarray):
        raise DataError(f"'{path}' is an archive of arrays, not one array")


def _edges(path: Path, relation: Relation, nodes: Mapping[str, int]) -> Tensor:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an empty file is a relation without edges
            text = path.read_text(encoding="utf-8").replace(",", " ")
            pairs = np.loadtxt(text.splitlines(), dtype=np.int64, ndmin=2)
    except (OSError, UnicodeDecodeError, ValueError, OverflowError) as error:
        raise DataError(f"'{path}' is not a list of pairs of numbers ({error})") from None
    if pairs.size == 0:
        pairs = pairs.reshape(0, 2)
    if pairs.shape[1] != 2:
        raise DataError(f"'{path}' must have two columns (got {pairs.shape[1]})")
    for column, kind in enumerate((relation.source, relation.target)):
        wrong = (pairs[:, column] < 0) | (pairs[:, column] >= nodes[kind])
        if wrong.any():
            raise DataError(
                f"'{path}' names {kind} {pairs[wrong][0, column]}, but their numbers are "
                f"0 to {nodes[kind] - 1}"
            )
    return torch.from_numpy(np.unique(pairs, axis=0).T.copy())


def _splits(paths: Mapping[str, Path], count: int) -> dict[int, Split]:
    found = (re.fullmatch(r"train_(\d+)\.npy", name) for name in paths)
    return {key: _split(paths, key, count) for key in sorted(int(m[1]) for m in found if m)}


def _split(paths: Mapping[str, Path], key: int, count: int) -> Split:
    parts = []
    for part in _PARTS:
        file = f"{part}_{key}.npy"
        if file not in paths:
            raise MissingDataError(f"a split needs '{file}' beside 'train_{key}.npy'")
        numbers = np.unique(_whole_numbers(paths[file]))
        if numbers.size == 0 or numbers[0] < 0 or numbers[-1] >= count:
            raise DataError(f"'{paths[file]}' must hold node numbers from 0 to {count - 1}")
        parts.append(torch.from_numpy(numbers))
    if len(torch.cat(parts).unique()) < sum(len(part) for part in parts):
        raise DataError(f"the parts of split {key} beside '{paths[file]}' share nodes")
    train, validation, test = parts
    return train, validation, test
