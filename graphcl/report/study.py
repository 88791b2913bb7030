"""Read what `graphcl tune` wrote: the trials of a study, from a copy of its storage.

A study may be in use while it is read, and reading must not change it; so its file is copied
first, and the copy is opened. A study in the database of a server is read where it is, if its
URL is given.
`study.yaml` says which study of which storage a folder belongs to; a folder without it is asked
for `study.db` or a journal.
"""

from __future__ import annotations

import math
import shutil
import sqlite3
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphcl.app.study_record import NAME as RECORD
from graphcl.app.study_record import StudyRecord, read_record, split_storage
from graphcl.config import read_yaml
from graphcl.errors import ConfigError, DataError, GraphclError, MissingDataError

DATABASE = "study.db"
FEWEST_FOR_IMPORTANCE = 4

_AGAIN = "; without the file the same `graphcl tune` command writes it again"


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

    @property
    def finite(self) -> bool:
        """Whether it has a value that can be compared and drawn."""
        return self.value is not None and math.isfinite(self.value)


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
        """The trials that ran to their end with a finite value."""
        return [trial for trial in self.trials if not trial.pruned and trial.finite]

    @property
    def best(self) -> Trial | None:
        """The best of `whole`; of equals, the first."""
        return max(self.whole, key=lambda trial: (trial.value, -trial.number), default=None)

    @property
    def baseline(self) -> Trial | None:
        """The trial of the settings that the search started from."""
        return next((trial for trial in self.trials if trial.baseline), None)


def is_study(folder: Path) -> bool:
    """Whether `graphcl tune` wrote `folder`."""
    if (folder / "result.json").exists():
        return False
    return (folder / RECORD).is_file() or _file_within(folder) is not None


def read_studies(folders: Sequence[Path], storage: str | None = None) -> list[Study]:
    """The studies among `folders`, each folder once; other folders are passed over.

    Args:
        folders: of `graphcl tune`.
        storage: URL of the database of those studies that a server keeps.

    Raises:
        DataError: a storage, a `study.yaml` or a `best.yaml` is damaged, or no study of Optuna.
        MissingDataError: a storage is not there or not given, or lacks the study.
        OutputError: the database cannot be reached.
        ConfigError: optuna or the driver of the database is not installed.
    """
    unique = {Path(folder).resolve(): Path(folder) for folder in folders}
    return [
        study for folder in unique.values() if is_study(folder) for study in _read(folder, storage)
    ]


def _file_within(folder: Path) -> Path | None:
    if (folder / DATABASE).is_file():
        return folder / DATABASE
    return next(iter(sorted(folder.glob("*.journal"))), None)


def _read(folder: Path, storage: str | None) -> list[Study]:
    metric = _metric(folder)
    try:
        record = read_record(folder)
    except ConfigError as error:
        raise DataError(f"{error}{_AGAIN}") from None
    if record is None:
        path = _file_within(folder)
        if path is None:
            raise ConfigError(f"'{folder}' holds no study")
        return _read_file(folder, path, metric, None)
    kind, path = split_storage(record.storage)
    if path is None:
        return _read_server(folder, record, storage, metric)
    path = folder / path
    if not path.is_file():
        raise MissingDataError(
            f"the study '{record.study}' of '{folder}' is stored in '{path}', which is not there; "
            f"where it was moved, say so in '{folder / RECORD}'"
        )
    return _read_file(folder, path, metric, record.study, kind)


def _read_file(
    folder: Path, path: Path, metric: str, name: str | None, kind: str | None = None
) -> list[Study]:
    from graphcl.app.study import resolve_storage

    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / path.name
        journal = path.suffix == ".journal" if kind is None else kind == "journal:"
        _copy(path, copy, journal)
        url = resolve_storage(str(copy), folder) if kind is None else f"{kind}{copy}"
        try:
            return _studies(folder, url, metric, name, str(path))
        except GraphclError:
            raise
        except Exception:  # a damaged storage can fail in any way
            raise DataError(f"'{path}' is not a readable Optuna study") from None


def _read_server(
    folder: Path, record: StudyRecord, storage: str | None, metric: str
) -> list[Study]:
    from graphcl.app.passwords import without_password

    if storage is None:
        # A folder may come from anywhere, and must not choose whom this machine connects to.
        raise MissingDataError(
            f"the study '{record.study}' of '{folder}' is kept in the database "
            f"'{record.storage}'; report takes its URL, password included, with --storage"
        )
    try:
        return _studies(folder, storage, metric, record.study, without_password(storage))
    except GraphclError:
        raise
    except Exception as error:
        shown = without_password(storage)
        reason = without_password(" ".join(str(error).split()))
        raise DataError(f"'{shown}' holds no readable Optuna study: {reason}") from None


def _studies(folder: Path, url: str, metric: str, name: str | None, shown: str) -> list[Study]:
    import optuna

    from graphcl.app.study import open_storage

    storage = open_storage(url, heartbeat=3600)
    names = optuna.get_all_study_names(storage)
    if name is not None and name not in names:
        raise MissingDataError(f"there is no study '{name}' in '{shown}' ('{folder}' names it)")
    chosen = names if name is None else [name]
    studies = [optuna.load_study(study_name=each, storage=storage) for each in chosen]
    return [_convert(folder, study, metric) for study in studies]


def _copy(path: Path, copy: Path, journal: bool) -> None:
    try:
        if journal:
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


def _convert(folder: Path, study: Any, metric: str) -> Study:
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
        metric=metric,
        specification=specification if isinstance(specification, dict) else {},
        trials=trials,
        ranges=ranges,
        importances=_importances(study),
    )


def _metric(folder: Path) -> str:
    """The metric that was searched by: `best.yaml` names it."""
    path = folder / "best.yaml"
    try:
        tuned = read_yaml(path).get("tuned") if path.exists() else None
    except ConfigError as error:
        raise DataError(f"{error}{_AGAIN}") from None
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
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}
