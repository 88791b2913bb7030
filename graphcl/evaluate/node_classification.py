"""Node classification by a linear probe on frozen embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from graphcl.errors import DataError
from graphcl.evaluate.contract import Sealed, Split, Task, VectorTable, finite_embedding
from graphcl.evaluate.probe import (
    Array,
    classification_metrics,
    l2_normalise,
    probe_by_cross_validation,
    probe_by_validation,
)
from graphcl.evaluate.snapshot import graph_snapshot
from graphcl.methods.contract import Method


@dataclass(frozen=True)
class NodeTargets:
    """Labels that a probe may use: `labels` is -1 wherever they must not be seen."""

    labels: Tensor
    train: Tensor
    validation: Tensor
    evaluated: Tensor
    """Mask of the nodes that are scored."""


class NodeClassification(Task):
    """Accuracy of a linear probe; the encoder never sees a label."""

    name = "node-classification"
    metric = "accuracy"
    protocols: ClassVar[dict[str, str]] = {
        "random-10-10-80": "random 10 % train, 10 % validation, 80 % test by seed; "
        "probe strength and epoch by validation",
        "grace-10-90": "random 10 % train, 90 % test by seed; no validation: last epoch, "
        "probe strength by 5-fold cross-validation inside the 10 %",
        "planetoid-public": "the public 20-per-class / 500 / 1000 split; "
        "probe strength and epoch by validation",
        "random-20-per-class": "random 20 per class / 500 / 1000 by seed; "
        "probe strength and epoch by validation",
    }
    baselines = ("raw-features", "random-encoder")

    def load(
        self, dataset: str, protocol: str | None, seed: int, data_root: Path | None = None
    ) -> Split:
        """Read a graph and split its nodes.

        Raises:
            DataError: the graph has no labels, or cannot be split as the protocol says.
        """
        from graphcl.data import content_hash, load_graph, split_nodes

        name = self.resolve_protocol(protocol)
        data = load_graph(dataset, data_root)
        if data.y is None:
            raise DataError(f"'{dataset}' has no labels, so nodes cannot be classified")
        masks = split_nodes(data, name, seed)
        if data.y[masks.train].unique().numel() < 2:
            raise DataError(
                f"the training nodes of '{dataset}' are of one class only, so there is nothing "
                "to tell apart; at least two are needed"
            )
        seen = masks.train | masks.validation
        targets = NodeTargets(
            torch.where(seen, data.y, -1), masks.train, masks.validation, masks.validation
        )
        return Split(
            train=unlabelled(data),
            validation=targets if bool(masks.validation.any()) else None,
            test=Sealed(NodeTargets(data.y, masks.train, masks.validation, masks.test)),
            dataset=describe_graph(dataset, data, content_hash(data)),
            protocol={
                "name": name,
                "split": self.protocols[name],
                "split seed": "the seed of the run",
                "probe": "logistic regression on L2-normalised embeddings",
                "nodes": [int(mask.sum()) for mask in (masks.train, masks.validation, masks.test)],
                "selection": "validation accuracy" if masks.validation.any() else "last epoch",
            },
            extra={"node_ids": data.node_ids},
        )

    def validate(self, method: Method, split: Split) -> dict[str, float]:
        """Probe accuracy on the validation nodes; {} where the protocol has none."""
        if split.validation is None:
            return {}
        return self.measure(finite_embedding(method, split.train), split.validation)

    def test(self, method: Method, split: Split) -> dict[str, float]:
        """Probe accuracy on the test nodes."""
        return self.measure(finite_embedding(method, split.train), split.test.open())

    def measure(self, embeddings: Tensor, targets: NodeTargets) -> dict[str, float]:
        """Metrics of a probe on the evaluated nodes."""
        probe, z, y = fit_probe(embeddings, targets)
        return classification_metrics(y, probe.predict(z))

    def snapshot(self, method: Method, split: Split) -> dict[str, np.ndarray]:
        """Nodes coloured by class; see `graphcl.evaluate.snapshot`."""
        return graph_snapshot(method, split.train, split.test.opened().labels, "class")

    def tables(self, method: Method, split: Split) -> dict[str, VectorTable]:
        """The embeddings of all nodes."""
        return node_table(method, split)


def fit_probe(embeddings: Tensor, targets: NodeTargets) -> tuple[Any, Array, Array]:
    """A probe of the training nodes, and what to try it on: embeddings and labels.

    Its regularisation is chosen by the validation nodes, or inside the training nodes where the
    protocol has no validation.
    """
    z = l2_normalise(embeddings.numpy(force=True).astype(np.float64))
    y = targets.labels.numpy(force=True)
    train, validation, evaluated = (
        mask.numpy(force=True) for mask in (targets.train, targets.validation, targets.evaluated)
    )
    if validation.any():
        probe = probe_by_validation(z[train], y[train], z[validation], y[validation])
    else:
        probe = probe_by_cross_validation(z[train], y[train])
    return probe, z[evaluated], y[evaluated]


def unlabelled(data: Any, edge_index: Tensor | None = None) -> Any:
    """A new `Data` with only features and edges: all that a method may see.

    Edge weights stay behind: the methods here are defined on unweighted graphs.
    """
    from torch_geometric.data import Data

    edges = data.edge_index if edge_index is None else edge_index
    return Data(x=data.x, edge_index=edges, num_nodes=data.num_nodes)


def describe_graph(name: str, data: Any, content_hash: str) -> dict[str, Any]:
    """Name, hash and sizes of a graph, for `result.json`."""
    return {
        "name": getattr(data, "name", None) or Path(name).resolve().name,
        "hash": content_hash,
        "nodes": int(data.num_nodes),
        "edges": int(data.edge_index.shape[1]) // 2,
        "features": int(data.x.shape[1]),
        **({} if data.y is None else {"classes": int(data.y[data.y >= 0].unique().numel())}),
    }


def node_table(method: Method, split: Split) -> dict[str, VectorTable]:
    """`nodes`: the embeddings of all nodes of the training graph under the data set's own ids.

    The ids are `split.extra["node_ids"]`, else the node numbers.
    """
    embedding = finite_embedding(method, split.train).numpy(force=True)
    ids = np.asarray(split.extra.get("node_ids", np.arange(len(embedding))))
    return {
        "nodes": VectorTable(
            ids,
            embedding,
            "The embeddings that were evaluated, before any scaling or probe.",
        )
    }
