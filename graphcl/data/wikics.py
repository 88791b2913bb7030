"""Read WikiCS from its `data.json` (Mernyei and Cangea 2020, arXiv 2007.02901).

The file is one object: `features` (N lists of F numbers), `labels` (N), `links` (for each node the
nodes that it links to), `train_masks`, `stopping_masks` and `val_masks` (20 lists of N) and one
`test_mask` (N).

Its authors stop training by the stopping nodes of a split and choose settings by its validation
nodes. Here `val_mask` is the validation nodes, as in BGRL's and GCA's evaluation of frozen
embeddings: the epoch and the probe's strength are settings, chosen together. The stopping nodes
are in no part of a split.
"""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from graphcl.data.assemble import RawGraph
from graphcl.errors import DataError

LARGEST_FILE = 1 << 30
"""Bytes; the public file has less than a tenth."""

_KEYS = ("features", "labels", "links", "train_masks", "val_masks", "test_mask")


def read_wikics(origin: str, path: Path) -> RawGraph:
    """The graph with its splits as the columns of the masks; the test nodes are those of all.

    Raises:
        DataError: the file is unreadable, lacks a part, or a part is not as the module says.
    """
    parts = _read(path)
    absent = [key for key in _KEYS if key not in parts]
    if absent:
        raise DataError(f"'{path}' lacks '{absent[0]}'")
    links = parts["links"]
    if not isinstance(links, list) or not all(isinstance(near, list) for near in links):
        raise DataError(f"'{path}': 'links' must hold a list of nodes for each node")
    targets = _integers(path, "links", list(chain.from_iterable(links)), 1)
    return RawGraph(
        origin=origin,
        x=_numbers(path, "features", parts["features"], 2),
        edge_index=np.stack(
            [np.repeat(np.arange(len(links)), [len(near) for near in links]), targets]
        ),
        y=_integers(path, "labels", parts["labels"], 1),
        masks={
            "train_mask": _mask(path, "train_masks", parts, 2).T,
            "val_mask": _mask(path, "val_masks", parts, 2).T,
            "test_mask": _mask(path, "test_mask", parts, 1),
        },
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise DataError(f"'{path}' has more than {LARGEST_FILE} bytes, which is refused")
        parts = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"'{path}' is not readable JSON ({error})") from None
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error.strerror or error}") from None
    if not isinstance(parts, dict):
        raise DataError(f"'{path}' must hold one object (got {type(parts).__name__})")
    return parts


def _numbers(path: Path, key: str, value: Any, dimensions: int) -> np.ndarray:
    """`value` as float64: by way of text, an array of its longest entry's width could be huge."""
    try:
        array = np.array(value, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        raise DataError(f"'{path}': '{key}' must hold numbers only, in equal rows") from None
    if array.ndim != dimensions:
        raise DataError(
            f"'{path}': '{key}' must be {('a list', 'a list of lists')[dimensions - 1]} "
            f"(got {array.ndim} levels)"
        )
    return array


def _integers(path: Path, key: str, value: Any, dimensions: int) -> np.ndarray:
    array = _numbers(path, key, value, dimensions)
    wrong = ~((array == np.rint(array)) & (np.abs(array) < 2**53))
    if wrong.any():
        raise DataError(f"'{path}': '{key}' must hold integers (got {array[wrong][0]:g})")
    return array.astype(np.int64)


def _mask(path: Path, key: str, parts: dict[str, Any], dimensions: int) -> np.ndarray:
    array = _numbers(path, key, parts[key], dimensions)
    wrong = (array != 0) & (array != 1)
    if wrong.any():
        raise DataError(f"'{path}': '{key}' must hold true and false (got {array[wrong][0]:g})")
    return array.astype(bool)
