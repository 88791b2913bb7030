"""Views, encoders and losses by name, as a config spells them: `{Name: {setting: value}}`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from graphcl.errors import ConfigError, GraphclError, unknown_name

NOT_SET_BY_CONFIG = ("generator", "reduction")
"""Arguments that belong to the run and not to a config."""

Spelled = str | Mapping[str, Any]
"""A name, or names with what follows them: settings, or the value of the first setting."""


def spelled_out(kind: str, spelled: Spelled) -> list[tuple[str, dict[str, Any] | Any]]:
    """(name, settings) of every component, in their order; a bare name has none.

    Raises:
        ConfigError: neither a name nor a mapping.
    """
    if isinstance(spelled, str):
        return [(spelled, {})]
    if isinstance(spelled, Mapping):
        return [(str(name), {} if value is None else value) for name, value in spelled.items()]
    raise ConfigError(f"{kind} takes a name or {{Name: settings}} (got {spelled!r})")


def build(kind: str, table: Mapping[str, type], name: str, settings: Any, **given: Any) -> Any:
    """`table[name]` made with `settings` and the arguments that are `given` anyway.

    Settings that are no mapping are the value of the first argument: `{DropEdges: 0.3}`.

    Raises:
        UnknownNameError: no such name, or no such setting; the message names the nearest.
        ConfigError: a setting is missing, or its value is not allowed.
    """
    if name not in table:
        raise unknown_name(kind, name, table)
    parameters = inspect.signature(table[name]).parameters
    allowed = [key for key in parameters if key not in (*given, *NOT_SET_BY_CONFIG)]
    if not isinstance(settings, Mapping):
        if not allowed:
            raise ConfigError(f"the {kind} {name} has no settings (got {settings!r})")
        settings = {allowed[0]: settings}
    for key in settings:
        if key not in allowed:
            raise unknown_name(f"setting of the {kind} {name}", str(key), allowed)
    for key in allowed:
        if parameters[key].default is inspect.Parameter.empty and key not in settings:
            raise ConfigError(f"the {kind} {name} needs '{key}' (got {dict(settings)})")
    try:
        return table[name](**settings, **{k: v for k, v in given.items() if k in parameters})
    except GraphclError as error:
        raise ConfigError(f"the {kind} {name} is not possible: {error}") from None
    except (TypeError, ValueError) as error:
        # A setting of a type that its constructor was not made for.
        raise ConfigError(
            f"the {kind} {name} is not possible with {dict(settings)}: {error}"
        ) from None
