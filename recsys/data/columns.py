"""Which column of a table is which, by its header."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from graphcl.errors import DataError
from recsys.data.delimited import one_line

COLUMN_NAMES: dict[str, tuple[str, ...]] = {
    "user": ("user", "userid", "uid", "reviewerid", "customerid", "visitorid", "sessionid"),
    "item": ("item", "itemid", "iid", "movieid", "productid", "asin", "parentasin", "artistid"),
    "rating": ("rating", "ratings", "score", "stars", "overall"),
    "time": ("time", "timestamp", "date", "datetime", "unixreviewtime"),
}
"""Headers understood as each column, compared in lower case without `_`, `-` and spaces."""

MOST_NAMES, LONGEST_NAME = 20, 60
"""How much of a header a message shows."""


def choose_columns(
    columns: Mapping[str, str] | None, names: list[str], path: Path
) -> dict[str, str]:
    """user, item and, where there are any, rating and time -> the header of each.

    Args:
        columns: the same where the caller names them, else None.
        names: all headers.
        path: of the table, for messages.

    Raises:
        DataError: the user or the item has no column, both have one, or a named one is not there.
    """
    return _guess_columns(names, path) if not columns else _check_columns(columns, names, path)


def unread_times(frame: pd.DataFrame, columns: Mapping[str, str]) -> str | None:
    """The first column that is called like times and is none of `columns`."""
    names = [str(name) for name in frame.columns if name not in columns.values()]
    return next((name for name in names if _plain(name) in COLUMN_NAMES["time"]), None)


def key_column(frame: pd.DataFrame, kind: str) -> str:
    """The column of a table about users or items (`kind`) with their ids; by default the first."""
    names = [str(name) for name in frame.columns]
    return next((name for name in names if _plain(name) in COLUMN_NAMES[kind]), names[0])


def title_column(items: pd.DataFrame) -> str | None:
    """The first column with titles or names, but for the ids."""
    key = key_column(items, "item")
    return next((str(n) for n in items.columns if n != key and ("title" in n or "name" in n)), None)


def _guess_columns(names: list[str], path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for kind, spellings in COLUMN_NAMES.items():
        match = next((name for name in names if _plain(name) in spellings), None)
        if match is not None:
            found[kind] = match
    if "user" not in found and "item" not in found:
        # Guessing by position would take the first row of a table without header for its names.
        raise DataError(
            f"'{path}' has neither a user nor an item column; name the columns "
            f"user,item[,rating,timestamp] (got the header {_listed(names)})"
        )
    for kind in ("user", "item"):
        if kind not in found:
            raise DataError(
                f"'{path}' needs an {kind} column, named for instance {kind}_id "
                f"(got columns {_listed(names)})".replace("an user", "a user")
            )
    return found


def _check_columns(columns: Mapping[str, str], names: list[str], path: Path) -> dict[str, str]:
    for kind, name in columns.items():
        if kind not in COLUMN_NAMES:
            raise DataError(f"columns must map {', '.join(COLUMN_NAMES)} to headers (got '{kind}')")
        if name not in names:
            raise DataError(f"'{path}' has no column '{name}' (got columns {_listed(names)})")
    for kind in ("user", "item"):
        if kind not in columns:
            raise DataError(f"columns must name the {kind} column (got {dict(columns)})")
    if columns["user"] == columns["item"]:
        raise DataError(f"the user and the item need a column each (got '{columns['user']}' twice)")
    return dict(columns)


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")


def _listed(names: list[str]) -> str:
    shown = ", ".join(one_line(name)[:LONGEST_NAME] for name in names[:MOST_NAMES])
    return shown + (f", ... ({len(names)} in all)" if len(names) > MOST_NAMES else "")
