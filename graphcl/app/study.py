"""One Optuna study that several workers share and that outlives any of them.

A trial whose worker died is queued again with the same settings. How many trials a study has is
counted by all workers alike from the trials themselves, in the order of their numbers, so that
a budget of N gives exactly N finished trials however many workers there are and whenever they
die. Nothing here is specific to one kind of storage.
"""

from __future__ import annotations

import contextlib
import logging
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState

from graphcl.app.passwords import without_password
from graphcl.errors import ConfigError, DataError, GraphclError, OutputError

MOST_RETRIES = 3
"""A trial that took its worker down this often is not tried again."""

BASELINE = "baseline"
"""Marks, in its user attributes, the trial of the settings that the search starts from."""

CLOSED = "closed"
"""Why a failed trial is not queued again, in the trial's user attributes."""

OPENING_ATTEMPTS = 5

SQLITE_SECONDS = 60
"""How long a worker waits for another one's write to an SQLite file."""

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


def resolve_storage(storage: str | None, folder: Path) -> str:
    """A storage as typed, as the URL or the `journal:PATH` that `open_storage` takes.

    Raises:
        ConfigError: it is neither a URL nor a path with a known ending.
    """
    if storage is None:
        return f"sqlite:///{folder.resolve() / 'study.db'}"
    if "://" in storage or storage.startswith("journal:"):
        return storage
    path = Path(storage)
    if path.suffix in (".db", ".sqlite", ".sqlite3"):
        return f"sqlite:///{path.resolve()}"
    if path.suffix in (".journal", ".log"):
        return f"journal:{path.resolve()}"
    raise ConfigError(
        "--storage takes a database URL, a path ending in .db or .sqlite3, or a journal file "
        f"ending in .journal or .log (got '{without_password(storage)}')"
    )


def open_storage(storage: str, heartbeat: int) -> BaseStorage:
    """The storage of `resolve_storage`.

    Raises:
        ConfigError: the URL is not one, or its driver is not installed.
        OutputError: it cannot be reached or written.
        DataError: the file is something else, or damaged beyond repair.
    """
    with storage_errors(storage), _opening_errors(storage), _quiet():
        if storage.startswith("journal:"):
            from graphcl.app.journal import HeartbeatJournal

            path = Path(storage.removeprefix("journal:"))
            path.parent.mkdir(parents=True, exist_ok=True)
            return HeartbeatJournal(path, heartbeat)
        waits: dict[str, Any] = {}
        if storage.startswith("sqlite:"):
            waits = {"connect_args": {"timeout": SQLITE_SECONDS}}
            path = Path(storage.removeprefix("sqlite:///"))
            path.parent.mkdir(parents=True, exist_ok=True)
        return _open_database(storage, waits, heartbeat)


def _open_database(storage: str, options: dict[str, Any], heartbeat: int) -> RDBStorage:
    from sqlalchemy.exc import DatabaseError

    for attempt in range(OPENING_ATTEMPTS):
        try:
            return RDBStorage(
                storage,
                engine_kwargs=options,
                heartbeat_interval=heartbeat,
                grace_period=2 * heartbeat,
            )
        except DatabaseError as error:
            # Two workers that find an empty database both make its tables; one comes second.
            raced = "already exists" in str(error)
            if not raced or attempt == OPENING_ATTEMPTS - 1:
                raise
            time.sleep(0.2 * 2**attempt)
    raise AssertionError("unreachable")


@contextlib.contextmanager
def storage_errors(storage: str) -> Iterator[None]:
    """Turn what Optuna and SQLAlchemy raise about a storage into one sentence."""
    from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, SQLAlchemyError

    shown = without_password(storage)
    try:
        yield
    except (ArgumentError, NoSuchModuleError):
        raise ConfigError(f"'{shown}' is not a database URL such as sqlite:///study.db") from None
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        cause = getattr(error, "orig", None) or error.__cause__ or error
        if isinstance(error, DatabaseError) and "not a database" in str(cause):
            raise DataError(f"'{shown}' is not an SQLite database") from None
        raise OutputError(f"the study in '{shown}' cannot be used: {first_line(cause)}") from None


@contextlib.contextmanager
def _opening_errors(storage: str) -> Iterator[None]:
    shown = without_password(storage)
    try:
        yield
    except GraphclError:
        raise
    except ValueError as error:  # a port or an option that is no number
        raise ConfigError(
            f"'{shown}' is not a database URL such as sqlite:///study.db: {first_line(error)}"
        ) from None
    except ImportError as error:
        raise ConfigError(
            f"the driver of '{shown}' is not installed: {first_line(error)}"
        ) from None
    except OSError as error:
        raise OutputError(f"the study in '{shown}' cannot be used: {first_line(error)}") from None
    except RuntimeError as error:  # a database that another version of Optuna wrote
        raise DataError(f"the study in '{shown}' cannot be used: {first_line(error)}") from None


def first_line(error: BaseException) -> str:
    """The first line of an error, or its kind where it says nothing."""
    # Some drivers repeat the URL that they were given.
    return without_password(str(error).strip().partition("\n")[0]) or type(error).__name__


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # Heartbeats are "experimental" to Optuna; a user cannot act on it.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield


def open_study(
    storage: BaseStorage,
    name: str,
    specification: Mapping[str, Any],
    *,
    defaults: Mapping[str, Any],
    sampler: BaseSampler,
    pruner: optuna.pruners.BasePruner,
) -> optuna.Study:
    """Join the study `name`, or begin it; `defaults` are those of the settings.

    Raises:
        ConfigError: it exists and searches something else; the message shows the difference.
    """
    from graphcl.app.folder import differences
    from graphcl.app.settings import as_begun

    optuna.logging.set_verbosity(logging.ERROR)
    with _quiet():
        study = optuna.create_study(
            storage=storage, study_name=name, direction="maximize",
            load_if_exists=True, sampler=sampler, pruner=pruner,
        )  # fmt: skip
    if study.user_attrs.get("specification") is None:
        if study.get_trials(deepcopy=False):
            raise ConfigError(f"the study '{name}' was not begun by this command; give another")
        study.set_user_attr("specification", dict(specification))
    # Read again: of two workers that begin at once, the one that came second decides.
    begun = study.user_attrs["specification"]
    found = differences(begun, as_begun(specification, begun, defaults))
    if found:
        raise ConfigError(
            f"the study '{name}' searches something else: {'; '.join(found)}; give another --study"
        )
    return study


def history(trial: FrozenTrial) -> list[int]:
    """The numbers of the failed trials that this one repeats, oldest first.

    Kept under the names that Optuna's own retry uses, so that its tools show them.
    """
    return list(trial.system_attrs.get("retry_history", []))


def finished(trials: Sequence[FrozenTrial]) -> int:
    """How many trials have a result, pruned ones among them."""
    return sum(trial.state in FINISHED for trial in trials)


def _orphans(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Failed trials that are to be repeated and are not in the queue yet."""
    repeated = {number for trial in trials for number in history(trial)}
    return [
        trial
        for trial in trials
        if trial.state == TrialState.FAIL
        and CLOSED not in trial.user_attrs
        and trial.number not in repeated
        and len(history(trial)) < MOST_RETRIES
    ]


def occupied(trials: Sequence[FrozenTrial]) -> int:
    """How many places of the budget are taken: finished, running, queued or to be queued."""
    return sum(trial.state != TrialState.FAIL for trial in trials) + len(_orphans(trials))


def is_surplus(trials: Sequence[FrozenTrial], number: int, budget: int | None) -> bool:
    """Whether trial `number` must not run, because those before it fill its place.

    Two workers that look at once may both find a place free and both begin a trial; by the
    order of their numbers, both know which of them gives way. The same decides between two
    repetitions of one trial.
    """
    own = trials[number]
    earlier = [trial for trial in trials if trial.number < number]
    root = history(own)[:1]
    twice = any(
        trial.state != TrialState.FAIL
        and ((root and history(trial)[:1] == root) or _both_baseline(own, trial))
        for trial in earlier
    )
    waiting = [trial for trial in _orphans(trials) if trial.number < number]
    taken = sum(trial.state != TrialState.FAIL for trial in earlier) + len(waiting)
    return twice or (budget is not None and taken >= budget)


def _both_baseline(one: FrozenTrial, other: FrozenTrial) -> bool:
    return BASELINE in one.user_attrs and BASELINE in other.user_attrs


def revive(study: optuna.Study, grace: float) -> None:
    """Give up running trials whose worker is dead, and queue them again."""
    with _quiet():
        optuna.storages.fail_stale_trials(study)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        # A worker that died between taking the trial and its first heartbeat is never stale.
        begun = trial.datetime_start or datetime.now()
        if "worker" not in trial.user_attrs and datetime.now() - begun > timedelta(seconds=grace):
            with contextlib.suppress(ValueError, optuna.exceptions.UpdateFinishedTrialError):
                study.tell(trial.number, state=TrialState.FAIL)
    for trial in _orphans(study.get_trials(deepcopy=False)):
        first = trial.system_attrs.get("failed_trial", trial.number)
        study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.WAITING,
                params=trial.params,
                distributions=trial.distributions,
                user_attrs={k: v for k, v in trial.user_attrs.items() if k == BASELINE},
                system_attrs={
                    # The heartbeat of a journal belongs to the dead worker.
                    **{k: v for k, v in trial.system_attrs.items() if k != "heartbeat"},
                    "failed_trial": first,
                    "retry_history": [*history(trial), trial.number],
                },
            )
        )
