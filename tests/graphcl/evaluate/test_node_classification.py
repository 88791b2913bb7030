"""What the probes may look at, and who sees labels."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from graphcl.app.folder import RunFolder
from graphcl.data import card_names
from graphcl.errors import DataError, GraphclError
from graphcl.evaluate.node_classification import NodeClassification, standardise
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


def test_weights_that_are_not_used_are_told(tiny_graph: Path) -> None:
    task = NodeClassification()
    assert "edge weights" not in task.load(str(tiny_graph), "random-10-10-80", 0).dataset
    edges = (tiny_graph / "edges.csv").read_text().splitlines()
    weighed = [line + (",weight" if "source" in line else ",0.5") for line in edges]
    (tiny_graph / "edges.csv").write_text("\n".join(weighed))
    split = task.load(str(tiny_graph), "random-10-10-80", 0)
    assert split.dataset["edge weights"] == "not used"
    assert split.train.get("edge_weight") is None


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
        if protocol not in ("random-10-10-80", "random-20-80", "grace-10-90"):
            with pytest.raises(DataError, match=r"without a public split|has 1 nodes, fewer"):
                task.load(str(folder), protocol, 0)
            continue
        for method_class in (RawFeatures, SupervisedGCN):
            split = task.load(str(folder), protocol, 0)
            seen = task.training_data(method_class, split)
            method = method_class(method_class.Config(), seen).eval()
            assert all(0 <= value <= 1 for value in task.test(method, split).values())


@pytest.fixture
def twenty_splits(tiny_graph: Path, tmp_path: Path) -> Path:
    """The graph with 20 splits and one test set, as PyG saves such a set."""
    from torch_geometric.data import Data

    from graphcl.data import load_graph

    data = load_graph(tiny_graph)
    train = torch.zeros(60, 20, dtype=torch.bool)
    validation = train.clone()
    for split in range(20):
        order = torch.randperm(40, generator=torch.Generator().manual_seed(split))
        train[order[:12], split] = validation[order[12:24], split] = True
    x = data.x * torch.arange(1, 25) - 3
    x[:, 0] = 0.1
    path = tmp_path / "several.pt"
    masks = {"train_mask": train, "val_mask": validation, "test_mask": torch.arange(60) >= 40}
    torch.save(Data(x=x, y=data.y.roll(20), edge_index=data.edge_index, **masks), path)
    return path


@pytest.mark.parametrize("protocol", ["wikics-20", "wikics-20-standardised", "given-splits"])
def test_given_splits(twenty_splits: Path, protocol: str) -> None:
    from graphcl.data import load_graph

    task, data = NodeClassification(), load_graph(twenty_splits)
    seen = []
    for seed in (3, 4, 23):
        split = task.load(str(twenty_splits), protocol, seed)
        assert split.protocol["name"] == protocol
        assert split.protocol["nodes"] == [12, 12, 20]
        assert split.protocol["selection"] == "validation accuracy"
        known, number = split.validation, seed % 20
        assert torch.equal(known.train, data.train_mask[:, number])
        assert torch.equal(known.evaluated, data.val_mask[:, number])
        # Of the test and of nodes in no part, no label is known before the test.
        assert torch.equal(known.labels >= 0, known.train | known.validation)
        targets = split.test.open()
        assert torch.equal(targets.evaluated, data.test_mask)
        with pytest.raises(GraphclError):
            split.test.open()
        seen.append(known.train)
    assert torch.equal(seen[0], seen[2])
    assert not torch.equal(seen[0], seen[1])


def test_standardised_features(twenty_splits: Path) -> None:
    task = NodeClassification()
    plain = task.load(str(twenty_splits), "wikics-20", 0)
    split = task.load(str(twenty_splits), "wikics-20-standardised", 0)
    x = plain.train.x.double().numpy()
    assert (x < 0).any()
    deviation = x.std(axis=0)
    wanted = (x - x.mean(axis=0)) / np.where(deviation < 1e-6, 1, deviation)
    wanted[:, 0] = 0  # constant, to a rounding
    assert np.allclose(split.train.x.numpy(), wanted, atol=1e-6)
    assert split.train.x.dtype == torch.float32
    assert torch.isfinite(standardise(torch.tensor([[3e38, 1e-40], [-3e38, 0.0]]))).all()
    # The data are the same; the protocol's name says what was done to them.
    assert split.dataset == plain.dataset


def test_a_published_set_is_tested_by_its_protocol() -> None:
    task = NodeClassification()
    found = {name: task.default_protocol(name) for name in card_names()}
    assert found["wikics"] == "wikics-20"
    assert found["ogbn-arxiv"] == found["ogbn-products"] == "ogb"
    assert found["cora"] == task.default_protocol("my_graph") == "random-10-10-80"
    # Another task's protocol is not taken for one of this.
    assert set(found.values()) <= set(task.protocols)


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
