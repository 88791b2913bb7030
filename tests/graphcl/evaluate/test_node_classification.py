"""What the probes may look at, and who sees labels."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from graphcl.app.folder import RunFolder
from graphcl.errors import DataError
from graphcl.evaluate.node_classification import NodeClassification
from graphcl.evaluate.probe import NEIGHBOURS, l2_normalise, nearest_neighbours_probe
from graphcl.methods.baselines import RawFeatures
from graphcl.methods.grace import GRACE
from graphcl.methods.supervised_gcn import SupervisedGCN, SupervisedGCNConfig


def blobs(count: int, spread: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    return l2_normalise(np.eye(4, 6)[labels] + spread * random.normal(size=(count, 6))), labels


def brute_force(train: np.ndarray, labels: np.ndarray, rows: np.ndarray, k: int) -> np.ndarray:
    predicted = []
    for row in rows:
        nearest = np.argsort(-(train @ row), kind="stable")[:k]
        predicted.append(np.bincount(labels[nearest]).argmax())
    return np.array(predicted)


@pytest.mark.parametrize("with_validation", [True, False])
def test_the_neighbour_probe_is_a_majority_by_cosine(with_validation: bool) -> None:
    train, labels = blobs(60, 0.6, 0)
    validation = blobs(40, 0.6, 1)
    rows, _ = blobs(50, 0.6, 2)
    probe = nearest_neighbours_probe(train, labels, *(validation if with_validation else ()))
    if with_validation:
        scores = [
            np.mean(brute_force(train, labels, validation[0], k) == validation[1])
            for k in NEIGHBOURS
        ]
        chosen = NEIGHBOURS[int(np.argmax(scores))]
        assert probe.n_neighbors == chosen
    else:
        chosen = probe.best_params_["n_neighbors"]
        assert chosen in NEIGHBOURS
    assert np.array_equal(probe.predict(rows), brute_force(train, labels, rows, chosen))


def test_the_neighbour_probe_with_one_node_a_class() -> None:
    train, labels = blobs(4, 0.1, 0)
    rows, wanted = blobs(20, 0.1, 1)
    assert np.array_equal(nearest_neighbours_probe(train, labels).predict(rows), wanted)


def test_only_supervised_methods_see_labels_and_only_those_to_train_on(tiny_graph: Path) -> None:
    task = NodeClassification()
    for protocol in ("random-10-10-80", "grace-10-90"):
        split = task.load(str(tiny_graph), protocol, 0)
        assert task.training_data(GRACE, split).y is None
        labelled = task.training_data(SupervisedGCN, split)
        assert split.train.y is None
        targets = split.test.open()
        assert torch.equal(labelled.y >= 0, targets.train)
        assert torch.equal(labelled.y[targets.train], targets.labels[targets.train])
        with pytest.raises(DataError, match="needs labels"):
            SupervisedGCN(SupervisedGCNConfig(), split.train)


def test_a_supervised_method_is_scored_by_what_it_predicts(tiny_graph: Path) -> None:
    task = NodeClassification()
    split = task.load(str(tiny_graph), None, 0)
    method = SupervisedGCN(SupervisedGCNConfig(), task.training_data(SupervisedGCN, split)).eval()
    found = task.validate(method, split)
    predicted = method.predict(split.train)
    targets = split.validation
    wanted = (predicted == targets.labels)[targets.validation].double().mean()
    assert found["accuracy"] == pytest.approx(float(wanted))


@pytest.mark.parametrize("protocol", list(NodeClassification.protocols))
def test_a_class_of_one_node(tiny_graph: Path, tmp_path: Path, protocol: str) -> None:
    """In whichever part it falls: numbers, or a sentence that names what is missing."""
    folder = Path(shutil.copytree(tiny_graph, tmp_path / "blocks"))
    labels = (folder / "labels.csv").read_text().split("\n")
    for node in (1, 30, 59):
        (folder / "labels.csv").write_text("\n".join([*labels[:node], "3", *labels[node + 1 :]]))
        task = NodeClassification()
        if protocol in ("planetoid-public", "random-20-per-class"):
            with pytest.raises(DataError, match=r"without a public split|has 1 nodes, fewer"):
                task.load(str(folder), protocol, 0)
            continue
        for method_class in (RawFeatures, SupervisedGCN):
            split = task.load(str(folder), protocol, 0)
            seen = task.training_data(method_class, split)
            method = method_class(method_class.Config(), seen).eval()
            assert all(0 <= value <= 1 for value in task.test(method, split).values())


@pytest.mark.parametrize(
    ("protocol", "selection"),
    [("random-10-10-80", "by validation"), ("grace-10-90", "fixed number of epochs")],
)
def test_the_supervised_baseline_learns_and_says_how_long(
    tiny_graph: Path, tmp_path: Path, protocol: str, selection: str
) -> None:
    from rich.console import Console

    from graphcl.app.progress import ProgressDisplay
    from graphcl.app.run import run
    from graphcl.app.settings import specify

    specification = specify("raw-features", str(tiny_graph), protocol=protocol)
    folder = RunFolder(tmp_path / "run")
    run(specification, folder, ProgressDisplay(Console(quiet=True), "test"))
    result = json.loads(folder.result.read_text())
    assert selection in result["protocol"]["supervised baseline"]
    accuracy = result["baselines"]["supervised-gcn"]["metrics"]["accuracy"]["mean"]
    # Six training nodes of two of the three classes, so that 0.67 is the most.
    assert 0.6 < accuracy < 0.67
    # What training it left behind is gone.
    assert not list((tmp_path / "run").rglob("*supervised*"))


def test_a_supervised_run_loads_again(tiny_graph: Path, tmp_path: Path) -> None:
    from rich.console import Console

    from graphcl.app.load import load_run
    from graphcl.app.progress import ProgressDisplay
    from graphcl.app.run import run
    from graphcl.app.settings import specify

    specification = specify("supervised-gcn", str(tiny_graph), overrides=["epochs=5"])
    run(specification, RunFolder(tmp_path / "run"), ProgressDisplay(Console(quiet=True), "test"))
    loaded = load_run(tmp_path / "run")
    assert loaded.embed().shape == (60, 3)
    found = specification.task.test(loaded.method, loaded.split)
    assert found == pytest.approx({k: m.mean for k, m in loaded.result.metrics.items()})
