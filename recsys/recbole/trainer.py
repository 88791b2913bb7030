"""RecBole's trainer with our optimiser, our epochs and checkpoints without pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from recbole.trainer import Trainer
from torch import Tensor

from graphcl.errors import CheckpointError, NonFiniteError
from graphcl.train.checkpoint import (
    Checkpoint,
    load_checkpoint,
    optimizer_tensors,
    restore_model,
    restore_optimizer,
    save_checkpoint,
)
from recsys.recbole.model import BridgedSequential, OwnBatch


class BridgedTrainer(Trainer):
    """Trains a `BridgedModel`; checkpoints are safetensors, written whole or not at all."""

    saved_model_file: str
    """Where the best model by validation is."""

    def __init__(self, config: Any, model: Any) -> None:
        super().__init__(config, model)
        self.saved_model_file = str(Path(self.saved_model_file).with_suffix(".safetensors"))

    def _build_optimizer(self, **settings: Any) -> torch.optim.Optimizer | None:
        if not self.model.method.trainable:
            return None
        if not settings and self.learner.lower() == "adam":
            return self.model.method.optimizer()
        built: torch.optim.Optimizer = super()._build_optimizer(**settings)
        return built

    def fit(self, train_data: Any, valid_data: Any = None, **settings: Any) -> tuple[Any, Any]:
        """Train as RecBole does; a method that has nothing to learn is evaluated once."""
        if self.model.method.trainable:
            best: tuple[Any, Any] = super().fit(train_data, valid_data, **settings)
            return best
        self.eval_collector.data_collect(train_data)
        self._save_checkpoint(0)
        return self._valid_epoch(valid_data) if valid_data else (-1, None)

    def _train_epoch(
        self, train_data: Any, epoch_idx: int, loss_func: Any = None, show_progress: bool = False
    ) -> Any:
        method = self.model.method
        self.model.train()
        method.epoch_start(epoch_idx + 1, self.model.generator)
        if isinstance(self.model, BridgedSequential):
            # A list, since a progress bar asks for its length.
            train_data = [OwnBatch(batch) for batch in method.batches(self.model.generator)]
        return super()._train_epoch(train_data, epoch_idx, loss_func, show_progress)

    def _check_nan(self, loss: Tensor) -> None:
        if not bool(torch.isfinite(loss)):
            raise NonFiniteError(
                f"the training loss is {float(loss.detach())}; a smaller learning rate may help"
            )

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **settings: Any) -> None:
        path = Path(settings.get("saved_model_file", self.saved_model_file))
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        state = {
            "model": self.config["model"],
            "settings": self.model.settings.model_dump(),
            "epoch": epoch,
            "cur_step": self.cur_step,
            "best_valid_score": float(self.best_valid_score),
        }
        if self.optimizer is not None:
            found = optimizer_tensors(self.optimizer)
            tensors |= {f"optimizer.{name}": value for name, value in found.items()}
            state["optimizer_groups"] = self.optimizer.state_dict()["param_groups"]
        tensors["generator"] = self.model.generator.get_state()
        save_checkpoint(path, tensors, state)

    def resume_checkpoint(self, resume_file: str | Path) -> None:
        """Continue after the epoch in which a checkpoint was written.

        Raises:
            CheckpointError: it is damaged, or of another model or other settings.
        """
        checkpoint = self._load(Path(resume_file))
        state = checkpoint.state
        self.saved_model_file = str(resume_file)
        self.start_epoch = state["epoch"] + 1
        self.cur_step = state["cur_step"]
        self.best_valid_score = state["best_valid_score"]
        if self.optimizer is not None:
            groups = state["optimizer_groups"]
            restore_optimizer(self.optimizer, checkpoint.part("optimizer"), groups)
        self.model.generator.set_state(checkpoint.tensors["generator"].cpu())

    def _load(self, path: Path) -> Checkpoint:
        checkpoint = load_checkpoint(path)
        wanted = {"model": self.config["model"], "settings": self.model.settings.model_dump()}
        for key, value in wanted.items():
            if checkpoint.state.get(key) != value:
                raise CheckpointError(
                    f"'{path}' belongs to the {key} {checkpoint.state.get(key)} (got {value})"
                )
        restore_model(self.model, checkpoint.part("model"), path)
        return checkpoint

    def evaluate(
        self,
        eval_data: Any,
        load_best_model: bool = True,
        model_file: str | None = None,
        show_progress: bool = False,
    ) -> Any:
        """RecBole's metrics, by default of the best model."""
        if load_best_model:
            self._load(Path(model_file or self.saved_model_file))
        return super().evaluate(eval_data, load_best_model=False, show_progress=show_progress)
