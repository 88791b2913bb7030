"""Read what `graphcl tune` wrote: the trials of a study, from a copy of its storage.

A study may be in use while it is read, and reading must not change it; so its file is copied
first, and the copy is opened.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphcl.config import read_yaml
from graphcl.errors import ConfigError, DataError

DATABASE = "study.db"
FEWEST_FOR_IMPORTANCE = 4


@dataclass(frozen=True)
class Range:
    """Where a setting was searched."""

    low: float = 0.0
    high: float = 1.0
    log: bool = False
    choices: tuple[Any, ...] | None = None


@dataclass(frozen=True)
class Trial:
    """One trial that has a result."""

    number: int
    value: float | None
    """The validation metric: the best seen by a whole trial, the last seen by a pruned one."""
    pruned: bool
    baseline: bool
    """Whether its settings are those that the search started from."""
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Study:
    """One study."""

    folder: Path
    name: str
    metric: str
    specification: Mapping[str, Any]
    """What was searched: method, data set, task, protocol."""
    trials: tuple[Trial, ...]
    ranges: Mapping[str, Range]
    importances: Mapping[str, float]
    """Setting -> share of the variance of the value (fANOVA), largest first; {} where unknown."""

    @property
    def whole(self) -> list[Trial]:
        """The trials that ran to their end."""
        return [trial for trial in self.trials if not trial.pruned and trial.value is not None]

    @property
    def best(self) -> Trial | None:
        """The best of `whole`; of equals, the first."""
        return max(self.whole, key=lambda trial: (trial.value, -trial.number), default=None)

    @property
    def baseline(self) -> Trial | None:
        """The trial of the settings that the search started from."""
        return next((trial for trial in self.trials if trial.baseline), None)


def is_study(folder: Path) -> bool:
    """Whether `graphcl tune` wrote `folder`, with its study inside."""
    return not (folder / "result.json").exists() and _storage(folder) is not None


def read_studies(folders: Sequence[Path]) -> list[Study]:
    """The studies among `folders`, each folder once; other folders are passed over.

    Raises:
        DataError: a storage is damaged or not one of Optuna.
        ConfigError: optuna is not installed.
    """
    unique = {Path(folder).resolve(): Path(folder) for folder in folders}
    return [study for folder in unique.values() if is_study(folder) for study in _read(folder)]


def _storage(folder: Path) -> Path | None:
    if (folder / DATABASE).is_file():
        return folder / DATABASE
    return next(iter(sorted(folder.glob("*.journal"))), None)


def _read(folder: Path) -> list[Study]:
    import optuna

    from graphcl.app.study import open_storage, resolve_storage

    path = _storage(folder)
    if path is None:
        raise ConfigError(f"'{folder}' holds no study")
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / path.name
        _copy(path, copy)
        try:
            storage = open_storage(resolve_storage(str(copy), folder), heartbeat=3600)
            names = optuna.get_all_study_names(storage)
            studies = [optuna.load_study(study_name=name, storage=storage) for name in names]
            return [_convert(folder, study) for study in studies]
        except DataError:
            raise
        except Exception:  # a damaged storage can fail in any way
            raise DataError(f"'{path}' is not a readable Optuna study") from None


def _copy(path: Path, copy: Path) -> None:
    try:
        if path.suffix == ".journal":
            shutil.copyfile(path, copy)
            return
        # A plain copy could hold half of what a worker is writing.
        source = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=60)
        target = sqlite3.connect(copy)
        try:
            source.backup(target)
        finally:
            source.close()
            target.close()
    except (OSError, sqlite3.Error) as error:
        raise DataError(f"'{path}' is not a readable Optuna study: {error}") from None


def _convert(folder: Path, study: Any) -> Study:
    from optuna.trial import TrialState

    from graphcl.app.study import BASELINE

    found = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    trials = tuple(
        Trial(
            number=trial.number,
            value=trial.value
            if trial.value is not None
            else trial.intermediate_values.get(trial.last_step),
            pruned=trial.state == TrialState.PRUNED,
            baseline=BASELINE in trial.user_attrs,
            settings=dict(trial.params),
        )
        for trial in found
    )
    distributions = {name: d for trial in found for name, d in trial.distributions.items()}
    ranges = {
        name: Range(choices=tuple(each.choices))
        if hasattr(each, "choices")
        else Range(float(each.low), float(each.high), bool(each.log))
        for name, each in distributions.items()
    }
    specification = study.user_attrs.get("specification")
    return Study(
        folder=folder,
        name=study.study_name,
        metric=_metric(folder),
        specification=specification if isinstance(specification, dict) else {},
        trials=trials,
        ranges=ranges,
        importances=_importances(study),
    )


def _metric(folder: Path) -> str:
    """The metric that was searched by: `best.yaml` names it."""
    path = folder / "best.yaml"
    tuned = read_yaml(path).get("tuned") if path.exists() else None
    named = tuned.get("validation") if isinstance(tuned, dict) else None
    return str(next(iter(named))) if isinstance(named, dict) and named else "value"


def _importances(study: Any) -> dict[str, float]:
    """fANOVA (Hutter, Hoos and Leyton-Brown 2014) over the trials that ran to their end."""
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances
    from optuna.trial import TrialState

    whole = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(whole) < FEWEST_FOR_IMPORTANCE:
        return {}
    try:
        found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    except (ValueError, RuntimeError):  # no setting, or no value, that differs between trials
        return {}
    return {name: float(value) for name, value in found.items()}
