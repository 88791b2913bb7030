"""`graphcl show NAME`: what a method, view, loss, task or data set is, and its settings."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Mapping
from typing import Any

from pydantic.fields import FieldInfo
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from graphcl.app.catalogue import load_class, method_table, operator_table, task_table
from graphcl.app.documentation import fit
from graphcl.errors import unknown_name


def show(name: str) -> None:
    """Print the documentation of `name`.

    Raises:
        UnknownNameError: nothing has this name; the message gives the nearest one.
    """
    from graphcl.data import card_names

    console = Console()
    tables = {
        "method": method_table(),
        "task": task_table(),
        "view": operator_table("graphcl.views"),
        "loss": operator_table("graphcl.losses"),
    }
    for kind, table in tables.items():
        if name in table:
            found = load_class(kind, name, table)
            console.print(f"[bold]{name}[/bold]  ({kind}, {table[name]})\n", highlight=False)
            text = fit(_documentation(found, kind), console.width)
            # A formula that cannot be broken is cut by no one: the terminal goes on below.
            console.print(f"{text}\n", highlight=False, markup=False, soft_wrap=True)
            if kind == "method":
                console.print(_settings_table(found.Config))
            if kind == "task":
                console.print(_protocols_table(found.protocols))
            return
    if name in card_names():
        from graphcl.app.data import describe_dataset

        console.print(describe_dataset(name), highlight=False, markup=False)
        return
    raise unknown_name("name", name, [*(n for t in tables.values() for n in t), *card_names()])


def _documentation(found: type[Any], kind: str) -> str:
    # A method's paper and equations stand at the head of its file.
    module = sys.modules[found.__module__].__doc__ if kind == "method" else None
    return inspect.cleandoc(module or found.__doc__ or "")


def _protocols_table(protocols: Mapping[str, str]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 1, 0), pad_edge=False)
    for protocol, meaning in protocols.items():
        table.add_row(Text(protocol, style="bold"), Text(meaning))
    return table


def settings_rows(config: Any) -> list[tuple[str, str, str, str]]:
    """Name, default, allowed values and search range of every setting of a `Config`."""
    return [
        (name, repr(field.default), _constraints(field), _search(field))
        for name, field in config.model_fields.items()
    ]


def _settings_table(config: Any) -> Table:
    table = Table(
        "setting", "default", "allowed", "search",
        title="settings", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0),
        pad_edge=False,
    )  # fmt: skip
    for row in settings_rows(config):
        # Text, not str: a list is no markup.
        table.add_row(*map(Text, row))
    return table


def _constraints(field: FieldInfo) -> str:
    kind = getattr(field.annotation, "__name__", None) or str(field.annotation)
    kind = re.sub(r"\b(\w+\.)+", "", kind)  # collections.abc.Mapping says no more than Mapping
    if "Literal" in str(field.annotation):
        kind = " | ".join(map(repr, field.annotation.__args__))  # type: ignore[union-attr]
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    limits = [
        f"{sign} {getattr(rule, key)}"
        for rule in field.metadata
        for key, sign in signs.items()
        if getattr(rule, key, None) is not None
    ]
    return " ".join([kind, ", ".join(limits)]).strip()


def _search(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    search = extra.get("search") if isinstance(extra, dict) else None
    if not isinstance(search, dict):
        return ""
    if "choices" in search:
        return f"one of {search['choices']}"
    return f"{search['low']} .. {search['high']}" + (" (log)" if search["log"] else "")
