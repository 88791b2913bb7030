"""What one run is made of: names resolved, settings merged, all of it checked before it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from graphcl.app.catalogue import load_class, method_table, task_table
from graphcl.config import Config, configure, parse_override, read_yaml, with_override
from graphcl.data import card_names
from graphcl.errors import ConfigError, unknown_name
from graphcl.evaluate.contract import Split
from graphcl.resources import configs_folder

PUBLISHED = ("graph", "recsys")
"""Folders of `configs/` that are searched for a method and data set."""


class ConfigFile(Config):
    """The keys of a YAML file in `configs/`."""

    method: str
    dataset: str
    columns: dict[str, str] = Field(default_factory=dict)
    task: str | None = None
    protocol: str | None = None
    seeds: int | list[int] = 1
    source: str = ""
    published: str = ""
    """The number of the source under the same protocol, or the nearest one, with what differs."""
    settings: dict[str, Any] = Field(default_factory=dict)
    results: list[dict[str, Any]] = Field(default_factory=list)
    tuned: dict[str, Any] = Field(default_factory=dict)
    """How `graphcl tune` chose the settings: study, ranges, trials and the validation value."""


LARGEST_SEED = 2**32
MOST_SEEDS = 10_000


@dataclass(frozen=True)
class RunSpecification:
    """One method on one data set under one protocol, with every setting known."""

    method: str
    method_class: type[Any]
    dataset: str
    task: Any
    protocol: str
    seeds: tuple[int, ...]
    settings: Any
    settings_file: Path | None
    columns: dict[str, str] = field(default_factory=dict)
    """user, item, time, rating -> the column of the table `dataset`, where these were named."""

    def load(
        self, seed: int, data_root: Path | None = None, *, dataset: str | None = None
    ) -> Split:
        """The data set, from `dataset` if it has moved there, and its split of a seed.

        Raises:
            GraphclError: as of the task's `load`.
        """
        named = {"columns": self.columns} if self.columns else {}
        split: Split = self.task.load(
            dataset or self.dataset, self.protocol, seed, data_root, **named
        )
        return split

    def default_settings(self) -> dict[str, Any]:
        """The method's, not those of a file."""
        defaults: dict[str, Any] = type(self.settings)().model_dump()
        return defaults

    def as_dict(self) -> dict[str, Any]:
        """What `config.yaml` holds."""
        return {
            "method": self.method,
            "dataset": self.dataset,
            **({"columns": self.columns} if self.columns else {}),
            "task": self.task.name,
            "protocol": self.protocol,
            "seeds": list(self.seeds),
            "settings": self.settings.model_dump(),
        }


def as_begun(
    described: Mapping[str, Any], stored: Mapping[str, Any], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """What is described now, as an earlier version that began it would have described it.

    A setting that is not stored is one that came later, and what comes later does by default what
    was done before: at its default it is left out.

    Args:
        described: `RunSpecification.as_dict()`, or more.
        stored: the same when the run or study was begun; {} when it was not.
        defaults: the default of every setting.
    """
    held = stored.get("settings")
    if not isinstance(held, Mapping):
        return dict(described)
    settings = {
        name: value
        for name, value in described["settings"].items()
        if name in held or name not in defaults or value != defaults[name]
    }
    return {**described, "settings": settings}


class StoredRun(Config):
    """The keys of the `config.yaml` of a run."""

    method: str
    dataset: str
    columns: dict[str, str] = Field(default_factory=dict)
    task: str
    protocol: str
    seeds: list[int]
    settings: dict[str, Any]


def stored_specification(path: Path) -> tuple[RunSpecification, dict[str, Any]]:
    """What the `config.yaml` at `path` specifies, and its content as it stands.

    Raises:
        ConfigError: it cannot be read, or names what is not installed or not possible.
    """
    content = read_yaml(path)
    try:
        stored = configure(StoredRun, content)
        method_class = load_class("method", stored.method, method_table())
        task = load_class("task", stored.task, task_table())()
        if stored.task not in method_class.tasks:
            raise ConfigError(f"{stored.method} does not serve the task '{stored.task}'")
        specification = RunSpecification(
            method=stored.method,
            method_class=method_class,
            dataset=stored.dataset,
            task=task,
            protocol=task.resolve_protocol(stored.protocol, stored.dataset),
            seeds=_seed_list(stored.seeds),
            settings=configure(method_class.Config, stored.settings),
            settings_file=path,
            columns=_named_columns(task, stored.columns),
        )
    except ConfigError as error:
        raise ConfigError(f"'{path}' is not the config of a run: {error}") from None
    return specification, content


def specify(
    method: str,
    dataset: str,
    *,
    task: str | None = None,
    protocol: str | None = None,
    config: Path | None = None,
    overrides: Sequence[str] = (),
    seeds: int | None = None,
    columns: Mapping[str, str | None] | None = None,
) -> RunSpecification:
    """Resolve the command line into a `RunSpecification`.

    Settings come from, later over earlier: the method's defaults, the published config
    of this method and data set (or `config`), then `overrides`; what `goes_with` an overridden
    setting is not taken from the config. A config given by name also sets task, protocol, seeds
    and columns; one that was found only sets `settings`. `columns` says what the columns of a
    table are called: user and item, and time and rating where there are any.

    Raises:
        ConfigError: a name, value or combination is not known or not possible.
    """
    method_class = load_class("method", method, method_table())
    found = config or find_config(method, dataset, task or method_class.tasks[0])
    file = configure(ConfigFile, read_yaml(found)) if found else None
    if config and file:
        _same("method", file.method, method, config)
        _same("dataset", _absolute(file.dataset), _absolute(dataset), config)
        task = task or file.task
        protocol = protocol or (file.protocol if task == file.task else None)
        seeds_wanted = file.seeds if seeds is None else seeds
        columns = columns if any((columns or {}).values()) else file.columns
    else:
        seeds_wanted = 1 if seeds is None else seeds
    task = task or method_class.tasks[0]
    if task not in method_class.tasks:
        load_class("task", task, task_table())
        raise ConfigError(
            f"{method} does not serve the task '{task}'; it serves {', '.join(method_class.tasks)}"
        )
    task_object = load_class("task", task, task_table())()
    settings = dict(file.settings) if file else {}
    fields = method_class.Config.model_fields
    parsed = [parse_override(text) for text in overrides]
    for dependent, other in method_class.Config.goes_with.items():
        default = fields[other].get_default(call_default_factory=True)
        if dict(parsed).get(other, settings.get(other, default)) != settings.get(other, default):
            settings.pop(dependent, None)
    for key, value in parsed:
        name = key.partition(".")[0]
        if name not in fields:
            raise unknown_name("setting", name, fields)
        if name != key and name not in settings:
            settings[name] = fields[name].get_default(call_default_factory=True)
        settings = with_override(settings, key, value)
    return RunSpecification(
        method=method,
        method_class=method_class,
        dataset=_absolute(dataset),
        task=task_object,
        protocol=task_object.resolve_protocol(protocol, dataset),
        seeds=_seed_list(seeds_wanted),
        settings=configure(method_class.Config, settings),
        settings_file=found,
        columns=_named_columns(task_object, columns),
    )


def _named_columns(task: Any, columns: Mapping[str, str | None] | None) -> dict[str, str]:
    named = {kind: name for kind, name in (columns or {}).items() if name is not None}
    if not named:
        return {}
    if not task.reads_tables:
        raise ConfigError(
            f"the task '{task.name}' reads no table of interactions, so it has no columns to name "
            f"(got {', '.join(f'--{kind}-col {name}' for kind, name in named.items())})"
        )
    for kind in ("user", "item"):
        if kind not in named:
            raise ConfigError(
                f"naming columns takes at least --user-col and --item-col (no --{kind}-col given)"
            )
    return named


def find_config(method: str, dataset: str, task: str) -> Path | None:
    """The published config of a method on a data set, preferring one written for `task`."""
    stem = f"{method}_{dataset}"
    candidates = [
        path
        for part in PUBLISHED
        for path in sorted((configs_folder() / part).glob("*.yaml"))
        if path.stem == stem or path.stem.startswith(f"{stem}_")
    ]
    for path in candidates:
        if read_yaml(path).get("task") == task:
            return path
    return candidates[0] if candidates else None


def _absolute(dataset: str) -> str:
    # A run that is resumed from another working folder is still the same run.
    path = Path(dataset)
    if dataset in card_names() or not path.exists():
        return dataset
    return str(path.resolve())


def _same(what: str, in_file: str, given: str, path: Path) -> None:
    if in_file != given:
        raise ConfigError(f"'{path}' is for the {what} '{in_file}' (got '{given}')")


def _seed_list(seeds: int | list[int]) -> tuple[int, ...]:
    if isinstance(seeds, int) and not 1 <= seeds <= MOST_SEEDS:
        raise ConfigError(f"the number of seeds must be 1 to {MOST_SEEDS} (got {seeds})")
    chosen = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    distinct = len(set(chosen)) == len(chosen)
    if not chosen or not distinct or min(chosen) < 0 or max(chosen) >= LARGEST_SEED:
        raise ConfigError(
            f"seeds must be at least one, distinct, not negative and below 2^32 (got {seeds})"
        )
    return chosen
