from __future__ import annotations

import json

import pytest
import torch

from graphcl.errors import CheckpointError, NonFiniteError, SealedError
from graphcl.evaluate.contract import Sealed, Split, Task
from graphcl.kernels.contrast.precision import chosen_precision
from graphcl.losses import info_nce
from graphcl.methods.contract import Method, MethodConfig
from graphcl.train.folder import CheckpointFolder
from graphcl.train.log import RunLog, rewind
from graphcl.train.loop import Trainer
from graphcl.train.seeds import seed_everything


class Slope(Method):
    """Moves one weight towards 10; part `bad` becomes NaN at the epoch in `data`."""

    Config = MethodConfig

    def __init__(self, config, data):
        super().__init__(config, data)
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.epoch = 0

    def epoch_start(self, epoch, generator):
        self.epoch = epoch

    def loss(self, batch, generator):
        distance = (self.weight - 10).abs()
        bad = self.weight * 0
        if self.epoch == batch.get("nan at"):
            bad = bad + float("nan")
        if self.epoch == batch.get("nan embedding at"):
            views = torch.ones(2, 3, 4) * (self.weight * float("nan"))
            distance = distance + info_nce(*views)
        if self.epoch == batch.get("bad gradient at"):
            # Finite value, infinite gradient.
            bad = bad + (self.weight * 0).abs().sqrt()
        return {"distance": distance, "bad": bad, "total": distance + bad}


class Scripted(Task):
    """Validation values come from a list."""

    name, metric = "scripted", "value"

    def __init__(self, values):
        self.values = list(values)

    def validate(self, method, split):
        return {"value": self.values.pop(0)}


def trainer(tmp_path, values=(), validation=True, data=None, **config):
    split = Split(data or {}, "yes" if validation else None, Sealed(None), {}, {})
    generator = seed_everything(0)
    method = Slope(MethodConfig(learning_rate=0.1, evaluate_every=1, **config), split.train)
    return Trainer(
        method, Scripted(values), split, seed=0, generator=generator,
        folder=CheckpointFolder(tmp_path / "checkpoints"), log=RunLog(tmp_path / "log.jsonl"),
        fingerprint="this", checkpoint_seconds=0,
    )  # fmt: skip


def test_early_stop_takes_the_best_epoch(tmp_path):
    run = trainer(tmp_path, [0.1, 0.5, 0.4, 0.4, 0.9], epochs=5, patience=2)
    progress = run.fit()
    assert (progress.epoch, progress.best_epoch, progress.stopped) == (4, 2, "early")
    # Adam moves by the learning rate in each epoch, so the weight tells the epoch.
    assert run.method.weight.item() == pytest.approx(0.2, abs=1e-4)


def test_minimum_epochs_guard_holds_early_stop_back(tmp_path):
    values = [0.5, 0.1, 0.1, 0.1, 0.9, 0.1]
    run = trainer(tmp_path, values, epochs=6, patience=2, minimum_epochs=6)
    progress = run.fit()
    assert (progress.epoch, progress.best_epoch) == (6, 5)


def test_without_validation_the_last_epoch_counts(tmp_path):
    run = trainer(tmp_path, validation=False, epochs=3)
    progress = run.fit()
    assert (progress.epoch, progress.best_epoch, progress.stopped) == (3, None, "epochs")
    assert run.method.weight.item() == pytest.approx(0.3, abs=1e-4)


def test_zero_epochs_train_nothing(tmp_path):
    assert trainer(tmp_path, epochs=0).fit().epoch == 0


def test_non_finite_part_is_named_with_step_and_checkpoint(tmp_path):
    run = trainer(tmp_path, [0.1] * 9, data={"nan at": 3}, epochs=9)
    with pytest.raises(NonFiniteError, match=r"'bad' is nan at epoch 3, step 1.*last\.safetensors"):
        run.fit()
    assert run.folder.load_last("this").state["progress"]["epoch"] == 2


def test_what_a_loss_refuses_is_named_with_step_and_checkpoint(tmp_path):
    run = trainer(tmp_path, [0.1] * 9, data={"nan embedding at": 2}, epochs=9)
    message = r"z1 must be finite; got nan at \[0, 0\].*at epoch 2, step 1.*last\.safetensors"
    with pytest.raises(NonFiniteError, match=message):
        run.fit()
    assert run.folder.load_last("this").state["progress"]["epoch"] == 1


def test_non_finite_gradient_names_the_parameter(tmp_path):
    run = trainer(tmp_path, [0.1] * 9, data={"bad gradient at": 1}, epochs=9)
    with pytest.raises(NonFiniteError, match=r"'weight' is not finite.*no checkpoint"):
        run.fit()
    assert run.method.weight.item() == 0, "the step was not taken"


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path):
    run = trainer(tmp_path, [0.1] * 2, epochs=2)
    run.fit()
    with pytest.raises(CheckpointError, match="another configuration"):
        run.folder.load_last("other")


@pytest.mark.parametrize("asked", ["highest", "high", "medium"])
def test_training_has_its_precision_and_evaluation_full_precision(tmp_path, asked):
    seen = {}

    class Watched(Scripted):
        def validate(self, method, split):
            seen["evaluation"] = torch.get_float32_matmul_precision()
            return super().validate(method, split)

    trained = trainer(tmp_path, [1.0], epochs=1, precision=asked)
    trained.task = Watched([1.0])
    loss = trained.method.loss
    trained.method.loss = lambda *arguments: (
        seen.update(training=torch.get_float32_matmul_precision()) or loss(*arguments)
    )
    trained.fit()
    assert seen == {"training": asked, "evaluation": "highest"}
    assert torch.get_float32_matmul_precision() == "highest"


def test_other_products_stay_exact_where_only_contrasts_are_rounded(tmp_path):
    trained = trainer(tmp_path, [1.0], epochs=1, precision="medium")
    trained.method.rounds_contrasts_only = True
    loss, seen = trained.method.loss, []
    trained.method.loss = lambda *arguments: (
        seen.append((torch.get_float32_matmul_precision(), chosen_precision())) or loss(*arguments)
    )
    trained.fit()
    assert set(seen) == {("highest", "medium")}
    assert chosen_precision() is None


def test_log_has_one_line_per_epoch_and_evaluation(tmp_path):
    trainer(tmp_path, [0.1, 0.2], epochs=2).fit()
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records if "loss" in record] == [1, 2]
    assert [record["best"] for record in records if "validation" in record] == [True, True]
    assert records[-1]["stopped"] == "epochs"


def test_a_log_is_rewound_for_one_seed_only(tmp_path):
    path = tmp_path / "log.jsonl"
    rewind(path, 0, 1)
    assert not path.exists()
    with RunLog(path) as log:
        for seed, epoch in ((0, 1), (0, 2), (1, 1), (1, 2)):
            log.write({"seed": seed, "epoch": epoch})
        log.write({"seed": 0, "epoch": 1, "stopped": "epochs"})
    path.write_bytes(path.read_bytes() + b'{"seed": 1, "epo')
    rewind(path, 0, 1)
    with RunLog(path) as log:
        log.write({"seed": 0, "epoch": 2})
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(record["seed"], record["epoch"]) for record in records] == [
        (0, 1), (1, 1), (1, 2), (0, 2),
    ]  # fmt: skip


def test_the_test_split_opens_once():
    sealed = Sealed("content")
    with pytest.raises(SealedError, match="still sealed"):
        sealed.opened()
    assert sealed.open() == "content"
    assert sealed.opened() == "content"
    with pytest.raises(SealedError, match="opens once"):
        sealed.open()
