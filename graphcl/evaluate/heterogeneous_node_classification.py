"""Node classification on heterogeneous graphs, under HeCo's splits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from graphcl.errors import DataError
from graphcl.evaluate.contract import Sealed, Split
from graphcl.evaluate.node_classification import NodeClassification, NodeTargets, fit_probe
from graphcl.evaluate.probe import Array

MOST_HELD_OUT = 1000
"""Validation and test nodes of a random split, each, as HeCo has them."""


class HeterogeneousNodeClassification(NodeClassification):
    """Micro-F1, macro-F1 and AUC of a linear probe on the nodes of the target type."""

    name = "heterogeneous-node-classification"
    metric = "micro-f1"
    protocols: ClassVar[dict[str, str]] = {
        f"heco-{count}": f"HeCo's split with {count} labelled nodes a class, 1000 validation, "
        "1000 test (random by seed where the data have none); probe strength and epoch by "
        "validation micro-f1, all metrics from that one probe"
        for count in (20, 40, 60)
    }
    baselines = ("raw-features", "random-encoder")

    def load(
        self, dataset: str, protocol: str | None, seed: int, data_root: Path | None = None
    ) -> Split:
        """Read a heterogeneous graph and its split.

        Raises:
            DataError: it is not a heterogeneous graph, or cannot be split as the protocol says.
        """
        from graphcl.data.heterogeneous import (
            heterogeneous_hash,
            heterogeneous_statistics,
            load_heterogeneous,
        )

        name = self.resolve_protocol(protocol, dataset)
        data = load_heterogeneous(dataset, data_root)
        labels = data[data.target].y
        per_class = int(name.removeprefix("heco-"))
        shipped = data.splits.get(per_class)
        parts = shipped or random_split(data, per_class, seed)
        train, validation, test = (_labelled_mask(nodes, labels) for nodes in parts)
        for part, mask in (("training", train), ("validation", validation), ("test", test)):
            if labels[mask].unique().numel() < 2:
                raise DataError(
                    f"the {part} nodes of '{dataset}' are not of two classes, so there is "
                    "nothing to tell apart; at least two are needed"
                )
        seen = torch.where(train | validation, labels, -1)
        return Split(
            train=unlabelled_heterogeneous(data),
            validation=NodeTargets(seen, train, validation, validation),
            test=Sealed(NodeTargets(labels, train, validation, test)),
            dataset={
                "name": data.name,
                "hash": heterogeneous_hash(data),
                **heterogeneous_statistics(data),
                "meta_paths": list(data.meta_paths),
            },
            protocol={
                "name": name,
                "split": self.protocols[name],
                "split seed": "shipped with the data" if shipped else "the seed of the run",
                "probe": "logistic regression on L2-normalised embeddings",
                "nodes": [int(mask.sum()) for mask in (train, validation, test)],
                "selection": "validation micro-f1",
            },
        )

    def measure(self, embeddings: Tensor, targets: NodeTargets) -> dict[str, float]:
        """Metrics of a probe on the evaluated nodes."""
        probe, z, y = fit_probe(embeddings, targets)
        return probability_metrics(y, probe.classes_, probe.predict_proba(z))


def unlabelled_heterogeneous(data: Any) -> Any:
    """A new `HeteroData` with features, relations and meta-paths: all that a method may see."""
    from torch_geometric.data import HeteroData

    seen = HeteroData()
    for kind in data.node_types:
        seen[kind].num_nodes = int(data[kind].num_nodes)
        if data[kind].get("x") is not None:
            seen[kind].x = data[kind].x
    for edge_type in data.edge_types:
        seen[edge_type].edge_index = data[edge_type].edge_index
    seen.target, seen.meta_paths = data.target, data.meta_paths
    return seen


def probability_metrics(labels: Array, classes: Array, probability: Array) -> dict[str, float]:
    """Micro-F1, macro-F1, and the mean one-vs-rest AUC over the classes that occur in `labels`.

    Args:
        labels: (n,) classes of the scored nodes, at least two different ones.
        classes: (C,) the classes of the columns; one that is not among them has score 0.
        probability: (n, C).
    """
    from sklearn.metrics import f1_score, roc_auc_score

    predicted = classes[probability.argmax(axis=1)]
    areas = []
    for label in np.unique(labels):
        column = np.flatnonzero(classes == label)
        scores = probability[:, column[0]] if len(column) else np.zeros(len(labels))
        areas.append(float(roc_auc_score(labels == label, scores)))
    return {
        "micro-f1": float(np.mean(predicted == labels)),
        "macro-f1": float(f1_score(labels, predicted, average="macro", zero_division=0)),
        "auc": float(np.mean(areas)),
    }


def random_split(data: Any, per_class: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """`per_class` nodes of each class; of the rest half to validation and test, 1000 at most.

    Raises:
        DataError: a class has fewer nodes, or fewer than two are left for the other parts.
    """
    from torch_geometric.data import Data

    from graphcl.data import per_class_split

    labels = data[data.target].y
    graph = Data(y=labels, num_nodes=len(labels), name=data.name)
    rest = int((labels >= 0).sum()) - per_class * int(labels[labels >= 0].unique().numel())
    held_out = max(1, min(MOST_HELD_OUT, rest // 2))
    split = per_class_split(graph, seed, per_class, held_out, held_out)
    train, validation, test = (
        mask.nonzero().view(-1) for mask in (split.train, split.validation, split.test)
    )
    return train, validation, test


def _labelled_mask(nodes: Tensor, labels: Tensor) -> Tensor:
    mask = torch.zeros(len(labels), dtype=torch.bool)
    mask[nodes] = True
    return mask & (labels >= 0)
