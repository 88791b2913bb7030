"""Node classification by a linear probe on frozen embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from graphcl.errors import DataError
from graphcl.evaluate.contract import Sealed, Split, Task, finite_embedding
from graphcl.evaluate.probe import (
    classification_metrics,
    l2_normalise,
    probe_by_cross_validation,
    probe_by_validation,
)
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

        name = self.resolve_protocol(protocol, dataset)
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
        )

    def validate(self, method: Method, split: Split) -> dict[str, float]:
        """Probe accuracy on the validation nodes; {} where the protocol has none."""
        if split.validation is None:
            return {}
        return _probe(finite_embedding(method, split.train), split.validation)

    def test(self, method: Method, split: Split) -> dict[str, float]:
        """Probe accuracy on the test nodes."""
        return _probe(finite_embedding(method, split.train), split.test.open())

    def snapshot(self, method: Method, split: Split) -> dict[str, np.ndarray]:
        """Embeddings of at most 3000 nodes with their classes."""
        labels = split.test.opened().labels
        chosen = evenly(labels.numel(), 3000)
        return {
            "embedding": finite_embedding(method, split.train)[chosen]
            .numpy(force=True)
            .astype(np.float32),
            "colour": labels[chosen].numpy(force=True),
            "colour_name": np.array("class"),
        }


def _probe(embeddings: Tensor, targets: NodeTargets) -> dict[str, float]:
    z = l2_normalise(embeddings.numpy(force=True).astype(np.float64))
    y = targets.labels.numpy(force=True)
    train, validation, evaluated = (
        mask.numpy(force=True) for mask in (targets.train, targets.validation, targets.evaluated)
    )
    if validation.any():
        probe = probe_by_validation(z[train], y[train], z[validation], y[validation])
    else:
        probe = probe_by_cross_validation(z[train], y[train])
    return classification_metrics(y[evaluated], probe.predict(z[evaluated]))


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


def evenly(count: int, most: int) -> Tensor:
    """At most `most` indices below `count`, evenly spaced."""
    if count <= most:
        return torch.arange(count)
    return torch.linspace(0, count - 1, most).long()
