"""What `graphcl tune` searches: the ranges that stand beside the fields of a method's `Config`.

A field written with `graphcl.config.tunable` carries its range. The settings that the search
starts from are always inside: a range that does not hold its value is widened to it, so that
the first trial can be those settings themselves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from graphcl.config import Config, parse_override
from graphcl.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from optuna.trial import Trial

Scalar = None | bool | int | float | str

BUDGETS = ("epochs",)
"""Fields that are searched only when they are named: more of them is never worse where the best
epoch is chosen by validation, so searching them only makes every trial longer."""


@dataclass(frozen=True)
class SearchRange:
    """The values one setting may take."""

    name: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    whole: bool = False
    """Whole numbers only."""
    choices: tuple[Any, ...] | None = None

    def suggest(self, trial: Trial) -> Any:
        """A value for this trial."""
        if self.choices is not None:
            labels = [label(choice) for choice in self.choices]
            return self.choices[labels.index(trial.suggest_categorical(self.name, labels))]
        assert self.low is not None
        assert self.high is not None
        if self.whole:
            return trial.suggest_int(self.name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, log=self.log)

    def containing(self, value: Any) -> SearchRange:
        """This range, widened to hold `value`."""
        if self.choices is not None:
            return self if value in self.choices else replace(self, choices=(*self.choices, value))
        assert self.low is not None
        assert self.high is not None
        if self.log and value <= 0:
            return self
        return replace(self, low=min(self.low, value), high=max(self.high, value))

    def __contains__(self, value: Any) -> bool:
        if self.choices is not None:
            return value in self.choices
        assert self.low is not None
        assert self.high is not None
        return self.low <= value <= self.high

    def __str__(self) -> str:
        if self.choices is not None:
            return f"one of {list(self.choices)}"
        return f"{self.low:g} .. {self.high:g}" + (" (log)" if self.log else "")


def label(choice: Any) -> Scalar:
    """How a choice is written in a study, which stores plain values only."""
    return choice if isinstance(choice, Scalar) else json.dumps(choice)


def search_space(
    config_class: type[Config],
    settings: Mapping[str, Any],
    fixed: Sequence[str] = (),
    wanted: Sequence[str] = (),
) -> dict[str, SearchRange]:
    """The ranges to search, in the order of the fields.

    Args:
        config_class: whose fields carry the ranges.
        settings: what the search starts from; every range holds its value.
        fixed: fields that keep their value.
        wanted: `KEY`, `KEY=LOW..HIGH` or `KEY=[A, B]`, each: search these fields only. Without
            any, every field with a range is searched but those of `BUDGETS`.

    Raises:
        ConfigError: a wanted range is not readable, is also fixed, or nothing is left to search.
        UnknownNameError: a wanted field does not exist.
    """
    declared = {
        name: found
        for name, field in config_class.model_fields.items()
        if (found := _declared(name, field)) is not None
    }
    if wanted:
        asked = [_asked(text, config_class, declared) for text in wanted]
        for each in asked:
            if each.name in fixed:
                raise ConfigError(f"setting '{each.name}' is both fixed by --set and searched")
        chosen = {each.name: each for each in asked}
    else:
        chosen = {
            name: each
            for name, each in declared.items()
            if name not in fixed and name not in BUDGETS
        }
    if not chosen:
        raise ConfigError(
            "there is nothing to search: no field that is left has a range; "
            "give one with --search KEY=LOW..HIGH"
        )
    return {
        name: chosen[name].containing(settings[name])
        for name in config_class.model_fields
        if name in chosen
    }


def _declared(name: str, field: Any) -> SearchRange | None:
    extra = field.json_schema_extra
    search = extra.get("search") if isinstance(extra, dict) else None
    if not isinstance(search, dict):
        return None
    if "choices" in search:
        return SearchRange(name, choices=tuple(search["choices"]))
    return SearchRange(
        name, search["low"], search["high"], log=search["log"], whole=field.annotation is int
    )


def _asked(
    text: str, config_class: type[Config], declared: Mapping[str, SearchRange]
) -> SearchRange:
    name, separator, value = text.partition("=")
    name = name.strip()
    if name not in config_class.model_fields:
        raise unknown_name("setting", name, config_class.model_fields)
    if not separator:
        if name not in declared:
            raise ConfigError(
                f"setting '{name}' has no range of its own; give one: "
                f"--search {name}=LOW..HIGH or --search '{name}=[A, B]'"
            )
        return declared[name]
    if ".." not in value:
        choices = parse_override(text)[1]
        if not isinstance(choices, list) or not choices:
            raise _unreadable(text)
        return SearchRange(name, choices=tuple(choices))
    try:
        low, high = (float(end) for end in value.split(".."))
    except ValueError:
        raise _unreadable(text) from None
    if not low < high:
        raise _unreadable(text)
    own = declared.get(name)
    return SearchRange(
        name,
        low,
        high,
        log=own is not None and own.log and low > 0,
        whole=config_class.model_fields[name].annotation is int,
    )


def _unreadable(text: str) -> ConfigError:
    return ConfigError(
        f"--search takes KEY, KEY=LOW..HIGH with LOW below HIGH, or KEY=[A, B] (got '{text}')"
    )
