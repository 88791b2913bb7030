"""The command line in one process: what it writes, and one clear sentence for every mistake."""

from __future__ import annotations

import inspect
import json
import os
import resource
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from graphcl.app.catalogue import load_class, method_table, task_table
from graphcl.app.environment import forget_peak_device_memory, peak_device_memory_bytes
from graphcl.app.folder import RunFolder
from graphcl.app.settings import specify

SMOKE = ["--set", "epochs=2", "--set", "evaluate_every=1"]


def load_method(name):
    return load_class("method", name, method_table())


def test_run_writes_the_documented_result(command, tiny_graph, tmp_path):
    out = tmp_path / "run"
    code, printed, _ = command("run", "grace", tiny_graph, *SMOKE, "--seeds", 2, "--out", out)
    assert code == 0
    assert "raw-features" in printed
    assert "random-encoder" in printed
    result = json.loads((out / "result.json").read_text())
    assert result["method"] == "grace"
    assert result["protocol"]["name"] == "random-10-10-80"
    assert result["seeds"] == [0, 1]
    assert len(result["metrics"]["accuracy"]["values"]) == 2
    assert result["baselines"].keys() == {"raw-features", "random-encoder", "supervised-gcn"}
    assert len(result["dataset"]["hash"]) >= 12
    assert {"torch", "python", "graphcl"} <= result["versions"].keys()
    assert result["parameters"] > 0
    assert result["peak_memory_bytes"] > 0
    assert result["peak_device_memory_bytes"] is None
    assert str(tiny_graph.parent.parent) not in json.dumps(result["dataset"])
    settings = yaml.safe_load((out / "config.yaml").read_text())
    assert settings["settings"]["epochs"] == 2
    with np.load(out / "snapshot.npz") as snapshot:
        assert len(snapshot["embedding"]) == len(snapshot["colour"]) == 60
    assert (out / "checkpoints" / "seed-1" / "last.safetensors").exists()


def test_the_peak_of_a_gpu_is_that_of_the_seeds(command, tiny_graph, tmp_path, monkeypatch):
    out, held = tmp_path / "run", iter([300, 500, 400])
    calls = []
    monkeypatch.setattr(
        "graphcl.app.run.forget_peak_device_memory", lambda device: calls.append("forget")
    )
    monkeypatch.setattr(
        "graphcl.app.run.peak_device_memory_bytes",
        lambda device: calls.append("read") or next(held),
    )
    command("run", "grace", tiny_graph, *SMOKE, "--seeds", 3, "--out", out)
    assert calls == ["forget", "read"] * 3
    assert json.loads((out / "result.json").read_text())["peak_device_memory_bytes"] == 500


def test_cuda_is_asked_for_its_peak_and_no_other_device(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", asked.append)
    monkeypatch.setattr(
        torch.cuda, "max_memory_allocated", lambda device: asked.append(device) or 7
    )
    for device in (torch.device("cpu"), torch.device("cuda", 1)):
        forget_peak_device_memory(device)
    assert asked == [torch.device("cuda", 1)]
    assert peak_device_memory_bytes(torch.device("cuda", 1)) == 7
    assert peak_device_memory_bytes(torch.device("cpu")) is None


def test_off_a_terminal_a_line_now_and_then(command, tiny_graph, tmp_path, monkeypatch):
    settings = ("epochs=4", "evaluate_every=2", "dimension=8")
    run = ("run", "grace", tiny_graph, *(part for text in settings for part in ("--set", text)))
    code, quiet, _ = command(*run, "--out", tmp_path / "quiet")
    assert (code, ": epoch " in quiet) == (0, False)
    monkeypatch.setattr("graphcl.app.progress.SECONDS_BETWEEN_LINES", 0.0)
    code, text, _ = command(*run, "--out", tmp_path / "told")
    told = [line for line in text.splitlines() if ": epoch " in line]
    assert [line.split(": epoch ")[1][:6] for line in told] == [f"{n} of 4" for n in range(1, 5)]
    assert "best" not in told[1]
    assert "  loss " in told[2]
    assert told[2].endswith("at 2")


def test_every_shipped_config_is_valid():
    from pathlib import Path

    from graphcl.resources import configs_folder

    files = sorted(Path(configs_folder()).rglob("*.yaml"))
    assert len(files) >= 5
    for file in files:
        content = yaml.safe_load(file.read_text())
        specification = specify(content["method"], content["dataset"], config=file)
        assert specification.task.name == content["task"]
        assert specification.protocol == content["protocol"]
        assert content["source"]


def test_the_first_lines_of_a_config_have_the_command_that_repeats_it():
    from graphcl.resources import configs_folder

    for file in sorted(configs_folder().glob("*/*.yaml")):
        content = yaml.safe_load(file.read_text())
        where = f"configs/{file.parent.name}/{file.name}"
        command = f"#   graphcl run {content['method']} {content['dataset']} --config {where}"
        assert file.parent.name == "demo" or f"{command}\n" in file.read_text(), where


def test_another_host_does_not_get_the_settings_of_the_config_s():
    assert specify("pot", "cora").settings.host_settings["mask_features_1"] == 0.0
    assert specify("pot", "cora", overrides=["host=grace"]).settings.host_settings
    for host in ("cca-ssg", "gca", "two-view"):
        settings = specify("pot", "cora", overrides=[f"host={host}", "kappa=0.2"]).settings
        assert (settings.host_settings, settings.kappa) == ({}, 0.2)
    given = ["host=gca", "host_settings.temperature=0.3"]
    for overrides in (given, given[::-1]):
        settings = specify("pot", "cora", overrides=overrides).settings
        assert settings.host_settings == {"temperature": 0.3}


def test_a_found_config_gives_settings_and_a_named_one_everything(command, tmp_path):
    found = specify("grace", "citeseer", overrides=["epochs=1"])
    assert (found.settings.dimension, found.settings.epochs, found.seeds) == (256, 1, (0,))
    named = specify("grace", "citeseer", config=found.settings_file, seeds=None)
    written = yaml.safe_load(found.settings_file.read_text())
    assert (named.protocol, len(named.seeds)) == ("grace-10-90", written["seeds"])
    assert specify("grace", "citeseer", config=found.settings_file, seeds=2).seeds == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "grase", "cora"], ["unknown method 'grase'", "'grace'"]),
        (["run", "grace", "coraa"], ["coraa", "'cora'"]),
        (["run", "grace", "cora", "--set", "epoch=3"], ["'epoch'", "'epochs'"]),
        (["run", "grace", "cora", "--set", "epochs=many"], ["'epochs'", "'many'"]),
        (["run", "grace", "cora", "--set", "temperature=0"], ["'temperature'", "got 0"]),
        (["run", "grace", "cora", "--set", "epochs"], ["key=value", "'epochs'"]),
        (["run", "grace", "cora", "--task", "link"], ["unknown task", "'link-prediction'"]),
        (["run", "grace", "cora", "--task", "ranking"], ["grace", "node-classification"]),
        (["run", "grace", "cora", "--protocol", "grace"], ["protocol 'grace'", "'grace-10-90'"]),
        (["run", "grace", "cora", "--config", "none.yaml"], ["none.yaml"]),
        (["run", "grace", "cora", "--set", "weight_decay=2020-99-99"], ["'2020-99-99'"]),
        (["run", "grace", "cora", "--seeds", "2000000000"], ["1 to 10000"]),
        (["show", "InfoNCEE"], ["'InfoNCEE'", "'InfoNCE'"]),
        (["list", "view"], ["'view'", "'views'"]),
        (["data", "check", "coraa"], ["'coraa'", "'cora'"]),
        (["report", "nowhere"], ["nowhere"]),
        (["run", "lightgcn", "no/such/log.csv"], ["no/such/log.csv"]),
        (["run", "grace", "no/such/graph"], ["no/such/graph"]),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_2(
    refused, command, tmp_path, monkeypatch, arguments, words
):
    monkeypatch.chdir(tmp_path)
    refused(command(*arguments), *words)
    assert not any(tmp_path.iterdir()), "nothing half-written"


def test_debug_shows_the_traceback(command):
    from graphcl.errors import UnknownNameError

    with pytest.raises(UnknownNameError):
        command("run", "grase", "cora", "--debug")
    with pytest.raises(UnknownNameError):
        command("--debug", "run", "grase", "cora")


def spoil_nan(folder):
    x = np.load(folder / "features.npy")
    x[3, 2] = np.nan
    np.save(folder / "features.npy", x)


def add_edge(text):
    def spoil(folder):
        with (folder / "edges.csv").open("a") as file:
            file.write(text)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_nan, ["feature", "nan"]),
        (add_edge("-1,3\n"), ["-1"]),
        (add_edge("3,999\n"), ["999"]),
        (lambda folder: (folder / "edges.csv").write_text("source,target\n"), ["edge"]),
        (lambda folder: np.save(folder / "features.npy", np.zeros((0, 3))), []),
        (lambda folder: (folder / "features.npy").write_bytes(b"\x93NUMPY\x01"), ["features.npy"]),
        (lambda folder: (folder / "labels.csv").unlink(), ["label"]),
    ],
    ids=["nan", "negative id", "id out of range", "no edges", "no nodes", "truncated", "no labels"],
)
def test_a_broken_graph_is_refused_before_anything_is_written(
    refused, command, tiny_graph, tmp_path, spoil, words
):
    folder = shutil.copytree(tiny_graph, tmp_path / "graph")
    spoil(folder)
    refused(command("run", "grace", folder, "--out", tmp_path / "out", *SMOKE), *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", ["", "user_id,item_id,rating,timestamp\n"])
def test_an_empty_log_is_refused(refused, command, tmp_path, content):
    log = tmp_path / "log.csv"
    log.write_text(content)
    refused(command("run", "lightgcn", log, "--out", tmp_path / "out"), "log.csv")
    assert not (tmp_path / "out").exists()


def test_output_folders_are_never_overwritten(refused, command, tiny_graph, tmp_path):
    (tmp_path / "file").write_text("mine")
    refused(command("run", "grace", tiny_graph, *SMOKE, "--out", tmp_path / "file"), "is a file")
    refused(command("run", "grace", tiny_graph, *SMOKE, "--out", tmp_path / "file" / "x"), "write")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    refused(command("run", "grace", tiny_graph, *SMOKE, "--out", tmp_path / "full"), "not empty")
    assert (tmp_path / "full" / "notes.txt").read_text() == "mine"


def test_resume_refuses_another_configuration_and_skips_finished_seeds(
    refused, command, tiny_log, tmp_path
):
    out = tmp_path / "run"
    run = ["run", "popularity", tiny_log, "--out", out]
    assert command(*run)[0] == 0
    first = json.loads((out / "result.json").read_text())
    refused(
        command("run", "ease", tiny_log, "--out", out, "--resume"),
        "another configuration", "method was 'popularity', now 'ease'",
    )  # fmt: skip
    assert command(*run, "--resume", "--seeds", 3)[0] == 0
    result = json.loads((out / "result.json").read_text())
    assert result["seeds"] == [0, 1, 2]
    for name, metric in result["metrics"].items():
        assert metric["values"][0] == first["metrics"][name]["values"][0]


def test_default_folder_gets_a_number(command, tiny_log, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert command("run", "ease", tiny_log)[0] == 0
    names = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert names == ["ease_log.csv", "ease_log.csv-2"]


def test_non_finite_loss_keeps_the_run_and_names_the_part(refused, command, tiny_graph, tmp_path):
    out = tmp_path / "run"
    outcome = command(
        "run", "grace", tiny_graph, "--out", out, "--set", "learning_rate=1e30", *SMOKE
    )
    refused(outcome, "not finite", "epoch 1")
    assert (out / "log.jsonl").exists()


@pytest.mark.parametrize("name", ["grace", "DropEdgesByCommunity", "InfoNCE", "ranking", "cora"])
def test_show_explains_every_kind_of_thing(command, name):
    code, printed, _ = command("show", name)
    assert code == 0
    assert name in printed
    assert len(printed.splitlines()) > 3


@pytest.mark.parametrize(
    "arguments", [["--help"], ["list"], ["run", "--help"], ["recommend", "--help"]]
)
def test_help_and_list_take_less_than_half_a_second(arguments):
    # Processor time, as the wall clock of a shared machine measures its other users.
    def seconds():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "graphcl", *arguments], check=True, capture_output=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.5


def test_resume_never_drops_or_mixes_seeds(refused, command, tiny_log, tmp_path):
    log = shutil.copy(tiny_log, tmp_path / "log.csv")
    out = tmp_path / "run"
    run = ["run", "ease", log, "--out", out]
    assert command(*run, "--seeds", 2)[0] == 0
    assert command(*run, "--resume")[0] == 0
    assert json.loads((out / "result.json").read_text())["seeds"] == [0, 1]
    # A damaged record of a seed is measured again.
    before = json.loads((out / "result.json").read_text())["metrics"]
    for damaged in ('{"a": ', "{}", "[]"):
        (out / "checkpoints" / "seed-1" / "result.json").write_text(damaged)
        assert command(*run, "--resume")[0] == 0
        assert json.loads((out / "result.json").read_text())["metrics"] == before
    log.write_text(log.read_text() + "u0,i29,5,11\n")
    refused(command(*run, "--resume", "--seeds", 3), "seed 0", "other data")


def test_a_folder_has_one_writer(refused, command, tiny_graph, tmp_path):
    from graphcl.app.folder import RunFolder

    with RunFolder(tmp_path / "run").locked():
        refused(
            command("run", "raw-features", tiny_graph, "--out", tmp_path / "run"),
            "another process",
        )
    assert not (tmp_path / "run").exists()


def test_a_mistake_in_the_model_leaves_no_folder(refused, command, tiny_log, tmp_path):
    out = tmp_path / "out"
    refused(command("run", "sasrec", tiny_log, "--out", out, "--set", "heads=3"))
    assert not out.exists()


def test_one_class_is_nothing_to_classify(refused, command, tiny_graph, tmp_path):
    graph = shutil.copytree(tiny_graph, tmp_path / "graph")
    (graph / "labels.csv").write_text("label\n" + "1\n" * 60)
    refused(command("run", "grace", graph, "--out", tmp_path / "out"), "one class")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [["run", "grace", "cora", "--seeds", "0"], ["report"], ["run", "grace", "cora", "--nonsense"]],
)
def test_wrong_usage_is_one_sentence_too(refused, command, arguments):
    refused(command(*arguments))


def test_an_interrupt_says_how_to_go_on(command, tiny_graph, tmp_path, monkeypatch):
    from graphcl.train.loop import Trainer

    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "fit", interrupted)
    code, _, text = command("run", "grace", tiny_graph, "--out", tmp_path / "run")
    assert code == 130
    assert text == "stopped; the same command with --resume continues it\n"


@pytest.mark.parametrize(
    ("arguments", "calls", "said"),
    [
        (["tune", "grace", "cora"], "graphcl.app.tuning.tune", "the same command continues it"),
        (["report", "somewhere"], "graphcl.report.write_report", "stopped"),
        (["export", "somewhere"], "graphcl.app.serving.print_export", "stopped"),
        (["list"], "graphcl.app.tables.print_listing", "stopped"),
    ],
)
def test_only_what_goes_on_says_so_when_it_is_stopped(command, monkeypatch, arguments, calls, said):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("graphcl.app.tables.print_comparison", lambda *arguments: None)
    monkeypatch.setattr(calls, interrupted)
    code, _, text = command(*arguments)
    assert code == 130
    assert text == (said if said == "stopped" else f"stopped; {said}") + "\n"


@pytest.mark.parametrize("path", ["", " "])
@pytest.mark.parametrize(
    ("arguments", "named"),
    [(["run", "grace", "nowhere", "--out"], "--out"),
     (["run", "grace", "nowhere", "--config"], "--config"),
     (["run", "grace", "nowhere", "--data-root"], "--data-root"),
     (["tune", "grace", "nowhere", "--out"], "--out"),
     (["tune", "grace", "nowhere", "--config"], "--config"),
     (["report", "somewhere", "-o"], "--out"), (["report"], "RUN"), (["report", "here"], "RUN"),
     (["export", "somewhere", "--out"], "--out"), (["export"], "RUN"), (["recommend"], "RUN")],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)  # fmt: skip
def test_an_empty_path_is_refused(refused, command, tmp_path, monkeypatch, arguments, named, path):
    monkeypatch.chdir(tmp_path)
    refused(
        command(*arguments, path),
        named,
        f"must be a path, '.' for the current folder (got {path!r})",
    )
    assert not any(tmp_path.iterdir())


def test_no_other_command_has_an_output_path():
    from graphcl.app.commands import app, data_app

    commands = [each.callback for each in app.registered_commands + data_app.registered_commands]
    writing = {each.__name__ for each in commands if "out" in inspect.signature(each).parameters}
    assert writing == {"run", "tune", "report", "export"}


def test_a_reader_that_has_seen_enough_ends_the_command_quietly():
    call = [sys.executable, "-m", "graphcl", "list"]
    with subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        text = process.stderr.read()
    assert process.returncode == 141
    assert text == b""


def test_plain_output_to_a_closed_pipe_is_as_quiet(command, monkeypatch):
    reads, writes = os.pipe()
    os.close(reads)
    with os.fdopen(writes, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        monkeypatch.setattr("graphcl.app.tables.print_listing", lambda kind: print("x" * 100_000))
        code, _, text = command("list")
        monkeypatch.undo()
    assert (code, text) == (141, "")


def test_a_mistake_in_the_model_keeps_a_folder_that_was_there(refused, command, tiny_log, tmp_path):
    out = tmp_path / "mine"
    out.mkdir()
    refused(command("run", "sasrec", tiny_log, "--out", out, "--set", "heads=3"))
    assert out.is_dir()
    assert not any(out.iterdir())


def test_a_damaged_record_keeps_the_log_of_other_seeds(refused, command, tiny_log, tmp_path):
    out = tmp_path / "run"
    run = ["run", "bpr", tiny_log, "--out", out, "--seeds", 2, *SMOKE]
    assert command(*run)[0] == 0
    log = out / "log.jsonl"
    before = sorted(log.read_text().splitlines())
    (out / "checkpoints" / "seed-0" / "result.json").write_text("{")
    assert command(*run, "--resume")[0] == 0
    assert sorted(log.read_text().splitlines()) == before
    (out / "config.yaml").write_text("seeds: 2\n")
    refused(command(*run, "--resume"), "config.yaml", "got 2")


@pytest.fixture
def own_table(tmp_path):
    """Ids with spaces, commas and letters of any script; a repeated event; a short user."""
    rows = [
        f'"user {user}","caf\u00e9, {(user + time) % 7}",{time}'
        for user in range(12)
        for time in range(6)
    ]
    rows += ["bob,\u65e5\u672c,1", "bob,\u65e5\u672c,1"]
    path = tmp_path / "my log.csv"
    path.write_text("\n".join(["who,what,when", *rows]) + "\n", encoding="utf-8")
    return path


NAMED = ["--user-col", "who", "--item-col", "what", "--time-col", "when"]


def test_columns_of_ones_own_table_are_named(command, own_table, tmp_path):
    out = tmp_path / "run"
    code, printed, text = command("run", "sasrec", own_table, *NAMED, *SMOKE, "--out", out)
    assert code == 0, text
    result = json.loads((out / "result.json").read_text())
    facts = result["protocol"]
    assert (facts["users"], facts["items"], facts["interactions"]) == (13, 8, 74)
    assert facts["repeated_events"] == 1
    assert facts["users_below_three"] == facts["users_without_target"] == 1
    assert facts["order"] == "time, then file order"
    assert "repeated events 1" in " ".join(printed.split())
    assert yaml.safe_load((out / "config.yaml").read_text())["columns"]["time"] == "when"
    code, _, text = command("run", "sasrec", own_table, *NAMED, *SMOKE, "--out", out, "--resume")
    assert code == 0, text


def test_what_only_times_tell_is_unknown_without_them(command, own_table, tmp_path):
    own_table.write_text(own_table.read_text("utf-8").replace("when", "timestamp"), "utf-8")
    code, printed, text = command(
        "run", "popularity", own_table, *NAMED[:4], "--task", "next-item", "--out", tmp_path / "run"
    )
    assert code == 0, text
    printed = " ".join(printed.split())
    assert "trained on the future unknown (no times)" in printed
    assert "equal times unknown (no times)" in printed
    assert "order file order (the column 'timestamp' was not read; --time-col names" in printed


def test_the_config_of_a_run_with_columns_starts_another(command, own_table, tmp_path):
    first, again = tmp_path / "first", tmp_path / "again"
    assert command("run", "sasrec", own_table, *NAMED, *SMOKE, "--out", first)[0] == 0
    config = first / "config.yaml"
    code, _, text = command("run", "sasrec", own_table, "--config", config, "--out", again)
    assert code == 0, text
    assert (again / "config.yaml").read_text() == config.read_text()
    turned = {"user": "what", "item": "who", "time": None}
    given = specify("sasrec", str(own_table), config=config, columns=turned)
    assert given.columns == {"user": "what", "item": "who"}


def test_a_study_of_a_table_with_named_columns(refused, command, own_table, tmp_path):
    out = tmp_path / "study"
    tune = ["tune", "itemknn", own_table, "--task", "next-item", "--trials", 2, "--out", out]
    refused(command(*tune), "neither a user nor an item column")
    code, _, text = command(*tune, *NAMED)
    assert code == 0, text
    columns = {"user": "who", "item": "what", "time": "when"}
    for config in (out / "best.yaml", out / "best" / "config.yaml"):
        assert yaml.safe_load(config.read_text())["columns"] == columns
    call = ["run", "itemknn", own_table, "--config", out / "best.yaml", "--out", tmp_path / "run"]
    code, _, text = command(*call)
    assert code == 0, text
    measured = [
        json.loads((run / "result.json").read_text())["metrics"]
        for run in (out / "best", tmp_path / "run")
    ]
    assert measured[0] == measured[1]
    # Another reading of the table is another study.
    other = ["--user-col", "who", "--item-col", "what", "--time-col", "who"]
    refused(command(*tune, *other), "line")
    refused(command(*tune, *NAMED[:4]), "columns.time")


@pytest.mark.parametrize("task", task_table())
def test_every_config_that_a_run_writes_starts_the_same_run(task, tiny_data, tmp_path):
    dataset = str(tiny_data[task])
    serving = [name for name in method_table() if task in load_method(name).tasks]
    assert serving
    for method in serving:
        specification = specify(method, dataset, task=task, seeds=2)
        if specification.task.reads_tables:
            specification = replace(specification, columns={"user": "a", "item": "b"})
        folder = RunFolder(tmp_path / method)
        folder.path.mkdir()
        folder.open(specification.as_dict(), resume=False)
        again = specify(method, dataset, config=folder.config)
        assert again.as_dict() == specification.as_dict()
        assert again.settings == specification.settings


def test_mistakes_in_naming_columns(refused, command, own_table, tiny_graph, tmp_path):
    out = ["--out", tmp_path / "run"]
    call = ("run", "sasrec", own_table)
    refused(command(*call, *out), "neither a user nor an item column", "who, what, when")
    wrong = ["--user-col", "who", "--item-col", "product"]
    refused(command(*call, *wrong, *out), "no column 'product'", "who, what, when")
    refused(command(*call, "--item-col", "what", *out), "no --user-col given")
    refused(command("run", "grace", tiny_graph, *NAMED, *out), "reads no table", "--user-col who")
    own_table.write_text("who,what,when\na,x,1\na,y,soon\n")
    refused(command(*call, *NAMED, *out), "line 3", "'soon'")
    own_table.write_text("who,what,when\na,x,1\na,x,2\na,x,3\n")
    refused(command(*call, *NAMED, *out), "one item only", "'x'")
    own_table.write_text("who,what,when\na,x,1\na,y,2\n")
    refused(command(*call, *NAMED, *out), "leaves no test items", "three interactions")
    assert not (tmp_path / "run").exists()


def test_one_user_is_enough(command, own_table, tmp_path):
    own_table.write_text("who,what,when\n" + "".join(f"a,i{n},{n}\n" for n in range(6)))
    arguments = [*NAMED, *SMOKE, "--out", tmp_path / "run"]
    assert command("run", "sasrec", own_table, *arguments)[0] == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["protocol"]["users_tested"] == 1


def test_nested_settings_from_the_command_line(refused, command, tiny_graph, tmp_path):
    out = tmp_path / "run"
    code, _, text = command(
        "run", "two-view", tiny_graph, "--set", "epochs=1", "--out", out,
        "--set", "loss=DHEL", "--set", "view_1.DropEdges=0.5",
        "--set", "encoder.GCN.widths=[8, 4]",
    )  # fmt: skip
    assert code == 0, text
    settings = yaml.safe_load((out / "config.yaml").read_text())["settings"]
    assert settings["loss"] == "DHEL"
    assert settings["view_1"] == {"DropEdges": 0.5, "MaskFeatures": 0.3}
    assert settings["encoder"] == {"GCN": {"widths": [8, 4]}}
    refused(command("run", "two-view", tiny_graph, "--set", "view_1.DropEdge=0.5"), "DropEdges")
    refused(command("run", "two-view", tiny_graph, "--set", "los.InfoNCE=1"), "loss")
    refused(command("run", "grace", tiny_graph, "--set", "epochs.all=1"), "epochs")
    refused(command("run", "pot", tiny_graph, "--set", "host=gcaa"), "host of pot", "'gca'")
