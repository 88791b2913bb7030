"""Small data sets with a known structure, written as a stranger's own files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

# Triton decides when it is first imported, which torch_geometric does, whether kernels are
# interpreted. On a machine with a GPU, TRITON_INTERPRET=0 tests the compiled ones instead.
os.environ.setdefault("TRITON_INTERPRET", "1")


def write_graph(folder: Path, blocks: int = 3, size: int = 20, seed: int = 0) -> Path:
    """A stochastic block model with block-dependent binary features, as CSV files."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(blocks), size)
    same = labels[:, None] == labels[None, :]
    linked = np.triu(random.random(same.shape) < np.where(same, 0.3, 0.02), k=1)
    features = random.random((len(labels), 8 * blocks)) < 0.05
    for node, block in enumerate(labels):
        features[node, 8 * block : 8 * block + 8] |= random.random(8) < 0.5
    folder.mkdir(parents=True, exist_ok=True)
    edges = np.argwhere(linked)
    np.savetxt(folder / "edges.csv", edges, "%d", ",", header="source,target", comments="")
    np.save(folder / "features.npy", features.astype(np.float32))
    np.savetxt(folder / "labels.csv", labels, "%d", header="label", comments="")
    return folder


def write_log(path: Path, users: int = 40, items: int = 30, seed: int = 0) -> Path:
    """A log of two groups of users who take the items of their own half, as CSV."""
    random = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    half = items // 2
    with path.open("w") as file:
        file.write("user_id,item_id,rating,timestamp\n")
        for user in range(users):
            taken = random.permutation(half)[:10] + half * (user % 2)
            for time, item in enumerate(taken):
                file.write(f"u{user},i{item},{random.integers(3, 6)},{time}\n")
    return path


def write_heterogeneous(folder: Path, blocks: int = 3, size: int = 20, seed: int = 0) -> Path:
    """Papers in blocks, with authors of their block mostly and one subject; features of words.

    Split 20 has five papers a class to train on; the last author and subject have no paper, and
    the last paper has no author.
    """
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(blocks), size)
    papers, authors, subjects = len(labels), 10 * blocks, 2 * blocks
    own = labels[:, None] == np.arange(authors)[None, :] // 10
    wrote = random.random(own.shape) < np.where(own, 0.25, 0.02)
    wrote[-1] = wrote[:, -1] = False
    subject = 2 * labels + random.integers(0, 2, papers)
    words = random.random((papers, 8 * blocks)) < 0.05
    for node, block in enumerate(labels):
        words[node, 8 * block : 8 * block + 8] |= random.random(8) < 0.5
    folder.mkdir(parents=True, exist_ok=True)
    np.savetxt(folder / "pa.txt", np.argwhere(wrote), "%d", "\t")
    np.savetxt(folder / "ps.txt", np.stack([np.arange(papers), subject], axis=1), "%d", "\t")
    np.save(folder / "words.npy", words.astype(np.float32))
    np.save(folder / "labels.npy", labels)
    place = np.arange(papers) % size
    for part, chosen in (("train", place < 5), ("val", place % 2 == 1), ("test", place % 2 == 0)):
        held = chosen if part == "train" else chosen & (place >= 5)
        np.save(folder / f"{part}_20.npy", np.flatnonzero(held))
    (folder / "schema.toml").write_text(
        'target = "paper"\nlabels = "labels.npy"\nfeatures = { paper = "words.npy" }\n'
        f"nodes = {{ paper = {papers}, author = {authors}, subject = {subjects + 1} }}\n"
        'relations = [{ source = "paper", target = "author", file = "pa.txt" },\n'
        '{ source = "paper", target = "subject", file = "ps.txt" }]\n'
        "[meta_paths]\n"
        'pap = ["paper", "author", "paper"]\npsp = ["paper", "subject", "paper"]\n'
    )
    return folder


@pytest.fixture(scope="session")
def tiny_graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a graph of 60 nodes in three blocks."""
    return write_graph(tmp_path_factory.mktemp("tiny") / "blocks")


@pytest.fixture(scope="session")
def tiny_heterogeneous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a heterogeneous graph of 60 papers in three blocks."""
    return write_heterogeneous(tmp_path_factory.mktemp("tiny") / "papers")


@pytest.fixture(scope="session")
def tiny_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV log of 40 users and 30 items in two groups."""
    return write_log(tmp_path_factory.mktemp("tiny") / "log.csv")


@pytest.fixture(scope="session")
def tiny_features(tmp_path_factory: pytest.TempPathFactory, tiny_log: Path) -> Path:
    """The tiny log as RecBole's atomic files, with features that tell the groups apart."""
    import torch

    from recsys.data import Labels, Numbers, read_table, write_recbole

    log = read_table(tiny_log)
    generator = torch.Generator().manual_seed(0)
    groups = [int(str(name)[1:]) for name in (*log.user_ids, *log.item_ids)]
    users, items = groups[: log.num_users], groups[log.num_users :]
    centre = torch.tensor(items)[:, None] < 15
    image = torch.randn(len(items), 4, generator=generator) + 3 * centre
    genres = Labels.from_lists([["all", "crime" if i < 15 else "verse"] for i in items])
    kinds = Labels.from_lists([["even" if u % 2 == 0 else "odd"] for u in users])
    log = log.with_features({"kind": kinds}, {"image": Numbers(image), "genre": genres})
    folder = tmp_path_factory.mktemp("tiny") / "features"
    write_recbole(log, folder, "tiny")
    return folder


@pytest.fixture(scope="session")
def tiny_data(
    tiny_graph: Path, tiny_heterogeneous: Path, tiny_log: Path, tiny_features: Path
) -> dict[str, Path]:
    """The tiny data set of each task; a new task adds its line here."""
    return {
        "clustering": tiny_graph,
        "heterogeneous-node-classification": tiny_heterogeneous,
        "node-classification": tiny_graph,
        "link-prediction": tiny_graph,
        "ranking": tiny_features,
        "cold-start": tiny_features,
        "next-item": tiny_log,
    }
