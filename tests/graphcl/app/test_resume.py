"""What --resume and loading do with a finished run, a damaged one, and one too large to build."""

from __future__ import annotations

import json
import resource
import shutil

import pytest
import torch
import yaml

import graphcl
from graphcl.config import fingerprint
from graphcl.errors import CheckpointError, TooLargeError
from graphcl.methods.grace import GRACE
from graphcl.train.checkpoint import load_checkpoint, save_checkpoint

SMOKE = ["--set", "epochs=2", "--set", "evaluate_every=1"]
TOO_MANY = 2**31 - 1


def result_of(out):
    return json.loads((out / "result.json").read_text())


def change(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.fixture
def graph_run(finished, named_graph, tmp_path):
    """A finished run of one seed, and the command that goes on with it."""
    out = shutil.copytree(finished["grace"], tmp_path / "run")
    return out, ["run", "grace", named_graph, "--out", out, *SMOKE, "--set", "dimension=8"]


@pytest.fixture
def little_memory():
    """Eight gigabytes more than now: an allocation beyond fails, whatever the machine has."""
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 8 * 2**30, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


class LaterConfig(GRACE.Config):
    """GRACE's settings and one that a later version has."""

    later: bool = False


def test_a_run_of_before_a_setting_came_goes_on(command, refused, graph_run, monkeypatch):
    out, run = graph_run
    before = result_of(out)["metrics"]["accuracy"]["values"]
    stored = (out / "config.yaml").read_text()
    monkeypatch.setattr(GRACE, "Config", LaterConfig)
    refused(command(*run, "--resume", "--set", "later=true"), "settings.later was None, now True")
    assert command(*run, "--resume", "--seeds", 2)[0] == 0
    assert result_of(out)["metrics"]["accuracy"]["values"][:1] == before
    assert (out / "config.yaml").read_text() == stored.replace("- 0\n", "- 0\n- 1\n")
    # Its second seed belongs to the same run, whichever version goes on with it.
    monkeypatch.undo()
    assert "nothing was run" in command(*run, "--resume", "--seeds", 2)[1]
    assert graphcl.load_run(out, seed=1).method.config.epochs == 2


def test_a_finished_run_is_left_as_it_is(command, graph_run):
    out, run = graph_run
    files = {path: path.stat() for path in out.rglob("*") if path.is_file()}
    code, printed, _ = command(*run, "--resume", "--checkpoint-seconds", 3)
    assert code == 0
    assert printed.count("is complete: nothing was run or changed") == 1
    after = {path: path.stat() for path in out.rglob("*") if path.is_file()}
    for path, before in files.items():
        # A file that is written again is another one, whatever it holds.
        assert (after[path].st_ino, after[path].st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert after.keys() == files.keys()


def test_a_resumed_run_says_where_each_seed_ran(command, graph_run):
    out, run = graph_run
    before = result_of(out)
    assert "parts" not in before
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        assert command(*run, "--resume", "--seeds", 2)[0] == 0
    finally:
        torch.set_num_threads(threads)
    result = result_of(out)
    for key in ("started", "command", "threads", "processes", "versions"):
        assert result[key] == before[key]
    assert [part["seeds"] for part in result["parts"]] == [[0], [1]]
    assert [part["threads"] for part in result["parts"]] == [threads, threads + 1]
    assert "--resume" not in result["command"]
    assert "--resume" in result["parts"][1]["command"]


@pytest.mark.parametrize("damage", ["{", json.dumps({"seeds": [0]}), None])
def test_a_damaged_result_is_put_together_again(command, graph_run, damage):
    out, run = graph_run
    before = result_of(out)
    if damage is None:
        metrics = {**before["metrics"], "accuracy": {"mean": 1.0, "std": 0.0, "values": [1.0]}}
        change(out / "result.json", metrics=metrics)
    else:
        (out / "result.json").write_text(damage)
    assert command(*run, "--resume")[0] == 0
    assert result_of(out) == before


def test_a_best_file_of_another_run_is_not_tested(command, graph_run):
    out, run = graph_run
    seed = out / "checkpoints" / "seed-0"
    before = result_of(out)["metrics"]
    best = load_checkpoint(seed / "best.safetensors")
    zeros = {name: torch.zeros_like(value) for name, value in best.tensors.items()}
    save_checkpoint(seed / "best.safetensors", zeros, {**best.state, "fingerprint": "another"})
    (seed / "result.json").unlink()
    (out / "result.json").unlink()
    assert command(*run, "--resume")[0] == 0
    assert result_of(out)["metrics"] == before
    restored = load_checkpoint(seed / "best.safetensors")
    assert all(restored.tensors[name].equal(value) for name, value in best.tensors.items())


def test_a_deleted_best_file_names_the_way_on(command, graph_run):
    out, run = graph_run
    seed = out / "checkpoints" / "seed-0"
    tested = graphcl.load_run(out).embed()
    (seed / "best.safetensors").unlink()
    way = rf"no checkpoint.*delete '{seed / 'result.json'}', and the same `graphcl run` with --res"
    with pytest.raises(CheckpointError, match=way):
        graphcl.load_run(out)
    (seed / "result.json").unlink()
    assert command(*run, "--resume")[0] == 0
    assert torch.equal(graphcl.load_run(out).embed(), tested)


def test_a_best_file_of_another_epoch_is_not_loaded(graph_run):
    out, _ = graph_run
    change(out / "checkpoints" / "seed-0" / "result.json", best_epoch=77)
    with pytest.raises(CheckpointError, match="but 77 was tested; delete"):
        graphcl.load_run(out)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"metrics": {}}, ["metrics", "got {}"]),
        ({"metrics": {"accuracy": "high"}}, ["metrics.accuracy", "'high'"]),
        ({"metrics": {"f1": 0.5}}, ["without metrics accuracy"]),
        ({"baselines": {}}, ["without baselines raw-features"]),
        ({"seconds": "fast"}, ["seconds", "'fast'"]),
        ({"seconds": float("nan")}, ["seconds"]),
        ({"seconds": 1e300}, ["seconds"]),
        ({"metrics": {"accuracy": float("nan")}}, ["metrics.accuracy", "nan"]),
        ({"validation": {"accuracy": float("inf")}}, ["validation.accuracy", "inf"]),
        ({"epochs": -1}, ["epochs", "-1"]),
        ({"seed": 3}, ["of seed 3"]),
        ({"parts": [1]}, ["parts.0"]),
    ],
)
def test_a_damaged_seed_record_names_the_way_on(refused, command, graph_run, values, words):
    out, run = graph_run
    before = result_of(out)["metrics"]
    record = out / "checkpoints" / "seed-0" / "result.json"
    change(record, **values)
    refused(command(*run, "--resume"), str(record), "is damaged", f"delete '{record}'", *words)
    record.unlink()
    assert command(*run, "--resume")[0] == 0
    assert result_of(out)["metrics"] == before


def test_records_that_disagree_are_named(refused, command, graph_run):
    out, run = graph_run
    record = out / "checkpoints" / "seed-0" / "result.json"
    metrics = json.loads(record.read_text())["metrics"]
    change(record, metrics={"accuracy": metrics["accuracy"]})
    refused(command(*run, "--resume", "--seeds", 2), str(record), "without metrics")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (f"dimension={TOO_MANY}", ["more memory than there is"]),
        ("dimension=2e20", ["'dimension'", "2e20"]),
        ("dimension=200000000000000000000", ["'dimension'", "at most 2147483647"]),
        (f"dimension={'9' * 400}", ["'dimension'"]),
        ("batch_size=1.0e+20", ["'batch_size'", "1e+20"]),
        ("learning_rate=1e300", ["'learning_rate'", "at most 1e+30"]),
        ("weight_decay=.inf", ["'weight_decay'", "at most 1e+30"]),
    ],
)
def test_sizes_that_no_machine_holds(
    refused, command, little_memory, tiny_log, tmp_path, setting, words
):
    out = tmp_path / "run"
    refused(command("run", "lightgcn", tiny_log, "--out", out, "--set", setting), *words)
    assert not out.exists()


def test_an_export_that_would_fill_the_memory(command, finished, little_memory, tmp_path):
    folder = tmp_path / "export"
    assert command("export", finished["bpr"], "-o", folder)[0] == 0
    path = folder / "config.yaml"
    content = yaml.safe_load(path.read_text())
    content["settings"]["dimension"] = TOO_MANY
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(CheckpointError, match="belongs to other settings"):
        graphcl.load_run(folder)
    weights = load_checkpoint(folder / "model.safetensors")
    dataset = json.loads((folder / "result.json").read_text())["dataset"]
    forged = fingerprint({**content, "seeds": weights.state["seed"], "dataset": dataset})
    state = {**weights.state, "fingerprint": forged}
    save_checkpoint(folder / "model.safetensors", weights.tensors, state)
    with pytest.raises(TooLargeError, match="more memory than there is"):
        graphcl.load_run(folder)


def test_a_run_whose_settings_were_changed_is_refused_before_it_is_built(
    finished, little_memory, tmp_path
):
    folder = shutil.copytree(finished["bpr"], tmp_path / "bpr")
    path = folder / "config.yaml"
    content = yaml.safe_load(path.read_text())
    content["settings"]["dimension"] = TOO_MANY
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(CheckpointError, match="does not hold the settings and data"):
        graphcl.load_run(folder)


def test_a_trial_that_no_memory_holds_is_pruned_with_its_reason(
    command, little_memory, tiny_log, tmp_path
):
    import optuna

    out = tmp_path / "tune"
    code, printed, text = command(
        "tune", "lightgcn", tiny_log, "--out", out, *SMOKE, "--set", "batch_size=512",
        "--search", f"dimension=[8, {TOO_MANY}]", "--trials", 4, "--no-test",
    )  # fmt: skip
    assert code == 0, text
    assert "not possible (this takes more memory than there is" in printed
    storage = f"sqlite:///{out / 'study.db'}"
    study = optuna.load_study(study_name=None, storage=storage)
    pruned = [one for one in study.trials if one.state == optuna.trial.TrialState.PRUNED]
    assert len(study.trials) == 4
    assert pruned
    assert all("more memory" in one.user_attrs["reason"] for one in pruned)
