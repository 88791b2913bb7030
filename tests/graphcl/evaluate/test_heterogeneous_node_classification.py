"""HeCo's splits: what the probe may see, the metrics, and data that cannot be split."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, roc_auc_score
from torch import Tensor

from graphcl.data import load_heterogeneous
from graphcl.errors import DataError, SealedError, UnknownNameError
from graphcl.evaluate.heterogeneous_node_classification import (
    HeterogeneousNodeClassification,
    probability_metrics,
    random_split,
)
from graphcl.methods.baselines import RawFeatures
from graphcl.methods.contract import Method, MethodConfig


class Knows(Method):
    """Embeds every node as its class and a number that says nothing."""

    Config = MethodConfig
    tasks = ("heterogeneous-node-classification",)

    def __init__(self, labels: Tensor) -> None:
        super().__init__(MethodConfig(), None)
        self.labels = labels

    def embed(self, data: object) -> Tensor:
        classes = torch.nn.functional.one_hot(self.labels).float()
        return torch.cat([classes, torch.ones(len(classes), 1)], dim=1)


def test_training_sees_no_label_and_test_opens_once(tiny_heterogeneous: Path) -> None:
    task = HeterogeneousNodeClassification()
    split = task.load(str(tiny_heterogeneous), None, 0)
    assert split.protocol["name"] == "heco-20"
    assert split.protocol["split seed"] == "shipped with the data"
    assert split.protocol["nodes"] == [15, 24, 21]
    assert split.train["paper"].get("y") is None
    assert "splits" not in split.train
    seen = split.validation.labels >= 0
    assert torch.equal(seen, split.validation.train | split.validation.validation)
    method = Knows(load_heterogeneous(tiny_heterogeneous)["paper"].y)
    assert task.validate(method, split) == {"micro-f1": 1.0, "macro-f1": 1.0, "auc": 1.0}
    found = task.test(method, split)
    assert found == {"micro-f1": 1.0, "macro-f1": 1.0, "auc": 1.0, "knn-accuracy": 1.0}
    with pytest.raises(SealedError):
        task.test(method, split)


def test_metrics_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 50)
    probability = random.dirichlet(np.ones(4), 50)
    found = probability_metrics(labels, np.arange(4), probability)
    predicted = probability.argmax(axis=1)
    assert found["micro-f1"] == pytest.approx(f1_score(labels, predicted, average="micro"))
    assert found["macro-f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert found["auc"] == pytest.approx(
        roc_auc_score(labels, probability, multi_class="ovr", average="macro")
    )


def test_a_class_that_is_not_in_both_parts() -> None:
    probability = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    # Class 7 was never trained on: scored 0 everywhere, so its area is that of chance.
    found = probability_metrics(np.array([0, 1, 7]), np.array([0, 1]), probability)
    assert found == pytest.approx({"micro-f1": 2 / 3, "macro-f1": 5 / 9, "auc": 2.5 / 3})
    # Class 2 was trained on and does not occur: it has no area, and no share in the mean of F1.
    three = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]])
    found = probability_metrics(np.array([0, 1]), np.arange(3), three)
    assert found == {"micro-f1": 1.0, "macro-f1": 1.0, "auc": 1.0}


def test_nodes_without_features_are_alike(tiny_heterogeneous: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_heterogeneous, tmp_path / "papers"))
    schema = folder / "schema.toml"
    schema.write_text(schema.read_text().replace('features = { paper = "words.npy" }\n', ""))
    task = HeterogeneousNodeClassification()
    split = task.load(str(folder), None, 0)
    found = task.test(RawFeatures(MethodConfig(), split.train), split)
    assert found["auc"] == 0.5
    assert found["micro-f1"] == pytest.approx(1 / 3)


def test_random_splits_where_none_are_shipped(tiny_heterogeneous: Path) -> None:
    data = load_heterogeneous(tiny_heterogeneous)
    train, validation, test = random_split(data, 12, seed=3)
    assert data["paper"].y[train].bincount().tolist() == [12, 12, 12]
    assert (len(validation), len(test)) == (12, 12)
    assert len(torch.cat([train, validation, test]).unique()) == 60
    again = random_split(data, 12, seed=3)
    assert all(torch.equal(*pair) for pair in zip((train, validation, test), again, strict=True))
    assert not torch.equal(train, random_split(data, 12, seed=4)[0])


def test_what_cannot_be_split_is_named(tiny_heterogeneous: Path, tmp_path: Path) -> None:
    task = HeterogeneousNodeClassification()
    with pytest.raises(UnknownNameError, match="did you mean 'heco-20'"):
        task.load(str(tiny_heterogeneous), "heco-21", 0)
    # 20 papers a class leave none to hold out with 20 labels, and are too few for 40.
    for labels in (40, 60):
        with pytest.raises(DataError, match=f"has 20 nodes, fewer than {labels}"):
            task.load(str(tiny_heterogeneous), f"heco-{labels}", 0)
    folder = Path(shutil.copytree(tiny_heterogeneous, tmp_path / "papers"))
    np.save(folder / "train_20.npy", np.arange(5))
    with pytest.raises(DataError, match=r"training nodes of .* are not of two classes"):
        task.load(str(folder), None, 0)


def test_a_class_of_one_node(tiny_heterogeneous: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_heterogeneous, tmp_path / "papers"))
    labels = np.load(folder / "labels.npy")
    labels[0] = 3  # a training node
    np.save(folder / "labels.npy", labels)
    task = HeterogeneousNodeClassification()
    split = task.load(str(folder), None, 0)
    found = task.test(Knows(load_heterogeneous(folder)["paper"].y), split)
    assert found == {"micro-f1": 1.0, "macro-f1": 1.0, "auc": 1.0, "knn-accuracy": 1.0}
    with pytest.raises(DataError, match=r"class 3 of .* has 1 nodes, fewer than 20"):
        random_split(load_heterogeneous(folder), 20, 0)
