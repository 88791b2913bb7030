"""Where a training computes: the choice of a device, and everything of a seed moved to it."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from typing import Any

import torch

from graphcl.data.place import data_device
from graphcl.errors import ConfigError
from graphcl.evaluate.contract import Split

CPU = torch.device("cpu")
KINDS = ("auto", "cpu", "cuda", "cuda:N")
"""What may be asked for; N is the number of a GPU."""


def choose_device(asked: str = "auto") -> torch.device:
    """The device that is meant by a word of `KINDS`; "auto" is a CUDA GPU where torch finds one.

    Raises:
        ConfigError: no such word, or no such device here.
    """
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked == "auto":
        return torch.device("cuda", 0) if found else CPU
    meant = re.fullmatch(r"cpu|cuda(?::([0-9]{1,9}))?", asked)
    if meant is None:
        raise ConfigError(f"the device must be one of {', '.join(KINDS)} (got '{asked}')")
    if asked == "cpu":
        return CPU
    number = int(meant[1] or 0)
    if number >= found:
        raise ConfigError(f"torch finds {found} CUDA devices here (got '{asked}')")
    return torch.device("cuda", number)


def describe_device(device: torch.device) -> str:
    """The kind of a device and, of a GPU, its name: what a result says of it."""
    if device.type != "cuda":
        return device.type
    return f"{device.type}: {torch.cuda.get_device_name(device)}"


def on_device(split: Split, device: torch.device) -> Split:
    """The split with what methods see on `device`; targets stay where they are evaluated.

    The split that was given is left as it is.

    Raises:
        ConfigError: the data cannot be moved.
    """
    if device.type == "cpu":
        return split
    if not moves(split):
        raise ConfigError(
            f"the data of '{split.dataset.get('name')}' cannot be moved to {device}: it is a "
            f"{type(split.train).__name__} without a method `to`; give --device cpu"
        )
    # PyG's `to` changes the object it is called on.
    return replace(split, train=copy.copy(split.train).to(device))


def moves(split: Split) -> bool:
    """Whether what methods see can be moved to another device."""
    return callable(getattr(split.train, "to", None))


def make_method(method_class: type[Any], settings: Any, task: Any, split: Split) -> Any:
    """A method of `method_class` on the data of `split`, with its parameters where they are.

    Parameters are drawn on the CPU, so that one seed begins alike on every device.
    """
    seen = task.training_data(method_class, split)
    method = method_class(settings, seen)
    return method.to(data_device(seen))
