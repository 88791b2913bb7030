"""Finished runs loaded back: the tested weights, to the bit, or one clear sentence."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
import yaml

import graphcl
from graphcl.app.export import export_run
from graphcl.errors import CheckpointError, ConfigError, DataError, GraphclError, MissingDataError
from graphcl.report.read import read_result, read_run
from graphcl.train.checkpoint import load_checkpoint


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of a finished run, to be spoilt."""
    return lambda name: shutil.copytree(finished[name], tmp_path / name)


@pytest.mark.parametrize("name", ["bpr", "sasrec", "ease", "grace", "raw-features"])
def test_what_loads_gives_the_numbers_that_were_measured(finished, name):
    loaded = graphcl.load_run(finished[name])
    stored = json.loads((finished[name] / "result.json").read_text())["metrics"]
    measured = loaded.specification.task.test(loaded.method, loaded.split)
    assert measured == {key: value["values"][0] for key, value in stored.items()}
    assert not loaded.method.training


def test_each_seed_has_its_own_weights_and_split(finished):
    first, second = (graphcl.load_run(finished["bpr"], seed=seed) for seed in (0, 1))
    assert not torch.equal(first.embed(), second.embed())
    assert first.data.content_hash() != second.data.content_hash()
    assert torch.equal(graphcl.load_run(str(finished["bpr"])).embed(), first.embed())
    with pytest.raises(ConfigError, match=r"has the seeds 0, 1 \(got seed 2\)"):
        graphcl.load_run(finished["bpr"], seed=2)


def test_the_best_epoch_is_loaded_not_the_last(finished, copied):
    folder = copied("bpr")
    record = json.loads((folder / "checkpoints/seed-0/result.json").read_text())
    path = folder / f"checkpoints/seed-0/{'best' if record['best_epoch'] else 'last'}.safetensors"
    weights = load_checkpoint(path).part("model")["embeddings"]
    assert torch.equal(graphcl.load_run(folder).method.embeddings, weights)


def test_paths_may_be_text(finished, odd_log, tmp_path):
    folder = str(finished["ease"])
    assert graphcl.load_run(folder, dataset=str(odd_log), data_root=str(tmp_path)).seed == 0
    assert read_result(folder).method == read_run(folder).result.method == "ease"
    done = export_run(folder, str(tmp_path / "out"), formats=("npz",), index=False, encoder=False)
    assert (done.folder / "items.npz").exists()


def test_loading_does_not_touch_the_callers_random_numbers(finished):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    graphcl.load_run(finished["grace"])
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_to_load(tmp_path, finished, copied):
    with pytest.raises(MissingDataError, match="no run folder"):
        graphcl.load_run(tmp_path / "nowhere")
    folder = copied("bpr")
    (folder / "result.json").unlink()
    with pytest.raises(MissingDataError, match="did not finish"):
        graphcl.load_run(folder)


def test_other_data_are_refused(odd_log, tmp_path, copied):
    changed = shutil.copytree(odd_log, tmp_path / "changed")
    with (changed / "ratings.csv").open("a", encoding="utf-8") as file:
        file.write("new,caf\u00e9,5,1\n")
    with pytest.raises(DataError, match="is not the one that '"):
        graphcl.load_run(copied("sasrec"), dataset=str(changed))


def test_data_that_moved_are_named(odd_log, tmp_path, copied):
    folder = copied("bpr")
    path = folder / "config.yaml"
    content = yaml.safe_load(path.read_text())
    moved = shutil.copytree(odd_log, tmp_path / "elsewhere")
    assert graphcl.load_run(folder, dataset=str(moved)).data.num_users == 16
    path.write_text(yaml.safe_dump(content | {"dataset": str(tmp_path / "gone.csv")}))
    with pytest.raises(MissingDataError, match=r"gone\.csv"):
        graphcl.load_run(folder)
    # Where the data are is no setting: what they hold is compared.
    path.write_text(yaml.safe_dump(content | {"dataset": str(moved)}))
    assert graphcl.load_run(folder).data.num_users == 16


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"settings": {"dimension": 16}}, "does not hold the settings and data"),
        ({"settings": {"l2": 3.0}}, "does not hold the settings and data"),
        ({"settings": {"dimensions": 8}}, "did you mean 'dimension'"),
        ({"settings": "none"}, "'settings' is not valid"),
        ({"method": "bprr"}, "did you mean 'bpr'"),
        ({"method": "grace"}, "grace does not serve the task 'ranking'"),
        ({"task": "os:system"}, "unknown task"),
        ({"protocol": "other"}, "unknown ranking protocol"),
        ({"seeds": [-1]}, "seeds must be"),
        ({"seeds": "all"}, "'seeds' is not valid"),
        ({"extra": 1}, "unknown setting 'extra'"),
    ],
)
def test_a_changed_config_is_refused(copied, change, words):
    folder = copied("bpr")
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | change))
    with pytest.raises(GraphclError, match=words) as caught:
        graphcl.load_run(folder)
    assert isinstance(caught.value, ConfigError | CheckpointError)
    assert "config.yaml" in str(caught.value)


def test_damaged_and_foreign_weights_are_refused(copied, tmp_path):
    class Attack:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "attacked",))

    folder = copied("bpr")
    seed = folder / "checkpoints" / "seed-0"
    path = seed / "best.safetensors"
    whole = path.read_bytes()
    for content in (whole[:-1], whole[:100] + b"\xff" + whole[101:], b"", pickle.dumps(Attack())):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"best\.safetensors"):
            graphcl.load_run(folder)
    path.unlink()
    with pytest.raises(CheckpointError, match="no checkpoint"):
        graphcl.load_run(folder)
    shutil.copy(folder / "checkpoints" / "seed-1" / "best.safetensors", path)
    with pytest.raises(CheckpointError, match="other settings or other data"):
        graphcl.load_run(folder)
    (seed / "result.json").write_text("{")
    with pytest.raises(CheckpointError, match="no readable result of seed 0"):
        graphcl.load_run(folder)
    assert not (tmp_path / "attacked").exists()


def test_named_columns_are_kept(train, tmp_path):
    rows = [f"w{user},x{(user + time) % 6},{time}" for user in range(8) for time in range(5)]
    log = tmp_path / "log.csv"
    log.write_text("\n".join(["who,what,when", *rows]) + "\n")
    columns = {"user": "who", "item": "what", "time": "when"}
    folder = train("popularity", log, tmp_path / "run", task="next-item", columns=columns)
    assert graphcl.load_run(folder).recommendations.for_users(["w3"], 1)["rank"].tolist() == [1]


def test_a_graph_run_recommends_nothing(finished):
    loaded = graphcl.load_run(finished["grace"])
    with pytest.raises(ConfigError, match="no users and items"):
        loaded.recommendations.for_users([1])


def test_recommendations_leave_out_disliked_and_held_out_items(finished):
    loaded = graphcl.load_run(finished["bpr"])
    # User 3 rated 日本 below the protocol's minimum: unknown to the method, known to the user.
    assert "日本" in loaded.recommendations.for_users(["user 12"], 10)["item"].tolist()
    assert "日本" not in loaded.recommendations.for_users(["user 3"], 10)["item"].tolist()
    assert len(loaded.recommendations.for_users(["user 3"], 10)) == 2
    assert len(loaded.recommendations.for_users(["user 3"], 10, seen="keep")) == 10
