"""What the JSON part of a checkpoint says, and whether its tensors agree with it.

A file can be whole, by its sha256, and still be of another training or made by hand. All of that
is found before anything is used, without a model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from graphcl.errors import CheckpointError
from graphcl.train.checkpoint import Checkpoint

Natural = Annotated[int, Field(ge=0)]

MOST_SECONDS = 1e12
"""A result with more is refused, so no training may carry more on."""


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class Progress(_Strict):
    """Where training stands."""

    epoch: Natural = 0
    best_epoch: Annotated[int, Field(ge=1)] | None = None
    best_value: Annotated[float, Field(allow_inf_nan=False)] | None = None
    best_metrics: dict[str, float] = Field(default_factory=dict)
    evaluations_since_best: Natural = 0
    seconds: Annotated[float, Field(ge=0, le=MOST_SECONDS, allow_inf_nan=False)] = 0.0
    """Wall time of training and validation, over all resumed parts."""
    stopped: Literal["early", "epochs"] | None = None


class Part(_Strict):
    """One stretch of a run: from its start, or from a resume, until it ended or was killed."""

    started: str
    command: str
    threads: int
    processes: int
    device: str = "cpu"
    versions: dict[str, str]


class State(_Strict):
    """All of it."""

    fingerprint: str
    """Of the configuration, the data and the seed."""
    seed: int
    progress: Progress
    optimizer_groups: list[dict[str, Any]]
    optimized: list[str]
    """The names of the parameters in the order in which the optimiser numbers them."""
    parts: list[Part]
    """Where this training ran; those whose work was lost are not among them."""


def read_state(checkpoint: Checkpoint, epochs: int | None = None) -> State:
    """The state in a checkpoint of a training of at most `epochs` epochs.

    Raises:
        CheckpointError: a value is missing, of the wrong type or out of range, or the tensors
            are not those that it speaks of.
    """
    try:
        state = State.model_validate(checkpoint.state)
    except ValidationError as error:
        detail = error.errors()[0]
        key = ".".join(str(part) for part in detail["loc"])
        got = "" if detail["type"] == "missing" else f" (got {detail['input']!r:.80})"
        reason: str | None = f"{key}: {detail['msg'].lower()}{got}"
    else:
        reason = (
            _wrong_progress(state.progress, epochs)
            or _wrong_best(state.progress, checkpoint.part("model"), checkpoint.part("best"))
            or _wrong_groups(state)
            or _wrong_optimizer(state, checkpoint)
        )
        if reason is None:
            return state
    raise CheckpointError(f"'{checkpoint.path}' does not hold the state of a training: {reason}")


def _wrong_progress(progress: Progress, epochs: int | None) -> str | None:
    if epochs is not None and progress.epoch > epochs:
        return f"epoch {progress.epoch} of {epochs}"
    if epochs is not None and progress.stopped == "epochs" and progress.epoch < epochs:
        return f"it stopped for lack of epochs at {progress.epoch} of {epochs}"
    best = progress.best_epoch
    if (best is None) != (progress.best_value is None) or (best is None) == bool(
        progress.best_metrics
    ):
        return "best_epoch, best_value and best_metrics do not go together"
    if best is not None and best > progress.epoch:
        return f"its best epoch {best} comes after epoch {progress.epoch}"
    return None


def _wrong_best(
    progress: Progress, model: Mapping[str, Tensor], best: Mapping[str, Tensor]
) -> str | None:
    if bool(best) == (progress.best_epoch is None):
        return f"its best epoch is {progress.best_epoch}, with {len(best)} tensors of that epoch"
    if best and _shapes(best) != _shapes(model):
        return "the weights of the best epoch are not those of its model"
    return None


def _wrong_groups(state: State) -> str | None:
    for group in state.optimizer_groups:
        for name, value in group.items():
            inner = value if isinstance(value, list) else [value]
            if not all(each is None or _is_number(each) for each in inner):
                return f"the optimiser's {name} must be a number (got {value!r:.80})"
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


LIKE_PARAMETER = {"exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer"}
"""What the optimisers of torch keep in the shape of the parameter."""


def _wrong_optimizer(state: State, checkpoint: Checkpoint) -> str | None:
    model = checkpoint.part("model")
    for name, tensor in checkpoint.part("optimizer").items():
        number, _, key = name.partition(".")
        if not number.isdecimal() or int(number) >= len(state.optimized):
            return f"the optimiser's '{name}' is of no parameter"
        parameter = model.get(state.optimized[int(number)])
        if parameter is None:
            return f"the optimiser's parameter '{state.optimized[int(number)]}' is not the model's"
        if key in LIKE_PARAMETER and tensor.shape != parameter.shape:
            return (
                f"the optimiser's '{name}' must be of shape {tuple(parameter.shape)} "
                f"(got {tuple(tensor.shape)})"
            )
        if key == "step" and tensor.numel() != 1:
            return f"the optimiser's '{name}' must be one number (got {tensor.numel()})"
    return None


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}
