"""The pages of the site, written from the tables, docstrings, cards and configs.

A new view, loss, method, task or data set is on the site because it is in its table.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from docstrings import inline, to_rst
from sphinx.pycode import ModuleAnalyzer

from graphcl.app.catalogue import load_class, method_table, summary, task_table
from graphcl.app.show import settings_rows
from graphcl.data import card_names, load_card

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / "docs"

OPERATORS = {
    "views": ("Views of a graph", "graphcl.views"),
    "embedding-views": ("Views of embeddings", "graphcl.views.embedding"),
    "sequence-views": ("Views of item sequences", "recsys.views"),
    "losses": ("Losses", "graphcl.losses"),
    "kernels": ("Kernels", "graphcl.kernels"),
    "samplers": ("Samplers of negatives", "graphcl.samplers"),
    "diagnostics": ("Diagnostics", "graphcl.diagnostics"),
    "encoders": ("Graph encoders", "graphcl.encoders"),
    "sequence-encoders": ("Sequence encoders", "recsys.encoders"),
}
PICTURE = "report.png"
GUIDES = ("own-data", "one-operator", "tune-resume-export")
BENCHMARKS = tuple(sorted(path.stem for path in (ROOT / "benchmarks").glob("*.md")))


def write_pages(folder: Path) -> None:
    """Write every page of the site into `folder`, which is made."""
    pages = {
        "index.md": _start(),
        "methods/index.rst": _methods(),
        "tasks.rst": _tasks(),
        "datasets.rst": _datasets(),
        "results.md": _results(),
        "contributing.md": _linked((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")),
        "changelog.md": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
    }
    for name, (title, package) in OPERATORS.items():
        pages[f"operators/{name}.rst"] = _operators(title, package)
    for name in method_table():
        pages[f"methods/{name}.rst"] = _method(name)
    for name in GUIDES:
        text = (HERE / "guides" / f"{name}.md").read_text(encoding="utf-8")
        pages[f"guides/{name}.md"] = text.replace("FORMATS\n", _formats())
    for name in BENCHMARKS:
        text = (ROOT / "benchmarks" / f"{name}.md").read_text(encoding="utf-8")
        pages[f"benchmarks/{name}.md"] = text
    for name, text in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    shutil.copy(HERE / PICTURE, folder)


def _start() -> str:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    head, _, rest = readme.partition("<!-- results -->")
    _, _, tail = rest.partition("<!-- end of results -->")
    text = f"{head}The table is on [its own page](results.md).\n{tail}"
    trees = {
        "Guides": [f"guides/{name}" for name in GUIDES],
        "Operators": [f"operators/{name}" for name in OPERATORS],
        "Methods, tasks, data": ["methods/index", "tasks", "datasets", "results"],
        "Speed": [f"benchmarks/{name}" for name in BENCHMARKS],
        "Project": ["contributing", "changelog"],
    }
    listed = "".join(
        f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(entries) + "\n```\n"
        for caption, entries in trees.items()
    )
    return _linked(text) + listed


def _linked(text: str, up: str = "") -> str:
    """Links to files of the repository as links to pages, or as the bare name of the file."""

    def target(found: re.Match[str]) -> str:
        label, path = found[1], found[2]
        if path.startswith(("http", "#")):
            return found[0]
        known = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
        page = known.get(path, path if path.startswith("benchmarks/") else None)
        return f"[{label}]({up}{page})" if page else f"`{path}`"

    text = text.replace(f"docs/{PICTURE}", PICTURE)
    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)", target, text)


def _results() -> str:
    spec = importlib.util.spec_from_file_location("results", ROOT / "benchmarks" / "results.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    after = readme.partition("<!-- end of results -->")[2].partition("\n## ")[0].strip()
    return _linked(f"# Results\n\n{after}\n\n{module.table()}")


def _formats() -> str:
    """What the modules that read people's own files say about them."""
    parts = []
    readers = ("graphcl.data.own_folder", "graphcl.data.relation_lists", "recsys.data.readers")
    for name in readers:
        text = _module_text(importlib.import_module(name))
        parts.append(f"```{{eval-rst}}\n{text}\n```\n")
    return "\n".join(parts)


def _operators(title: str, package: str) -> str:
    module = importlib.import_module(package)
    text = _title(title) + f".. py:module:: {package}\n\n" + _module_text(module)
    if package == "graphcl.kernels":
        return text + "".join(_kernel(name) for name in _submodules(module))
    names = [name for name in module.__all__ if callable(getattr(module, name))]
    # Classes first: the functions are what they are made of.
    names.sort(key=lambda name: not inspect.isclass(getattr(module, name)))
    return text + _objects(package, names)


def _kernel(name: str) -> str:
    module = importlib.import_module(name)
    own = [
        key
        for key in getattr(module, "__all__", vars(module))
        if not key.startswith("_")
        and callable(value := getattr(module, key))
        and (hasattr(module, "__all__") or getattr(value, "__module__", "") == name)
        and inspect.getdoc(value)
    ]
    if not own:
        return ""
    head = _title(name.rpartition(".")[2].replace("_", " "), "-")
    return f"{head}.. py:module:: {name}\n\n{_module_text(module)}{_objects(name, own)}"


def _objects(module: str, names: Iterable[str]) -> str:
    found = importlib.import_module(module)
    text = f".. py:currentmodule:: {module}\n\n"
    for name in names:
        kind = "class" if inspect.isclass(getattr(found, name)) else "function"
        text += f".. auto{kind}:: {module}.{name}\n\n"
    return text


def _methods() -> str:
    text = _title("Methods")
    for package, title in (("graphcl", "On graphs"), ("recsys", "Recommenders")):
        rows = {n: t for n, t in method_table().items() if t.startswith(package)}
        text += _title(title, "-")
        text += _table(
            ("name", "what it is"),
            [(f":doc:`{name} <{name}>`", inline(summary(t))) for name, t in rows.items()],
        )
    entries = "".join(f"   {name}\n" for name in method_table())
    return f"{text}\n.. toctree::\n   :hidden:\n\n{entries}"


def _method(name: str) -> str:
    method = load_class("method", name, method_table())
    module = sys.modules[method.__module__]
    tasks = ", ".join(f"``{task}``" for task in method.tasks)
    return (
        _title(name)
        + _module_text(module)
        + f"``{module.__name__}.{method.__name__}``; tasks: {tasks}.\n\n"
        + _title("Settings", "-")
        + _table(("setting", "default", "allowed", "search range", "meaning"), _settings(method))
    )


def _settings(method: Any) -> list[tuple[str, ...]]:
    meanings: dict[str, str] = {}
    for ancestor in reversed(method.Config.__mro__):
        if ancestor.__module__.partition(".")[0] in ("graphcl", "recsys"):
            documented = ModuleAnalyzer.for_module(ancestor.__module__).find_attr_docs()
            for (owner, name), lines in documented.items():
                if owner == ancestor.__name__:
                    meanings[name] = " ".join(lines).strip()
    return [
        (
            *(f"``{cell.replace('`', chr(39))}``" if cell else "" for cell in row),
            inline(meanings.get(row[0], ""), link),
        )
        for row in settings_rows(method.Config)
    ]


def _tasks() -> str:
    text = _title("Tasks and protocols")
    for name in task_table():
        task = load_class("task", name, task_table())
        text += _title(name, "-") + "\n".join(to_rst(_lines(task), link)) + "\n\n"
        text += f"Validation selects on ``{task.metric}``.\n\n"
        protocols = [(f"``{key}``", inline(meaning)) for key, meaning in task.protocols.items()]
        text += _table(("protocol", "what it fixes"), protocols)
    return text


def _datasets() -> str:
    text = _title("Data sets")
    text += "``graphcl data fetch NAME`` brings one; none is part of the library. "
    text += "Their cards are in ``datasets/``. Your own data: :doc:`guides/own-data`.\n\n"
    for name in card_names():
        card = load_card(name)
        counts = ", ".join(f"{count:,} {what}" for what, count in card.statistics.items())
        text += _title(name, "-") + f"{inline(card.description)} ({counts}.)\n\n"
        for label, value in (
            ("Source", card.source),
            ("Citation", card.citation),
            ("Licence", card.licence),
            ("Notes", card.notes),
        ):
            if value:
                text += f":{label}: {inline(value)}\n"
        text += "\n"
    return text


def _module_text(module: ModuleType) -> str:
    return "\n".join(to_rst(_lines(module), link)) + "\n\n"


def _lines(documented: Any) -> list[str]:
    return (inspect.getdoc(documented) or "").splitlines()


def _title(text: str, line: str = "=") -> str:
    return f"{text}\n{line * len(text)}\n\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    text = ".. list-table::\n   :header-rows: 1\n\n"
    for row in (head, *rows):
        text += "".join(
            f"   {'* ' if place == 0 else '  '}- {cell}\n" for place, cell in enumerate(row)
        )
    return text + "\n"


def _submodules(package: ModuleType) -> list[str]:
    return [f"{package.__name__}.{found.name}" for found in pkgutil.iter_modules(package.__path__)]


@functools.cache
def _names() -> dict[str, str]:
    """Every documented name, short and full -> full."""
    names: dict[str, str] = {}
    for _, package in OPERATORS.values():
        module = importlib.import_module(package)
        for name in getattr(module, "__all__", ()):
            if callable(getattr(module, name)):
                names.setdefault(name, f"{package}.{name}")
                names[f"{package}.{name}"] = f"{package}.{name}"
    return names


def link(code: str) -> str | None:
    """The documented object that `code` names, if it names one."""
    return _names().get(code.removesuffix("()"))
