"""Exports: whole or not at all, the caller's ids, the same numbers in a fresh process."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import graphcl
from graphcl.app import export
from graphcl.app.export import export_run
from graphcl.errors import CheckpointError, ConfigError, MissingDataError, OutputError


@pytest.fixture(scope="module")
def exported(finished, tmp_path_factory) -> dict[str, Path]:
    """Every finished run, exported whole, by method."""
    root = tmp_path_factory.mktemp("exports")
    return {name: export_run(run, root / name).folder for name, run in finished.items()}


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_is_written(exported):
    always = {"model.safetensors", "config.yaml", "result.json", "README.md"}
    tables = {"users.parquet", "users.npz", "items.parquet", "items.npz"}
    index = {"items.faiss"} if export._has_faiss() else set()
    nodes = {"nodes.parquet", "nodes.npz"}
    assert files(exported["bpr"]) == always | tables | index
    assert files(exported["sasrec"]) == always | tables | index | {"encoder.pt2"}
    assert files(exported["ease"]) == always | index | {"items.parquet", "items.npz"}
    assert files(exported["grace"]) == always | nodes | {"encoder.pt2"}
    assert files(exported["raw-features"]) == always | nodes


FRESH = """
import json, sys
import graphcl

for folder, out in json.loads(sys.argv[1]):
    loaded = graphcl.load_run(folder)
    embedding = loaded.embed()

    import numpy
    vectors = {name: table.vectors for name, table in loaded.tables().items()}
    numpy.savez(out + ".npz", embedding=embedding.numpy(), **vectors)
    if "users" in vectors:
        loaded.recommendations.for_users(["user 3", "user 11"], 4).to_json(out + ".json")
"""


def test_a_fresh_process_loads_the_same_numbers(finished, exported, tmp_path):
    names = ("sasrec", "grace")
    moved = {n: shutil.copytree(exported[n], tmp_path / f"anywhere {n}") for n in names}
    work = json.dumps([[str(moved[name]), str(tmp_path / name)] for name in names])
    subprocess.run([sys.executable, "-c", FRESH, work], check=True)
    for name in names:
        loaded = graphcl.load_run(finished[name])
        with np.load(tmp_path / f"{name}.npz") as fresh:
            assert np.array_equal(fresh["embedding"], loaded.embed().numpy())
            for key, table in loaded.tables().items():
                assert np.array_equal(fresh[key], table.vectors)
                with np.load(moved[name] / f"{key}.npz") as stored:
                    assert np.array_equal(stored["vector"], table.vectors)
    expected = graphcl.load_run(finished["sasrec"]).recommendations
    expected = expected.for_users(["user 3", "user 11"], 4)
    fresh = pd.read_json(tmp_path / "sasrec.json")
    assert fresh["item"].tolist() == expected["item"].tolist()
    assert np.allclose(fresh["score"], expected["score"], atol=1e-9)


@pytest.mark.parametrize("name", ["bpr", "ease", "raw-features"])
def test_an_export_is_a_run_of_one_seed(finished, exported, name):
    loaded, again = graphcl.load_run(finished[name]), graphcl.load_run(exported[name])
    assert torch.equal(loaded.embed(), again.embed())
    assert loaded.fingerprint == again.fingerprint
    state, copy = loaded.method.state_dict(), again.method.state_dict()
    assert state.keys() == copy.keys()
    assert all(torch.equal(state[key], copy[key]) for key in state)
    with pytest.raises(ConfigError, match="has the seeds 0"):
        graphcl.load_run(exported[name], seed=1)


def test_another_seed_and_an_export_of_an_export(finished, tmp_path):
    done = export_run(finished["bpr"], tmp_path / "one", seed=1, index=False)
    again = export_run(tmp_path / "one", tmp_path / "two", index=False)
    assert graphcl.load_run(again.folder).seed == 1
    first, second = ((folder.folder / "items.npz").read_bytes() for folder in (done, again))
    assert first == second
    assert "These weights (seed 1)" in (done.folder / "README.md").read_text()


def test_tables_hold_the_callers_ids_and_titles(finished, exported):
    log = graphcl.load_run(finished["bpr"]).data
    for name, ids, titles in (("users", log.user_ids, None), ("items", log.item_ids, log.titles)):
        frame = pd.read_parquet(exported["bpr"] / f"{name}.parquet")
        with np.load(exported["bpr"] / f"{name}.npz", allow_pickle=False) as arrays:
            assert frame["id"].tolist() == arrays["id"].tolist() == ids.tolist()
            assert np.array_equal(np.stack(frame["vector"]), arrays["vector"])
            assert arrays["vector"].dtype == np.float32
            assert ("title" in arrays) == ("title" in frame) == (titles is not None)
            if titles is not None:
                assert frame["title"].tolist() == arrays["title"].tolist() == titles.tolist()
    assert "caf\u00e9, 3" in log.item_ids
    assert "The [red] 3: A/B, \u00bd" in log.titles
    nodes = pd.read_parquet(exported["grace"] / "nodes.parquet")
    assert nodes["id"].tolist() == [f"n\u00f8de {number}" for number in range(30)]


def test_numbered_ids_stay_numbers(train, tiny_graph, tmp_path):
    folder = train("raw-features", tiny_graph, tmp_path / "run")
    export_run(folder, tmp_path / "out")
    assert pd.read_parquet(tmp_path / "out" / "nodes.parquet")["id"].tolist() == list(range(60))


@pytest.mark.parametrize("name", ["bpr", "sasrec"])
def test_exported_vectors_give_the_methods_scores(finished, exported, name):
    loaded = graphcl.load_run(finished[name])
    with np.load(exported[name] / "users.npz") as users, np.load(exported[name] / "items.npz") as i:
        product = users["vector"] @ i["vector"].T
        rows = {user: row for row, user in enumerate(users["id"].tolist())}
        columns = {item: column for column, item in enumerate(i["id"].tolist())}
    found = loaded.recommendations.for_users(list(rows), len(columns), seen="keep")
    assert len(found) == product.size
    own = [product[rows[u], columns[i]] for u, i in zip(found["user"], found["item"], strict=True)]
    assert np.allclose(found["score"], own, atol=1e-6)


@pytest.mark.parametrize("name", ["bpr", "ease"])
def test_faiss_finds_what_brute_force_finds(exported, name):
    faiss = pytest.importorskip("faiss", reason="needs the extra ann")
    index = faiss.read_index(str(exported[name] / "items.faiss"))
    with np.load(exported[name] / "items.npz") as arrays:
        items = arrays["vector"]
    if name == "bpr":
        with np.load(exported[name] / "users.npz") as arrays:
            queries = arrays["vector"]
    else:
        queries = items = items / np.linalg.norm(items, axis=1, keepdims=True)
    scores, neighbours = index.search(queries, 4)
    exact = queries @ items.T
    assert np.allclose(scores, -np.sort(-exact, axis=1)[:, :4], atol=1e-5)
    assert np.allclose(np.take_along_axis(exact, neighbours, axis=1), scores, atol=1e-5)


def test_the_encoder_of_a_sequence_method(finished, exported):
    encoder = torch.export.load(exported["sasrec"] / "encoder.pt2").module()
    loaded = graphcl.load_run(finished["sasrec"])
    with np.load(exported["sasrec"] / "users.npz") as users:
        own = users["vector"]
    known = loaded.split.extra["known"].open().history
    assert known.item_ids.tolist() == loaded.data.item_ids.tolist()
    for user in range(3):
        items = known.history(user)[-5:].long()[None]
        for filled in (0, 5 - items.shape[1]):  # up to max_length
            padded = torch.nn.functional.pad(items, (0, filled))
            lengths = torch.tensor([items.shape[1]])
            assert np.allclose(encoder(padded, lengths)[0].detach(), own[user], atol=1e-6)
    one, many = torch.zeros(1, 1, dtype=torch.int64), torch.zeros(7, 3, dtype=torch.int64)
    assert encoder(one, torch.ones(1, dtype=torch.int64)).shape == (1, 8)
    assert encoder(many, torch.full((7,), 2)).shape == (7, 8)


def test_the_encoder_of_a_graph_method_takes_other_graphs(finished, exported):
    encoder = torch.export.load(exported["grace"] / "encoder.pt2").module()
    loaded = graphcl.load_run(finished["grace"])
    data = loaded.data
    assert torch.allclose(encoder(data.x, data.edge_index), loaded.embed(), atol=1e-6)
    other = data.clone()
    other.x, other.edge_index = torch.rand(5, 12), torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]])
    assert torch.allclose(encoder(other.x, other.edge_index), loaded.method.embed(other), atol=1e-6)


@pytest.mark.parametrize("name", ["sasrec", "grace"])
def test_an_encoder_file_tells_nothing_of_the_machine_or_the_data(exported, name):
    with zipfile.ZipFile(exported[name] / "encoder.pt2") as archive:
        content = b"".join(archive.read(member) for member in archive.namelist())
    assert str(Path(graphcl.__file__).parent).encode() not in content
    assert str(Path(torch.__file__).parent).encode() not in content
    program = torch.export.load(exported[name] / "encoder.pt2")
    assert all(len(example.unique()) <= 2 for example in program.example_inputs[0])


def test_gru4rec_has_an_encoder_of_fixed_length(train, odd_log, tmp_path):
    settings = ("epochs=0", "dimension=4", "max_length=4")
    done = export_run(train("gru4rec", odd_log, tmp_path / "run", *settings), tmp_path / "out")
    encoder = torch.export.load(done.folder / "encoder.pt2").module()
    items, lengths = torch.tensor([[1, 2, 3, 4]]), torch.tensor([4])
    method = graphcl.load_run(done.folder).method
    assert torch.allclose(encoder(items, lengths), method.encoder.last(items, lengths), atol=1e-6)
    assert "(batch, 4)" in done.files["encoder.pt2"]


def test_the_card_tells_what_one_needs_to_know(exported):
    card = (exported["bpr"] / "README.md").read_text(encoding="utf-8")
    for words in (
        "# bpr on my logs", "random-8-1-1", "seeds 0, 1", "recall@20", " ± ", "popularity",
        'graphcl.load_run("bpr")', "recommendations.for_users(['user 0'], k=10)", "inner product",
        "Licence of the data: not known", "Limitations", torch.__version__, "No encoder.pt2",
    ):  # fmt: skip
        assert words in card, words
    assert "no inner products" in (exported["ease"] / "README.md").read_text()
    card = (exported["grace"] / "README.md").read_text()
    assert "One seed (0), so there is no spread" in card
    assert "30 nodes" in card
    assert str(exported["bpr"].parent) not in card


def test_python_in_the_card_runs(exported):
    import re

    for name in ("bpr", "sasrec", "grace"):
        blocks = re.findall(
            r"```python\n(.*?)```", (exported[name] / "README.md").read_text(), re.S
        )
        assert len(blocks) >= 2
        names: dict = {}
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(exported[name].parent)
            for block in blocks:
                exec(compile(block, "README.md", "exec"), names)
        assert len(names["vectors"]) > 0


# ------------------------------------------------------ whole or not at all


def test_a_target_that_is_used_or_cannot_be_written(finished, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    (full / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for target, words in (
        (full, "is not empty"),
        (tmp_path / "file", "not a folder"),
        (tmp_path / "file" / "below", "cannot write"),
    ):
        with pytest.raises(OutputError, match=words):
            export_run(finished["bpr"], target)
    assert files(tmp_path) == {"full", "file"}
    assert files(full) == {"notes.txt"}
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "README.md" in files(export_run(finished["raw-features"], empty).folder)
    assert not [name for name in files(tmp_path) if name.startswith(".")]


@pytest.mark.parametrize(
    "error", [OutputError("disk full"), KeyboardInterrupt(), RuntimeError("x")]
)
def test_nothing_is_left_of_an_export_that_fails(finished, tmp_path, monkeypatch, error):
    def fail(content):
        raise error

    monkeypatch.setattr(export, "model_card", fail)  # the last file
    with pytest.raises(type(error)):
        export_run(finished["raw-features"], tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_a_run_that_did_not_finish(finished, tmp_path):
    run = shutil.copytree(finished["bpr"], tmp_path / "run")
    (run / "result.json").unlink()
    with pytest.raises(MissingDataError, match="did not finish"):
        export_run(run, tmp_path / "out")
    assert files(tmp_path) == {"run"}


def test_faiss_and_formats_are_choices(finished, tmp_path, monkeypatch):
    done = export_run(finished["bpr"], tmp_path / "npz", formats=["npz"], index=False)
    assert not {"items.parquet", "items.faiss"} & files(done.folder)
    monkeypatch.setattr(export, "_has_faiss", lambda: False)
    done = export_run(finished["bpr"], tmp_path / "without", formats=["parquet"])
    assert any("graphcl[ann]" in sentence for sentence in done.sentences)
    assert "items.faiss" not in files(done.folder)
    with pytest.raises(ConfigError, match=r"graphcl\[ann\]"):
        export_run(finished["bpr"], tmp_path / "x", index=True)
    with pytest.raises(ConfigError, match="unknown format 'parket'; did you mean 'parquet'"):
        export_run(finished["bpr"], tmp_path / "x", formats=["parket"])
    assert not (tmp_path / "x").exists()


def test_an_encoder_that_torch_cannot_follow_is_a_sentence(finished, tmp_path, monkeypatch):
    def fail(portable):
        raise RuntimeError("data-dependent\n branch")

    monkeypatch.setattr(export, "exported_program", fail)
    done = export_run(finished["sasrec"], tmp_path / "out")
    (sentence,) = (text for text in done.sentences if "encoder" in text)
    assert sentence == "No encoder.pt2: torch.export cannot follow sasrec (data-dependent branch)."
    assert sentence in (done.folder / "README.md").read_text()


def test_damaged_and_foreign_exports_are_refused(exported, tmp_path):
    class Attack:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "attacked",))

    folder = shutil.copytree(exported["bpr"], tmp_path / "export")
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    flipped = bytearray(whole)
    flipped[-3] ^= 1
    for content in (bytes(flipped), whole[:-4], b"", pickle.dumps(Attack())):
        weights.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"model\.safetensors"):
            graphcl.load_run(folder)
    for other, words in (("sasrec", "does not fit|other settings"), ("ease", "other settings")):
        shutil.copy(exported[other] / "model.safetensors", weights)
        with pytest.raises(CheckpointError, match=words):
            graphcl.load_run(folder)
    weights.write_bytes(whole)
    result = json.loads((folder / "result.json").read_text())
    result["dataset"]["users"] += 1
    (folder / "result.json").write_text(json.dumps(result))
    with pytest.raises(CheckpointError, match="other settings or other data"):
        graphcl.load_run(folder)
    assert not (tmp_path / "attacked").exists()
