"""Every method trains, is tested and is stored with its data and parameters on a GPU.

Where torch finds a CUDA GPU these run on it; elsewhere on the simulated device.
"""

from __future__ import annotations

import inspect
import math
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Literal, get_args, get_origin

import numpy as np
import pytest
import torch

from graphcl.app.catalogue import load_class, method_table, task_table
from graphcl.train.device import make_method, on_device
from graphcl.train.folder import CheckpointFolder
from graphcl.train.log import RunLog
from graphcl.train.loop import Trainer
from graphcl.train.seeds import seed_everything

sys.path.insert(0, str(Path(__file__).parent))

# Imported before any test runs: a device that is new cannot be told of once autograd has started.
if not torch.cuda.is_available():
    from simulated import simulated_device

METHODS = method_table()
SERVED = [(name, task) for name in METHODS for task in load_class("method", name, METHODS).tasks]
EPOCHS = {"epochs": 2, "evaluate_every": 1, "max_length": 20}


def choices():
    """Every word beside the default that a setting may have, once: with the first method that has
    the setting from where it is defined."""
    seen = set()
    for name in METHODS:
        method_class = load_class("method", name, METHODS)
        for setting, field in method_class.Config.model_fields.items():
            if setting == "precision" or get_origin(field.annotation) is not Literal:
                continue
            line = [
                one
                for one in method_class.Config.__mro__
                if setting in inspect.get_annotations(one)
            ]
            for word in get_args(field.annotation):
                if word != field.default and (line[0], setting, word) not in seen:
                    seen.add((line[0], setting, word))
                    needed = {**NEEDED.get(setting, {}), **NEEDED.get(word, {})}
                    yield name, method_class.tasks[0], {setting: word, **needed}


NEEDED = {"sampler": {"batch_size": 16}, "ligr": {"norm": "pre"}}
"""What a setting takes no effect without."""
CHOSEN = [*choices(), ("grace", "node-classification", {"batch_size": 16})]


def a_device():
    if torch.cuda.is_available():
        return nullcontext(torch.device("cuda", 0))
    return simulated_device()


@pytest.mark.parametrize(
    ("name", "task", "settings"), [*((name, task, {}) for name, task in SERVED), *CHOSEN]
)
def test_trains_and_is_tested_on_a_device(name, task, settings, tiny_data, tmp_path):
    if "gru4rec" in (name, settings.get("encoder")) and not torch.cuda.is_available():
        pytest.skip("no simulated device has the fused GRU that torch takes on a GPU")
    task_object = load_class("task", task, task_table())()
    method_class = load_class("method", name, METHODS)
    given = {key: value for key, value in EPOCHS.items() if key in method_class.Config.model_fields}
    given |= settings
    split = task_object.load(str(tiny_data[task]), None, 0)
    with a_device() as device:
        generator = seed_everything(0, device)
        split = on_device(split, device)
        method = make_method(method_class, method_class.Config(**given), task_object, split)
        for tensor in (*method.parameters(), *method.buffers()):
            assert tensor.device == device
        if method.trainable:
            with RunLog(tmp_path / "log.jsonl") as log:
                trainer = Trainer(
                    method, task_object, split, seed=0, generator=generator,
                    folder=CheckpointFolder(tmp_path), log=log, fingerprint="",
                )  # fmt: skip
                trainer.fit()
        method.eval()
        metrics = task_object.test(method, split)
        snapshot = task_object.snapshot(method, split)
        task_object.tables(method, split)
    assert all(math.isfinite(value) for value in metrics.values())
    assert all(type(array) is np.ndarray for array in snapshot.values())
