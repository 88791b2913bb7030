"""Load a graph, by the name of a data set or by path, as one canonical PyG `Data`."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from graphcl.data.assemble import RawGraph, assemble
from graphcl.data.cards import DatasetCard, card_names, load_card
from graphcl.data.locate import locate
from graphcl.errors import DataError, MissingDataError, unknown_name

if TYPE_CHECKING:
    from torch_geometric.data import Data

_HASHED = ("edge_index", "edge_weight", "x", "y")


def load_graph(
    name_or_path: str | os.PathLike[str],
    data_root: str | os.PathLike[str] | None = None,
    allow_download: bool = False,
) -> Data:
    """A graph by the name of its card, or a person's own graph by path.

    A name wins over a folder that happens to be called the same; write `./cora` for the folder.
    A path is a folder (`graphcl.data.own_folder` describes it), an `.npz` archive
    (`graphcl.data.numpy_archive`) or a PyG `Data` saved as `.pt` (`graphcl.data.saved_data`).

    Args:
        name_or_path: a name of `card_names()`, or a path.
        data_root: searched first for a named data set; default `$GRAPHCL_DATA`.
        allow_download: whether a named data set may come from its official address.

    Returns:
        `Data` with `x` float32 (N, F); `edge_index` int64 (2, E): undirected (both directions of
        every edge), without self loops and repeats, sorted by row then column; `num_nodes`;
        `name`; `node_ids`, the ids of the source (int64 tensor or list of str); where known `y`
        int64 (N,) with -1 for unknown, `edge_weight` float32 (E,), the public splits as
        `train_mask`, `val_mask`, `test_mask`, (N,) or with a column for each of several, and
        `class_names`.

    Raises:
        UnknownNameError: neither a card nor a path is called so; the message names the nearest.
        MissingDataError: the data set, or the path, was not found.
        ChecksumError: a file is not the one that the card states.
        DataError: a file is malformed, the statistics are not those of the card, or
            `name_or_path` is empty.
    """
    text = os.fspath(name_or_path)
    if not text.strip():
        # As a path it would mean the current folder, which nobody asked for.
        raise DataError(
            f"the data set must be a name such as cora or a path (got {text!r}); "
            "the current folder is '.'"
        )
    if text in card_names():
        card = load_card(text)
        if card.kind != "graph":
            what = (
                "is a heterogeneous graph, which the task heterogeneous-node-classification takes"
                if card.kind == "heterogeneous"
                else f"holds {card.kind} of users with items, not a graph"
            )
            raise DataError(f"data set '{text}' {what}; graphs are {', '.join(_graph_names())}")
        data = read_card_files(card, locate(card, data_root, allow_download))
        verify_statistics(card, graph_statistics(data))
        return data
    path = Path(text).expanduser()
    if path.exists():
        data = assemble(_read_path(path))
        data.name = path.stem if path.is_file() else path.resolve().name
        return data
    if os.sep in text or "/" in text or path.suffix or text.startswith((".", "~")):
        raise MissingDataError(f"there is no file or folder '{text}'")
    raise unknown_name("data set", text, _graph_names())


def _graph_names() -> list[str]:
    return [name for name in card_names() if load_card(name).kind == "graph"]


def _read_path(path: Path) -> RawGraph:
    if path.is_dir():
        from graphcl.data.own_folder import read_own_folder

        return read_own_folder(path)
    origin = f"'{path}'"
    if path.suffix == ".npz":
        from graphcl.data.numpy_archive import read_numpy_archive

        return read_numpy_archive(origin, path)
    if path.suffix in (".pt", ".pth"):
        from graphcl.data.saved_data import read_saved_data

        return read_saved_data(origin, path)
    raise DataError(f"{origin} is not a folder, an .npz archive or a .pt file")


def read_card_files(card: DatasetCard, paths: dict[str, Path]) -> Data:
    """The graph of `card` from its verified files (file name -> path).

    Raises:
        DataError: a file is malformed, or the card is of a kind or format without a graph reader.
    """
    if card.format == "linqs-parquet":
        from graphcl.data.linqs_parquet import read_linqs_parquet

        raw = read_linqs_parquet(card.name, paths)
    elif card.format == "planetoid":
        from graphcl.data.planetoid import read_planetoid

        raw = read_planetoid(card.name, paths)
    elif card.format == "gnn-benchmark":
        from graphcl.data.numpy_archive import read_numpy_archive

        raw = read_numpy_archive(card.name, next(iter(paths.values())))
    elif card.format == "wikics":
        from graphcl.data.wikics import read_wikics

        raw = read_wikics(card.name, paths["data.json"])
    elif card.format == "ogb":
        from graphcl.data.ogb import read_ogb

        raw = read_ogb(card.name, paths)
    else:
        raise DataError(f"data set '{card.name}' of format '{card.format}' is not a graph")
    data = assemble(raw)
    data.name = card.name
    return data


def graph_statistics(data: Data) -> dict[str, int]:
    """Nodes, edges (undirected pairs), features and classes of a canonical graph."""
    labels = data.y
    return {
        "nodes": int(data.num_nodes),
        "edges": int(data.edge_index.shape[1]) // 2,
        "features": int(data.x.shape[1]),
        "classes": 0 if labels is None else int(torch.unique(labels[labels >= 0]).numel()),
    }


def verify_statistics(card: DatasetCard, measured: dict[str, int]) -> None:
    """Compare the counts of a loaded graph with its card.

    Raises:
        DataError: a count differs; the first one is named.
    """
    for what, stated in card.statistics.items():
        if measured[what] != stated:
            raise DataError(
                f"data set '{card.name}' has {measured[what]} {what} but its card states {stated}"
            )


def content_hash(data: Data) -> str:
    """A sha256 of what the graph holds: edges, weights, features and labels, in that order.

    Name, type and shape of every array go in before its little-endian bytes. Names, ids and
    splits of the nodes stay out, so the same graph under other ids has the same hash.
    """
    digest = hashlib.sha256(f"nodes {int(data.num_nodes)}\n".encode())
    for key in _HASHED:
        if data.get(key) is not None:
            add_to_digest(digest, key, data[key])
    return digest.hexdigest()


def add_to_digest(digest: hashlib._Hash, name: str, value: Tensor) -> None:
    """Name, type, shape and little-endian bytes of an array, into a running hash."""
    array = np.ascontiguousarray(value.numpy(force=True))
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
    digest.update(array.data)
