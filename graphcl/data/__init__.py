"""Data sets and graphs: cards, where their files are, loading, and splits.

Importing this package is cheap: torch is imported by the first use of a function that needs it,
and torch_geometric by `load_graph`. The files of a card are found by `graphcl.data.locate.locate`,
which is not repeated here because it would hide the module of that name.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from graphcl.data.cards import DatasetCard, card_names, load_card, published_protocol
from graphcl.data.catalogue import (
    CheckReport,
    DatasetRow,
    FileReport,
    check,
    fetch,
    list_datasets,
)
from graphcl.data.locate import cache_folder

if TYPE_CHECKING:
    from graphcl.data.graphs import content_hash, graph_statistics, load_graph
    from graphcl.data.heterogeneous import load_heterogeneous
    from graphcl.data.splits import (
        NODE_SPLITS,
        EdgeSplit,
        NodeSplit,
        given_split,
        per_class_split,
        public_split,
        random_split,
        split_edges,
        split_nodes,
    )

__all__ = [
    "NODE_SPLITS",
    "CheckReport",
    "DatasetCard",
    "DatasetRow",
    "EdgeSplit",
    "FileReport",
    "NodeSplit",
    "cache_folder",
    "card_names",
    "check",
    "content_hash",
    "fetch",
    "given_split",
    "graph_statistics",
    "list_datasets",
    "load_card",
    "load_graph",
    "load_heterogeneous",
    "per_class_split",
    "public_split",
    "published_protocol",
    "random_split",
    "split_edges",
    "split_nodes",
]

_NEEDS_TORCH = {
    "content_hash": "graphcl.data.graphs",
    "graph_statistics": "graphcl.data.graphs",
    "load_graph": "graphcl.data.graphs",
    "load_heterogeneous": "graphcl.data.heterogeneous",
    "NODE_SPLITS": "graphcl.data.splits",
    "EdgeSplit": "graphcl.data.splits",
    "NodeSplit": "graphcl.data.splits",
    "given_split": "graphcl.data.splits",
    "per_class_split": "graphcl.data.splits",
    "public_split": "graphcl.data.splits",
    "random_split": "graphcl.data.splits",
    "split_edges": "graphcl.data.splits",
    "split_nodes": "graphcl.data.splits",
}


def __getattr__(name: str) -> Any:
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(_NEEDS_TORCH[name]), name)
