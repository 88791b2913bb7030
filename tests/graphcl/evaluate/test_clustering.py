"""Clusters against classes: the matching, and what the task may look at."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from graphcl.errors import DataError
from graphcl.evaluate.clustering import Clustering, clustering_metrics, k_means_clusters
from graphcl.evaluate.contract import Split
from graphcl.methods.contract import Method, MethodConfig


def best_agreement(labels: np.ndarray, clusters: np.ndarray, groups: int) -> float:
    """Accuracy by trying every assignment of clusters to classes."""
    return max(
        float(np.mean(np.array(names)[clusters] == labels))
        for names in itertools.permutations(range(groups))
    )


def test_accuracy_is_of_the_best_matching() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        labels, clusters = random.integers(0, 4, (2, 30))
        labels[:4] = clusters[:4] = range(4)
        found = clustering_metrics(labels, clusters)
        assert found["accuracy"] == pytest.approx(best_agreement(labels, clusters, 4))
        assert -1 <= found["ari"] <= 1
        assert 0 <= found["nmi"] <= 1


def test_names_of_clusters_do_not_matter() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2])
    assert clustering_metrics(labels, np.array([7, 7, 3, 3, 5, 5])) == {
        "accuracy": 1.0,
        "nmi": 1.0,
        "ari": 1.0,
        "macro-f1": 1.0,
    }


def test_unknown_classes_and_surplus_clusters() -> None:
    labels = np.array([0, 0, 1, 1, -1])
    assert clustering_metrics(labels, np.array([0, 0, 1, 1, 0]))["accuracy"] == 1.0
    # Two classes in three clusters: one cluster matches nothing.
    assert clustering_metrics(labels, np.array([0, 0, 1, 2, 0]))["accuracy"] == 0.75
    # One cluster for all: chance agreement only.
    alone = clustering_metrics(labels, np.zeros(5, dtype=int))
    assert (alone["accuracy"], alone["nmi"], alone["ari"]) == (0.5, 0.0, 0.0)


def test_k_means_finds_separate_groups() -> None:
    generator = torch.Generator().manual_seed(0)
    centres = torch.eye(3, 8) * 10
    labels = torch.arange(3).repeat_interleave(20)
    rows = centres[labels] + 0.1 * torch.randn(60, 8, generator=generator)
    found = k_means_clusters(rows, 3, seed=0)
    assert clustering_metrics(labels.numpy(), found)["accuracy"] == 1.0
    assert np.array_equal(found, k_means_clusters(rows, 3, seed=0))


class Told(Method):
    """Knows clusters of its own."""

    Config = MethodConfig
    tasks = ("clustering",)

    def embed(self, data: object) -> Tensor:
        return torch.ones(self.data.num_nodes, 2)

    def assign_clusters(self, data: object) -> Tensor:
        return torch.arange(self.data.num_nodes) % self.data.clusters


def loaded(folder: Path, protocol: str | None = None) -> tuple[Clustering, Split]:
    task = Clustering()
    return task, task.load(str(folder), protocol, 0)


def test_training_sees_no_label_and_nothing_is_chosen(tiny_graph: Path) -> None:
    task, split = loaded(tiny_graph)
    assert split.train.y is None
    assert split.train.clusters == 3
    assert task.validate(Told(MethodConfig(), split.train), split) == {}


def test_own_clusters_are_taken_unless_k_means_is_asked_for(tiny_graph: Path) -> None:
    results = {}
    for protocol in ("last-epoch", "last-epoch-k-means"):
        task, split = loaded(tiny_graph, protocol)
        results[protocol] = task.test(Told(MethodConfig(), split.train), split)
    # The graph has its blocks one after the other, so that every third node is no block.
    assert results["last-epoch"]["accuracy"] == pytest.approx(1 / 3, abs=0.02)
    assert results["last-epoch"] != results["last-epoch-k-means"]


def test_a_graph_without_classes_is_refused(tiny_graph: Path, tmp_path: Path) -> None:
    for name in ("edges.csv", "features.npy"):
        (tmp_path / name).write_bytes((tiny_graph / name).read_bytes())
    with pytest.raises(DataError, match="has no labels"):
        Clustering().load(str(tmp_path), None, 0)
    count = len(np.load(tmp_path / "features.npy"))
    (tmp_path / "labels.csv").write_text("label\n" + "4\n" * count)
    with pytest.raises(DataError, match="are of 1 class"):
        Clustering().load(str(tmp_path), None, 0)
