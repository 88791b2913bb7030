"""Names, one-line descriptions and classes of methods, tasks, views and losses.

Listing reads entry points and source text; it imports neither torch nor PyG, so that
`graphcl list` answers at once.
"""

from __future__ import annotations

import ast
import importlib
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from graphcl.errors import ConfigError, unknown_name


def method_table() -> dict[str, str]:
    """Every installed method: command-line name -> `module:Class`."""
    return _merged_table("graphcl.methods")


def task_table() -> dict[str, str]:
    """Every installed task: name -> `module:Class`."""
    return _merged_table("graphcl.tasks")


def operator_table(package: str) -> dict[str, str]:
    """The classes in the table of `package`, by class name: `VIEWS`, `LOSSES`.

    Read from the source of `package`'s `__init__`: which names the table holds, and
    which module each was imported from.
    """
    origin: dict[str, str] = {}
    names: list[str] = []
    for node in ast.parse(_source_path(package).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            origin |= {alias.name: node.module for alias in node.names}
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict):
            names = [value.id for value in node.value.values if isinstance(value, ast.Name)]
    return {name: f"{origin[name]}:{name}" for name in sorted(names)}


def load_class(kind: str, name: str, table: dict[str, str]) -> type[Any]:
    """Import the class called `name`.

    Raises:
        UnknownNameError: there is none; the message names the nearest.
    """
    if name not in table:
        raise unknown_name(kind, name, table)
    module, _, attribute = table[name].partition(":")
    loaded: type[Any] = getattr(importlib.import_module(module), attribute)
    return loaded


def summary(target: str) -> str:
    """The first line of the docstring of `module:Class`, read without importing it."""
    module, _, attribute = target.partition(":")
    for node in ast.parse(_source_path(module).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == attribute:
            return (ast.get_docstring(node) or "").partition("\n")[0]
    return ""


def _merged_table(group: str) -> dict[str, str]:
    table: dict[str, str] = {}
    for entry in entry_points(group=group):
        for name, target in entry.load().items():
            if table.setdefault(name, target) != target:
                raise ConfigError(
                    f"two installed packages define '{name}' ('{table[name]}' and '{target}')"
                )
    return dict(sorted(table.items()))


def _source_path(module: str) -> Path:
    # find_spec("a.b.c") would import a.b, and graphcl.views imports PyG; so find the
    # top package, which imports nothing, and walk down the folders.
    top, *rest = module.split(".")
    root = find_spec(top)
    if root is None or not root.submodule_search_locations:
        raise ConfigError(f"the package '{top}' is not installed")
    path = Path(root.submodule_search_locations[0]).joinpath(*rest)
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
