"""What `graphcl export` and `graphcl recommend` print."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from graphcl.app.export import FORMATS, export_run
from graphcl.app.load import load_run
from graphcl.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd


LONGEST_SHOWN = 80
"""Letters of a history in a message."""


def print_export(
    run: Path, out: Path | None, *, formats: Sequence[str], index: bool | None, **options: Any
) -> None:
    """Export a run and list what was written and what was not.

    Raises:
        GraphclError: as of `graphcl.app.export.export_run`.
    """
    chosen = FORMATS if "both" in formats else tuple(dict.fromkeys(formats))
    done = export_run(run, out, formats=chosen, index=index, **options)
    console = Console()
    table = Table(box=None, show_header=False)
    for name, holds in done.files.items():
        table.add_row(Text(name, style="bold"), Text(holds))
    console.print(table)
    for sentence in done.sentences:
        console.print(Text(sentence))
    console.print(f"exported: {done.folder}", highlight=False, soft_wrap=True)


def print_recommendations(
    run: Path,
    *,
    users: Sequence[str],
    history: str | None,
    similar_to: Sequence[str],
    k: int,
    keep_seen: bool,
    as_json: bool,
    seed: int | None,
    dataset: str | None,
    data_root: Path | None,
) -> None:
    """Print lists of items for users, for a newcomer, or like an item.

    Raises:
        ConfigError: not exactly one of the three is asked for, or the run recommends nothing.
        GraphclError: as of `load_run`, or there is no such user or item.
    """
    asked = [bool(users), history is not None, bool(similar_to)]
    if sum(asked) != 1:
        raise ConfigError(
            "recommend takes one of --user, --history and --similar-to "
            f"(got {sum(asked) or 'none'} of them)"
        )
    if k < 1:
        raise ConfigError(f"-k must be at least 1 (got {k})")
    loaded = load_run(run, seed=seed, dataset=dataset, data_root=data_root)
    seen = "keep" if keep_seen else "mask"
    if users:
        found = loaded.recommendations.for_users(users, k, seen=seen)
    elif history is not None:
        found = loaded.recommendations.for_newcomers([_split(history)], k, seen=seen)
    else:
        found = loaded.recommendations.similar_items(similar_to, k)
    if as_json:
        print(json.dumps(found.to_dict("records"), ensure_ascii=False, indent=1))
    else:
        _print_lists(found)


def _split(history: str) -> list[str]:
    """The items of a line of CSV.

    Raises:
        ConfigError: it is more than a line, or a quotation mark is left open or stands amiss.
    """
    try:
        # Anything but strict guesses what an open quotation mark was to mean.
        fields = next(csv.reader([history], skipinitialspace=True, strict=True), [])
    except csv.Error as error:
        raise ConfigError(
            "--history must be one line of items with commas between them, where an item that "
            'holds a comma or begins with a quotation mark is quoted as in CSV: "..." with "" '
            f"for each inside (got {history[:LONGEST_SHOWN]!r}: {error})"
        ) from None
    return [field.strip() for field in fields if field.strip()]


def _print_lists(found: pd.DataFrame) -> None:
    console = Console()
    kind, *columns = found.columns
    if found.empty:
        console.print("no items are left to recommend")
    for asked, rows in found.groupby(kind, sort=False):
        title = f"{kind.replace('_', ' ')} {asked}" if kind != "history" else "after this history"
        table = Table(title=Text(title, style="bold"), title_justify="left", box=None)
        for column in columns:
            right = column in ("rank", "score")
            table.add_column(column, justify="right" if right else "left", overflow="fold")
        for row in rows.itertuples(index=False):
            *cells, score = row[1:]
            table.add_row(*(Text(str(cell)) for cell in cells), Text(f"{score:.4f}"))
        console.print(table)
