"""Load a heterogeneous graph, by the name of a data set or from a folder, as PyG `HeteroData`."""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from graphcl.data.cards import DatasetCard, card_names, load_card
from graphcl.data.graphs import add_to_digest, verify_statistics
from graphcl.data.heterogeneous_schema import HeterogeneousSchema
from graphcl.data.locate import locate
from graphcl.data.relation_lists import read_relation_lists
from graphcl.errors import DataError, MissingDataError, unknown_name

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


def load_heterogeneous(
    name_or_path: str | os.PathLike[str],
    data_root: str | os.PathLike[str] | None = None,
    allow_download: bool = False,
) -> HeteroData:
    """A heterogeneous graph by the name of its card, or from a folder of one's own.

    A folder holds `schema.toml` (`graphcl.data.heterogeneous_schema` says what is in it) and the
    files that it names (`graphcl.data.relation_lists`), with splits or without.

    Args:
        name_or_path: a name of `card_names()`, or a folder.
        data_root: searched first for a named data set; default `$GRAPHCL_DATA`.
        allow_download: whether a named data set may come from its official address.

    Returns:
        `HeteroData` with, for every node type t, `data[t].num_nodes` and, unless the type is
        one-hot, `data[t].x` float32; `data[target].y` int64, -1 where unknown;
        `data[source, "to", target].edge_index` int64 (2, E) for every relation, without repeats;
        `data.target`, `data.meta_paths` (name -> tuple of node types), `data.splits` (labelled
        nodes per class -> node numbers of train, validation and test) and `data.name`.

    Raises:
        UnknownNameError: neither a card nor a path is called so; the message names the nearest.
        MissingDataError: the data set or the folder was not found.
        ChecksumError: a file is not the one that the card states.
        DataError: it is no heterogeneous graph, a file is malformed, or the statistics are not
            those of the card.
    """
    text = os.fspath(name_or_path)
    if text in card_names():
        card = load_card(text)
        if card.kind != "heterogeneous":
            raise DataError(
                f"data set '{text}' is not a heterogeneous graph; those are {', '.join(_names())}"
            )
        data = read_heterogeneous_card(card, locate(card, data_root, allow_download))
        verify_statistics(card, heterogeneous_statistics(data))
        return data
    folder = Path(text).expanduser()
    if text.strip() and folder.is_dir():
        return _read_folder(folder)
    if text.strip() and (folder.exists() or folder.suffix or len(folder.parts) > 1):
        raise MissingDataError(f"there is no folder '{text}'")
    raise unknown_name("heterogeneous data set or folder", text, _names())


def read_heterogeneous_card(card: DatasetCard, paths: dict[str, Path]) -> HeteroData:
    """The graph of `card` from its verified files (file name -> path).

    Raises:
        DataError: a file is malformed, or the card is of another kind.
    """
    if card.heterogeneous is None:
        raise DataError(f"data set '{card.name}' is not a heterogeneous graph")
    return read_relation_lists(card.name, card.heterogeneous, paths)


def heterogeneous_statistics(data: HeteroData) -> dict[str, int]:
    """Nodes of the target type, nodes of all types, edges of all relations, and classes."""
    labels = data[data.target].y
    return {
        "targets": int(data[data.target].num_nodes),
        "nodes": sum(int(data[kind].num_nodes) for kind in data.node_types),
        "edges": sum(int(data[kind].edge_index.shape[1]) for kind in data.edge_types),
        "classes": int(labels[labels >= 0].unique().numel()),
    }


def heterogeneous_hash(data: HeteroData) -> str:
    """A sha256 of target and meta-paths, then node counts, features and labels, then relations."""
    described = json.dumps([data.target, sorted(data.meta_paths.items())])
    digest = hashlib.sha256(described.encode())
    for kind in sorted(data.node_types):
        digest.update(f"{kind} {int(data[kind].num_nodes)}\n".encode())
        for key in ("x", "y"):
            if data[kind].get(key) is not None:
                add_to_digest(digest, f"{kind} {key}", data[kind][key])
    for edge_type in sorted(data.edge_types):
        add_to_digest(digest, " ".join(edge_type), data[edge_type].edge_index)
    return digest.hexdigest()


def _names() -> list[str]:
    return [name for name in card_names() if load_card(name).kind == "heterogeneous"]


def _read_folder(folder: Path) -> HeteroData:
    path = folder / "schema.toml"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        # Through JSON, because strict validation then takes an array for a tuple.
        schema = HeterogeneousSchema.model_validate_json(json.dumps(content, default=str))
    except FileNotFoundError:
        raise DataError(
            f"'{folder}' is no heterogeneous graph: it lacks schema.toml, which says what its "
            "files mean"
        ) from None
    except ValidationError as error:
        detail = error.errors()[0]
        place = ".".join(str(part) for part in detail["loc"]) or "the file"
        raise DataError(f"'{path}' is not valid at {place}: {detail['msg']}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"'{path}' cannot be read: {error}") from None
    return read_relation_lists(folder.resolve().name, schema, {p.name: p for p in folder.iterdir()})
