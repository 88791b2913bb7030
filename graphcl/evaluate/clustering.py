"""Clustering: how well groups found without labels agree with the classes.

Labels are opened once, at the end. They choose nothing: not the epoch, not the restart of
k-means, not a setting. The number of clusters is the number of classes, as in all published
tables; it is all that a method is told (`data.clusters`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from graphcl.errors import DataError
from graphcl.evaluate.contract import Sealed, Split, Task, VectorTable, finite_embedding
from graphcl.evaluate.node_classification import describe_graph, node_table, unlabelled
from graphcl.evaluate.snapshot import graph_snapshot
from graphcl.methods.contract import Method

RESTARTS = 10
ITERATIONS = 300


@runtime_checkable
class AssignsClusters(Protocol):
    """A method that says itself which cluster every node is in."""

    def assign_clusters(self, data: Any) -> Tensor:
        """(N,) int64 cluster of every node of `data`."""
        ...


class Clustering(Task):
    """Agreement of clusters with classes; neither training nor any choice sees a label."""

    name = "clustering"
    metric = "accuracy"
    protocols: ClassVar[dict[str, str]] = {
        "last-epoch": "no label in training or choice: the model of the last epoch; clusters are "
        "the method's own where it has some, else those of k-means (10 restarts, lowest inertia) "
        "on L2-normalised embeddings; as many as there are classes",
        "last-epoch-k-means": "as last-epoch, with k-means for every method",
    }
    baselines = ("raw-features", "random-encoder")

    def load(
        self, dataset: str, protocol: str | None, seed: int, data_root: Path | None = None
    ) -> Split:
        """Read a graph and seal its labels.

        Raises:
            DataError: the graph has no labels, or those of one class only.
        """
        from graphcl.data import content_hash, load_graph

        name = self.resolve_protocol(protocol, dataset)
        data = load_graph(dataset, data_root)
        if data.y is None:
            raise DataError(f"'{dataset}' has no labels to compare clusters with")
        classes = int(data.y[data.y >= 0].unique().numel())
        if classes < 2:
            raise DataError(
                f"the nodes of '{dataset}' are of {classes} class, so there is nothing to tell "
                "apart; at least two are needed"
            )
        train = unlabelled(data)
        train.clusters = classes
        return Split(
            train=train,
            validation=None,
            test=Sealed(data.y),
            dataset=describe_graph(dataset, data, content_hash(data)),
            protocol={
                "name": name,
                "split": self.protocols[name],
                "clusters": classes,
                "selection": "last epoch",
            },
            extra={"seed": seed, "node_ids": data.node_ids},
        )

    def validate(self, method: Method, split: Split) -> dict[str, float]:
        """{}: there is nothing to choose by without labels."""
        return {}

    def test(self, method: Method, split: Split) -> dict[str, float]:
        """Accuracy, NMI, ARI and macro-F1 of the clusters, over the labelled nodes."""
        clusters = self._clusters(method, split)
        return clustering_metrics(split.test.open().numpy(force=True), clusters)

    def snapshot(self, method: Method, split: Split) -> dict[str, np.ndarray]:
        """Nodes coloured by class; see `graphcl.evaluate.snapshot`."""
        return graph_snapshot(method, split.train, split.test.opened(), "class")

    def tables(self, method: Method, split: Split) -> dict[str, VectorTable]:
        """The embeddings of all nodes."""
        return node_table(method, split)

    def _clusters(self, method: Method, split: Split) -> np.ndarray:
        own = split.protocol["name"] == "last-epoch" and isinstance(method, AssignsClusters)
        if own and isinstance(method, AssignsClusters):
            with torch.no_grad():
                return method.assign_clusters(split.train).numpy(force=True)
        return k_means_clusters(
            finite_embedding(method, split.train), split.train.clusters, split.extra["seed"]
        )


def k_means_clusters(embeddings: Tensor, clusters: int, seed: int) -> np.ndarray:
    """k-means on L2-normalised rows (N, d): of `RESTARTS` fits the one of lowest inertia, (N,)."""
    from graphcl.kernels.kmeans import best_kmeans
    from graphcl.losses.unit_rows import unit_rows

    rows = unit_rows(embeddings.detach().float())
    generator = torch.Generator().manual_seed(seed)
    found = best_kmeans(rows, clusters, RESTARTS, ITERATIONS, generator)
    return found.assignment.numpy(force=True)


def clustering_metrics(labels: np.ndarray, clusters: np.ndarray) -> dict[str, float]:
    """Accuracy, NMI, ARI and macro-F1 of clusters (N,) against classes (N,), -1 where unknown.

    Accuracy and F1 are after the one-to-one matching of clusters to classes that agrees most
    (Hungarian method); clusters beyond the classes match none and count as wrong. NMI is
    normalised by the arithmetic mean. ARI is corrected for chance and can fall below 0.
    """
    from scipy.optimize import linear_sum_assignment
    from sklearn.metrics import adjusted_rand_score, f1_score, normalized_mutual_info_score

    known = labels >= 0
    classes, y = np.unique(labels[known], return_inverse=True)
    groups, found = np.unique(clusters[known], return_inverse=True)
    together = np.zeros((len(groups), len(classes)), dtype=np.int64)
    np.add.at(together, (found, y), 1)
    matched = np.full(len(groups), -1)
    rows, columns = linear_sum_assignment(together, maximize=True)
    matched[rows] = columns
    predicted = matched[found]
    return {
        "accuracy": float(np.mean(predicted == y)),
        "nmi": float(np.clip(normalized_mutual_info_score(y, found), 0, 1)),
        "ari": float(adjusted_rand_score(y, found)),
        "macro-f1": float(
            f1_score(y, predicted, average="macro", labels=np.arange(len(classes)), zero_division=0)
        ),
    }
