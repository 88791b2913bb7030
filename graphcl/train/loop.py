"""The training loop: step, guard, log, look at the validation split, checkpoint, resume."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from graphcl.errors import CheckpointError, NonFiniteError, OutputError
from graphcl.evaluate.contract import Split, Task
from graphcl.kernels.contrast.precision import Precision, contrast_precision
from graphcl.memory import is_too_large
from graphcl.methods.contract import Method
from graphcl.methods.sharing import Sharing
from graphcl.train.checkpoint import (
    Checkpoint,
    optimizer_tensors,
    restore_model,
    restore_optimizer,
    save_checkpoint,
)
from graphcl.train.folder import CheckpointFolder
from graphcl.train.guard import check_gradients, check_losses, located
from graphcl.train.processes import Processes
from graphcl.train.seeds import random_state, restore_random_state
from graphcl.train.sinks.contract import Sink
from graphcl.train.state import Progress, read_state

FOREIGN = (
    LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError,
    AssertionError,
)  # fmt: skip
"""What an optimiser of torch raises when its state is not its own."""


class Trainer:
    """Trains one method with one seed.

    The model that training ends with is the best by validation, or the last one where
    the protocol has no validation part. A killed run that is resumed goes through the
    same random states as an uninterrupted one and so ends, on the CPU, with the same bits.
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
        part: Mapping[str, Any] | None = None,
    ) -> None:
        """`fingerprint` names the configuration; `log` gets every record of the training.

        `part` says where and by which command this stretch of it runs (`graphcl.train.state.Part`).
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
        self.parts = [dict(part)] if part else []
        self._best: dict[str, Tensor] = {}
        self._resumed_from: Checkpoint | None = None
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
            save_checkpoint(self.folder.best, _prefixed("model", self._best), self._state())
            restore_model(self.method, self._best, self.folder.best)
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
            **_prefixed("best", self._best),
        }
        self.folder.save_last(tensors, self._state())

    def resume(self, checkpoint: Checkpoint) -> None:
        """Continue from `checkpoint`, which `CheckpointFolder.load_last` gave.

        Raises:
            CheckpointError: it does not fit the model or its optimiser; the message says how to
                go on.
        """
        restore_model(self.method, checkpoint.part("model"), checkpoint.path)
        state = read_state(checkpoint, self.method.config.epochs)
        kind = (state.parts[-1].device if state.parts else "cpu").partition(":")[0]
        if kind != self.generator.device.type:
            raise CheckpointError(
                f"the training of '{checkpoint.path}' was begun on {kind}, whose random numbers "
                f"{self.generator.device.type} does not draw; give --device {kind} or another --out"
            )
        if state.optimized != self._optimized():
            raise self._foreign(checkpoint, "its optimiser has other parameters")
        try:
            groups = checkpoint.state["optimizer_groups"]
            restore_optimizer(self.optimizer, checkpoint.part("optimizer"), groups)
            restore_random_state(self.generator, checkpoint.part("random"))
        except FOREIGN as error:
            raise self._foreign(checkpoint, str(error)) from None
        self.progress = state.progress
        self.parts = [*checkpoint.state["parts"], *self.parts]
        self._best = checkpoint.part("best")
        self._resumed_from = checkpoint

    def _foreign(self, checkpoint: Checkpoint, reason: str) -> CheckpointError:
        return CheckpointError(
            f"'{checkpoint.path}' does not hold the state of this training: "
            f"{' '.join(reason.split())[:200]}; {self.folder.way_on(checkpoint.path)}"
        )

    def _count_time(self) -> None:
        now = time.monotonic()
        self.progress.seconds += now - self._clock
        self._clock = now

    def _state(self) -> dict[str, Any]:
        return {
            "fingerprint": self.fingerprint,
            "seed": self.seed,
            "progress": self.progress.model_dump(),
            "optimizer_groups": self.optimizer.state_dict()["param_groups"],
            "optimized": self._optimized(),
            "parts": self.parts,
        }

    def _optimized(self) -> list[str]:
        names = {id(parameter): name for name, parameter in self.method.named_parameters()}
        return [
            names.get(id(parameter), "")
            for group in self.optimizer.param_groups
            for parameter in group["params"]
        ]

    def _train_epoch(self, epoch: int) -> None:
        started = time.perf_counter()
        self.processes.begin_epoch(self.method, self.generator)
        self.method.train()
        self.method.epoch_start(epoch, self.generator)
        self.processes.part()
        values: dict[str, list[Tensor]] = {}
        with training_precision(self.method.config.precision, self.method.rounds_contrasts_only):
            for step, batch in enumerate(self.method.batches(self.generator), start=1):
                parts = self._step(batch, epoch, step)
                for name, value in parts.items():
                    values.setdefault(name, []).append(value.detach().clone().reshape(()))
        # By its own count: a step of an alternating method need not have every part.
        means = {name: sum(torch.stack(each).tolist()) / len(each) for name, each in values.items()}
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
        self._step_optimizer()
        return parts

    def _step_optimizer(self) -> None:
        try:
            self.optimizer.step()
        except FOREIGN as error:
            # The first step after a resume meets whatever the checkpoint put into the optimiser.
            if self._resumed_from is None or is_too_large(error):
                raise
            raise self._foreign(self._resumed_from, str(error)) from error
        self._resumed_from = None

    def _with_checkpoint(self, error: NonFiniteError) -> NonFiniteError:
        return NonFiniteError(f"{error}; {self._good_checkpoint()}")

    def _good_checkpoint(self) -> str:
        try:
            checkpoint = self.folder.load_last(self.fingerprint)
        except CheckpointError as error:
            return f"no checkpoint is good: {error}"
        if checkpoint is None:
            return "no checkpoint was written"
        return f"the last good checkpoint is '{checkpoint.path}'"

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
                self._best = {
                    # Copied: `cpu` gives the tensor itself where it is there already.
                    name: tensor.detach().cpu().clone()
                    for name, tensor in self.method.state_dict().items()
                }
        else:
            progress.evaluations_since_best += 1
        self.log.write(
            {"seed": self.seed, "epoch": progress.epoch, "validation": metrics, "best": better}
        )
        exhausted = 0 < config.patience <= progress.evaluations_since_best
        if exhausted and progress.epoch >= config.minimum_epochs:
            progress.stopped = "early"


@contextmanager
def training_precision(precision: Precision, contrasts_only: bool) -> Iterator[None]:
    """`torch.set_float32_matmul_precision` for the length of a block, or the contrasts' alone.

    "highest" leaves what the caller set for the process.
    """
    if precision == "highest":
        yield
        return
    if contrasts_only:
        with contrast_precision(precision):
            yield
        return
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(precision)
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}
