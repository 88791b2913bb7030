"""The training loop: step, guard, log, look at the validation split, checkpoint, resume."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from graphcl.errors import CheckpointError, NonFiniteError, OutputError
from graphcl.evaluate.contract import Split, Task
from graphcl.methods.contract import Method
from graphcl.methods.sharing import Sharing
from graphcl.train.checkpoint import (
    Checkpoint,
    CheckpointFolder,
    load_checkpoint,
    optimizer_tensors,
    restore_model,
    restore_optimizer,
    save_checkpoint,
)
from graphcl.train.guard import check_gradients, check_losses, located
from graphcl.train.processes import Processes
from graphcl.train.seeds import random_state, restore_random_state
from graphcl.train.sinks.contract import Sink


@dataclass
class Progress:
    """Where training stands; the JSON part of a checkpoint."""

    epoch: int = 0
    best_epoch: int | None = None
    best_value: float | None = None
    best_metrics: dict[str, float] = field(default_factory=dict)
    evaluations_since_best: int = 0
    seconds: float = 0.0
    """Wall time of training and validation, over all resumed parts."""
    stopped: str | None = None


class Trainer:
    """Trains one method with one seed.

    The model that training ends with is the best by validation, or the last one where
    the protocol has no validation part. A killed run that is resumed goes through the
    same random states as an uninterrupted one and so ends with the same bits.
    """

    def __init__(
        self,
        method: Method,
        task: Task,
        split: Split,
        *,
        seed: int,
        generator: torch.Generator,
        folder: CheckpointFolder,
        log: Sink,
        fingerprint: str,
        checkpoint_seconds: float = 10.0,
        processes: Processes | None = None,
    ) -> None:
        """`fingerprint` names the configuration; `log` gets every record of the training.

        Of several `processes` that train together each has a trainer; the first one's evaluates,
        and writes to `folder`.
        """
        self.method = method
        self.task = task
        self.split = split
        self.seed = seed
        self.generator = generator
        self.folder = folder
        self.log = log
        self.fingerprint = fingerprint
        self.checkpoint_seconds = checkpoint_seconds
        self.processes = processes or Processes()
        method.sharing = Sharing(self.processes.rank, self.processes.count)
        self.progress = Progress()
        self._clock = time.monotonic()
        self.optimizer = method.optimizer()

    def fit(self) -> Progress:
        """Train to the end and load the model to be tested into the method.

        Raises:
            NonFiniteError: a loss part or gradient is not finite; the message names the
                part, the step and the last good checkpoint.
            OutputError: the disk is full, or the folder cannot be written any more; the
                message names the checkpoint that --resume goes on from.
        """
        try:
            return self._fit()
        except OutputError as error:
            raise OutputError(f"{error}; {self._good_checkpoint()}") from None

    def _fit(self) -> Progress:
        config = self.method.config
        last_save = self._clock = time.monotonic()
        while self.progress.stopped is None and self.progress.epoch < config.epochs:
            self._train_epoch(self.progress.epoch + 1)
            if self._is_evaluation_epoch():
                self._evaluate()
            if self.progress.epoch == config.epochs:
                self.progress.stopped = self.progress.stopped or "epochs"
            if time.monotonic() - last_save >= self.checkpoint_seconds:
                self.save()
                last_save = time.monotonic()
        if self.progress.stopped:
            self.log.write(
                {
                    "seed": self.seed,
                    "epoch": self.progress.epoch,
                    "stopped": self.progress.stopped,
                }
            )
        self.save()
        if self.progress.best_epoch is not None and self.processes.first:
            best = load_checkpoint(self.folder.best)
            restore_model(self.method, best.part("model"), self.folder.best)
        self.method.eval()
        return self.progress

    def save(self) -> None:
        """Write the full state as the `last` checkpoint."""
        if not self.processes.first:
            return
        self._count_time()
        tensors: dict[str, Tensor] = {
            **_prefixed("model", self.method.state_dict()),
            **_prefixed("optimizer", optimizer_tensors(self.optimizer)),
            **_prefixed("random", random_state(self.generator)),
        }
        self.folder.save_last(tensors, self._state())

    def resume(self, checkpoint: Checkpoint) -> None:
        """Continue from `checkpoint`, which `CheckpointFolder.load_last` gave.

        Raises:
            CheckpointError: it does not fit the model.
        """
        restore_model(self.method, checkpoint.part("model"), self.folder.last)
        try:
            groups = checkpoint.state["optimizer_groups"]
            restore_optimizer(self.optimizer, checkpoint.part("optimizer"), groups)
            restore_random_state(self.generator, checkpoint.part("random"))
            self.progress = Progress(**checkpoint.state["progress"])
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise CheckpointError(
                f"'{self.folder.last}' does not hold the state of this training: "
                f"{' '.join(str(error).split())[:200]}"
            ) from None

    def _count_time(self) -> None:
        now = time.monotonic()
        self.progress.seconds += now - self._clock
        self._clock = now

    def _state(self) -> dict[str, Any]:
        return {
            "fingerprint": self.fingerprint,
            "seed": self.seed,
            "progress": asdict(self.progress),
            "optimizer_groups": self.optimizer.state_dict()["param_groups"],
        }

    def _train_epoch(self, epoch: int) -> None:
        started = time.perf_counter()
        self.processes.begin_epoch(self.method, self.generator)
        self.method.train()
        self.method.epoch_start(epoch, self.generator)
        self.processes.part()
        sums: dict[str, list[float]] = {}
        with product_precision(self.method.config.precision):
            for step, batch in enumerate(self.method.batches(self.generator), start=1):
                parts = self._step(batch, epoch, step)
                for name, value in parts.items():
                    sums.setdefault(name, []).append(float(value.detach()))
        # By its own count: a step of an alternating method need not have every part.
        means = {name: sum(values) / len(values) for name, values in sums.items()}
        seconds = time.perf_counter() - started
        self.progress.epoch = epoch
        self.log.write(
            {"seed": self.seed, "epoch": epoch, "loss": means, "seconds": round(seconds, 4)}
        )

    def _step(self, batch: Any, epoch: int, step: int) -> dict[str, Tensor]:
        try:
            self.optimizer.zero_grad(set_to_none=True)
            parts = self.method.loss(batch, self.generator)
            check_losses(parts, epoch, step)
            parts["total"].backward()
            parts = self.processes.average(self.method, parts)
            self.processes.agree(self.generator)
            check_gradients(self.method.named_parameters(), epoch, step)
        except NonFiniteError as error:
            raise self._with_checkpoint(located(error, epoch, step)) from None
        self.optimizer.step()
        return parts

    def _with_checkpoint(self, error: NonFiniteError) -> NonFiniteError:
        return NonFiniteError(f"{error}; {self._good_checkpoint()}")

    def _good_checkpoint(self) -> str:
        # A write that failed leaves only what `last` was before, under the name `previous`.
        kept = [path for path in (self.folder.last, self.folder.previous) if path.exists()]
        if not kept:
            return "no checkpoint was written"
        return f"the last good checkpoint is '{kept[0]}'"

    def _is_evaluation_epoch(self) -> bool:
        config = self.method.config
        if self.split.validation is None or config.evaluate_every <= 0:
            return False
        return (
            self.progress.epoch % config.evaluate_every == 0 or self.progress.epoch == config.epochs
        )

    def _evaluate(self) -> None:
        progress, config = self.progress, self.method.config
        self.method.eval()
        try:
            with torch.no_grad():
                metrics = self.processes.from_first(
                    lambda: self.task.validate(self.method, self.split)
                )
        except NonFiniteError as error:
            located = NonFiniteError(f"at epoch {progress.epoch}: {error}")
            raise self._with_checkpoint(located) from None
        value = metrics[self.task.metric]
        better = progress.best_value is None or value > progress.best_value
        if better:
            progress.best_epoch, progress.best_value = progress.epoch, value
            progress.best_metrics = metrics
            progress.evaluations_since_best = 0
            if self.processes.first:
                save_checkpoint(
                    self.folder.best, _prefixed("model", self.method.state_dict()), self._state()
                )
        else:
            progress.evaluations_since_best += 1
        self.log.write(
            {"seed": self.seed, "epoch": progress.epoch, "validation": metrics, "best": better}
        )
        exhausted = 0 < config.patience <= progress.evaluations_since_best
        if exhausted and progress.epoch >= config.minimum_epochs:
            progress.stopped = "early"


@contextmanager
def product_precision(precision: str) -> Iterator[None]:
    """`torch.set_float32_matmul_precision` for the length of a block.

    "highest" leaves what the caller set for the process.
    """
    before = torch.get_float32_matmul_precision()
    try:
        if precision != "highest":
            torch.set_float32_matmul_precision(precision)
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}
