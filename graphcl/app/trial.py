"""One trial of `graphcl tune`: a training that is worth its best validation value."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
import torch

from graphcl.app.search import SearchRange, label
from graphcl.app.settings import RunSpecification
from graphcl.app.tracking import Tracking, tracked_run
from graphcl.config import configure
from graphcl.errors import ArgumentError, ConfigError, NonFiniteError, TooLargeError
from graphcl.evaluate.contract import Sealed, Split, Task
from graphcl.memory import memory_errors
from graphcl.methods.contract import Method
from graphcl.train.device import CPU, describe_device, make_method, on_device
from graphcl.train.folder import CheckpointFolder
from graphcl.train.log import RunLog
from graphcl.train.loop import Trainer
from graphcl.train.seeds import seed_everything
from graphcl.train.sinks.contract import Sinks

REASON = "reason"
"""Why a trial was pruned before it had a value, in its user attributes."""


@dataclass
class TrialTraining:
    """Trains any settings of a search and says what they are worth on validation."""

    specification: RunSpecification
    """The settings that the search starts from."""
    space: Mapping[str, SearchRange]
    warmup: int
    """Epochs of a seed before which no trial is pruned."""
    folder: Path
    """Of the study; a trial's logs and weights lie below it while it runs."""
    tracking: Tracking
    data_root: Path | None = None
    device: torch.device = CPU
    _splits: dict[int, Split] = field(default_factory=dict)

    def value(self, trial: optuna.Trial) -> float:
        """Train every seed; the mean of their best validation values.

        Raises:
            optuna.TrialPruned: the trial is not worth going on with, diverged, or its settings are
                not possible.
        """
        suggested = {name: each.suggest(trial) for name, each in self.space.items()}
        total = 0.0
        try:
            settings = self.configured(suggested)
            with memory_errors():
                for position, seed in enumerate(self.specification.seeds):
                    total += self._train(trial, settings, seed, position, total)
        except NonFiniteError as error:
            # A result of these settings like any other, so it is not tried again.
            trial.set_user_attr(REASON, str(error))
            raise optuna.TrialPruned("diverged") from None
        except (ConfigError, ArgumentError, TooLargeError) as error:
            trial.set_user_attr(REASON, str(error))
            raise optuna.TrialPruned(f"not possible ({error})") from None
        value = total / len(self.specification.seeds)
        if not math.isfinite(value):
            trial.set_user_attr(REASON, f"its validation value is {value}")
            raise optuna.TrialPruned(f"not possible (its validation value is {value})")
        return value

    def _train(
        self, trial: optuna.Trial, settings: Any, seed: int, position: int, before: float
    ) -> float:
        split = self.split(seed)
        metric = self.specification.task.metric
        generator = seed_everything(seed, self.device)
        method: Method = make_method(
            self.specification.method_class, settings, self.specification.task, split
        )
        folder = self.trials / str(trial.number) / f"seed-{seed}"
        tracked = tracked_run(
            replace(self.specification, settings=settings), split, seed, self.folder,
            trial=trial.number, device=describe_device(self.device),
        )  # fmt: skip
        pruned: optuna.TrialPruned | None = None
        best = float("-inf")
        with Sinks(RunLog(folder / "log.jsonl"), *self.tracking.seed(tracked)) as log:
            if not method.trainable:
                method.eval()
                metrics = self.specification.task.validate(method, split)
                log.write({"seed": seed, "epoch": 0, "validation": metrics, "best": True})
                return metrics[metric]

            def look(metrics: dict[str, float]) -> None:
                nonlocal best
                epoch, best = trainer.progress.epoch, max(best, metrics[metric])
                # What the trial would be worth if it ended now: later seeds count like this one.
                value = (before + best) / (position + 1)
                trial.report(value, position * self._longest() + epoch)
                at_the_end = epoch == settings.epochs and seed == self.specification.seeds[-1]
                if self.warmup <= epoch and not at_the_end and trial.should_prune():
                    raise optuna.TrialPruned(f"pruned at {metric} {value:.4f}, epoch {epoch}")

            trainer = Trainer(
                method, ValidationOnly(self.specification.task, look), split,
                seed=seed, generator=generator, folder=CheckpointFolder(folder), log=log,
                fingerprint="", checkpoint_seconds=float("inf"),
            )  # fmt: skip
            try:
                trainer.fit()
            except optuna.TrialPruned as found:
                # To whom it is logged, the trial ended well.
                pruned = found
                epoch = trainer.progress.epoch
                log.write({"seed": seed, "epoch": epoch, "stopped": "pruned"})
        if pruned:
            raise pruned
        return best

    def check_that_all_validate(self) -> None:
        """Refuse what might let a trial end without a look at the validation split.

        Raises:
            ConfigError: naming the setting.
        """
        if not self.specification.method_class.trainable:
            return
        for name in ("evaluate_every", "epochs"):
            searched = self.space.get(name)
            least = searched.least if searched else getattr(self.specification.settings, name)
            if least < 1:
                raise ConfigError(
                    f"tuning looks at the validation split: {name} must be at least 1 in every "
                    f"trial (got {least:g})"
                )

    def _longest(self) -> int:
        """The most epochs a seed may take, so that the steps of two trials mean the same."""
        searched = self.space.get("epochs")
        if searched is None:
            return int(self.specification.settings.epochs)
        return int(max(searched.choices) if searched.choices else searched.high or 0)

    @property
    def trials(self) -> Path:
        """Logs and weights of the trials that run, each in a folder of its number."""
        return self.folder / "trials"

    def split(self, seed: int) -> Split:
        """The data of a seed, without its test part."""
        if seed not in self._splits:
            split = self.specification.load(seed, self.data_root)
            self._splits[seed] = on_device(replace(split, test=_NoTest()), self.device)
        return self._splits[seed]

    def stored(self, parameters: Mapping[str, Any]) -> Any:
        """The configuration of a trial that a study stored."""
        chosen = {}
        for name, value in parameters.items():
            choices = self.space[name].choices
            named = {label(choice): choice for choice in choices or ()}
            chosen[name] = named.get(value, value)
        return self.configured(chosen)

    def configured(self, chosen: Mapping[str, Any]) -> Any:
        """The start's configuration with some settings replaced."""
        base = self.specification.settings.model_dump()
        return configure(self.specification.method_class.Config, {**base, **chosen})

    def start(self) -> dict[str, Any]:
        """The searched settings of the start as a study writes them.

        Where the limits leave one out, the nearest that they allow.
        """
        base = self.specification.settings.model_dump()
        return {name: label(each.nearest(base[name])) for name, each in self.space.items()}


class ValidationOnly(Task):
    """A task that can validate and nothing else, and tells of every look it takes."""

    def __init__(self, task: Task, look: Callable[[dict[str, float]], None]) -> None:
        self._task = task
        self._look = look
        self.metric = task.metric  # type: ignore[misc]

    def validate(self, method: Method, split: Split) -> dict[str, float]:
        """The metrics of the task itself."""
        metrics = self._task.validate(method, split)
        self._look(metrics)
        return metrics


class _NoTest(Sealed):
    """In the place of the test split while tuning."""

    def __init__(self) -> None:
        super().__init__(None)
        self._opened = True  # so that open() refuses, as after a test

    def opened(self) -> Any:
        """Refused like `open`."""
        return self.open()
