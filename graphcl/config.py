"""Typed settings: strict, frozen, with the search range beside each field.

A method's `Config` is the only schema and the only place of its defaults. YAML
files and `--set key=value` hold differences; nothing is ever evaluated as code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from graphcl.errors import ConfigError, unknown_name
from graphcl.files import check_regular


class Config(BaseModel):
    """Base of all settings: unknown keys are refused and instances are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Count = Annotated[int, Field(ge=0)]
"""A setting that counts something: an integer, not negative."""

ConfigType = TypeVar("ConfigType", bound=Config)


def tunable(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    log: bool = False,
    choices: Sequence[Any] | None = None,
    **constraints: Any,
) -> Any:
    """A config field with a search range: `low`..`high` (log-uniform if `log`), or `choices`.

    `constraints` (`gt`, `ge`, `lt`, `le`, `description`) go to pydantic unchanged.
    """
    if (choices is None) == (low is None or high is None):
        raise TypeError("a tunable field needs either low and high, or choices")
    search: dict[str, Any] = (
        {"choices": list(choices)}
        if choices is not None
        else {"low": low, "high": high, "log": log}
    )
    return Field(default, json_schema_extra={"search": search}, **constraints)


LARGEST_INTEGER = 2**31 - 1
LARGEST_NUMBER = 1e30
"""Beyond these no setting of a method means anything: sizes leave int64, products float32."""


def check_numbers(name: str, value: Any) -> None:
    """Refuse a number, at any depth of the setting `name`, that arithmetic cannot hold.

    Raises:
        ConfigError: an integer or a number is too large, or it is not finite.
    """
    if isinstance(value, Mapping | BaseModel):
        for key, inner in value.items() if isinstance(value, Mapping) else value:
            check_numbers(f"{name}.{key}", inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            check_numbers(name, inner)
    elif isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        # An integer of thousands of digits cannot even be printed.
        got = str(value) if value.bit_length() < 100 else f"one of {value.bit_length()} bits"
        raise ConfigError(f"setting '{name}' must be at most {LARGEST_INTEGER} (got {got})")
    elif isinstance(value, float) and not abs(value) <= LARGEST_NUMBER:
        raise ConfigError(f"setting '{name}' must be at most {LARGEST_NUMBER:g} (got {value:g})")


def configure(config_class: type[ConfigType], settings: Mapping[str, Any]) -> ConfigType:
    """Build `config_class` from `settings`; a bad key or value becomes one sentence.

    Raises:
        ConfigError: a value has the wrong type or lies outside its range.
        UnknownNameError: a key is not a field; the message names the nearest field.
    """
    try:
        return config_class.model_validate({str(key): value for key, value in settings.items()})
    except ValidationError as error:
        raise _explain(config_class, error.errors()[0]) from None


def _explain(config_class: type[Config], detail: ErrorDetails) -> ConfigError:
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return unknown_name("setting", key, config_class.model_fields)
    reason = detail.get("ctx", {}).get("error")
    if isinstance(reason, ConfigError):  # a validator's own sentence
        return reason
    return ConfigError(
        f"setting '{key}' is not valid (got {detail['input']!r}): {detail['msg'].lower()}"
    )


def parse_override(text: str) -> tuple[str, Any]:
    """Split `key=value`; the value is read as YAML, so `3`, `0.1`, `true` and `[1, 2]` work.

    Raises:
        ConfigError: there is no `=`, or the value is not YAML.
    """
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"--set takes key=value (got '{text}')")
    try:
        return key.strip(), yaml.load(value, _PlainLoader)
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: a date that does not exist
        raise ConfigError(
            f"the value of --set {key.strip()} is not readable (got '{value}')"
        ) from None


def with_override(settings: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy of `settings` in which `key` is `value`; `a.b.c` reaches into mappings.

    What is no mapping on the way there, a bare name or a value, gives way to one.
    """
    first, dot, rest = key.partition(".")
    if dot:
        inner = settings.get(first)
        value = with_override(inner if isinstance(inner, Mapping) else {}, rest, value)
    return {**settings, first: value}


class _AliasError(yaml.MarkedYAMLError):
    """An alias, which a settings file has no use for."""


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases: ten lines of them can stand for billions of values."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise _AliasError(problem_mark=self.peek_event().start_mark)
        return super().compose_node(parent, index)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ConfigError: the file is missing, unreadable, not YAML, or not a mapping.
    """
    check_regular(path, ConfigError)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _PlainLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the config file '{path}': {error}") from None
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        line = f", line {place.line + 1}" if place else ""
        aliased = "; aliases (*name) are not supported" if isinstance(error, _AliasError) else ""
        raise ConfigError(f"'{path}'{line} is not valid YAML{aliased}") from None
    except RecursionError:
        raise ConfigError(f"'{path}' is nested too deeply") from None
    except ValueError as error:
        raise ConfigError(f"'{path}' holds a value that cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(
            f"'{path}' must hold a mapping of settings (got {type(content).__name__})"
        )
    return content


class _PlainDumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def dump_yaml(content: Mapping[str, Any]) -> str:
    """`content` as YAML in its own order, without the aliases that `read_yaml` refuses."""
    return yaml.dump(content, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True)


def fingerprint(value: Any) -> str:
    """A short sha256 of any JSON-like value, independent of key order."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
