"""`graphcl tune`: search a method's settings by the validation split, with Optuna.

A trial (`graphcl.app.trial`) trains the method like `graphcl run` does and is worth its best
validation value, the mean over the seeds. It never sees the test split: the task it is given has
no `test`, and the split has none either. Bad trials are pruned against the median of the others
at the same epoch, after a warm-up, because contrastive losses help late.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from graphcl.app.environment import versions
from graphcl.app.sampler import NumberedSampler
from graphcl.app.search import SearchRange
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
from graphcl.app.tracking import Tracking
from graphcl.app.trial import TrialTraining
from graphcl.atomic import write_text
from graphcl.config import dump_yaml
from graphcl.errors import (
    ConfigError,
    OutputError,
)
from graphcl.evaluate.contract import Split
from graphcl.train.device import CPU, make_method

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
        device: torch.device = CPU,
    ) -> None:
        self.specification = specification
        self.space = space
        self.options = options
        self.console = console
        self.training = TrialTraining(
            specification, space, options.warmup, options.folder, tracking or Tracking(),
            data_root, device,
        )  # fmt: skip
        self._running: int | None = None
        first = self.training.split(specification.seeds[0])
        if first.validation is None:
            others = [
                name for name in specification.task.protocols if name != first.protocol["name"]
            ]
            raise ConfigError(
                f"the protocol '{specification.protocol}' has no validation part to choose by; "
                f"give another --protocol of: {', '.join(others)}"
            )
        self.training.check_that_all_validate()
        # Settings that cannot be are found here, before there is anything to leave behind.
        make_method(specification.method_class, specification.settings, specification.task, first)
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
                defaults=specification.default_settings(),
                sampler=NumberedSampler(
                    options.sampler_seed, STARTUP_TRIALS, self.training.start()
                ),
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
        return Best(trial.number, trial.value, self.training.stored(trial.params))

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
            value = self.training.value(trial)
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

    def _clear_trial(self) -> None:
        """Remove what this trial, and the dead ones, left of weights and logs."""
        states = {trial.number: trial.state for trial in self.study.get_trials(deepcopy=False)}
        for folder in self.training.trials.glob("*"):
            if folder.name.isdigit() and states.get(int(folder.name)) != TrialState.RUNNING:
                shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.training.trials.rmdir()

    def _queue_baseline(self) -> None:
        if not self.study.get_trials(deepcopy=False):
            self.study.enqueue_trial(
                self.training.start(), user_attrs={BASELINE: True}, skip_if_exists=True
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
                "dataset_hash": self.training.split(specification.seeds[0]).dataset["hash"],
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


def _counts(trials: list[FrozenTrial]) -> dict[str, int]:
    states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
    return {name: sum(t.state == state for t in trials) for name, state in states.items()}
