"""What the command line prints: listings and comparison tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from graphcl.app.catalogue import method_table, operator_table, summary, task_table
from graphcl.errors import unknown_name

KINDS = ("methods", "tasks", "views", "losses", "datasets")


def listing(kind: str) -> list[tuple[str, str]]:
    """Name and one-line description of everything of a kind.

    Raises:
        UnknownNameError: there is no such kind.
    """
    if kind not in KINDS:
        raise unknown_name("kind of thing to list", kind, KINDS)
    if kind == "datasets":
        from graphcl.app.data import dataset_lines

        return dataset_lines()
    tables = {
        "methods": method_table,
        "tasks": task_table,
        "views": lambda: operator_table("graphcl.views"),
        "losses": lambda: operator_table("graphcl.losses"),
    }
    return [(name, summary(target)) for name, target in tables[kind]().items()]


def print_listing(kind: str | None) -> None:
    """Print one kind, or all of them."""
    console = Console()
    for each in (kind,) if kind else KINDS:
        table = Table(title=each, title_justify="left", box=None, show_header=False)
        for name, description in listing(each):
            table.add_row(f"[bold]{name}[/bold]", description)
        console.print(table)


def print_comparison(console: Console, folders: Sequence[Path]) -> None:
    """Print one table per task, data set and protocol: methods, baselines, mean ± std."""
    from graphcl.report.read import read_runs
    from graphcl.report.table import comparison_table
    from graphcl.report.terminal import terminal_table

    for table in comparison_table(read_runs(folders)):
        console.print(terminal_table(table))
        console.print(Text(" ".join(table.sentences)), style="dim")
