"""Which device is meant, what is moved there, and that a run stays where it began."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from graphcl.app import run as run_module
from graphcl.app.commands import app
from graphcl.app.folder import RunFolder
from graphcl.app.load import load_run
from graphcl.app.progress import ProgressDisplay
from graphcl.app.settings import specify
from graphcl.errors import CheckpointError, ConfigError
from graphcl.train.device import CPU, choose_device, describe_device, moves, on_device
from graphcl.train.processes import Processes

sys.path.insert(0, str(Path(__file__).parents[2] / "simulated_device"))

# Imported before any test runs: a device that is new cannot be told of once autograd has started.
if not torch.cuda.is_available():
    from simulated import simulated_device


@pytest.fixture
def simulated():
    if torch.cuda.is_available():
        pytest.skip("there is a device that is not simulated")
    with simulated_device() as device:
        yield device


def gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.mark.parametrize(
    ("asked", "count", "chosen"),
    [
        ("auto", 0, "cpu"),
        ("auto", 2, "cuda:0"),
        ("cpu", 2, "cpu"),
        ("cuda", 1, "cuda:0"),
        ("cuda:1", 2, "cuda:1"),
    ],
)
def test_the_device_that_is_meant(monkeypatch, asked, count, chosen):
    gpus(monkeypatch, count)
    assert choose_device(asked) == torch.device(chosen)


@pytest.mark.parametrize(
    ("asked", "count", "message"),
    [
        ("cuda", 0, r"torch finds 0 CUDA devices here \(got 'cuda'\)"),
        ("cuda:2", 2, r"torch finds 2 CUDA devices here \(got 'cuda:2'\)"),
        ("gpu", 1, r"must be one of auto, cpu, cuda, cuda:N \(got 'gpu'\)"),
        ("cuda:-1", 1, "must be one of"),
        ("cuda:", 1, "must be one of"),
        ("cpu:1", 1, "must be one of"),
        ("", 1, "must be one of"),
    ],
)
def test_no_such_device(monkeypatch, asked, count, message):
    gpus(monkeypatch, count)
    with pytest.raises(ConfigError, match=message):
        choose_device(asked)


def specification(tiny_graph, seeds=1, epochs=2):
    return specify(
        "grace", str(tiny_graph), task="node-classification", seeds=seeds,
        overrides=(f"epochs={epochs}", "evaluate_every=1"),
    )  # fmt: skip


def test_moving_leaves_the_split_as_it_is(tiny_graph, simulated):
    split = specification(tiny_graph).load(0)
    moved = on_device(split, simulated)
    assert moved.train.x.device == moved.train.edge_index.device == simulated
    assert split.train.x.device == torch.device("cpu")
    assert on_device(split, torch.device("cpu")) is split
    assert describe_device(torch.device("cpu")) == "cpu"


def go(specification, folder, device, monkeypatch, *, resume=False, asked="auto"):
    from rich.console import Console

    monkeypatch.setattr(run_module, "choose_device", lambda word: CPU if word == "cpu" else device)
    display = ProgressDisplay(Console(quiet=True), "")
    return run_module.run(
        specification, folder, display, resume=resume, checkpoint_seconds=0.0, device=asked
    )


def test_a_run_on_a_device_is_loaded_on_the_cpu(tiny_graph, tmp_path, simulated, monkeypatch):
    result = go(specification(tiny_graph), RunFolder(tmp_path / "run"), simulated, monkeypatch)
    assert result["device"] == "simulated"
    loaded = load_run(tmp_path / "run")
    assert all(each.device.type == "cpu" for each in loaded.method.parameters())
    measured = loaded.specification.task.test(loaded.method, loaded.split)
    assert measured["accuracy"] == result["metrics"]["accuracy"]["mean"]


def test_a_training_goes_on_only_on_its_kind_of_device(
    tiny_graph, tmp_path, simulated, monkeypatch
):
    folder = RunFolder(tmp_path / "run")
    longer = specification(tiny_graph, epochs=4)

    class Killed(Exception):
        pass

    def killed(self, epoch):
        if epoch == 3:
            raise Killed
        return trained(self, epoch)

    trained = run_module.Trainer._train_epoch
    monkeypatch.setattr(run_module.Trainer, "_train_epoch", killed)
    with pytest.raises(Killed):
        go(longer, folder, simulated, monkeypatch)
    monkeypatch.setattr(run_module.Trainer, "_train_epoch", trained)
    with pytest.raises(CheckpointError, match=r"begun on simulated, .* give --device simulated"):
        go(longer, folder, torch.device("cpu"), monkeypatch, resume=True)
    result = go(longer, folder, simulated, monkeypatch, resume=True)
    straight = go(longer, RunFolder(tmp_path / "straight"), simulated, monkeypatch)
    assert result["metrics"] == straight["metrics"]
    assert result["device"] == "simulated"


def test_auto_stays_where_a_run_was_begun(tiny_graph, tmp_path, simulated, monkeypatch):
    folder, cpu = RunFolder(tmp_path / "run"), torch.device("cpu")
    go(specification(tiny_graph), folder, cpu, monkeypatch)
    assert folder.begun_on([0]) == folder.begun_on([7, 0]) == "cpu"
    assert RunFolder(tmp_path / "none").begun_on([0]) is None
    result = go(specification(tiny_graph, seeds=2), folder, simulated, monkeypatch, resume=True)
    assert result["device"] == "cpu"


def test_a_result_names_all_devices(tiny_graph, tmp_path, simulated, monkeypatch):
    folder = RunFolder(tmp_path / "run")
    go(specification(tiny_graph), folder, torch.device("cpu"), monkeypatch)
    two = specification(tiny_graph, seeds=2)
    result = go(two, folder, simulated, monkeypatch, resume=True, asked="cuda")
    assert result["device"] == "cpu and simulated"


def test_data_that_cannot_be_moved(tiny_graph, simulated):
    split = replace(specification(tiny_graph).load(0), train={"x": torch.zeros(2)})
    assert not moves(split)
    with pytest.raises(ConfigError, match="cannot be moved to simulated:0: it is a dict without"):
        on_device(split, simulated)


def test_several_processes_train_on_the_cpu(tiny_graph, tmp_path, monkeypatch):
    gpus(monkeypatch, 1)
    display = ProgressDisplay(None, "")
    with pytest.raises(ConfigError, match=r"train on the CPU alone \(got the device 'cuda'\)"):
        run_module.run(
            specification(tiny_graph), RunFolder(tmp_path / "run"), display,
            processes=Processes(1, 2), device="cuda",
        )  # fmt: skip
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["run", "tune"])
def test_the_commands_refuse_a_device_that_is_not_there(command, tiny_graph, tmp_path):
    given = [command, "grace", str(tiny_graph), "--out", str(tmp_path / "x"), "--device", "tpu"]
    with pytest.raises(ConfigError, match="the device must be one of"):
        app(given, standalone_mode=False)
    assert not (tmp_path / "x").exists()
