import gzip
import itertools

import numpy as np
import pytest

from graphcl.data import catalogue, check, limits, load_card, load_graph, split_nodes
from graphcl.data.assemble import assemble
from graphcl.data.cards import CardFile, DatasetCard
from graphcl.data.ogb import read_ogb
from graphcl.errors import DataError, MissingDataError

NODES = 8
FILES = {
    "num-node-list": f"{NODES}\n",
    "edge": "0,1\n1,0\n1,2\n2,2\n3,4\n7,0\n0,1\n",
    "node-feat": "".join(f"{n / 8},{-n},1e-3\n" for n in range(NODES)),
    "node-label": "".join(f"{n % 2}\n" for n in range(NODES)),
    "train": "0\n3\n1\n",
    "valid": "2\n4\n",
    "test": "5\n6\n7\n",
}


def write(folder, scheme="time", **changes):
    """The folder of a set, with raw/ and split/; contents as text, bytes as they are."""
    paths = {}
    for name, content in {**FILES, **changes}.items():
        below = f"split/{scheme}" if name in ("train", "valid", "test") else "raw"
        path = folder / below / f"{name}.csv.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is not None:
            path.write_bytes(
                content if isinstance(content, bytes) else gzip.compress(content.encode())
            )
            paths[path.name] = path
    return paths


def test_layout(tmp_path):
    data = assemble(read_ogb("tiny", write(tmp_path)))
    assert data.num_nodes == NODES
    pairs = {(0, 1), (1, 2), (3, 4), (0, 7)}
    assert {tuple(edge) for edge in data.edge_index.T.tolist()} == pairs | {
        (b, a) for a, b in pairs
    }
    assert np.allclose(data.x[3], [3 / 8, -3, 1e-3])
    assert data.y.tolist() == [0, 1] * 4
    for seed in (0, 5):
        split = split_nodes(data, "ogb", seed)
        found = [
            m.nonzero().flatten().tolist() for m in (split.train, split.validation, split.test)
        ]
        assert found == [[0, 1, 3], [2, 4], [5, 6, 7]]


def packed(text):
    return gzip.compress(text if isinstance(text, bytes) else text.encode())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        *(({name: None}, rf"lacks the file '{name}\.csv\.gz'") for name in FILES),
        *(({name: ""}, "is empty") for name in FILES),
        *(({name: "\n\n"}, "is empty") for name in FILES),
        *(({name: b"0\n"}, "is not a whole gzip file") for name in FILES),
        *(({name: packed(FILES[name])[:-9]}, "is not a whole gzip file") for name in FILES),
        *(({name: "x\n"}, r"is not a table of numbers \(could not conv") for name in FILES),
        *(({name: b"\xff\n"}, "is not a whole gzip file") for name in FILES),
        *(({name: packed(b"\xff\n")}, "other than ASCII text") for name in FILES),
        ({"num-node-list": "4\n4\n"}, "number of nodes of one graph"),
        ({"num-node-list": "0\n"}, "number of nodes of one graph"),
        ({"num-node-list": "-8\n"}, "number of nodes of one graph"),
        ({"num-node-list": "8,8\n"}, "number of nodes of one graph"),
        ({"num-node-list": "8.5\n"}, "not a table of numbers"),
        ({"num-node-list": "9" * 30 + "\n"}, "not a table of numbers"),
        ({"num-node-list": "9" * 18 + "\n"}, "GiB as a dense array"),
        ({"num-node-list": "9\n"}, "has 8 rows for 9 nodes"),
        ({"num-node-list": "7\n"}, "has more than 7 rows for 7 nodes"),
        ({"edge": "0,1,2\n"}, r"must have columns source,target \(got 3 columns\)"),
        ({"edge": "0,1\n2\n"}, "not a table of numbers .*number of columns changed"),
        ({"edge": "0,8\n"}, "edge 0: node 8 does not exist; nodes are 0 to 7"),
        ({"edge": "0,1\n-1,0\n"}, "edge 1: node -1 does not exist"),
        ({"edge": "0,1.5\n"}, "not a table of numbers"),
        ({"edge": "3,3\n"}, "empty graph"),
        ({"node-feat": "nan\n" * NODES}, "feature in row 0, column 0 .*not a finite"),
        ({"node-feat": "1e99\n" * NODES}, "feature in row 0, column 0 .*not a finite"),
        ({"node-label": "0,1\n" * NODES}, r"one label a node \(got 2 columns\)"),
        ({"node-label": "-2\n" * NODES}, "label of node 0 is -2"),
        ({"node-label": "nan\n" * NODES}, "not a table of numbers"),
        ({"train": "0,1\n"}, r"one node a line \(got 2 columns\)"),
        ({"valid": "2\n8\n"}, "row 2: node 8 does not exist; nodes are 0 to 7"),
        ({"test": "-1\n"}, "row 1: node -1 does not exist"),
    ],
)
def test_malformed_file_is_one_sentence(tmp_path, changes, message):
    with pytest.raises(DataError, match=message) as caught:
        assemble(read_ogb("tiny", write(tmp_path, **changes)))
    assert "\n" not in str(caught.value)


def test_masks_of_a_split_that_overlaps(tmp_path):
    data = assemble(read_ogb("tiny", write(tmp_path, valid="2\n3\n")))
    with pytest.raises(DataError, match=r"train_mask and val_mask .*no node in common"):
        split_nodes(data, "ogb", 0)


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "HARMLESS_TEXT", 1 << 20)
    lines = tmp_path / "lines.csv.gz"
    lines.write_bytes(gzip.compress(b"0,1\n" * (4 << 20)))
    read: list[int] = []
    with pytest.raises(DataError, match="would unpack to more than"):
        read.extend(map(len, limits.unpacked_lines(lines)))
    assert 1 << 19 < sum(read) <= max(1 << 20, 50 * lines.stat().st_size)
    one = tmp_path / "line.csv.gz"
    one.write_bytes(gzip.compress(b"0" * (8 << 20)))
    with pytest.raises(DataError, match="has a line of more than 1048576 bytes"):
        list(limits.unpacked_lines(one))
    with pytest.raises(DataError, match=r"cannot read '.*none"):
        list(limits.unpacked_lines(tmp_path / "none.gz"))
    # Where that is as it should be, and a reader that has enough rows stops before the end.
    monkeypatch.undo()
    assert list(itertools.islice(limits.unpacked_lines(lines), 2)) == ["0,1\n"] * 2


@pytest.fixture
def tiny(monkeypatch):
    """The card of ogbn-arxiv with the counts of the folder above."""
    counts = {"nodes": NODES, "edges": 4, "features": 3, "classes": 2}
    card = DatasetCard.model_validate(
        {**load_card("ogbn-arxiv").model_dump(), "statistics": counts}
    )
    for module in ("graphcl.data.graphs", "graphcl.data.catalogue"):
        monkeypatch.setattr(f"{module}.load_card", lambda name: card)
    return card


@pytest.mark.parametrize("folder", ["ogbn_arxiv", "arxiv", "ogbn-arxiv", "node/ogbn-arxiv"])
def test_the_folder_is_found_as_it_was_unpacked(cache, tiny, tmp_path, folder):
    write(tmp_path / folder)
    data = load_graph("ogbn-arxiv", tmp_path)
    assert (data.name, data.num_nodes) == ("ogbn-arxiv", NODES)
    report = check("ogbn-arxiv", tmp_path)
    assert report.ok
    assert all("no digest is published" in file.message for file in report.files)
    # What the files hold is compared all the same.
    write(tmp_path / folder, edge="0,1\n")
    assert not check("ogbn-arxiv", tmp_path).ok
    with pytest.raises(DataError, match="has 1 edges but its card states 4"):
        load_graph("ogbn-arxiv", tmp_path)


@pytest.mark.parametrize("name", ["ogbn-arxiv", "ogbn-products"])
def test_the_card_says_what_to_put_where(cache, name):
    with pytest.raises(MissingDataError) as caught:
        load_graph(name)
    for part in ("'edge.csv.gz'", "'valid.csv.gz'", "no address", f"`graphcl show {name}`"):
        assert part in str(caught.value)
    row = next(row for row in catalogue.list_datasets() if row.name == name)
    assert row.where == "by hand"


def test_only_a_file_by_hand_goes_without_a_digest():
    file = {"name": "a.csv", "holds": "rows", "locations": ("a.csv",)}
    assert not CardFile.model_validate(file).has_digest
    both = {"sha256": "0" * 64, "git_blob": "0" * 40}
    for more in (both, {"url": "https://example.org/a.csv"}, {"copies": ({"sha256": "0" * 64},)}):
        with pytest.raises(ValueError, match="sha256 or git_blob"):
            CardFile.model_validate({**file, **more})
    card = load_card("ogbn-arxiv").model_dump()
    carrier = {"requirement": "a==1", "licence": "MIT", "members": {"edge.csv.gz": "edge.csv.gz"}}
    with pytest.raises(ValueError, match="states no sha256"):
        DatasetCard.model_validate({**card, "carriers": (carrier,)})
