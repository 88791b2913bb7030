"""`graphcl tune`: search a method's settings by the validation split, with Optuna.

A trial trains the method like `graphcl run` does and is worth its best validation value, the
mean over the seeds. It never sees the test split: the task it is given has no `test`, and the
split has none either. Bad trials are pruned against the median of the others at the same epoch,
after a warm-up, because contrastive losses help late.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from graphcl.app.environment import versions
from graphcl.app.sampler import NumberedSampler
from graphcl.app.search import SearchRange, label
from graphcl.app.settings import RunSpecification
from graphcl.app.study import (
    BASELINE,
    CLOSED,
    finished,
    first_line,
    is_surplus,
    occupied,
    open_storage,
    open_study,
    revive,
    storage_errors,
)
from graphcl.app.study_record import (
    StudyRecord,
    check_folder,
    described_storage,
    read_record,
    write_record,
)
from graphcl.app.tracking import Tracking, tracked_run
from graphcl.atomic import write_text
from graphcl.config import configure, dump_yaml
from graphcl.errors import (
    ArgumentError,
    ConfigError,
    NonFiniteError,
    OutputError,
    TooLargeError,
)
from graphcl.evaluate.contract import Sealed, Split, Task
from graphcl.memory import memory_errors
from graphcl.methods.contract import Method
from graphcl.train.folder import CheckpointFolder
from graphcl.train.log import RunLog
from graphcl.train.loop import Trainer
from graphcl.train.seeds import seed_everything
from graphcl.train.sinks.contract import Sinks

REASON = "reason"
"""Why a trial was pruned before it had a value, in its user attributes."""

STARTUP_TRIALS = 10
"""Trials before TPE begins: the start itself, changes to it, and some drawn uniformly."""

UNPRUNED_TRIALS = 5
"""Trials to finish before any is pruned."""


@dataclass(frozen=True)
class TuneOptions:
    """How to search."""

    study: str
    storage: str
    folder: Path
    trials: int | None
    """Finished trials that the study shall have, over all workers; None for no limit."""
    timeout: float | None
    """Seconds after which this worker begins no further trial."""
    warmup: int
    """Epochs of a seed before which no trial is pruned."""
    heartbeat: int = 30
    """Seconds between two signs of life; after twice as many a worker counts as dead."""
    sampler_seed: int = 0


@dataclass(frozen=True)
class Best:
    """The best finished trial."""

    number: int
    value: float
    settings: Any


class _Surplus(Exception):
    """This trial's place in the budget is taken by an earlier one."""


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


class Tuner:
    """One worker on a study.

    Raises:
        ConfigError: the protocol has no validation part or a trial might not look at it, the
            settings that the search starts from are not possible, or the study searches
            something else.
        DataError, MissingDataError, OutputError: data, storage or folder cannot be used; another
            study writes the folder.
    """

    def __init__(
        self,
        specification: RunSpecification,
        space: Mapping[str, SearchRange],
        options: TuneOptions,
        console: Console,
        data_root: Path | None = None,
        tracking: Tracking | None = None,
    ) -> None:
        self.specification = specification
        self.space = space
        self.options = options
        self.console = console
        self.data_root = data_root
        self.tracking = tracking or Tracking()
        self._splits: dict[int, Split] = {}
        self._running: int | None = None
        first = self._split(specification.seeds[0])
        if first.validation is None:
            raise ConfigError(
                f"the protocol '{specification.protocol}' has no validation part to choose by; "
                f"give another --protocol of: {', '.join(specification.task.protocols)}"
            )
        self._check_that_all_validate()
        # Settings that cannot be are found here, before there is anything to leave behind.
        specification.method_class(specification.settings, first.train)
        record = StudyRecord(
            study=options.study, storage=described_storage(options.storage, options.folder),
            method=specification.method, dataset=first.dataset["name"],
            task=specification.task.name,
        )  # fmt: skip
        check_folder(options.folder, record)
        # Before the folder, which a storage that cannot be opened must not leave behind.
        self.storage = open_storage(options.storage, options.heartbeat)
        try:
            options.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write '{options.folder}': {error.strerror}") from None
        with storage_errors(options.storage):
            self.study = open_study(
                self.storage, options.study, self._described(first),
                sampler=NumberedSampler(options.sampler_seed, STARTUP_TRIALS, self._start()),
                pruner=optuna.pruners.MedianPruner(
                    n_startup_trials=UNPRUNED_TRIALS, n_warmup_steps=options.warmup
                ),
            )  # fmt: skip
            if read_record(options.folder) is None:
                write_record(options.folder, record)
            self._queue_baseline()

    def moved(self) -> list[str]:
        """What the first trial has instead of the start's, which the limits leave out."""
        base = self.specification.settings.model_dump()
        return [
            f"{name} {each.nearest(base[name])} instead of {base[name]}"
            for name, each in self.space.items()
            if base[name] not in each
        ]

    def work(self) -> bool:
        """Run trials until the study has its number of them, or time is up.

        Returns:
            whether the study is complete: it has `trials`, or had no limit but the time.
        """
        options = self.options
        deadline = None if options.timeout is None else time.monotonic() + options.timeout
        with storage_errors(options.storage):
            while True:
                revive(self.study, 2 * options.heartbeat)
                trials = self.study.get_trials(deepcopy=False)
                if options.trials is not None and finished(trials) >= options.trials:
                    return True
                if deadline is not None and time.monotonic() >= deadline:
                    return options.trials is None
                queued = any(trial.state == TrialState.WAITING for trial in trials)
                full = options.trials is not None and occupied(trials) >= options.trials
                if full and not queued:
                    # The last trials run elsewhere; should their worker die, they come back.
                    time.sleep(min(1.0, options.heartbeat / 2))
                else:
                    self._one_trial()
                    self.write_best()  # so that a kill leaves the best so far

    def best(self) -> Best | None:
        """The best trial that ran to its end; of equals, the first."""
        done = [
            trial
            for trial in self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if trial.value is not None
        ]
        if not done:
            return None
        trial = max(done, key=lambda one: (one.value, -one.number))
        assert trial.value is not None
        return Best(trial.number, trial.value, self._settings(trial.params))

    def write_best(self) -> Path | None:
        """Write `best.yaml`, which `graphcl run --config` takes; None while there is no best."""
        best = self.best()
        if best is None:
            return None
        path = self.options.folder / "best.yaml"
        write_text(path, self._yaml(best))
        return path

    def baseline_value(self) -> float | None:
        """What the settings that the search started from are worth on validation."""
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            if BASELINE in trial.user_attrs:
                return trial.value
        return None

    def _one_trial(self) -> None:
        try:
            self.study.optimize(self._objective, n_trials=1)
        except _Surplus:
            return
        except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
            if not self._was_taken_over():
                raise
            self._say(f"trial {self._running} went to another worker, which took this one for dead")
        finally:
            self._clear_trial()

    def _was_taken_over(self) -> bool:
        if self._running is None:
            return False
        trial = self.study.get_trials(deepcopy=False)[self._running]
        return trial.state == TrialState.FAIL and CLOSED not in trial.user_attrs

    def _objective(self, trial: optuna.Trial) -> float:
        self._running = trial.number
        # The thread of the heartbeat has begun, but maybe not beaten.
        self.storage.record_heartbeat(trial._trial_id)  # type: ignore[attr-defined]
        trial.set_user_attr("worker", f"{platform.node()}:{os.getpid()}")
        trials = self.study.get_trials(deepcopy=False)
        if is_surplus(trials, trial.number, self.options.trials):
            trial.set_user_attr(CLOSED, "surplus: its place in the budget was taken")
            raise _Surplus
        began = time.perf_counter()
        try:
            value = self._value(trial)
        except optuna.TrialPruned as pruned:
            self._say(f"trial {trial.number}: {pruned} after {time.perf_counter() - began:.0f} s")
            raise
        except (KeyboardInterrupt, optuna.exceptions.OptunaError):
            raise  # the trial is queued again
        except Exception as error:
            with contextlib.suppress(Exception):
                trial.set_user_attr(CLOSED, f"{type(error).__name__}: {first_line(error)}")
            raise
        seconds = time.perf_counter() - began
        metric = self.specification.task.metric
        self._say(f"trial {trial.number}: validation {metric} {value:.4f} after {seconds:.0f} s")
        return value

    def _value(self, trial: optuna.Trial) -> float:
        """Train every seed; the mean of their best validation values."""
        suggested = {name: each.suggest(trial) for name, each in self.space.items()}
        total = 0.0
        try:
            settings = self._configured(suggested)
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
        split = self._split(seed)
        metric = self.specification.task.metric
        generator = seed_everything(seed)
        method_class, task = self.specification.method_class, self.specification.task
        method: Method = method_class(settings, task.training_data(method_class, split))
        folder = self._folder(trial.number) / f"seed-{seed}"
        tracked = tracked_run(
            replace(self.specification, settings=settings), split, seed, self.options.folder,
            trial=trial.number,
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
                if self.options.warmup <= epoch and not at_the_end and trial.should_prune():
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

    def _check_that_all_validate(self) -> None:
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

    def _folder(self, number: int) -> Path:
        return self.options.folder / "trials" / str(number)

    def _clear_trial(self) -> None:
        """Remove what this trial, and the dead ones, left of weights and logs."""
        states = {trial.number: trial.state for trial in self.study.get_trials(deepcopy=False)}
        for folder in (self.options.folder / "trials").glob("*"):
            if folder.name.isdigit() and states.get(int(folder.name)) != TrialState.RUNNING:
                shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            (self.options.folder / "trials").rmdir()

    def _split(self, seed: int) -> Split:
        if seed not in self._splits:
            split = self.specification.load(seed, self.data_root)
            self._splits[seed] = replace(split, test=_NoTest())
        return self._splits[seed]

    def _settings(self, parameters: Mapping[str, Any]) -> Any:
        """The configuration of a trial that a study stored."""
        chosen = {}
        for name, value in parameters.items():
            choices = self.space[name].choices
            named = {label(choice): choice for choice in choices or ()}
            chosen[name] = named.get(value, value)
        return self._configured(chosen)

    def _configured(self, chosen: Mapping[str, Any]) -> Any:
        base = self.specification.settings.model_dump()
        return configure(self.specification.method_class.Config, {**base, **chosen})

    def _start(self) -> dict[str, Any]:
        """The settings that the search starts from, or the nearest ones that its limits allow, as
        a study writes them."""
        base = self.specification.settings.model_dump()
        return {name: label(each.nearest(base[name])) for name, each in self.space.items()}

    def _queue_baseline(self) -> None:
        if not self.study.get_trials(deepcopy=False):
            self.study.enqueue_trial(
                self._start(), user_attrs={BASELINE: True}, skip_if_exists=True
            )

    def _described(self, split: Split) -> dict[str, Any]:
        described = self.specification.as_dict()
        return {
            **described,
            "dataset": split.dataset["name"],
            "dataset_hash": split.dataset["hash"],
            "search": {name: str(each) for name, each in self.space.items()},
            "warmup": self.options.warmup,
            "sampler_seed": self.options.sampler_seed,
        }

    def _yaml(self, best: Best) -> str:
        specification, options = self.specification, self.options
        trials = self.study.get_trials(deepcopy=False)
        metric = specification.task.metric
        seeds = len(specification.seeds)
        content = {
            "method": specification.method,
            "dataset": specification.dataset,
            **({"columns": specification.columns} if specification.columns else {}),
            "task": specification.task.name,
            "protocol": specification.protocol,
            # The seeds that were searched: the validation part of another seed's split may lie
            # in this one's test part.
            "seeds": list(specification.seeds),
            "source": f"chosen by graphcl tune: the best validation {metric} of "
            f"{finished(trials)} trials",
            "settings": best.settings.model_dump(),
            "tuned": {
                "study": options.study,
                "trial": best.number,
                "validation": {metric: round(best.value, 6)},
                "started_from": self.baseline_value(),
                "trials": _counts(trials),
                "search": {name: str(each) for name, each in self.space.items()},
                "sampler": f"TPE after {STARTUP_TRIALS} trials near the start, "
                f"seed {options.sampler_seed}",
                "pruner": f"median, after {options.warmup} epochs",
                "dataset_hash": self._split(specification.seeds[0]).dataset["hash"],
                "versions": {**versions(), "optuna": optuna.__version__},
            },
        }
        head = (
            f"# Chosen by validation {metric} ({seeds} seed{'s' if seeds > 1 else ''}); "
            "the test split was not read.\n"
            f"#   graphcl run {specification.method} {specification.dataset} --config best.yaml\n"
        )
        return head + dump_yaml(content)

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False)


class _NoTest(Sealed):
    """In the place of the test split while tuning."""

    def __init__(self) -> None:
        super().__init__(None)
        self._opened = True  # so that open() refuses, as after a test

    def opened(self) -> Any:
        """Refused like `open`."""
        return self.open()


def _counts(trials: list[FrozenTrial]) -> dict[str, int]:
    states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
    return {name: sum(t.state == state for t in trials) for name, state in states.items()}
