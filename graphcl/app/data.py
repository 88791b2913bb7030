"""`graphcl data`: what the command line prints of data sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console

from graphcl.data import check, fetch, list_datasets, load_card
from graphcl.errors import DataError


def dataset_lines() -> list[tuple[str, str]]:
    """Name and description of every data set, with where it would come from."""
    return [(row.name, f"{row.description} [dim]({row.where})[/dim]") for row in list_datasets()]


def fetch_datasets(
    names: Sequence[str], data_root: Path | None, download: bool, force: bool
) -> None:
    """Fetch data sets one by one and print where their files are."""
    for name in names:
        for path in fetch(name, data_root, allow_download=download, force=force):
            typer.echo(f"{name}: {path}")


def check_datasets(names: Sequence[str], data_root: Path | None) -> None:
    """Print what `graphcl.data.check` finds of each data set.

    Raises:
        DataError: one of them is missing or wrong, after all of them are printed.
    """
    console = Console()
    wrong = []
    for name in names:
        report = check(name, data_root)
        for file in report.files:
            note = " (optional)" if file.optional else ""
            console.print(
                f"{name}: {file.name}{note}: {file.state} {file.message or file.path or ''}",
                highlight=False, markup=False,
            )  # fmt: skip
        if report.measured is not None:
            counts = ", ".join(f"{count} {key}" for key, count in report.measured.items())
            console.print(f"{name}: {counts}", highlight=False)
        if report.message:
            console.print(f"{name}: {report.message}", highlight=False, markup=False)
        if not report.ok:
            wrong.append(name)
    if wrong:
        raise DataError(f"not as its card says: {', '.join(wrong)}")


def describe_dataset(name: str) -> str:
    """The card of a data set as text."""
    card = load_card(name)
    facts = [
        f"{card.name}: {card.title}",
        card.description,
        f"kind: {card.kind}",
        "statistics: " + ", ".join(f"{key} {value}" for key, value in card.statistics.items()),
        f"source: {card.source}",
        f"citation: {card.citation}",
        f"licence: {card.licence}",
    ]
    return "\n".join(facts)
