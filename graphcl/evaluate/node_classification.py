"""Node classification by probes on frozen embeddings: linear, and nearest neighbours."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from graphcl.errors import DataError
from graphcl.evaluate.contract import Sealed, Split, Task, VectorTable, finite_embedding
from graphcl.evaluate.probe import (
    Array,
    classification_metrics,
    l2_normalise,
    nearest_neighbours_probe,
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


@runtime_checkable
class PredictsClasses(Protocol):
    """A supervised method, which says itself what class every node is of."""

    def predict(self, data: Any) -> Tensor:
        """(N,) int64 class of every node of `data`."""
        ...


STANDARDISED = "-standardised"
"""At the end of a protocol's name: on standardised features."""


class NodeClassification(Task):
    """Accuracy of a linear probe, and of a k-NN probe; the encoder never sees a label."""

    name = "node-classification"
    metric = "accuracy"
    protocols: ClassVar[dict[str, str]] = {
        "random-10-10-80": "random 10 % train, 10 % validation, 80 % test by seed; "
        "probe strength and epoch by validation",
        "random-20-80": "random 20 % train, 80 % test by seed; no validation: last epoch, "
        "probe strength by 5-fold cross-validation inside the 20 %",
        "grace-10-90": "random 10 % train, 90 % test by seed; no validation: last epoch, "
        "probe strength by 5-fold cross-validation inside the 10 %",
        "planetoid-public": "the public 20-per-class / 500 / 1000 split; "
        "probe strength and epoch by validation",
        "random-20-per-class": "random 20 per class / 500 / 1000 by seed; "
        "probe strength and epoch by validation",
        "wikics-20": "number seed mod 20 of the 20 that come with WikiCS, whose test set is one; "
        "features as they come; probe strength and epoch by its validation nodes, not by those for "
        "early stopping",
        "wikics-20-standardised": "wikics-20 on features standardised to mean 0 and variance 1 "
        "over all nodes, as BGRL's; raw-features are these too",
        "ogb": "the one that comes with a set of the Open Graph Benchmark; "
        "probe strength and epoch by validation",
        "given-splits": "number seed mod S of the S that come with the data; "
        "probe strength and epoch by validation",
    }
    baselines: ClassVar[tuple[str, ...]] = ("raw-features", "random-encoder", "supervised-gcn")

    def default_protocol(self, dataset: str) -> str:
        """The one that the data set is published with, if its card names one."""
        from graphcl.data import published_protocol

        published = published_protocol(dataset)
        return published if published in self.protocols else super().default_protocol(dataset)

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
        masks = split_nodes(data, name.removesuffix(STANDARDISED), seed)
        if data.y[masks.train].unique().numel() < 2:
            raise DataError(
                f"the training nodes of '{dataset}' are of one class only, so there is nothing "
                "to tell apart; at least two are needed"
            )
        seen = masks.train | masks.validation
        targets = NodeTargets(
            torch.where(seen, data.y, -1), masks.train, masks.validation, masks.validation
        )
        train = unlabelled(data)
        if name.endswith(STANDARDISED):
            train.x = standardise(train.x)
        return Split(
            train=train,
            validation=targets if bool(masks.validation.any()) else None,
            test=Sealed(NodeTargets(data.y, masks.train, masks.validation, masks.test)),
            dataset=describe_graph(dataset, data, content_hash(data)),
            protocol={
                "name": name,
                "split": self.protocols[name],
                "split seed": "the seed of the run",
                "probe": "logistic regression on L2-normalised embeddings",
                "neighbour probe": "majority of the 1 to 20 nearest training nodes by cosine, "
                "their number chosen as the probe strength is",
                "supervised baseline": "trained on the training labels, epoch by validation"
                if masks.validation.any()
                else "trained on the training labels for a fixed number of epochs",
                "nodes": [int(mask.sum()) for mask in (masks.train, masks.validation, masks.test)],
                "selection": "validation accuracy" if masks.validation.any() else "last epoch",
            },
            extra={
                "node_ids": data.node_ids,
                "training labels": torch.where(masks.train, data.y, -1),
            },
        )

    def training_data(self, method_class: type[Method], split: Split) -> Any:
        """The graph without labels; for supervised methods with those of the training nodes."""
        if not method_class.supervised:
            return split.train
        labelled = copy.copy(split.train)
        labelled.y = split.extra["training labels"].to(split.train.edge_index.device)
        return labelled

    def validate(self, method: Method, split: Split) -> dict[str, float]:
        """Accuracy and macro-F1 on the validation nodes; {} where the protocol has none."""
        if split.validation is None:
            return {}
        return self._measured(method, split, split.validation)

    def test(self, method: Method, split: Split) -> dict[str, float]:
        """The same on the test nodes, and the accuracy of the k-NN probe."""
        targets = split.test.open()
        measured = self._measured(method, split, targets)
        parts = Parts.of(finite_embedding(method, split.train), targets)
        probe = nearest_neighbours_probe(*parts.probed())
        correct = probe.predict(parts.z[parts.evaluated]) == parts.y[parts.evaluated]
        return {**measured, "knn-accuracy": float(np.mean(correct))}

    def measure(self, embeddings: Tensor, targets: NodeTargets) -> dict[str, float]:
        """Metrics of a linear probe on the evaluated nodes."""
        probe, z, y = fit_probe(embeddings, targets)
        return classification_metrics(y, probe.predict(z))

    def _measured(self, method: Method, split: Split, targets: NodeTargets) -> dict[str, float]:
        if isinstance(method, PredictsClasses):
            evaluated = targets.evaluated
            predicted = method.predict(split.train)[evaluated].numpy(force=True)
            return classification_metrics(targets.labels[evaluated].numpy(force=True), predicted)
        return self.measure(finite_embedding(method, split.train), targets)

    def snapshot(self, method: Method, split: Split) -> dict[str, np.ndarray]:
        """Nodes coloured by class; see `graphcl.evaluate.snapshot`."""
        return graph_snapshot(method, split.train, split.test.opened().labels, "class")

    def tables(self, method: Method, split: Split) -> dict[str, VectorTable]:
        """The embeddings of all nodes."""
        return node_table(method, split)


@dataclass(frozen=True)
class Parts:
    """L2-normalised embeddings and labels of all nodes, and what each node is for."""

    z: Array
    y: Array
    train: Array
    validation: Array
    evaluated: Array

    @classmethod
    def of(cls, embeddings: Tensor, targets: NodeTargets) -> Parts:
        """The arrays of `embeddings` (N, d) and `targets`."""
        named = (targets.labels, targets.train, targets.validation, targets.evaluated)
        z = l2_normalise(embeddings.numpy(force=True).astype(np.float64))
        return cls(z, *(part.numpy(force=True) for part in named))

    def probed(self) -> tuple[Any, ...]:
        """Embeddings and labels to fit a probe on, and to choose by where there are any."""
        parts = [self.train, self.validation] if self.validation.any() else [self.train]
        return tuple(array[part] for part in parts for array in (self.z, self.y))


def fit_probe(embeddings: Tensor, targets: NodeTargets) -> tuple[Any, Array, Array]:
    """A probe of the training nodes, and what to try it on: embeddings and labels.

    Its regularisation is chosen by the validation nodes, or inside the training nodes where the
    protocol has no validation.
    """
    parts = Parts.of(embeddings, targets)
    fit = probe_by_validation if parts.validation.any() else probe_by_cross_validation
    return fit(*parts.probed()), parts.z[parts.evaluated], parts.y[parts.evaluated]


def standardise(x: Tensor) -> Tensor:
    """Every column of x (N, F) less its mean and over its standard deviation; 0 where constant.

    No label is looked at, but all nodes are, those of the test too: what BGRL (Thakoor et al.,
    ICLR 2022, arXiv 2102.06514) does to WikiCS.
    """
    deviation, mean = torch.std_mean(x.double(), dim=0, correction=0)
    # Of a constant column, rounding may leave a deviation that is not quite 0.
    constant = x.amax(dim=0) == x.amin(dim=0)
    scaled = (x - mean) / torch.where(constant, 1.0, deviation)
    return torch.where(constant, 0.0, scaled).to(x.dtype)


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
        **({} if data.get("edge_weight") is None else {"edge weights": "not used"}),
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
