import hashlib
import json
import random

import numpy as np
import pytest
import torch

from graphcl.data import load_card, load_graph, split_nodes
from graphcl.data.assemble import assemble
from graphcl.data.cards import DatasetCard
from graphcl.data.locate import locate
from graphcl.data.wikics import read_wikics
from graphcl.errors import ChecksumError, DataError, MissingDataError

NODES, SPLITS = 12, 20


def parts():
    """12 nodes; split s trains on two of the first six and has one of the next two."""
    draw = random.Random(0)
    train = [[n in draw.sample(range(6), 2) for n in range(NODES)] for _ in range(SPLITS)]
    return {
        "features": [[draw.gauss(0, 1) for _ in range(3)] for _ in range(NODES)],
        "labels": [n % 3 for n in range(NODES)],
        "links": [[(n + 1) % NODES, n] if n else [1, 1, 5] for n in range(NODES)],
        "train_masks": train,
        "stopping_masks": [[n == 6 for n in range(NODES)]] * SPLITS,
        "val_masks": [[n == 7 + s % 2 for n in range(NODES)] for s in range(SPLITS)],
        "test_mask": [n >= 9 for n in range(NODES)],
    }


def write(folder, **changes):
    content = {key: value for key, value in {**parts(), **changes}.items() if value is not None}
    path = folder / "data.json"
    path.write_text(json.dumps(content))
    return path


def test_layout(tmp_path):
    given = parts()
    data = assemble(read_wikics("wikics", write(tmp_path)))
    assert torch.equal(data.x, torch.tensor(given["features"]))
    assert data.y.tolist() == given["labels"]
    pairs = {(a, b) for a, near in enumerate(given["links"]) for b in near if a != b}
    assert {tuple(edge) for edge in data.edge_index.T.tolist()} == pairs | {
        (b, a) for a, b in pairs
    }
    assert data.train_mask.shape == data.val_mask.shape == (NODES, SPLITS)
    for seed in (0, 7, 19, 27):
        split = split_nodes(data, "wikics-20", seed)
        assert split.train.tolist() == given["train_masks"][seed % 20]
        assert split.validation.tolist() == given["val_masks"][seed % 20]
        assert split.test.tolist() == given["test_mask"]
        # The nodes for early stopping are in no part.
        assert not (split.train | split.validation | split.test)[6]


def test_masks_may_be_zeros_and_ones(tmp_path):
    path = write(tmp_path, test_mask=[int(n >= 9) for n in range(NODES)])
    assert assemble(read_wikics("wikics", path)).test_mask.sum() == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        *(({key: None}, f"lacks '{key}'") for key in parts() if key != "stopping_masks"),
        ({"features": [[1.0, 2.0], [3.0]]}, "'features' must hold numbers only, in equal rows"),
        ({"features": [["a"], ["b"]]}, "'features' must hold numbers only"),
        ({"features": [[{}]]}, "'features' must hold numbers only"),
        ({"features": 3}, r"'features' must be a list of lists \(got 0 levels"),
        ({"features": [1.0]}, r"'features' must be a list of lists \(got 1 levels"),
        ({"features": [[None]] * NODES}, "feature in row 0, column 0 .*not a finite"),
        ({"features": [[1e300]] * NODES}, "feature in row 0, column 0 .*not a finite"),
        ({"features": [[10**400]] * NODES}, "'features' must hold numbers only"),
        ({"features": [[1.0]] * 3}, "does not exist; nodes are 0 to 2"),
        ({"labels": [0.5] * NODES}, "'labels' must hold integers"),
        ({"labels": [float("nan")] * NODES}, "'labels' must hold integers"),
        ({"labels": [2**60] * NODES}, "'labels' must hold integers"),
        ({"labels": [[0]] * NODES}, r"'labels' must be a list \(got 2 levels"),
        ({"labels": [0, 1]}, "2 labels for 12 nodes"),
        ({"links": {"0": [1]}}, "'links' must hold a list of nodes for each node"),
        ({"links": [[1], 2]}, "'links' must hold a list of nodes for each node"),
        ({"links": [[1], [[2]]]}, "'links' must hold numbers only"),
        ({"links": [["x" * 1000], [1]] * 9}, "'links' must hold numbers only"),
        ({"links": [[0.5]]}, "'links' must hold integers"),
        ({"links": [[NODES]]}, "node 12 does not exist"),
        ({"links": [[-1]]}, "node -1 does not exist"),
        ({"links": [[]] * NODES}, "empty graph"),
        ({"links": [[1]] * (NODES + 1)}, "node 12 does not exist"),
        ({"train_masks": [[2] * NODES] * SPLITS}, "'train_masks' must hold true and false"),
        ({"train_masks": [True] * NODES}, "'train_masks' must be a list of lists"),
        ({"train_masks": [[True] * 3] * SPLITS}, "train_mask must hold 12 booleans"),
        ({"val_masks": [["yes"] * NODES]}, "'val_masks' must hold numbers only"),
        ({"test_mask": [[True] * NODES]}, "'test_mask' must be a list "),
        ({"test_mask": [True]}, "test_mask must hold 12 booleans"),
    ],
)
def test_malformed_part_is_one_sentence(tmp_path, changes, message):
    path = write(tmp_path, **changes)
    with pytest.raises(DataError, match=message) as caught:
        assemble(read_wikics("wikics", path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not readable JSON"),
        (b"{", "not readable JSON"),
        (b"\xff\xfe\xfa", "not readable JSON"),
        (b"[" * 100_000, "not readable JSON"),
        (b'{"labels": ' + b"9" * 10_000 + b"}", "not readable JSON"),
        (b"[]", r"must hold one object \(got list\)"),
        (b"null", r"must hold one object \(got NoneType\)"),
    ],
)
def test_file_that_is_no_json_object(tmp_path, content, message):
    path = tmp_path / "data.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_wikics("wikics", path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_too_large_is_not_opened(tmp_path):
    path = tmp_path / "data.json"
    with path.open("wb") as stream:
        stream.truncate(2 << 30)  # sparse: it takes no room
    with pytest.raises(DataError, match="has more than 1073741824 bytes"):
        read_wikics("wikics", path)


def test_the_card_says_what_to_put_where(cache, tmp_path):
    with pytest.raises(MissingDataError) as caught:
        load_graph("wikics")
    for part in ("lacks 'data.json'", "no address", "`graphcl show wikics`", "wikics/data.json"):
        assert part in str(caught.value)
    folder = tmp_path / "wikics"
    folder.mkdir()
    write(folder)
    with pytest.raises(ChecksumError, match=r"wrong git blob id: expected f1b7431.*\d bytes\)"):
        load_graph("wikics", tmp_path)


def test_the_card_reads_the_file_that_it_states(cache, tmp_path, monkeypatch):
    (tmp_path / "wikics").mkdir()
    path = write(tmp_path / "wikics")
    card = load_card("wikics").model_dump()
    content = path.read_bytes()
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    card["files"][0]["git_blob"] = blob
    card["statistics"] = {"nodes": 12, "edges": 13, "features": 3, "classes": 3}
    tiny = DatasetCard.model_validate(card)
    monkeypatch.setattr("graphcl.data.graphs.load_card", lambda name: tiny)
    data = load_graph("wikics", tmp_path)
    assert data.name == "wikics"
    assert np.asarray(data.val_mask).shape == (NODES, SPLITS)
    assert locate(tiny, tmp_path) == {"data.json": path}
