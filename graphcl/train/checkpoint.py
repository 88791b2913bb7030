"""Checkpoints: one safetensors file each, atomic, and never a pickle.

A file holds the tensors (model, optimiser, random states) and, in its header, the
JSON state (epoch, early stopping, log position, fingerprint of the configuration).
Loading runs no code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from graphcl.atomic import write_bytes
from graphcl.errors import CheckpointError
from graphcl.files import check_regular

FORMAT = "graphcl-checkpoint-1"


@dataclass(frozen=True)
class Checkpoint:
    """What one file holds."""

    tensors: dict[str, Tensor]
    state: dict[str, Any]
    path: Path

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names start with `prefix.`, without it."""
        start = prefix + "."
        return {
            name.removeprefix(start): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(start)
        }


def save_checkpoint(
    path: Path,
    tensors: Mapping[str, Tensor],
    state: Mapping[str, Any],
    *,
    keep: Path | None = None,
) -> None:
    """Write tensors and JSON state to `path` atomically; what `path` was becomes `keep`.

    Raises:
        OutputError: the file cannot be written; an older `path` is untouched.
    """
    # Cloned, because safetensors refuses tensors that share memory (tied weights).
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    seen: set[int] = set()
    for name, tensor in contiguous.items():
        if tensor.data_ptr() in seen:
            contiguous[name] = tensor.clone()
        seen.add(tensor.data_ptr())
    text = json.dumps(state)
    metadata = {"format": FORMAT, "state": text, "sha256": _digest(contiguous, text)}
    write_bytes(path, save(contiguous, metadata=metadata), keep=keep)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint without running any code from it.

    Raises:
        CheckpointError: the file is missing, truncated, corrupt, or not one of ours.
    """
    check_regular(path, CheckpointError)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise CheckpointError(
                    f"'{path}' is not a checkpoint of this library "
                    f"(got format {metadata.get('format')!r}, expected '{FORMAT}')"
                )
            state = json.loads(metadata["state"])
            if not isinstance(state, dict):
                raise ValueError("its state is not a mapping")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if metadata["sha256"] != _digest(tensors, metadata["state"]):
                raise CheckpointError(f"'{path}' is damaged: its content is not that of its sha256")
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint '{path}'") from None
    except CheckpointError:
        raise
    except Exception as error:  # a file made to do harm can fail in any way
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CheckpointError(f"'{path}' is damaged or not a checkpoint: {reason}") from None
    return Checkpoint(tensors, state, path)


def _digest(tensors: Mapping[str, Tensor], state: str) -> str:
    # safetensors checks the shape of its header only; a flipped bit would pass silently.
    digest = hashlib.sha256(state.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's per-parameter state under flat names `parameter index.key`."""
    return {
        f"{index}.{key}": torch.as_tensor(value)
        for index, slots in optimizer.state_dict()["state"].items()
        for key, value in slots.items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], groups: list[dict[str, Any]]
) -> None:
    """Put back what `optimizer_tensors` and `state_dict()["param_groups"]` returned.

    Raises:
        ValueError: the groups have other constants than those of `optimizer`; a learning rate
            may differ, since methods with a schedule set it in every epoch.
    """
    for own, stored in zip(optimizer.state_dict()["param_groups"], groups, strict=True):
        for name in sorted(own.keys() | stored.keys()):
            wanted, got = own.get(name), stored.get(name)
            if name == "lr" and isinstance(got, int | float) and got >= 0:
                continue
            if (list(wanted) if isinstance(wanted, tuple) else wanted) != got:
                raise ValueError(f"the optimiser's {name} must be {wanted} (got {got!r:.80})")
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        # Cloned, since the optimiser updates its state in place.
        state.setdefault(int(index), {})[key] = tensor.clone()
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def restore_model(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load a model's tensors by name.

    Raises:
        CheckpointError: names, shapes or dtypes do not fit the model.
    """
    for name, own in model.state_dict().items():
        # Torch would convert it, and go on with rounded weights.
        if name in tensors and tensors[name].dtype != own.dtype:
            raise CheckpointError(
                f"'{path}' does not fit this model: {name} must be {own.dtype} "
                f"(got {tensors[name].dtype})"
            )
    try:
        model.load_state_dict(dict(tensors), strict=True)
    except RuntimeError as error:
        first_line = str(error).splitlines()[-1].strip()
        raise CheckpointError(f"'{path}' does not fit this model: {first_line}") from None
