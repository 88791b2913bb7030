"""What `graphcl tune` searches: the ranges that stand beside the fields of a method's `Config`.

A field written with `graphcl.config.tunable` carries its range. One that does not hold the value
that the search starts from is widened to it, so that the first trial can be those settings
themselves. Limits that a user gave hold for every trial: where they leave the start out, the
first trial has the nearest value that they allow.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from graphcl.config import Config, parse_override
from graphcl.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from optuna.trial import Trial

Scalar = None | bool | int | float | str

BUDGETS = ("epochs",)
"""Fields that are searched only when they are named: more of them is never worse where the best
epoch is chosen by validation, so searching them only makes every trial longer."""


LARGEST_WHOLE = 2**53
"""Beyond it not every whole number is a float, as which they are typed and drawn."""


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
        if not _is_number(value) or (self.log and value <= 0):
            return self
        return replace(self, low=min(self.low, value), high=max(self.high, value))

    @property
    def least(self) -> Any:
        """The lowest of the values, which are numbers."""
        return self.low if self.choices is None else min(self.choices)

    def nearest(self, value: Any) -> Any:
        """`value`, or the end that is nearest to it where it lies outside; the first choice."""
        if self.choices is not None:
            return value if value in self.choices else self.choices[0]
        assert self.low is not None
        assert self.high is not None
        found = min(max(value, self.low), self.high) if _is_number(value) else self.low
        return int(found) if self.whole else found

    def __contains__(self, value: Any) -> bool:
        if self.choices is not None:
            return value in self.choices
        assert self.low is not None
        assert self.high is not None
        return _is_number(value) and bool(self.low <= value <= self.high)

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
        settings: what the search starts from; a field's own range is widened to its value.
        fixed: fields that keep their value.
        wanted: `KEY`, `KEY=LOW..HIGH` or `KEY=[A, B]`, each: search these fields only, the last
            two within these limits. Without any, every field with a range is searched but those
            of `BUDGETS`.

    Raises:
        ConfigError: a wanted range is not readable or not possible, is also fixed, or nothing is
            left to search.
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
        if chosen[name] is declared.get(name)
        else chosen[name]
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
    field = config_class.model_fields[name]
    if ".." not in value:
        return SearchRange(name, choices=_choices(name, field, text))
    try:
        low, high = (float(end) for end in value.split(".."))
    except ValueError:
        raise _unreadable(text) from None
    whole = _check_limits(name, field, low, high, text)
    own = declared.get(name)
    return SearchRange(name, low, high, log=own is not None and own.log and low > 0, whole=whole)


def _choices(name: str, field: FieldInfo, text: str) -> tuple[Any, ...]:
    """The values that were typed, each of them one that the field takes."""
    try:
        choices = parse_override(text)[1]
    except ConfigError:  # it speaks of --set
        raise _unreadable(text) from None
    if not isinstance(choices, list) or not choices:
        raise _unreadable(text)
    return tuple(_checked(name, field, choice) for choice in choices)


def _check_limits(name: str, field: FieldInfo, low: float, high: float, text: str) -> bool:
    """Whether the range is one of whole numbers.

    Raises:
        ConfigError: the field is no number, or these are no limits for it.
    """
    kinds = _kinds(field.annotation)
    if not kinds & {int, float}:
        raise ConfigError(
            f"setting '{name}' is no number, so it has no LOW..HIGH (got '{text}'); "
            f"list its values: --search '{name}=[A, B]'"
        )
    whole = float not in kinds
    if not low < high:
        raise _unreadable(text)
    if not math.isfinite(high - low):
        raise ConfigError(f"--search takes limits that are finite (got '{text}')")
    if whole and not all(end.is_integer() and abs(end) <= LARGEST_WHOLE for end in (low, high)):
        raise ConfigError(
            f"setting '{name}' is a whole number, so LOW and HIGH are such, up to 2^53 "
            f"(got '{text}')"
        )
    for end in (low, high):
        _checked(name, field, int(end) if whole else end)
    return whole


def _checked(name: str, field: FieldInfo, value: Any) -> Any:
    """`value` as the field holds it.

    Raises:
        ConfigError: the field does not take it, or a study cannot store it.
    """
    adapter: TypeAdapter[Any] = TypeAdapter(field.rebuild_annotation())
    try:
        held = adapter.dump_python(adapter.validate_python(value))
    except ValidationError as error:
        reason = error.errors()[0]["msg"].lower()
        raise ConfigError(
            f"setting '{name}' cannot be searched there (got {value!r}): {reason}"
        ) from None
    try:
        json.dumps(held, allow_nan=False)
    except (TypeError, ValueError):
        raise ConfigError(
            f"setting '{name}' is searched over finite numbers, words, truth values and lists of "
            f"them (got {value!r})"
        ) from None
    return value if value == held else held


def _kinds(annotation: Any) -> set[Any]:
    """The types that an annotation allows."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _kinds(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return {kind for each in get_args(annotation) for kind in _kinds(each)}
    return {annotation}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _unreadable(text: str) -> ConfigError:
    return ConfigError(
        f"--search takes KEY, KEY=LOW..HIGH with LOW below HIGH, or KEY=[A, B] (got '{text}')"
    )
