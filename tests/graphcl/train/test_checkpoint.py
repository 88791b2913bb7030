from __future__ import annotations

import json
import os
import pickle

import pytest
import torch
from safetensors.torch import save

from graphcl.errors import CheckpointError, OutputError
from graphcl.train.checkpoint import (
    load_checkpoint,
    optimizer_tensors,
    restore_model,
    restore_optimizer,
    save_checkpoint,
)


def tensors(value: float = 1.0) -> dict[str, torch.Tensor]:
    return {"model.weight": torch.full((3, 2), value), "random.generator": torch.arange(4)}


def test_round_trip_keeps_tensors_and_state(tmp_path):
    save_checkpoint(tmp_path / "a.safetensors", tensors(), {"epoch": 3, "best": None})
    loaded = load_checkpoint(tmp_path / "a.safetensors")
    assert loaded.state == {"epoch": 3, "best": None}
    assert loaded.part("model")["weight"].equal(torch.ones(3, 2))
    assert os.listdir(tmp_path) == ["a.safetensors"], "no temporary file is left"


def test_tied_weights_are_saved(tmp_path):
    weight = torch.ones(3)
    save_checkpoint(tmp_path / "a", {"one": weight, "two": weight}, {})
    assert load_checkpoint(tmp_path / "a").tensors.keys() == {"one", "two"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: b"\xff" * 8 + content[8:],
        lambda content: pickle.dumps({"weights": [1, 2]}),
        lambda content: save({"x": torch.ones(1)}, metadata={"format": "another"}),
        lambda content: save({"x": torch.ones(1)}),
        lambda content: content.replace(b"kept", b"lept"),
        lambda content: content[:-5] + bytes([content[-5] ^ 1]) + content[-4:],
    ],
    ids=[
        "truncated",
        "empty",
        "huge header",
        "pickle",
        "foreign",
        "no metadata",
        "state",
        "flipped bit",
    ],
)
def test_damaged_or_foreign_files_are_named(tmp_path, damage):
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, tensors(), {"kept": 1})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CheckpointError, match=r"a\.safetensors"):
        load_checkpoint(path)


def test_a_pickle_runs_no_code(tmp_path):
    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    (tmp_path / "a").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "a")
    assert not (tmp_path / "ran").exists()


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a"
    save_checkpoint(path, tensors(1), {"epoch": 1})

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OutputError, match="No space left"):
        save_checkpoint(path, tensors(2), {"epoch": 2})
    assert load_checkpoint(path).state == {"epoch": 1}
    assert os.listdir(tmp_path) == ["a"]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"):
        save_checkpoint(tmp_path / "file" / "a", tensors(), {})


def test_weights_of_another_model_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="does not fit"):
        restore_model(torch.nn.Linear(2, 2), {"weight": torch.ones(3, 3)}, tmp_path)


def test_optimizer_continues_with_the_same_steps():
    def steps(optimizer, model, count):
        for _ in range(count):
            optimizer.zero_grad()
            model(torch.ones(1, 3)).square().sum().backward()
            optimizer.step()

    torch.manual_seed(0)
    straight = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(straight.parameters(), lr=0.1)
    steps(optimizer, straight, 3)
    copied = torch.nn.Linear(3, 2)
    copied.load_state_dict(straight.state_dict())
    restored = torch.optim.Adam(copied.parameters(), lr=0.5)
    groups = json.loads(json.dumps(optimizer.state_dict()["param_groups"]))
    restore_optimizer(restored, optimizer_tensors(optimizer), groups)
    steps(optimizer, straight, 3)
    steps(restored, copied, 3)
    assert straight.weight.equal(copied.weight)
