import os
import pickle

import numpy as np
import pytest
import scipy.sparse
import torch
from torch_geometric.data import Data, HeteroData

from graphcl.data import content_hash, graph_statistics, load_graph, split_nodes
from graphcl.errors import DataError, MissingDataError, UnknownNameError

FEATURES = "1,0\n0,1\n1,1\n0.5,0\n"
EDGES = "0,1\n1,2\n2,1\n3,3\n"


def folder(tmp_path, **files):
    for name, text in files.items():
        (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
    return tmp_path


def test_plain_folder(tmp_path):
    data = load_graph(folder(tmp_path, edges=EDGES, features=FEATURES))
    assert data.edge_index.tolist() == [[0, 1, 1, 2], [1, 0, 2, 1]]
    assert data.x.dtype == torch.float32
    assert data.x.tolist() == [[1, 0], [0, 1], [1, 1], [0.5, 0]]
    assert data.num_nodes == 4
    assert data.node_ids.tolist() == [0, 1, 2, 3]
    assert data.get("y") is None
    assert data.get("edge_weight") is None
    assert data.name == tmp_path.name


@pytest.mark.parametrize(("kind", "word"), [("npy", "id"), ("npz", "id"), ("npy", "Node_ID")])
def test_feature_arrays_with_listed_ids(tmp_path, kind, word):
    x = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
    if kind == "npy":
        np.save(tmp_path / "features.npy", x)
    else:
        scipy.sparse.save_npz(tmp_path / "features.npz", scipy.sparse.csr_matrix(x))
    folder(tmp_path, edges="source,target\nb,a\nc,b\n", nodes=f"{word}\na\nb\nc\n")
    data = load_graph(tmp_path)
    assert data.x.tolist() == x.tolist()
    assert data.node_ids == ["a", "b", "c"]
    assert data.edge_index.tolist() == [[0, 1, 1, 2], [1, 0, 2, 1]]


def test_text_ids_labels_and_weights(tmp_path):
    folder(
        tmp_path,
        features="id,f,g\nÄnne,1,0\n7,0,1\nx y,1,1\n",
        edges="Source\tTarget\tweight\nÄnne\t7\t0.5\n7\tÄnne\t2\nx y\t7\t1\n",
        labels="id,label\r\nx y,red\r\n7,blue\r\n",
    )
    data = load_graph(tmp_path)
    assert data.node_ids == ["Änne", "7", "x y"]
    assert data.edge_index.tolist() == [[0, 1, 1, 2], [1, 0, 2, 1]]
    # Listed in both directions with different weights: the larger one stays.
    assert data.edge_weight.tolist() == [2, 2, 1, 1]
    assert data.y.tolist() == [-1, 0, 1]
    assert data.class_names == ["blue", "red"]


@pytest.mark.parametrize("word", ["id", "node", "Node_ID"])
def test_ids_of_the_features_by_any_of_their_names(tmp_path, word):
    features = f"{word},f\n7,1\n5,2\n9,3\n"
    data = load_graph(folder(tmp_path, edges="5,7\n7,9\n", features=features))
    assert data.x.tolist() == [[1], [2], [3]]
    assert data.edge_index[:, 0].tolist() == [0, 1]


def test_integer_labels_are_ordered_by_value(tmp_path):
    folder(tmp_path, edges=EDGES, features=FEATURES, labels="label\n10\n2\n-1\n10\n")
    data = load_graph(tmp_path)
    assert data.y.tolist() == [1, 0, -1, 1]
    assert data.class_names == ["2", "10"]


def test_columns_numbered_by_pandas_are_a_header(tmp_path):
    rows = "5,6,7\n0,1,0\n1,1,2\n"
    data = load_graph(folder(tmp_path, edges="0,1\n1,2\n", features="0,1,2\n" + rows))
    assert data.x.tolist() == [[5, 6, 7], [0, 1, 0], [1, 1, 2]]
    # Only the whole first row makes a header, and one column is too little to tell.
    data = load_graph(folder(tmp_path, features="0,1,3\n" + rows))
    assert data.x.tolist()[0] == [0, 1, 3]
    assert load_graph(folder(tmp_path, features="0\n1\n2\n")).x.tolist() == [[0], [1], [2]]


def test_a_first_edge_from_0_to_1_is_an_edge(tmp_path):
    data = load_graph(folder(tmp_path, edges="0,1\n2,3\n", features=FEATURES))
    assert data.edge_index.tolist() == [[0, 1, 2, 3], [1, 0, 3, 2]]


def test_byte_order_mark_and_windows_line_ends(tmp_path):
    (tmp_path / "edges.csv").write_bytes(b"\xef\xbb\xbfsource,target\r\n0,1\r\n\r\n1,2\r\n")
    folder(tmp_path, features=FEATURES)
    assert load_graph(tmp_path).edge_index.shape == (2, 4)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"features": FEATURES}, "has no edges.csv"),
        ({"edges": EDGES}, r"one of features.npz, features.npy, features.csv \(got none\)"),
        ({"edges": "", "features": FEATURES}, "edges.csv' is empty"),
        ({"edges": "0,1\n1,4\n", "features": FEATURES}, "line 2: node id '4'.*nodes are 0 to 3"),
        ({"edges": "0,1\n\n-1,2\n", "features": FEATURES}, "line 3: node id '-1'"),
        ({"edges": "0,1\n1,2.5\n", "features": FEATURES}, "line 2: node id '2.5'"),
        ({"edges": "p,q\n1,2\n", "features": FEATURES}, "line 1: node id 'p'"),
        ({"edges": "a,c\n", "features": "id,f\na,1\nb,2\n"}, "line 1: node id 'c'.*none of the 2"),
        ({"edges": "0,1\n1\n", "features": FEATURES}, "line 2 has 1 columns instead of 2"),
        ({"edges": "0\n1\n", "features": FEATURES}, "must have columns source,target"),
        ({"edges": "0,1,x\n", "features": FEATURES}, "line 1: 'x' is not an edge weight"),
        ({"edges": "0,1,1\n1,2,nan\n", "features": FEATURES}, "line 2: an edge weight must be"),
        ({"edges": "0,1,-1\n", "features": FEATURES}, "line 1: an edge weight.*got -1"),
        ({"edges": "1,1\n", "features": FEATURES}, "empty graph: it has no edge"),
        ({"edges": "source,target\n", "features": FEATURES}, "empty graph"),
        ({"edges": EDGES, "features": "a,b\n"}, "empty graph"),
        ({"edges": EDGES, "features": "1,0\n0,nan\n"}, "line 2: the feature in column 1 is not"),
        ({"edges": EDGES, "features": "1,0\n-inf,1\n"}, "line 2: the feature in column 0.*-inf"),
        ({"edges": EDGES, "features": "1,0\n0,x\n"}, "line 2: 'x' in feature column 1 is not a n"),
        (
            {"edges": EDGES, "features": "x,0\n0,1\n"},
            "line 1: 'x' in feature column 0 is not a number; node ids go under",
        ),
        ({"edges": EDGES, "features": "1,0\n0,1,2\n"}, "line 2 has 3 columns instead of 2"),
        ({"edges": EDGES, "features": ",0,1\n0,1,2\n"}, "first column.*has no name"),
        ({"edges": "a,b\n", "features": "id,f\na,1\nb,2\na,3\n"}, "node id 'a' occurs twice"),
        ({"edges": EDGES, "features": FEATURES, "labels": "label\n0\n1\n"}, "2 labels for 4 nodes"),
        ({"edges": EDGES, "features": FEATURES, "labels": "9,1\n"}, "line 1: node id '9'"),
        ({"edges": EDGES, "features": FEATURES, "labels": "0,1\n0,2\n"}, "line 2.*labelled twice"),
        ({"edges": EDGES, "features": FEATURES, "labels": "0,1,2\n"}, "columns label or id,label"),
        ({"edges": EDGES, "features": FEATURES, "nodes": "id\na\n"}, "lists 1 nodes for 4 rows"),
        ({"edges": EDGES, "features": FEATURES, "nodes": "a\nb\n"}, "must begin with the header"),
        ({"edges": "a,b\n", "features": "id,f\na,1\nb,2\n", "nodes": "id\na\nb\n"}, "ids twice"),
    ],
)
def test_malformed_folder_is_one_sentence(tmp_path, files, message):
    with pytest.raises(DataError, match=message) as caught:
        load_graph(folder(tmp_path, **files))
    assert "\n" not in str(caught.value)


def test_text_that_is_not_utf8(tmp_path):
    folder(tmp_path, features=FEATURES)
    (tmp_path / "edges.csv").write_bytes(b"0,1\n\xff\xfe\n")
    with pytest.raises(DataError, match="is not UTF-8 text"):
        load_graph(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"PK\x03\x04 no zip"])
@pytest.mark.parametrize("name", ["features.npy", "features.npz"])
def test_damaged_feature_array(tmp_path, name, content):
    folder(tmp_path, edges=EDGES)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError):
        load_graph(tmp_path)


ARRAYS = {
    "edge_index": np.array([[0, 1], [1, 2]]),
    "x": np.eye(3),
    "y": np.array([0, 1, 0]),
}


def saved(tmp_path, **changes):
    path = tmp_path / "graph.npz"
    arrays = {key: value for key, value in {**ARRAYS, **changes}.items() if value is not None}
    np.savez(path, **arrays)
    return path


def test_archive(tmp_path):
    data = load_graph(saved(tmp_path, node_ids=np.array(["a", "b", "c"])))
    assert data.edge_index.tolist() == [[0, 1, 1, 2], [1, 0, 2, 1]]
    assert data.y.tolist() == [0, 1, 0]
    assert data.node_ids == ["a", "b", "c"]
    assert data.name == "graph"


@pytest.mark.parametrize("kind", ["npz", "pt", "csv"])
def test_classes_are_the_distinct_labels(tmp_path, kind):
    labels = np.array([10**9, 7, -1, 10**9, 12])
    arrays = {"edge_index": np.array([[0, 1], [1, 2]]), "x": np.eye(5), "y": labels}
    path = tmp_path / f"own.{kind}"
    if kind == "npz":
        np.savez(path, **arrays)
    elif kind == "pt":
        torch.save({key: torch.from_numpy(value) for key, value in arrays.items()}, path)
    else:
        np.save(tmp_path / "features.npy", arrays["x"])
        path = folder(
            tmp_path, edges="0,1\n1,2\n", labels="label\n1000000000\n7\n-1\n1000000000\n12\n"
        )
    data = load_graph(path)
    assert data.y.tolist() == [2, 0, -1, 2, 1]
    assert data.y.dtype == torch.int64
    assert data.class_names == ["7", "12", "1000000000"]
    assert graph_statistics(data)["classes"] == 3


@pytest.mark.parametrize("labels", [[0, 1, -1], [-1, -1, -1]])
def test_labels_that_count_the_classes_stay(tmp_path, labels):
    data = load_graph(saved(tmp_path, y=np.array(labels)))
    assert data.y.tolist() == labels
    assert data.get("class_names") is None


def test_archive_with_a_split(tmp_path):
    masks = {
        key: np.arange(3) == place
        for place, key in enumerate(("train_mask", "val_mask", "test_mask"))
    }
    assert load_graph(saved(tmp_path, **masks)).val_mask.tolist() == [False, True, False]
    with pytest.raises(DataError, match="a split needs"):
        load_graph(saved(tmp_path, train_mask=masks["train_mask"]))
    with pytest.raises(DataError, match="3 booleans"):
        load_graph(saved(tmp_path, **{**masks, "val_mask": np.ones(3)}))


SEVERAL = np.arange(9)[:, None] == np.arange(4) % 3


@pytest.mark.parametrize("kind", ["npz", "pt", "Data"])
def test_several_splits_are_columns_of_the_masks(tmp_path, kind):
    """As in PyG's sets with several splits, where the test mask may be one for all."""
    arrays = {
        "edge_index": np.array([[0, 1], [1, 2]]),
        "x": np.eye(9),
        "y": np.arange(9) % 2,
        "train_mask": SEVERAL,
        "val_mask": np.roll(SEVERAL, 3, axis=0),
        "test_mask": np.arange(9) > 5,
    }
    path = tmp_path / ("own.npz" if kind == "npz" else "own.pt")
    if kind == "npz":
        np.savez(path, **arrays)
    else:
        tensors = {key: torch.from_numpy(value) for key, value in arrays.items()}
        torch.save(Data(**tensors) if kind == "Data" else tensors, path)
    data = load_graph(path)
    assert np.array_equal(data.train_mask, SEVERAL)
    split = split_nodes(data, "given-splits", 6)
    found = [m.nonzero().flatten().tolist() for m in (split.train, split.validation, split.test)]
    assert found == [[2], [5], [6, 7, 8]]


@pytest.mark.parametrize(
    "mask", [SEVERAL.T, SEVERAL[..., None], SEVERAL.astype(int), np.array(True)]
)
def test_masks_of_several_splits_that_do_not_fit(tmp_path, mask):
    arrays = {"edge_index": np.array([[0], [1]]), "x": np.eye(9), "y": np.arange(9)}
    masks = {"train_mask": SEVERAL, "val_mask": mask, "test_mask": SEVERAL}
    np.savez(tmp_path / "own.npz", **arrays, **masks)
    with pytest.raises(DataError, match="val_mask must hold 9 booleans, one for each node, or a"):
        load_graph(tmp_path / "own.npz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": None}, "must have the keys edge_index and x"),
        ({"x": np.array([[1.0, np.nan], [0, 0], [0, 0]])}, "row 0, column 1 .*nan"),
        ({"x": np.array([[1.0], [np.inf], [0]])}, "row 1, column 0 .*inf"),
        ({"x": np.full((3, 1), 1e300)}, "row 0, column 0 .*finite float32"),
        ({"x": np.ones(3)}, r"shape \(nodes, features\)"),
        ({"x": np.ones((0, 3))}, "empty graph"),
        ({"x": np.ones((3, 2), dtype=complex)}, "numeric array"),
        ({"x": np.array([["a"], ["b"], ["c"]])}, "numeric array"),
        ({"edge_index": np.array([[0, 3], [1, 0]])}, "edge 1: node 3 does not exist; nodes are 0"),
        ({"edge_index": np.array([[0], [-1]])}, "edge 0: node -1"),
        ({"edge_index": np.array([[0.0], [1.0]])}, "must hold integers"),
        ({"edge_index": np.array([0, 1])}, r"shape \(2, edges\)"),
        ({"edge_index": np.zeros((2, 0), dtype=int)}, "empty graph"),
        ({"y": np.array([0, 1])}, "2 labels for 3 nodes"),
        ({"y": np.array([0, 1, -2])}, "label of node 2 is -2"),
        ({"y": np.array([0.5, 1, 2])}, "one integer for each node"),
        ({"node_ids": np.array([4, 4, 5])}, "node id '4' occurs twice"),
        ({"node_ids": np.array([4, 5])}, "2 node ids for 3 nodes"),
        ({"edge_weight": np.array([1.0])}, "edge_weight must hold 2 numbers"),
        ({"x": np.array([[{}], [1], [2]], dtype=object)}, "not a readable"),
    ],
)
def test_malformed_archive_is_one_sentence(tmp_path, changes, message):
    with pytest.raises(DataError, match=message) as caught:
        load_graph(saved(tmp_path, **changes))
    assert "\n" not in str(caught.value)


def test_truncated_archive(tmp_path):
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"not a readable \.npz"):
        load_graph(path)


def benchmark_arrays():
    adjacency = scipy.sparse.csr_matrix(np.array([[1, 2, 0], [0, 0, 1], [0, 0, 0]]))
    features = scipy.sparse.csr_matrix(np.array([[0, 3], [1, 0], [0, 0]]))
    return {
        f"{prefix}_{part}": np.array(getattr(matrix, part))
        for prefix, matrix in (("adj", adjacency), ("attr", features))
        for part in ("data", "indices", "indptr", "shape")
    } | {"labels": np.array([2, 0, 1])}


def test_benchmark_archive_is_binarised(tmp_path):
    np.savez(tmp_path / "own.npz", **benchmark_arrays())
    data = load_graph(tmp_path / "own.npz")
    assert data.x.tolist() == [[0, 1], [1, 0], [0, 0]]
    assert data.edge_index.tolist() == [[0, 1, 1, 2], [1, 0, 2, 1]]
    assert data.y.tolist() == [2, 0, 1]
    assert data.get("edge_weight") is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("adj_indices", np.array([0, 1, 9])),
        ("attr_indices", np.array([1, -1])),
        ("attr_indptr", np.array([0, 1])),
        ("labels", None),
        ("adj_shape", np.array([3])),
    ],
)
def test_malformed_benchmark_archive(tmp_path, key, value):
    arrays = {**benchmark_arrays(), key: value}
    np.savez(tmp_path / "own.npz", **{k: v for k, v in arrays.items() if v is not None})
    with pytest.raises(DataError):
        load_graph(tmp_path / "own.npz")


@pytest.fixture
def own():
    return Data(
        x=torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], dtype=torch.float64),
        edge_index=torch.tensor([[2, 0, 0], [1, 1, 0]]),
        y=torch.tensor([[1], [0], [1]]),
        train_mask=torch.tensor([True, False, False]),
        val_mask=torch.tensor([False, True, False]),
        test_mask=torch.tensor([False, False, True]),
        node_ids=["u", "v", "w"],
    )


def test_saved_data(tmp_path, own):
    torch.save(own, tmp_path / "own.pt")
    before = set(torch.serialization.get_safe_globals())
    data = load_graph(tmp_path / "own.pt")
    # What this file may hold is not allowed to other files of the process.
    assert set(torch.serialization.get_safe_globals()) == before
    assert data.x.dtype == torch.float32
    assert torch.equal(data.x.double(), own.x)
    assert data.edge_index.tolist() == [[0, 1, 1, 2], [1, 0, 2, 1]]
    assert data.y.tolist() == [1, 0, 1]
    assert data.node_ids == ["u", "v", "w"]
    assert data.test_mask.tolist() == [False, False, True]


def test_saved_dictionary_in_bfloat16(tmp_path, own):
    torch.save({"x": own.x.bfloat16(), "edge_index": own.edge_index}, tmp_path / "own.pt")
    assert torch.equal(load_graph(tmp_path / "own.pt").x, own.x.float())


class Hostile:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return (os.system, (self.command,))


@pytest.mark.parametrize("nested", [False, True])
def test_hostile_saved_file_runs_nothing(tmp_path, own, nested):
    marker = tmp_path / "marker"
    path = tmp_path / "own.pt"
    hostile = Hostile(f"touch {marker}")
    if nested:
        own.extra = hostile
    torch.save(own if nested else hostile, path)
    with pytest.raises(DataError, match=r"is refused.*system") as caught:
        load_graph(path)
    assert "\n" not in str(caught.value)
    assert not marker.exists()
    # The same, as a bare pickle without torch's archive around it.
    path.write_bytes(pickle.dumps(hostile))
    with pytest.raises(DataError):
        load_graph(path)
    assert not marker.exists()


@pytest.mark.parametrize("damage", ["empty", "truncated", "text"])
def test_damaged_saved_file(tmp_path, own, damage):
    path = tmp_path / "own.pt"
    torch.save(own, path)
    content = path.read_bytes()
    path.write_bytes({"empty": b"", "truncated": content[: len(content) // 2]}.get(damage, b"hi"))
    with pytest.raises(DataError) as caught:
        load_graph(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 2], r"must hold a PyG Data \(got list\)"),
        ({"x": torch.eye(2)}, "no tensor 'edge_index'"),
        (HeteroData(), r"must hold.*a PyG Data|got HeteroData"),
    ],
)
def test_saved_file_of_another_kind(tmp_path, value, message):
    torch.save(value, tmp_path / "own.pt")
    with pytest.raises(DataError, match=message):
        load_graph(tmp_path / "own.pt")


def test_names_and_paths(tmp_path, monkeypatch):
    with pytest.raises(UnknownNameError, match=r"unknown data set 'coraa'.*'cora'"):
        load_graph("coraa")
    with pytest.raises(MissingDataError, match=r"no file or folder './coraa'"):
        load_graph("./coraa")
    with pytest.raises(MissingDataError, match=r"no file or folder '.*none\.npz'"):
        load_graph(tmp_path / "none.npz")
    with pytest.raises(DataError, match=r"holds interactions.*not a graph.*cora"):
        load_graph("ml-100k")
    for empty in ("", " "):
        with pytest.raises(DataError, match="must be a name such as cora or a path"):
            load_graph(empty)
    (tmp_path / "graph.txt").touch()
    with pytest.raises(DataError, match=r"not a folder, an \.npz archive or a \.pt file"):
        load_graph(tmp_path / "graph.txt")
    folder(tmp_path, edges=EDGES, features=FEATURES)
    monkeypatch.chdir(tmp_path.parent)
    assert load_graph(tmp_path.name).num_nodes == 4
    monkeypatch.chdir(tmp_path)
    assert load_graph(".").name == tmp_path.name


def test_content_hash_sees_content_only(tmp_path, own):
    def of(**changes):
        value = Data(**{**own.to_dict(), **changes})
        torch.save(value, tmp_path / "own.pt")
        return content_hash(load_graph(tmp_path / "own.pt"))

    plain = of()
    assert plain == of(node_ids=["a", "b", "c"])
    assert plain == of(edge_index=torch.tensor([[1, 1, 1], [0, 2, 0]]))
    assert plain != of(edge_index=torch.tensor([[2, 0], [1, 2]]))
    assert plain != of(y=torch.tensor([1, 0, 0]))
    assert plain != of(x=own.x + 1)
    assert plain != of(edge_weight=torch.ones(3))
    # Shapes are part of it: the same numbers in another form are another content.
    other = Data(x=torch.arange(6.0).reshape(2, 3), edge_index=torch.tensor([[0, 1], [1, 0]]))
    turned = Data(x=other.x.reshape(2, 3).T.reshape(3, 2), edge_index=other.edge_index)
    assert content_hash(other) != content_hash(turned)
    assert len(plain) == 64
