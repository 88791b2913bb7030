"""Splits that came with a data set or have cold users and items; neighbours by features."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from graphcl.data.cards import load_card
from graphcl.errors import ArgumentError, DataError
from recsys.data import Labels, Numbers, from_ids, leakage, load_interactions, load_published_split
from recsys.data.cold_splits import cold_split
from recsys.data.neighbours import feature_neighbours
from recsys.data.published import read_counted_lists, read_user_lists


@pytest.fixture
def lists(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "train.txt").write_text("0 2 1\n2 0\n1\n")
    (tmp_path / "valid.txt").write_text("0 3\n")
    (tmp_path / "test.txt").write_text("2 3 1\n5 0\n")
    np.save(tmp_path / "image_feat.npy", np.arange(10, dtype=np.float16).reshape(5, 2))
    return {path.name: path for path in tmp_path.iterdir()}


def test_parts_and_features_of_user_lists(lists: dict[str, Path]) -> None:
    log = read_user_lists(lists)
    assert log.user_ids.tolist() == [0, 2, 5]  # user 1 took nothing
    assert log.item_ids.tolist() == [0, 1, 2, 3]
    assert log.history(0).tolist() == [2, 1, 3]
    assert log.times.tolist() == [0, 0, 1, 0, 2, 2, 2]
    image = log.item_features["image"]
    assert image.values.dtype == torch.float32
    assert image.values.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    without = {name: path for name, path in lists.items() if name != "valid.txt"}
    assert read_user_lists(without).times.tolist() == [0, 0, 0, 2, 2, 2]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3)), "a row for each item"),
        (np.zeros((5, 2), dtype=np.int64), "floating numbers"),
        (np.zeros(5), "floating numbers"),
        (np.array([[{}]], dtype=object), "not a readable array"),
        (np.full((5, 2), np.nan), "finite"),
    ],
)
def test_bad_arrays_are_refused(lists: dict[str, Path], array: np.ndarray, message: str) -> None:
    np.save(lists["image_feat.npy"], array)
    with pytest.raises(DataError, match=message):
        read_user_lists(lists)


def test_counted_lists(tmp_path: Path) -> None:
    (tmp_path / "users.dat").write_text("2 4 0\n0\n1 4\n")
    (tmp_path / "item-tag.dat").write_text("1 1\n0\n0\n0\n2 0 1\n")
    (tmp_path / "tags.dat").write_text("graph\ntheory\n")
    files = {path.name: path for path in tmp_path.iterdir()}
    log = read_counted_lists(files)
    assert (log.user_ids.tolist(), log.item_ids.tolist()) == ([0, 2], [0, 4])
    tags = log.item_features["tags"]
    assert tags.names.tolist() == ["graph", "theory"]
    assert tags.matrix().to_dense().tolist() == [[0, 1], [1, 1]]
    files["users.dat"].write_text("3 4 0\n")
    with pytest.raises(DataError, match=r"line 1 .* must hold 3 entries \(got 2\)"):
        read_counted_lists(files)
    files["users.dat"].write_text("two 4 0\n")
    with pytest.raises(DataError, match="whole numbers"):
        read_counted_lists(files)


def test_a_card_without_a_split_says_so() -> None:
    with pytest.raises(DataError, match="no split was published with 'ml-100k'"):
        load_published_split("ml-100k", None, seed=0)


def root() -> Path:
    named = os.environ.get("GRAPHCL_DATA")
    if not named:
        pytest.skip("set GRAPHCL_DATA to a data root with gowalla, tiktok and citeulike-a")
    return Path(named)


@pytest.mark.real_data
def test_tiktok_is_the_published_split() -> None:
    parts = load_published_split("tiktok", root(), seed=0)
    assert [len(p) for p in (parts.train, parts.validation, parts.test)] == [59541, 3051, 6130]
    assert leakage(parts) == {
        "train-validation": 0,
        "train-test": 0,
        "validation-test": 0,
        "time": 0,
    }
    assert parts.test.lengths().max() == 1
    assert {n: f.values.shape[1] for n, f in parts.train.item_features.items()} == {
        "audio": 128, "image": 128,
    }  # fmt: skip


@pytest.mark.real_data
@pytest.mark.slow
def test_gowalla_is_the_published_split_with_a_validation_part_of_its_train() -> None:
    first, second = (load_published_split("gowalla", root(), seed=seed) for seed in (0, 1))
    assert len(first.history) == 810128
    assert len(first.test) == 217242
    assert first.test.content_hash() == second.test.content_hash()
    assert first.validation.content_hash() != second.validation.content_hash()
    assert (first.train.lengths() > 0).all()
    assert not any(leakage(first).values())


@pytest.mark.real_data
def test_citeulike_is_what_its_card_says() -> None:
    log = load_interactions("citeulike-a", root())
    stated = load_card("citeulike-a").statistics
    assert [log.num_users, log.num_items, len(log)] == list(stated.values())
    assert int((log.item_features["tags"].offsets.diff() == 0).sum()) == 3461


def dense_log(users: int = 30, items: int = 40, share: float = 0.4, seed: int = 0):
    taken = np.random.default_rng(seed).random((users, items)) < share
    user, item = taken.nonzero()
    return from_ids(user, item)


@pytest.mark.parametrize("side", ["items", "users"])
@pytest.mark.parametrize("kept", [0, 1, 5])
def test_a_cold_split_keeps_what_it_says(side: str, kept: int) -> None:
    log = dense_log()
    made = cold_split(log, side, kept, seed=3)
    again, other = cold_split(log, side, kept, seed=3), cold_split(log, side, kept, seed=4)
    parts = made.parts
    assert parts.train.content_hash() == again.parts.train.content_hash()
    assert parts.train.content_hash() != other.parts.train.content_hash()
    assert sum(len(part) for part in (parts.train, parts.validation, parts.test)) == len(log)
    assert not any(leakage(parts).values())
    assert not bool((made.validation_cold & made.test_cold).any())

    def counts(part) -> torch.Tensor:
        return part.item_counts() if side == "items" else part.lengths()

    for cold, held, elsewhere in (
        (made.validation_cold, parts.validation, parts.test),
        (made.test_cold, parts.test, parts.validation),
    ):
        assert int(cold.sum()) == (4 if side == "items" else 3)
        assert (counts(parts.train)[cold] == kept).all()
        assert (counts(held)[cold] > 0).all()
        assert (counts(elsewhere)[cold] == 0).all()
    warm = ~(made.validation_cold | made.test_cold)
    shares = counts(parts.train)[warm].sum() / counts(log)[warm].sum()
    assert 0.75 < float(shares) < 0.9


def test_too_few_for_a_cold_split() -> None:
    log = from_ids(["a", "a", "b"], ["x", "y", "x"])
    with pytest.raises(DataError, match=r"three items with more than 0 .*\(got 2 in"):
        cold_split(log, "items", 0, seed=0)
    with pytest.raises(ArgumentError, match="side must be"):
        cold_split(log, "both", 0, seed=0)
    with pytest.raises(ArgumentError, match="at least 0"):
        cold_split(log, "users", -1, seed=0)


@pytest.mark.parametrize("kind", ["numbers", "labels"])
@pytest.mark.parametrize("itself", [True, False])
def test_neighbours_are_the_largest_cosines(
    kind: str, itself: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)
    if kind == "numbers":
        table = torch.randn(12, 5, generator=generator)
        table[4] = 0
        feature = Numbers(table)
    else:
        drawn = (torch.rand(12, 9, generator=generator) < 0.5).tolist()
        lists = [[f"t{n}" for n, has in enumerate(row) if has] for row in drawn]
        lists[4] = []
        feature = Labels.from_lists(lists)
        table = feature.matrix().to_dense()
    monkeypatch.setattr("recsys.data.neighbours.CELLS", 40)  # three rows at a time
    graph = feature_neighbours(feature, 4, itself=itself).to_dense()
    known = table.abs().sum(1) > 0
    unit = torch.nn.functional.normalize(table, dim=1)
    cosine = unit @ unit.T
    assert graph[4].tolist() == [float(itself and j == 4) for j in range(12)]
    assert graph[:, 4].sum() == float(itself)
    for row in range(12):
        if not known[row]:
            continue
        assert graph[row].sum() == 4
        assert graph[row, row] == float(itself)
        chosen = graph[row].bool() & (torch.arange(12) != row)
        others = ~graph[row].bool() & known & (torch.arange(12) != row)
        assert cosine[row][chosen].min() >= cosine[row][others].max() - 1e-6


def test_neighbours_of_few() -> None:
    assert feature_neighbours(Numbers(torch.ones(1, 2)), 5, itself=False).entries == 0
    assert feature_neighbours(Numbers(torch.ones(2, 2)), 5, itself=True).entries == 4
    with pytest.raises(ArgumentError, match="at least 1"):
        feature_neighbours(Numbers(torch.ones(2, 2)), 0, itself=True)
