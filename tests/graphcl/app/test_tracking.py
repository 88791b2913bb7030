"""`--track`: what a service gets from the command line, and what happens when it fails."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from graphcl.train.sinks import SINKS, Sink, scalars
from graphcl.train.sinks.tensorboard import TensorBoard

SMOKE = ["--set", "epochs=4", "--set", "evaluate_every=2"]


class Recording(Sink):
    """Remembers what it is told, by key; fails where it is told to."""

    package = "json"
    told: ClassVar[dict] = {}
    fail_at: int | None = None

    def __init__(self, run):
        self.run = run
        self.records = []
        self.failed = None
        self.told[run.key] = self

    def write(self, record):
        self.records.append(record)
        if self.fail_at is not None and len(self.records) > self.fail_at:
            raise ConnectionError("the server is gone")

    def close(self, failed):
        self.failed = failed


@pytest.fixture
def recording(monkeypatch):
    """A service called `recording`."""
    monkeypatch.setattr(Recording, "told", {})
    monkeypatch.setitem(SINKS, "recording", f"{__name__}:Recording")
    return Recording


def logged(out: Path, seed: int = 0) -> list[dict]:
    records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [record for record in records if record["seed"] == seed]


def test_every_seed_is_told_what_the_log_is(command, recording, tiny_graph, tmp_path):
    out = tmp_path / "run"
    run = ["run", "grace", tiny_graph, *SMOKE, "--seeds", 2, "--out", out, "--track", "recording"]
    code, _, error = command(*run)
    assert (code, error) == (0, "")
    assert recording.told.keys() == {"seed-0", "seed-1"}
    for seed in (0, 1):
        sink = recording.told[f"seed-{seed}"]
        assert sink.records == logged(out, seed)
        assert [key for record in sink.records for key in ("loss", "validation", "stopped", "test")
                if key in record] == ["loss", "loss", "validation", "loss", "loss", "validation",
                                      "stopped", "test"]  # fmt: skip
        assert sink.failed is False
    parameters = recording.told["seed-1"].run.parameters
    assert parameters["settings.epochs"] == 4
    assert parameters["seed"] == 1
    assert parameters["protocol.name"] == "random-10-10-80"
    assert parameters["dataset.name"] == "blocks"
    assert parameters["task"] == "node-classification"
    assert all(value is None or isinstance(value, str | int | float) for value in
               parameters.values())  # fmt: skip


def test_a_method_without_training_is_told_of_its_test(command, recording, tiny_log, tmp_path):
    out = tmp_path / "run"
    assert command("run", "ease", tiny_log, "--out", out, "--track", "recording")[0] == 0
    (record,) = recording.told["seed-0"].records
    assert record == logged(out)[0]
    assert "ndcg@20" in record["test"]


@pytest.mark.parametrize("fail_at", [0, 3])
def test_a_service_that_fails_costs_one_line_and_nothing_else(
    command, recording, tiny_graph, tmp_path, monkeypatch, fail_at
):
    monkeypatch.setattr(recording, "fail_at", fail_at)
    out = tmp_path / "run"
    run = ["run", "grace", tiny_graph, *SMOKE, "--seeds", 2, "--out", out, "--track", "recording"]
    code, printed, error = command(*run)
    assert code == 0
    assert error.count("\n") == 1
    assert error.startswith("warning: recording ")
    assert "the server is gone" in error
    assert "result:" in printed
    assert len(logged(out, 0)) == len(logged(out, 1)) == 8
    assert recording.told.keys() == {"seed-0"}, "it is not waited for again"


def test_an_error_of_the_training_is_told(command, recording, tiny_graph, tmp_path):
    arguments = ["run", "grace", tiny_graph, "--set", "learning_rate=1e30", *SMOKE]
    assert command(*arguments, "--out", tmp_path / "run", "--track", "recording")[0] == 2
    assert recording.told["seed-0"].failed is True


def test_a_resumed_seed_is_told_from_its_first_epoch(
    command, recording, tiny_graph, tmp_path, monkeypatch
):
    out = tmp_path / "run"
    run = ["run", "grace", tiny_graph, *SMOKE, "--out", out, "--checkpoint-seconds", 0]

    def stop(self, record):
        if record["epoch"] == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr(recording, "write", stop)
        assert command(*run, "--track", "recording")[0] == 130
    assert recording.told["seed-0"].failed is True
    assert command(*run, "--resume", "--track", "recording")[0] == 0
    assert recording.told["seed-0"].records == logged(out)
    assert [record["epoch"] for record in logged(out) if "loss" in record] == [1, 2, 3, 4]


def test_trials_of_a_study_are_told_apart(command, recording, tiny_log, tmp_path):
    code, _, error = command(
        "tune", "lightgcn", tiny_log, *SMOKE, "--trials", 2, "--search", "learning_rate",
        "--out", tmp_path / "tune", "--track", "recording",
    )  # fmt: skip
    assert code == 0, error
    told = recording.told
    assert told.keys() == {"trial-0/seed-0", "trial-1/seed-0", "seed-0"}
    rates = {told[f"trial-{n}/seed-0"].run.parameters["settings.learning_rate"] for n in (0, 1)}
    assert len(rates) == 2
    for number in (0, 1):
        records = told[f"trial-{number}/seed-0"].records
        assert "validation" in records[-2]
        assert not any("test" in record for record in records), "tuning never tests"
    assert "test" in told["seed-0"].records[-1]
    assert told["seed-0"].run.folder == tmp_path / "tune" / "best" / "tracking"


def test_a_pruned_trial_ended_well(command, recording, tiny_log, tmp_path, monkeypatch):
    import optuna

    monkeypatch.setattr(optuna.Trial, "should_prune", lambda trial: trial.number == 1)
    code, _, error = command(
        "tune", "lightgcn", tiny_log, *SMOKE, "--trials", 2, "--search", "learning_rate",
        "--warmup", 0, "--no-test", "--out", tmp_path / "tune", "--track", "recording",
    )  # fmt: skip
    assert code == 0, error
    pruned = recording.told["trial-1/seed-0"]
    assert pruned.records[-1]["stopped"] == "pruned"
    assert pruned.failed is False


def test_mistakes_are_told_before_anything_is_written(command, tiny_graph, tmp_path, monkeypatch):
    out = tmp_path / "run"
    run = ["run", "grace", tiny_graph, *SMOKE, "--out", out]
    code, _, error = command(*run, "--track", "tensorbord")
    assert code == 2
    assert "unknown tracking service 'tensorbord'" in error
    assert "'tensorboard'" in error
    monkeypatch.setattr(TensorBoard, "package", "a_package_that_nobody_has")
    for arguments in (run, ["tune", *run[1:], "--trials", 1]):
        code, _, error = command(*arguments, "--track", "tensorboard")
        assert code == 2
        assert error.count("\n") == 1
        assert "graphcl[track]" in error
    assert not out.exists()


def test_output_that_is_no_terminal_has_lines_only(tiny_graph, tmp_path):
    """No control codes and no empty lines of a progress bar, whatever is tracked."""
    track = ["--track", "tensorboard"] if importlib.util.find_spec("tensorboard") else []
    out = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-m", "graphcl", "run", "grace", str(tiny_graph), *SMOKE,
         "--out", str(out), *track],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[3]),
                                                          *sys.path])},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.replace("\n", "").isprintable()
    assert done.stdout.startswith("grace on blocks seed 0: test accuracy")
    assert scalars(logged(out)[0])
    if track:
        assert list((out / "tracking" / "tensorboard" / "seed-0").iterdir())
