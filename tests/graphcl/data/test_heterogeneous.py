"""Heterogeneous graphs: what a folder must be, and that HeCo's and MEOW's data are as stated."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch

from graphcl.data import check, load_card, load_graph, load_heterogeneous
from graphcl.data.heterogeneous import heterogeneous_hash, heterogeneous_statistics
from graphcl.errors import DataError, MissingDataError, UnknownNameError


@pytest.fixture
def folder(tiny_heterogeneous: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(tiny_heterogeneous, tmp_path / "papers"))


def test_a_folder_of_ones_own(tiny_heterogeneous: Path) -> None:
    data = load_heterogeneous(tiny_heterogeneous)
    assert (data.target, data.name) == ("paper", "papers")
    assert data.meta_paths == {
        "pap": ("paper", "author", "paper"),
        "psp": ("paper", "subject", "paper"),
    }
    pairs = np.loadtxt(tiny_heterogeneous / "pa.txt", dtype=int)
    assert data["paper", "to", "author"].edge_index.T.tolist() == pairs.tolist()
    assert data["paper"].x.dtype == torch.float32
    assert data["author"].get("x") is None
    assert heterogeneous_statistics(data) == {
        "targets": 60,
        "nodes": 97,
        "edges": len(pairs) + 60,
        "classes": 3,
    }
    train, validation, test = data.splits[20]
    assert data["paper"].y[train].bincount().tolist() == [5, 5, 5]
    assert len(torch.cat([train, validation, test]).unique()) == 60


def test_features_sparse_or_dense_and_any_separator_are_one_graph(folder: Path) -> None:
    before = heterogeneous_hash(load_heterogeneous(folder))
    words = np.load(folder / "words.npy")
    (folder / "words.npy").unlink()
    scipy.sparse.save_npz(folder / "words.npz", scipy.sparse.coo_matrix(words))
    schema = folder / "schema.toml"
    schema.write_text(schema.read_text().replace("words.npy", "words.npz"))
    lines = (folder / "pa.txt").read_text().replace("\t", ",").splitlines()
    (folder / "pa.txt").write_text("\n".join([*lines, lines[0]]))
    assert heterogeneous_hash(load_heterogeneous(folder)) == before
    (folder / "pa.txt").write_text("\n".join(lines[1:]))
    assert heterogeneous_hash(load_heterogeneous(folder)) != before


def test_labels_are_numbered_anew_and_may_be_unknown(folder: Path) -> None:
    labels = np.load(folder / "labels.npy").astype(float) + 1
    labels[0] = -1
    np.save(folder / "labels.npy", labels)
    y = load_heterogeneous(folder)["paper"].y
    assert y[0] == -1
    assert y[1:].unique().tolist() == [0, 1, 2]


def test_a_relation_without_edges_is_one(folder: Path) -> None:
    (folder / "pa.txt").write_text("")
    data = load_heterogeneous(folder)
    assert data["paper", "to", "author"].edge_index.shape == (2, 0)


def write(name: str, content: bytes | str) -> Callable[[Path], None]:
    data = content if isinstance(content, bytes) else content.encode()
    return lambda folder: (folder / name).write_bytes(data) and None


def array(name: str, values: object) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / name, np.asarray(values))


def replaced(old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "schema.toml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return change


def archive(folder: Path) -> None:
    with (folder / "labels.npy").open("wb") as stream:
        np.savez(stream, labels=np.zeros(60))


WRONG = {
    "no schema": (lambda folder: (folder / "schema.toml").unlink(), "lacks schema.toml"),
    "not toml": (write("schema.toml", "target ="), "cannot be read"),
    "not text": (write("schema.toml", b"\xff\xfe"), "cannot be read"),
    "surprise": (replaced("labels =", "surprise = 1\nlabels ="), "not valid at surprise"),
    "no target": (replaced('"paper"\nlabels', '"book"\nlabels'), "'book' is not counted"),
    "taken name": (replaced("author", "splits"), "cannot be called 'splits'"),
    "open path": (
        replaced('"author", "paper"]', '"author"]'),
        "must lead from 'paper' over other types back",
    ),
    "no relation": (replaced('"author", "paper"]', '"author", "author", "paper"]'), "needs a rel"),
    "two relations": (replaced('"subject", file', '"author", file'), "join the same two"),
    "outside": (replaced("pa.txt", "../pa.txt"), "not valid at relations"),
    "missing file": (lambda folder: (folder / "pa.txt").unlink(), "lacks the file 'pa.txt'"),
    "words for edges": (write("pa.txt", "a b\n"), "not a list of pairs"),
    "huge number": (write("pa.txt", f"{10**30} 1\n"), "not a list of pairs"),
    "three columns": (write("pa.txt", "1 2 3\n"), "two columns"),
    "stranger": (write("pa.txt", "0 30\n"), "names author 30, but their numbers are 0 to 29"),
    "negative": (write("pa.txt", "-1 3\n"), "names paper -1"),
    "labels short": (array("labels.npy", [0, 1]), "must hold 60 labels"),
    "labels broken": (array("labels.npy", np.full(60, 0.5)), "must hold whole numbers"),
    "labels infinite": (array("labels.npy", np.full(60, np.inf)), "must hold whole numbers"),
    "labels words": (array("labels.npy", ["a"] * 60), "must hold whole numbers"),
    "labels none": (array("labels.npy", np.full(60, -1)), "no label of 0 or more"),
    "labels archive": (archive, "an archive of arrays"),
    "pickle": (write("labels.npy", pickle.dumps([1, 2])), "not a readable .npy file"),
    "objects": (array("labels.npy", np.array([{}] * 60)), "not a readable .npy file"),
    "features cut": (write("words.npy", b"\x93NUMPY\x01\x00"), "no readable features"),
    "features short": (array("words.npy", np.ones((3, 2))), "must hold 60 rows of numbers"),
    "features NaN": (array("words.npy", np.full((60, 2), np.nan)), "all of them finite"),
    "features none": (array("words.npy", np.ones((60, 0))), "at least one feature"),
    "split alone": (lambda folder: (folder / "val_20.npy").unlink(), "a split needs 'val_20.npy'"),
    "split outside": (array("val_20.npy", [60]), "node numbers from 0 to 59"),
    "split empty": (array("val_20.npy", np.zeros(0, int)), "node numbers from 0 to 59"),
    "split shared": (array("val_20.npy", [0]), "share nodes"),
}


@pytest.mark.parametrize(("damage", "message"), WRONG.values(), ids=WRONG)
def test_damage_is_one_sentence(folder: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(folder)
    with pytest.raises(DataError, match=message):
        load_heterogeneous(folder)


def test_a_matrix_that_points_outside_itself_is_refused(folder: Path) -> None:
    matrix = scipy.sparse.csr_matrix(np.load(folder / "words.npy"))
    matrix.indices[0] = 10**6
    scipy.sparse.save_npz(folder / "words.npz", matrix)
    replaced("words.npy", "words.npz")(folder)
    with pytest.raises(DataError, match="no readable features"):
        load_heterogeneous(folder)


def test_a_matrix_larger_than_this_machine_is_refused(folder: Path) -> None:
    empty = scipy.sparse.csr_matrix((60, 2**40))
    scipy.sparse.save_npz(folder / "words.npz", empty)
    replaced("words.npy", "words.npz")(folder)
    with pytest.raises(DataError, match="GiB as a dense array"):
        load_heterogeneous(folder)


def test_names_lead_to_the_right_kind() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'heco-acm'"):
        load_heterogeneous("heco-amc")
    with pytest.raises(UnknownNameError, match="heterogeneous data set or folder"):
        load_heterogeneous(" ")
    with pytest.raises(MissingDataError, match="no folder 'a/b'"):
        load_heterogeneous("a/b")
    with pytest.raises(DataError, match="'cora' is not a heterogeneous graph; those are heco-acm"):
        load_heterogeneous("cora")
    with pytest.raises(DataError, match="which the task heterogeneous-node-classification takes"):
        load_graph("heco-acm")


@pytest.fixture
def shared() -> Path:
    root = os.environ.get("GRAPHCL_DATA")
    if not root:
        pytest.skip("$GRAPHCL_DATA is not set, so the wider data sets are absent")
    return Path(root)


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["heco-acm", "heco-aminer", "meow-imdb"])
def test_real_data_are_as_their_cards_and_their_authors_say(shared: Path, name: str) -> None:
    report = check(name, shared)
    assert report.ok, report
    data = load_heterogeneous(name, shared)
    assert heterogeneous_statistics(data) == load_card(name).statistics
    classes = data["paper" if name != "meow-imdb" else "movie"].y
    for per_class, (train, validation, test) in data.splits.items():
        assert (len(validation), len(test)) == (1000, 1000)
        labelled = classes[train].bincount()
        # IMDB's lists repeat a few nodes.
        assert (labelled <= per_class).all()
        assert int(labelled.sum()) >= 0.97 * per_class * len(labelled)
    assert sorted(data.splits) == [20, 40, 60]


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["heco-acm", "heco-aminer", "meow-imdb"])
def test_relations_multiply_to_the_meta_paths_of_the_authors(shared: Path, name: str) -> None:
    from graphcl.kernels.meta_paths import count_paths
    from graphcl.methods.meta_path_graph import relation_matrix

    data = load_heterogeneous(name, shared)
    for path, (start, middle, _) in data.meta_paths.items():
        step = relation_matrix(data, start, middle)
        counts = count_paths([step, step.T]).to_scipy()
        theirs = scipy.sparse.load_npz(shared / "hetero" / name / f"{path}.npz")
        # MEOW's file counts paths; HeCo's say only where there are some.
        assert ((counts if name == "meow-imdb" else counts > 0) != theirs).nnz == 0
