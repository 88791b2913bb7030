"""Every file a stranger can hand over, spoilt in every way: one sentence, no code, no hang.

Each kind of file is made whole first, then damaged deterministically: bits flipped, tails cut,
blocks overwritten, another kind's content under its name. On top come files built to attack:
pickles that call a function, archives that unpack to gigabytes, headers of absurd size, aliases
that multiply, nesting without end. A damaged file may still be a readable one (a flipped digit
in a table); whatever is refused is refused by a `GraphclError` of one line.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import signal
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import save

from graphcl.app.main import main
from graphcl.app.settings import ConfigFile
from graphcl.config import configure, read_yaml
from graphcl.data import load_graph
from graphcl.data.assemble import assemble
from graphcl.data.cards import load_card
from graphcl.data.ogb import read_ogb
from graphcl.data.pickles import read_pickle
from graphcl.data.wikics import read_wikics
from graphcl.errors import GraphclError
from graphcl.report import read_run
from graphcl.train.checkpoint import load_checkpoint, save_checkpoint
from recsys.data import read_interactions

SECONDS = 10
LONGEST_MESSAGE = 2000


class Pwn:
    """Runs a command when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> Any:
        return self._call


# ---------------------------------------------------------------- whole files


def graph_arrays() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    edges = random.integers(0, 12, (2, 40))
    return {
        "edge_index": edges[:, edges[0] != edges[1]],
        "x": random.random((12, 4), dtype=np.float32),
        "y": np.arange(12) % 3,
    }


def whole_npz() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **graph_arrays())  # type: ignore[arg-type]
    return buffer.getvalue()


def whole_pt() -> bytes:
    buffer = io.BytesIO()
    torch.save({name: torch.from_numpy(a) for name, a in graph_arrays().items()}, buffer)
    return buffer.getvalue()


def whole_npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, graph_arrays()["x"])
    return buffer.getvalue()


def whole_edges() -> bytes:
    rows = graph_arrays()["edge_index"].T
    return ("source,target\n" + "".join(f"{a},{b}\n" for a, b in rows)).encode()


def log_frame() -> pd.DataFrame:
    return pd.DataFrame(
        {"user": np.arange(60) % 9, "item": np.arange(60) * 7 % 13,
         "rating": 3.5, "time": np.arange(60)}
    )  # fmt: skip


def whole_csv() -> bytes:
    return log_frame().to_csv(index=False).encode()


def whole_inter() -> bytes:
    frame = log_frame().set_axis(
        ["user_id:token", "item_id:token", "rating:float", "timestamp:float"], axis=1
    )
    return frame.to_csv(index=False, sep="\t").encode()


def whole_parquet() -> bytes:
    buffer = io.BytesIO()
    log_frame().to_parquet(buffer)
    return buffer.getvalue()


def checkpoint_tensors() -> dict[str, torch.Tensor]:
    return {"model.weight": torch.arange(12.0), "random.global": torch.zeros(16, dtype=torch.uint8)}


def whole_checkpoint() -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "last.safetensors"
        save_checkpoint(path, checkpoint_tensors(), {"fingerprint": "f", "progress": {"epoch": 3}})
        return path.read_bytes()


def whole_yaml() -> bytes:
    content = {"method": "grace", "dataset": "cora", "seeds": [0, 1], "settings": {"epochs": 3}}
    return yaml.safe_dump(content).encode()


def whole_toml() -> bytes:
    from graphcl.resources import datasets_folder

    return (datasets_folder() / "ml-100k.toml").read_bytes()


def whole_result() -> bytes:
    number = {"mean": 0.5, "std": 0.1, "values": [0.5]}
    return json.dumps(
        {"method": "grace", "dataset": {"name": "cora"}, "task": "node-classification",
         "protocol": {"name": "public"}, "metrics": {"accuracy": number}, "seeds": [0]}
    ).encode()  # fmt: skip


def whole_log() -> bytes:
    lines = [{"seed": 0, "epoch": e, "loss": {"total": 1 / e}} for e in range(1, 9)]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def whole_snapshot() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, embedding=np.ones((5, 3), np.float32), colour=np.arange(5), colour_name="class"
    )
    return buffer.getvalue()


def whole_sparse() -> bytes:
    import scipy.sparse

    buffer = io.BytesIO()
    scipy.sparse.save_npz(buffer, scipy.sparse.csr_matrix(graph_arrays()["x"]))
    return buffer.getvalue()


def whole_pickle() -> bytes:
    return pickle.dumps({0: [1, 2], 1: [0], 2: np.arange(3)}, protocol=2)


def whole_wikics() -> bytes:
    arrays = graph_arrays()
    rows = [[n % 3 == s for n in range(12)] for s in range(3)]
    links = [arrays["edge_index"][1][arrays["edge_index"][0] == n].tolist() for n in range(12)]
    return json.dumps(
        {"features": arrays["x"].tolist(), "labels": arrays["y"].tolist(), "links": links,
         "train_masks": rows, "val_masks": rows, "stopping_masks": rows, "test_mask": rows[0]}
    ).encode()  # fmt: skip


def packed(rows: np.ndarray) -> bytes:
    buffer = io.StringIO()
    np.savetxt(buffer, rows, "%g", ",")
    return gzip.compress(buffer.getvalue().encode(), mtime=0)


# ------------------------------------------------- how each kind of file is read


def ogb_folder(name: str) -> Callable[[Path], Any]:
    def read(path: Path) -> Any:
        arrays = graph_arrays()
        tables = {
            "num-node-list": np.array([12]),
            "edge": arrays["edge_index"].T,
            "node-feat": arrays["x"],
            "node-label": arrays["y"],
            **{
                part: np.arange(12)[start::3]
                for start, part in enumerate(("train", "valid", "test"))
            },
        }
        paths = {}
        for part, rows in tables.items():
            paths[f"{part}.csv.gz"] = path.parent / f"whole-{part}"
            paths[f"{part}.csv.gz"].write_bytes(packed(rows))
        return assemble(read_ogb("graph", {**paths, name: path}))

    return read


def graph_folder(name: str) -> Callable[[Path], Any]:
    def read(path: Path) -> Any:
        folder = path.parent / "folder"
        folder.mkdir()
        (folder / "edges.csv").write_bytes(whole_edges())
        if not name.startswith("features"):
            (folder / "features.npy").write_bytes(whole_npy())
        (folder / name).write_bytes(path.read_bytes())
        return load_graph(folder)

    return read


def run_folder(name: str) -> Callable[[Path], Any]:
    def read(path: Path) -> Any:
        (path.parent / "result.json").write_bytes(whole_result())
        (path.parent / name).write_bytes(path.read_bytes())
        return read_run(path.parent)

    return read


def read_config(path: Path) -> Any:
    file = configure(ConfigFile, read_yaml(path))
    return repr(file)[:100]


def read_card(path: Path) -> Any:
    patch = pytest.MonkeyPatch()
    with patch.context() as context:
        context.setattr("graphcl.data.cards.datasets_folder", lambda: path.parent)
        return load_card(path.stem)


KINDS: dict[str, tuple[str, Callable[[], bytes], Callable[[Path], Any]]] = {
    "npz": ("graph.npz", whole_npz, load_graph),
    "pt": ("graph.pt", whole_pt, load_graph),
    "npy": ("features.npy", whole_npy, graph_folder("features.npy")),
    "edges": ("edges.csv", whole_edges, graph_folder("edges.csv")),
    "csv": ("log.csv", whole_csv, read_interactions),
    "inter": ("log.inter", whole_inter, read_interactions),
    "parquet": ("log.parquet", whole_parquet, read_interactions),
    "lists": ("log.txt", lambda: b"u1 i1 i2 i3\nu2 i2 i4\n", read_interactions),
    "checkpoint": ("last.safetensors", whole_checkpoint, load_checkpoint),
    "yaml": ("config.yaml", whole_yaml, read_config),
    "toml": ("card.toml", whole_toml, read_card),
    "result": ("result.json", whole_result, run_folder("result.json")),
    "log": ("log.jsonl", whole_log, run_folder("log.jsonl")),
    "snapshot": ("snapshot.npz", whole_snapshot, run_folder("snapshot.npz")),
    "pickle": ("ind.x", whole_pickle, read_pickle),
    "features.npz": ("features.npz", whole_sparse, graph_folder("features.npz")),
    "wikics": ("data.json", whole_wikics, lambda path: assemble(read_wikics("graph", path))),
    "ogb size": ("n.gz", lambda: packed(np.array([12])), ogb_folder("num-node-list.csv.gz")),
    "ogb edges": (
        "e.gz",
        lambda: packed(graph_arrays()["edge_index"].T),
        ogb_folder("edge.csv.gz"),
    ),
    "ogb features": ("f.gz", lambda: packed(graph_arrays()["x"]), ogb_folder("node-feat.csv.gz")),
    "ogb split": ("s.gz", lambda: packed(np.arange(4)), ogb_folder("train.csv.gz")),
}


# --------------------------------------------------------------- random damage


def damages(whole: bytes, seed: int) -> Iterator[tuple[str, bytes]]:
    random = np.random.default_rng(seed)
    for number in range(6):
        spoilt = bytearray(whole)
        # The first half of the flips hits the head, where the structure of a file is.
        place = int(random.integers(0, min(64, len(whole)) if number < 3 else len(whole)))
        spoilt[place] ^= 1 << int(random.integers(0, 8))
        yield f"bit {number}", bytes(spoilt)
    for number, share in enumerate((0.0, 0.1, 0.5, 0.9)):
        yield f"cut {number}", whole[: int(len(whole) * share)]
    yield "last byte", whole[:-1]
    start = int(random.integers(0, max(1, len(whole) - 32)))
    yield "noise", whole[:start] + random.bytes(32) + whole[start + 32 :]
    yield "zeros", b"\0" * len(whole)
    yield "twice", whole + whole
    yield "page", b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n"


def damaged_cases() -> Iterator[tuple[str, str, bytes]]:
    for seed, (kind, (_, whole, _)) in enumerate(KINDS.items()):
        for name, content in damages(whole(), seed):
            yield kind, name, content
    for kind in KINDS:
        if kind != "checkpoint":
            yield kind, "a checkpoint", whole_checkpoint()
        if kind != "parquet":
            yield kind, "a parquet file", whole_parquet()


# --------------------------------------------------------------------- attacks


def pickles(trap: Path) -> Iterator[tuple[str, bytes]]:
    command = f"touch {trap}"
    source = f"open({str(trap)!r}, 'w').close()"
    values = {
        "os.system": Pwn(os.system, command),
        "exec": Pwn(exec, source),
        "eval": Pwn(eval, source),
        "getattr": Pwn(getattr, "x", "upper"),
        "open": Pwn(open, str(trap), "w"),
        "import": Pwn(__import__, "antigravity"),
        "in a dict": {"x": Pwn(os.system, command)},
        "numpy load": Pwn(np.load, str(trap), None, True),
    }
    for name, value in values.items():
        for protocol in (2, 4):
            yield f"{name} {protocol}", pickle.dumps(value, protocol=protocol)
    yield "by hand", b"cos\nsystem\n(S'" + command.encode() + b"'\ntR."
    yield "stack", b"\x80\x02" + b"(" * 100_000 + b"."
    yield "memo", b"\x80\x02]r\xff\xff\xff\x7f."
    yield "long string", b"\x80\x04\x8d" + struct.pack("<Q", 1 << 60) + b"x."
    yield "nested lists", b"\x80\x02" + b"]" * 20_000 + b"a" * 19_999 + b"."


def npy(shape: str, dtype: str = "<f4", tail: bytes = b"\0" * 64) -> bytes:
    head = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    head += " " * (-(len(head) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + tail


def archive(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def bomb(head: bytes = b"", millions: int = 320) -> bytes:
    """A member that unpacks to `millions` of million bytes of zeros."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file,
        file.open("x.npy", "w", force_zip64=True) as member,
    ):
        member.write(head)
        for _ in range(millions):
            member.write(b"\0" * 1_000_000)
    return buffer.getvalue()


def safetensors_file(header: bytes, length: int | None = None, tail: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + tail


def own_checkpoint(state: str, tensors: dict[str, torch.Tensor] | None = None) -> bytes:
    """A file of our format, right in every sum, whose content is not what training writes."""
    from graphcl.train.checkpoint import FORMAT, _digest

    tensors = checkpoint_tensors() if tensors is None else tensors
    metadata = {"format": FORMAT, "state": state, "sha256": _digest(tensors, state)}
    return save(tensors, metadata=metadata)


def attacks(trap: Path) -> Iterator[tuple[str, str, bytes]]:
    for name, content in pickles(trap):
        for kind in ("pickle", "pt"):
            yield kind, f"pickle {name}", content
    evil = pickle.dumps(Pwn(os.system, f"touch {trap}"), protocol=2)
    for kind in ("checkpoint", "npz", "npy", "parquet", "csv", "yaml", "result", "snapshot"):
        yield kind, "a pickle", evil
    yield (
        "pt",
        "pickle in an archive",
        archive(
            {"archive/data.pkl": evil, "archive/version": b"3\n", "archive/byteorder": b"little"}
        ),
    )
    objects = io.BytesIO()
    np.savez(objects, edge_index=np.array([Pwn(os.system, f"touch {trap}")], dtype=object), x=1)
    for kind in ("npz", "snapshot"):
        yield kind, "array of objects", objects.getvalue()
    one = io.BytesIO()
    np.save(one, np.array([Pwn(os.system, f"touch {trap}")], dtype=object), allow_pickle=True)
    yield "npy", "array of objects", one.getvalue()

    for shape in ("(1000000000000, 4)", "(4611686018427387904, 2)", "(-3, 4)", "(3,)", "()"):
        yield "npy", f"shape {shape}", npy(shape)
        yield (
            "npz",
            f"shape {shape}",
            archive({"x.npy": npy(shape), "edge_index.npy": npy("(2, 8)")}),
        )
        yield "snapshot", f"shape {shape}", archive({"embedding.npy": npy(shape)})
    for dtype in ("|O", "<U9", "|V8", "<M8[s]", "<c16", "nonsense", "|b1"):
        yield "npy", f"type {dtype}", npy("(4, 4)", dtype, b"\0" * 1000)
        yield (
            "npz",
            f"type {dtype}",
            archive(
                {
                    "x.npy": npy("(4, 4)", dtype, b"\0" * 1000),
                    "edge_index.npy": npy("(2, 8)", "<i8"),
                }
            ),
        )
    for size in ("1000000000000", "-3", "1e9", "0", "12\n12", "9" * 5_000):
        yield "ogb size", f"of {size[:13]}", gzip.compress(size.encode())
    for kind in ("ogb size", "ogb edges", "ogb features", "ogb split"):
        for name, unit, times in (("lines", b"0,1\n", 80), ("one line", b"0,1,", 80)):
            yield kind, f"bomb of {name}", gzip.compress(unit * 1_000_000, 9) * times
        yield kind, "a pickle", gzip.compress(evil)
        yield kind, "nul", gzip.compress(b"0\0,1\n")
    for name, text in {
        "deep": "[" * 100_000,
        "deep mapping": '{"a":' * 100_000,
        "long number": '{"labels": ' + "9" * 10_000 + "}",
        "wide text": json.dumps({"features": [["9" * 2_000_000], *[["1"]] * 100_000]}),
        "wide labels": json.dumps({"labels": ["9" * 2_000_000, *["1"] * 100_000]}),
        "nested": json.dumps({"features": [[[[[[1]]]]]]}),
        "deep rows": '{"features": ' + "[" * 900 + "1" + "]" * 900 + "}",
        "a list": "[]",
    }.items():
        whole = json.loads(whole_wikics())
        try:
            content = {**whole, **json.loads(text)} if text.startswith('{"') else None
        except (ValueError, RecursionError):
            content = None
        yield "wikics", name, text.encode() if content is None else json.dumps(content).encode()
    yield "npy", "header length", b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b"{}"
    unpacked = bomb(npy("(80000000, 1)", tail=b""))
    for kind in ("npz", "pt", "snapshot"):
        yield kind, "bomb", unpacked
    parts = {"indices": np.zeros(1, np.int32), "data": np.ones(1), "format": np.array("csr")}
    wide = io.BytesIO()
    np.savez(wide, indptr=np.array([0, 1] + [1] * 2_000_000), shape=[2_000_001, 2**31 - 1], **parts)
    yield "features.npz", "sparse bomb", wide.getvalue()

    for length in (0, 1, 2**31, 2**40, 2**63, 2**64 - 1):
        yield "checkpoint", f"header of {length}", safetensors_file(b"{}", length, b"\0" * 64)
    huge = {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}
    for name, header in {
        "huge tensor": {"a": huge},
        "negative": {"a": {**huge, "shape": [-1]}},
        "overlap": {k: {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]} for k in "ab"},
        "no metadata": {},
        "odd metadata": {"__metadata__": {"format": 3}},
    }.items():
        yield "checkpoint", name, safetensors_file(json.dumps(header).encode(), None, b"\0" * 8)
    yield "checkpoint", "deep header", safetensors_file(b'{"a":' * 50_000)
    yield "checkpoint", "foreign", save({"weight": torch.ones(3)}, metadata={"format": "pt"})
    for state in ("[]", "3", "{", "null", "[" * 100_000, '{"a": ' * 20_000, "9" * 10_000):
        yield "checkpoint", f"state {state[:8]}", own_checkpoint(state)

    layers = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    laughs = ("a0: &a0 [lol]\n" + layers + "settings: {epochs: *a11}\n").encode()
    for name, content in {
        "laughs": laughs,
        "laughs in a known key": b"x: &x [a]\nmethod: grace\ndataset: *x\n",
        "python": f"a: !!python/object/apply:os.system ['touch {trap}']".encode(),
        "python name": b"method: !!python/name:os.system",
        "deep": b"a: " + b"[" * 20_000,
        "deep mapping": b"{a: " * 20_000,
        "a list": b"- 1\n- 2\n",
        "a word": b"grace\n",
        "date": b"method: 2020-99-99\n",
        "long number": b"seeds: " + b"9" * 5_000,
        "tab": b"\tmethod: grace\n",
        "same key": b"method: a\nmethod: b\n",
        "no string": b"? [a, b]\n: 3\n",
        "itself": b"a: &a\n  b: *a\n",
        "nan": b"method: grace\ndataset: cora\nseeds: .nan\n",
        "utf-16": "method: grace".encode("utf-16"),
        "null byte": b"method: gr\0ace\n",
    }.items():
        yield "yaml", name, content
    for name, content in {
        "deep": b"a = " + b"[" * 20_000,
        "long number": b"a = " + b"9" * 5_000,
        "keys": b"a.b.c = 1\na.b = 2\n",
        "nan": b"statistics = {users = nan}\n",
    }.items():
        yield "toml", name, content
    result = json.loads(whole_result())
    for name, change in {
        "metrics": {"metrics": []},
        "mean": {"metrics": {"accuracy": {"mean": "high"}}},
        "dataset": {"dataset": "cora"},
        "seeds": {"seeds": {"a": 1}},
        "protocol": {"protocol": {}},
    }.items():
        yield "result", name, json.dumps({**result, **change}).encode()
    for name, content in {
        "deep": b"[" * 100_000,
        "deep mapping": b'{"a":' * 100_000,
        "long number": b'{"method": ' + b"9" * 10_000 + b"}",
        "surrogate": b'{"method": "\\ud800"}',
        "list": b"[]",
        "null": b"null",
    }.items():
        yield "result", name, content
        yield "log", name, content + b"\n"
    for name, content in {
        "nul": b"user,item\n1,\x002\n",
        "long field": b"user,item\n1," + b"x" * 3_000_000 + b"\n",
        "open quote": b'user,item\n"1,2\n3,4\n' + b"5,6\n" * 1000,
        "wide": b",".join([b"user"] * 20_000) + b"\n",
        "no rows": b"user,item\n",
        "one column": b"user\n1\n",
        "nan": b"user,item,rating\n1,2,nan\n",
        "overflow": b"user,item,rating\n1,2,1e999\n",
        "long id": b"user,item\n" + b"9" * 5_000 + b",1\n",
        "time": b"user,item,rating,time\n1,2,3,99999999-01-01\n",
        "formula": b"user,item\n=cmd|' /C calc'!A0\n",
    }.items():
        yield "csv", name, content
        yield "edges", name, content
    yield "parquet", "footer length", b"PAR1" + struct.pack("<I", 2**31 - 1) + b"PAR1"
    yield "parquet", "nested", parquet(pd.DataFrame({"user": [[1], [2]], "item": [{"a": 1}] * 2}))
    yield "parquet", "binary", parquet(pd.DataFrame({"user": [b"\xff"] * 2, "item": [1, 2]}))
    yield "parquet", "nulls", parquet(pd.DataFrame({"user": [None, None], "item": [1, 2]}))
    same = pd.DataFrame(
        {"user": np.zeros(20_000_000, np.int8), "item": np.zeros(20_000_000, np.int8)}
    )
    yield "parquet", "bomb", parquet(same)
    for name, value in {
        "cycle": "l = []; l.append(l)",
        "number": 3,
        "text": "graph",
        "absurd edges": {"x": torch.ones(2, 2), "edge_index": torch.full((2, 3), 2**62)},
        "complex": {"x": torch.ones(2, 2, dtype=torch.cfloat), "edge_index": torch.ones(2, 2)},
        "sparse": {"x": torch.eye(2).to_sparse(), "edge_index": torch.tensor([[0], [1]])},
        "expanded": {"x": torch.ones(1, 1).expand(2**20, 2**22), "edge_index": torch.ones(2, 1)},
        "meta": {"x": torch.ones(9, 9, device="meta"), "edge_index": torch.zeros(2, 1).long()},
    }.items():
        buffer = io.BytesIO()
        torch.save(value, buffer)
        yield "pt", name, buffer.getvalue()


def parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


TRAP = "the-trap-was-sprung"


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str, bytes]]:
    """Every case as (kind of file, what is wrong with it, content)."""
    trap = tmp_path_factory.getbasetemp() / TRAP
    return [*damaged_cases(), *attacks(trap)]


class Hang(BaseException):
    """Not an Exception, so that no loader mistakes it for a damaged file."""


def rung(number: int, frame: object) -> None:
    raise Hang


@pytest.fixture
def alarm() -> Iterator[Callable[[float], None]]:
    before = signal.signal(signal.SIGALRM, rung)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds) and None
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def outcome(read: Callable[[Path], Any], path: Path) -> str:
    """ "" when the file is read, its sentence when it is refused, what went wrong otherwise."""
    try:
        read(path)
    except GraphclError as error:
        text = str(error)
        if not text or "\n" in text or len(text) > LONGEST_MESSAGE:
            return f"NO SENTENCE {type(error).__name__}: {text[:200]!r}"
        return text
    except Hang:
        return "HANG"
    except BaseException as error:
        return f"TRACEBACK {type(error).__name__}: {str(error)[:200]}"
    return ""


@pytest.mark.filterwarnings("ignore")
def test_no_file_runs_code_hangs_or_ends_in_a_traceback(cases, alarm, tmp_path):
    assert len(cases) >= 200
    wrong, refused = [], 0
    for number, (kind, name, content) in enumerate(cases):
        file, _, read = KINDS[kind]
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / file).write_bytes(content)
        alarm(SECONDS)
        said = outcome(read, folder / file)
        alarm(0)
        refused += bool(said)
        if said.startswith(("HANG", "TRACEBACK", "NO SENTENCE")):
            wrong.append(f"{kind}, {name}: {said}")
    assert not wrong, "\n".join(wrong)
    assert refused > 0.7 * len(cases)
    assert not (tmp_path.parent / TRAP).exists(), "code was run"


# ----------------------------------------------------------- the command line


@pytest.fixture
def command(monkeypatch, capsys):
    def call(*arguments: Any) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["graphcl", *map(str, arguments)])
        try:
            main()
            code: Any = 0
        except SystemExit as stop:
            code = stop.code or 0
        return code, capsys.readouterr().err

    return call


def refused(outcome: tuple[int, str]) -> bool:
    code, text = outcome
    return code == 2 and text.startswith("error: ") and text.count("\n") == 1


SMOKE = ["--set", "epochs=1", "--set", "evaluate_every=1"]


@pytest.mark.filterwarnings("ignore")
def test_the_command_line_refuses_them_too(cases, alarm, command, tmp_path):
    """The attacks on data and settings, each as a person would pass it."""
    first = len(list(damaged_cases()))
    trap = tmp_path.parent / TRAP
    for number, (kind, name, content) in enumerate(cases[first:]):
        path = tmp_path / str(number) / KINDS[kind][0]
        path.parent.mkdir()
        path.write_bytes(content)
        out = ["--out", path.parent / "out", *SMOKE]
        arguments = {
            "npz": ["run", "raw-features", path, *out],
            "pt": ["run", "raw-features", path, *out],
            "csv": ["run", "popularity", path, *out],
            "parquet": ["run", "popularity", path, *out],
            "yaml": ["run", "grace", "cora", "--config", path, *out],
            "result": ["report", path.parent, "-o", path.parent / "report.html"],
        }.get(kind)
        if arguments is None:
            continue
        alarm(SECONDS)
        outcome = command(*arguments)
        alarm(0)
        assert refused(outcome), (kind, name, outcome)
        assert not (path.parent / "out").exists()
        assert not (path.parent / "report.html").exists()
    assert not trap.exists(), "code was run"


@pytest.mark.filterwarnings("ignore")
def test_resume_refuses_every_bad_checkpoint(cases, alarm, command, tiny_graph, tmp_path):
    out = tmp_path / "run"
    run = ["run", "grace", tiny_graph, "--out", out, *SMOKE]
    assert command(*run)[0] == 0
    folder = out / "checkpoints" / "seed-0"
    whole = load_checkpoint(folder / "last.safetensors")
    (folder / "result.json").unlink()
    (folder / "previous.safetensors").unlink(missing_ok=True)
    bad = [(name, content) for kind, name, content in cases if kind == "checkpoint"]
    state = whole.state
    for name, change in {
        "no progress": {"progress": None},
        "odd progress": {"progress": {"epoch": 1, "seconds": 0, "nonsense": 3}},
        "no groups": {"optimizer_groups": []},
        "odd groups": {"optimizer_groups": 7},
        "no state": {},
    }.items():
        tensors = whole.tensors if name != "no state" else {}
        bad.append((name, own_checkpoint(json.dumps({**state, **change}), tensors)))
    short = {**whole.tensors, "random.generator": torch.zeros(3, dtype=torch.uint8)}
    bad.append(("short random state", own_checkpoint(json.dumps(state), short)))
    files = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for name, content in bad:
        for path, before in files.items():
            path.write_bytes(before)
        (folder / "last.safetensors").write_bytes(content)
        if not harmless(folder / "last.safetensors", whole):
            alarm(SECONDS)
            outcome = command(*run, "--resume")
            alarm(0)
            assert refused(outcome), (name, outcome)


def harmless(path: Path, whole: Any) -> bool:
    """Whether the damage left a file that says the same."""
    try:
        found = load_checkpoint(path)
    except GraphclError:
        return False
    return found.state == whole.state and found.tensors.keys() == whole.tensors.keys()
