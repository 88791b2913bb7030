import collections
import os
import pickle

import numpy as np
import pytest
import scipy.sparse
import torch

from graphcl.data.assemble import assemble
from graphcl.data.pickles import read_pickle
from graphcl.data.planetoid import read_planetoid
from graphcl.errors import DataError


class Hostile:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def write(folder, name, value):
    path = folder / f"ind.tiny.{name}"
    path.write_bytes(pickle.dumps(value, protocol=3))
    return path


@pytest.fixture
def files(tmp_path):
    """2 train nodes, 500 validation nodes, test nodes 502 and 504; node 503 is left out."""
    rng = np.random.default_rng(0)
    rows, test = 502, np.array([504, 502])
    features = rng.integers(0, 2, (rows, 4)).astype(np.float32)
    labels = np.eye(3, dtype=np.int32)[rng.integers(0, 3, rows)]
    graph = collections.defaultdict(list, {0: [1, 1, 0], 1: [0], 2: [504], 504: [2], 503: []})
    parts = {
        "x": scipy.sparse.csr_matrix(features[:2]),
        "allx": scipy.sparse.csr_matrix(features),
        "tx": scipy.sparse.csr_matrix(np.array([[1, 1, 1, 1], [0, 1, 0, 1]], dtype=np.float32)),
        "y": labels[:2],
        "ally": labels,
        "ty": np.eye(3, dtype=np.int32)[[2, 1]],
        "graph": graph,
    }
    paths = {f"ind.tiny.{name}": write(tmp_path, name, value) for name, value in parts.items()}
    index = tmp_path / "ind.tiny.test.index"
    index.write_text("".join(f"{node}\n" for node in test))
    return {**paths, index.name: index}


def test_layout(files):
    data = assemble(read_planetoid("tiny", files))
    assert data.num_nodes == 505
    assert data.edge_index.tolist() == [[0, 1, 2, 504], [1, 0, 504, 2]]
    assert data.x[504].tolist() == [1, 1, 1, 1]
    assert data.x[502].tolist() == [0, 1, 0, 1]
    assert data.x[503].tolist() == [0, 0, 0, 0]
    assert data.y[[504, 502, 503]].tolist() == [2, 1, 0]
    assert data.train_mask.nonzero().flatten().tolist() == [0, 1]
    assert data.val_mask.nonzero().flatten().tolist() == list(range(2, 502))
    assert data.test_mask.nonzero().flatten().tolist() == [502, 504]
    assert data.x.dtype == torch.float32


def test_missing_part(files):
    del files["ind.tiny.ally"]
    with pytest.raises(DataError, match="lacks the Planetoid file 'ally'"):
        read_planetoid("tiny", files)


def test_parts_that_do_not_fit(files, tmp_path):
    write(tmp_path, "ty", np.eye(3, dtype=np.int32))
    with pytest.raises(DataError, match="do not fit together"):
        read_planetoid("tiny", files)


@pytest.mark.parametrize("value", [[1, 2], "text", {"a": 1}, np.array(["a"], dtype=object)])
def test_part_of_another_type(files, tmp_path, value):
    write(tmp_path, "allx", value)
    with pytest.raises(DataError):
        read_planetoid("tiny", files)


@pytest.mark.parametrize(
    ("function", "arguments", "named"),
    [
        (os.system, ("touch {marker}",), "(posix|nt).system"),
        (eval, ("open('{marker}', 'w')",), "__builtin__.eval"),
        (np.save, ("{marker}", 1), "numpy.save"),
        (pickle.loads, (b"",), "_?pickle.loads"),
    ],
)
def test_hostile_pickle_is_refused_and_runs_nothing(tmp_path, function, arguments, named):
    marker = tmp_path / "marker"
    arguments = tuple(
        item.format(marker=marker) if isinstance(item, str) else item for item in arguments
    )
    path = tmp_path / "hostile"
    path.write_bytes(pickle.dumps(Hostile(function, *arguments), protocol=2))
    with pytest.raises(DataError, match=rf"is refused: it asks for the global '{named}'"):
        read_pickle(path)
    assert list(tmp_path.iterdir()) == [path]


def test_hostile_attribute_walk_is_refused(tmp_path):
    # The opcodes of getattr(os, "system")("..."), which no allowed name can stand for.
    path = tmp_path / "hostile"
    path.write_bytes(b"cbuiltins\ngetattr\n(cos\nsystem\nVx\ntR.")
    with pytest.raises(DataError, match=r"the global 'builtins\.getattr'"):
        read_pickle(path)


def test_hostile_global_inside_an_allowed_container(tmp_path):
    path = tmp_path / "nested"
    marker = tmp_path / "marker"
    value = {"a": [np.zeros(2), Hostile(os.system, f"touch {marker}")]}
    path.write_bytes(pickle.dumps(value, protocol=3))
    with pytest.raises(DataError, match=r"system"):
        read_pickle(path)
    assert not marker.exists()


@pytest.mark.parametrize("content", [b"", b"\x80", b"not a pickle", b"\x80\x03]q\x00("])
def test_damaged_pickle(tmp_path, content):
    path = tmp_path / "damaged"
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a readable pickle"):
        read_pickle(path)


def test_missing_pickle(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        read_pickle(tmp_path / "none")
