"""The checkpoints of one seed: one that loads is always there, and what does not fit is refused."""

from __future__ import annotations

import os

import pytest
import torch

from graphcl.errors import CheckpointError, OutputError
from graphcl.evaluate.contract import Sealed, Split, Task
from graphcl.methods.contract import Method, MethodConfig
from graphcl.train.checkpoint import load_checkpoint, save_checkpoint
from graphcl.train.folder import CheckpointFolder
from graphcl.train.loop import Trainer
from graphcl.train.seeds import seed_everything
from graphcl.train.sinks.contract import Sink


class Slope(Method):
    """Adam moves each weight by the learning rate in an epoch, so the weights tell the epoch."""

    Config = MethodConfig

    def __init__(self, config, data):
        super().__init__(config, data)
        self.weight = torch.nn.Parameter(torch.zeros(2, 3))

    def loss(self, batch, generator):
        return {"total": (self.weight - 10).abs().sum()}


class Scripted(Task):
    """Validation values come from a list."""

    name, metric = "scripted", "value"

    def __init__(self, values):
        self.values = list(values)

    def validate(self, method, split):
        return {"value": self.values.pop(0)}


def trainer(folder, values, epochs=6, **options):
    generator = seed_everything(0)
    method = Slope(MethodConfig(learning_rate=0.1, evaluate_every=1, epochs=epochs), {})
    return Trainer(
        method, Scripted(values), Split({}, "yes", Sealed(None), {}, {}), seed=0,
        generator=generator, folder=CheckpointFolder(folder), log=Sink(),
        fingerprint="this", checkpoint_seconds=0, **options,
    )  # fmt: skip


def interrupted(folder, values, at, **options):
    """A training that is killed in place of its save number `at`."""
    run = trainer(folder, values, **options)
    save, left = run.save, [at]

    def save_or_die():
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        save()

    run.save = save_or_die
    with pytest.raises(KeyboardInterrupt):
        run.fit()
    return run.folder


def resumed(folder, values, **options):
    run = trainer(folder, values, **options)
    run.resume(run.folder.load_last("this"))
    return run


def epoch_of(checkpoint):
    return checkpoint.state["progress"]["epoch"]


def test_a_damaged_last_falls_back_to_previous(tmp_path):
    assert CheckpointFolder(tmp_path).load_last("this") is None
    folder = interrupted(tmp_path, [0.1, 0.2, 0.3], at=3)
    assert epoch_of(folder.load_last("this")) == 2
    folder.last.write_bytes(b"torn")
    assert epoch_of(folder.load_last("this")) == 1
    folder.previous.write_bytes(b"torn as well")
    message = r"last\.safetensors.*delete the folder '.*', and --resume starts this seed anew"
    with pytest.raises(CheckpointError, match=message):
        folder.load_last("this")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_damaged_last_never_takes_the_place_of_a_good_previous(tmp_path, monkeypatch, step):
    folder = interrupted(tmp_path, [0.1, 0.2, 0.3], at=3)
    folder.last.write_bytes(folder.last.read_bytes()[:-9])
    run = resumed(tmp_path, [0.2, 0.3])

    def full_disk(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, step, full_disk)
        with pytest.raises(OutputError, match=r"the last good checkpoint is '.*previous\.s"):
            run.fit()
    assert epoch_of(run.folder.load_last("this")) == 1
    again = resumed(tmp_path, [0.2, 0.3, 0.4, 0.5, 0.6])
    again.save()
    assert epoch_of(load_checkpoint(folder.previous)) == 1
    assert again.fit().best_epoch == 6


def test_a_write_that_fails_halfway_leaves_both(tmp_path, monkeypatch):
    run = trainer(tmp_path, [0.1, 0.2, 0.3])
    save, replace, left = run.save, os.replace, [2]

    def fails_once(source, target):
        left[0] -= 1
        if not left[0]:
            raise OSError(5, "Input/output error")
        replace(source, target)

    run.progress.epoch = 1
    save()
    run.progress.epoch = 2
    monkeypatch.setattr(os, "replace", fails_once)
    # The second save has renamed `last` and cannot put the new one in its place.
    with pytest.raises(OutputError, match="Input/output"):
        save()
    assert not run.folder.last.exists()
    assert epoch_of(run.folder.load_last("this")) == 1


def test_the_weights_that_are_tested_are_those_of_the_recorded_epoch(tmp_path):
    # Killed after epoch 2, a new best, before that was saved. The part that is resumed goes
    # another way, as with another number of threads, and never gets as far.
    interrupted(tmp_path, [0.5, 0.9], at=2)
    run = resumed(tmp_path, [0.4, 0.3, 0.3, 0.3, 0.3])
    progress = run.fit()
    assert (progress.epoch, progress.best_epoch, progress.best_value) == (6, 1, 0.5)
    assert run.method.weight[0, 0].item() == pytest.approx(0.1, abs=1e-4)
    stored = load_checkpoint(run.folder.best)
    assert stored.part("model")["weight"][0, 0].item() == pytest.approx(0.1, abs=1e-4)


@pytest.mark.parametrize("kept", ["foreign", "none"])
def test_a_foreign_or_missing_best_file_is_of_no_account(tmp_path, kept):
    folder = interrupted(tmp_path, [0.5, 0.2, 0.1, 0.1, 0.1, 0.1], at=7)
    folder.best.unlink(missing_ok=True)
    if kept == "foreign":
        save_checkpoint(folder.best, {"model.weight": torch.full((2, 3), 7.0)}, {})
    run = resumed(tmp_path, [])
    assert run.fit().best_epoch == 1
    assert run.method.weight[0, 0].item() == pytest.approx(0.1, abs=1e-4)


def progress(**changes):
    return lambda state, tensors: state["progress"].update(changes)


def group(**changes):
    return lambda state, tensors: state["optimizer_groups"][0].update(changes)


def tensor(name, value):
    return lambda state, tensors: tensors.update({name: value})


FOREIGN = {
    "seconds": progress(seconds="a"),
    "no seconds": progress(seconds=float("nan")),
    "endless seconds": progress(seconds=1e300),
    "metrics": progress(best_metrics=5),
    "no metrics": progress(best_metrics={}),
    "negative epoch": progress(epoch=-5),
    "late epoch": progress(epoch=10**9),
    "epoch beyond int64": progress(epoch=10**400),
    "stopped": progress(stopped={}),
    "stopped too early": progress(stopped="epochs"),
    "value": progress(best_value="a"),
    "no value": progress(best_value=float("nan")),
    "best to come": progress(best_epoch=4),
    "no best": progress(best_epoch=None),
    "extra": progress(nonsense=1),
    "seed": lambda state, tensors: state.update(seed=[0]),
    "no parts": lambda state, tensors: state.update(parts=[{"started": 3}]),
    "optimised": lambda state, tensors: state.update(optimized=["bias"]),
    "rate": group(lr="x"),
    "infinite rate": group(lr=float("inf")),
    "moment": tensor("optimizer.0.exp_avg", torch.zeros(5)),
    "step": tensor("optimizer.0.step", torch.zeros(3)),
    "number": tensor("optimizer.x.exp_avg", torch.zeros(2, 3)),
    "parameter": tensor("optimizer.1.exp_avg", torch.zeros(2, 3)),
    "best weights": tensor("best.weight", torch.zeros(3, 3)),
}


@pytest.mark.parametrize("change", FOREIGN.values(), ids=FOREIGN.keys())
def test_a_whole_file_with_a_foreign_state_is_passed_over(tmp_path, change):
    folder = interrupted(tmp_path, [0.1, 0.2, 0.3], at=3)
    found = load_checkpoint(folder.last)
    change(found.state, found.tensors)
    save_checkpoint(folder.last, found.tensors, found.state)
    assert epoch_of(folder.load_last("this", seed=0, epochs=6)) == 1
    folder.previous.unlink()
    with pytest.raises(CheckpointError, match=r"last\.safetensors' does not hold the st") as caught:
        folder.load_last("this", seed=0, epochs=6)
    assert "delete the folder" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        group(betas=5),
        group(betas=[0.5, 0.5]),
        group(lr=-1),
        group(eps=-1),
        group(params=[0, 1]),
        lambda state, tensors: state["optimizer_groups"][0].pop("eps"),
        lambda state, tensors: tensors.pop("optimizer.0.exp_avg_sq"),
        tensor("random.generator", torch.zeros(3, dtype=torch.uint8)),
        group(lr=10**400),
        group(capturable=True),
        tensor("optimizer.0.step", torch.tensor(-1.0)),
    ],
    ids=[
        "betas",
        "other betas",
        "negative rate",
        "epsilon",
        "parameters",
        "no epsilon",
        "no second moment",
        "random",
        "rate beyond floats",
        "another device's",
        "step before the first",
    ],
)
def test_a_state_that_only_training_can_find_foreign_names_the_way_on(tmp_path, change):
    folder = interrupted(tmp_path, [0.1, 0.2, 0.3], at=3)
    found = load_checkpoint(folder.last)
    change(found.state, found.tensors)
    save_checkpoint(folder.last, found.tensors, found.state)
    with pytest.raises(CheckpointError, match=r"delete it, and --resume goes on from '.*previous"):
        resumed(tmp_path, [0.2]).fit()
    folder.last.unlink()
    assert resumed(tmp_path, [0.2, 0.3, 0.4, 0.5, 0.6]).fit().best_epoch == 6


def test_weights_of_another_dtype_are_refused_instead_of_rounded(tmp_path):
    folder = interrupted(tmp_path, [0.1, 0.2, 0.3], at=3)
    found = load_checkpoint(folder.last)
    found.tensors["model.weight"] = found.tensors["model.weight"].to(torch.int32)
    save_checkpoint(folder.last, found.tensors, found.state)
    with pytest.raises(CheckpointError, match=r"weight must be torch.float32 \(got torch.int32\)"):
        resumed(tmp_path, [])


def test_a_checkpoint_of_another_seed_is_refused(tmp_path):
    folder = interrupted(tmp_path, [0.1, 0.2], at=2)
    with pytest.raises(CheckpointError, match="got seed 0, this run has 1"):
        folder.load_last("this", seed=1)


def test_where_a_training_ran_is_kept(tmp_path):
    def part(command):
        return {
            "started": "2026-01-01", "command": command, "threads": 1, "processes": 1,
            "versions": {"torch": "2"},
        }  # fmt: skip

    interrupted(tmp_path, [0.1, 0.2, 0.3], at=3, part=part("first"))
    run = resumed(tmp_path, [0.3, 0.4, 0.5, 0.6], part=part("second"))
    run.fit()
    stored = run.folder.load_last("this").state["parts"]
    assert [one["command"] for one in stored] == ["first", "second"]
