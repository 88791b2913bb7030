"""Readers of interaction logs: RecBole atomic files, delimited text, Parquet, item lists.

All of them tolerate a byte-order mark, CRLF line ends, blank lines and spaces around ids, and
refuse everything else they cannot read with a sentence that names the line. Repeated
interactions are kept (see `Interactions`).
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from graphcl.errors import DataError, MissingDataError
from recsys.data.atomic import read_features
from recsys.data.building import from_ids
from recsys.data.columns import choose_columns, key_column, title_column, unread_times
from recsys.data.delimited import check_exists, one_line, parse_fields, read_text
from recsys.data.genres import genre_labels
from recsys.data.interactions import Interactions

AnyPath = str | os.PathLike[str]

HARMLESS_ROWS, LARGEST_RATIO = 10_000_000, 100

POSITIONS = ("user", "item", "rating", "time")
"""What the columns of a table without a header are."""

EARLIEST_TIME = 100_000_000
"""Seconds since 1970, in 1973: no rating is as large."""

MOST_DIGITS = 19
"""Of a time, in nanoseconds."""


def read_recbole(
    path: AnyPath,
    item_path: AnyPath | None = None,
    columns: Mapping[str, str] | None = None,
    user_path: AnyPath | None = None,
) -> Interactions:
    """Read a RecBole atomic file: tab-separated, with a header of `name:type` fields.

    Args:
        path: the `.inter` file; it needs `user_id` and `item_id`, and may have `rating` and
            `timestamp` (or any other in `recsys.data.columns`).
        item_path: an `.item` file; its first column with `title` or `name` in the header are
            titles, all its columns together texts, and the others features
            (`recsys.data.atomic.read_features`). By default the file beside `path` with the
            ending `.item`, if it exists.
        columns: as in `read_table`, header names without their type.
        user_path: a `.user` file for features of the users, likewise.

    Raises:
        MissingDataError: the file does not exist.
        DataError: it is not readable as such.
    """
    path = Path(path)
    frame, lines, _ = _recbole_frame(path)
    log = _from_frame(frame, choose_columns(columns, list(frame.columns), path), path, lines)
    users, items = _beside(path, user_path, ".user"), _beside(path, item_path, ".item")
    if users is not None:
        frame, _, types = _recbole_frame(users)
        key = key_column(frame, "user")
        log = log.with_features(users=read_features(frame, types, key, log.user_ids, users))
    if items is not None:
        frame, _, types = _recbole_frame(items)
        key, title = key_column(frame, "item"), title_column(frame)
        skip = () if title is None else (title,)
        read = read_features(frame, types, key, log.item_ids, items, skip)
        log = _add_titles(log.with_features(items=read), frame)
    return log


def _beside(path: Path, named: AnyPath | None, ending: str) -> Path | None:
    if named is not None:
        return Path(named)
    beside = path.with_suffix(ending)
    return beside if beside.exists() else None


def read_table(
    path: AnyPath, columns: Mapping[str, str] | None = None, title_path: AnyPath | None = None
) -> Interactions:
    r"""Read comma-, tab-, semicolon- or `::`-separated text.

    With a header, columns are found by name (`recsys.data.columns`: user, userId, user_id, item,
    movieId, rating, timestamp, ...). A table whose first line holds only numbers has no header;
    its columns are user, item, rating, time, in that order, or user, item, time if the third of
    three holds whole numbers from `EARLIEST_TIME` on. Any other first line without a known
    name of the user and the item is refused: it may be a header or an interaction.

    Args:
        path: the file.
        columns: `{"user": header, "item": header, "rating": header, "time": header}` where the
            names cannot be guessed; `rating` and `time` may be left out, and are then not read,
            whatever they are called (`Interactions.unread_times` keeps the name of such times).
        title_path: a table of the items: an item column, a column `title` or `name`, and any
            others that describe them in words. A column `genres`, joined by `|` as in
            MovieLens, is a feature too.

    Raises:
        MissingDataError: the file does not exist.
        DataError: the user or item column is not found or a line is malformed; the message
            names the header or the line.
    """
    path = Path(path)
    frame, lines = _table_frame(path, columns)
    chosen = choose_columns(columns, list(frame.columns), path)
    log = _from_frame(frame, chosen, path, lines)
    if title_path is None:
        return log
    items = _table_frame(Path(title_path))[0]
    return _add_titles(_add_genres(log, items), items)


def read_parquet(path: AnyPath, columns: Mapping[str, str] | None = None) -> Interactions:
    """Read a Parquet file; columns as in `read_table`.

    Raises:
        MissingDataError: the file does not exist.
        DataError: it is not Parquet, or a column is missing or malformed.
    """
    path = Path(path)
    check_exists(path)
    try:
        _check_rows(path)
        frame = pd.read_parquet(path)
    except DataError:
        raise
    except Exception as error:  # pyarrow raises many unrelated classes for broken files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"'{path}' is not a readable Parquet file (got: {reason})") from None
    return from_dataframe(frame, columns, name=str(path))


def _check_rows(path: Path) -> None:
    """Refuse columns of one repeated value that stand for any number of rows in a few bytes."""
    from pyarrow.parquet import read_metadata

    rows, size = read_metadata(path).num_rows, path.stat().st_size
    if rows > HARMLESS_ROWS and rows > LARGEST_RATIO * size:
        raise DataError(
            f"'{path}' has {size} bytes and would unpack to {rows} rows, more than "
            f"{LARGEST_RATIO} a byte; it is refused"
        )


def from_dataframe(
    frame: pd.DataFrame, columns: Mapping[str, str] | None = None, name: str = "DataFrame"
) -> Interactions:
    """Build a log from a pandas DataFrame; columns as in `read_table`, rows named by position.

    Raises:
        DataError: a column is missing or malformed.
    """
    named = frame.set_axis([str(column) for column in frame.columns], axis=1)
    place = Path(name)
    chosen = choose_columns(columns, list(named.columns), place)
    return _from_frame(named.reset_index(drop=True), chosen, place, None)


def read_lines(path: AnyPath) -> Interactions:
    """Read `user item item item ...` lines, separated by blanks, items in time order.

    A user on several lines has the items of all, in file order; a line with a user alone adds
    nothing.

    Raises:
        MissingDataError: the file does not exist.
        DataError: there is no interaction, or the file is not text.
    """
    lines = [line.split() for line in read_text(Path(path)).splitlines()]
    items = [token for tokens in lines for token in tokens[1:]]
    owners = np.array([tokens[0] for tokens in lines if tokens], dtype=object)
    counts = [len(tokens) - 1 for tokens in lines if tokens]
    users = np.repeat(owners, counts) if len(owners) else owners
    return from_ids(pd.Series(users, dtype=str), pd.Series(items, dtype=str), name=str(path))


def read_attributes(log: Interactions, path: AnyPath) -> Interactions:
    """The same log with texts from a JSON object `{"item": [attribute, ...], ...}`.

    Attributes are whole numbers without a name (S3-Rec's files of Amazon categories and brands),
    and become the words `attribute1`, `attribute2`, ...

    Raises:
        MissingDataError: the file does not exist.
        DataError: it holds anything else.
    """
    try:
        content = json.loads(read_text(Path(path)))
    except (ValueError, RecursionError) as error:
        raise DataError(f"'{path}' is not valid JSON: {one_line(str(error))}") from None
    listed = isinstance(content, dict) and all(
        isinstance(numbers, list) and all(type(number) is int for number in numbers)
        for numbers in content.values()
    )
    if not listed:
        raise DataError(
            f"'{path}' must be an object of lists of whole numbers "
            f"(got {type(content).__name__} {str(content)[:60]!r})"
        )
    texts = [" ".join(f"attribute{number}" for number in numbers) for numbers in content.values()]
    return log.with_texts(np.array(list(content)), np.array(texts, dtype=np.str_))


def read_interactions(path: AnyPath, columns: Mapping[str, str] | None = None) -> Interactions:
    """Read a log in whatever of these formats its name and first line say.

    `.inter` is RecBole; `.parquet` or `.pq` is Parquet; `.csv`, `.tsv`, `.dat`, `.data` are
    tables; any other text is a table when its first line has a tab, comma, semicolon or `::`,
    and item lists otherwise. A folder is read when it holds one `.inter` file or a
    `ratings.csv` (with `movies.csv` beside it for titles). `columns` names the columns of a
    table, as in `read_table`; a file that is given them is no item list.

    Raises:
        MissingDataError: there is no such file, or nothing readable in the folder.
        DataError: it is not readable as such.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path, columns)
    check_exists(path)
    ending = path.suffix.lower()
    if ending == ".inter":
        return read_recbole(path, columns=columns)
    if ending in (".parquet", ".pq"):
        return read_parquet(path, columns)
    if columns or ending in (".csv", ".tsv", ".dat", ".data"):
        return read_table(path, columns)
    first = next((line for line in read_text(path).splitlines() if line.strip()), "")
    is_table = any(mark in first for mark in ("\t", ",", ";", "::"))
    return read_table(path) if is_table else read_lines(path)


def _read_folder(path: Path, columns: Mapping[str, str] | None) -> Interactions:
    atomic = sorted(path.glob("*.inter"))
    if len(atomic) == 1:
        return read_recbole(atomic[0], columns=columns)
    if (path / "ratings.csv").is_file():
        movies = path / "movies.csv"
        return read_table(
            path / "ratings.csv", columns, title_path=movies if movies.is_file() else None
        )
    raise MissingDataError(
        f"the folder '{path}' must hold one .inter file or a ratings.csv "
        f"(got {len(atomic)} .inter files)"
    )


def _recbole_frame(path: Path) -> tuple[pd.DataFrame, np.ndarray, dict[str, str]]:
    """The columns, the line of each row, and the type of each column."""
    text = read_text(path)
    frame, lines = parse_fields(text, "\t", path, header=True, quoting=csv.QUOTE_NONE)
    untyped = [name for name in frame.columns if ":" not in name]
    if untyped:
        raise DataError(
            f"the header of '{path}' must be name:type fields separated by tabs "
            f"(got {untyped[0]!r})"
        )
    types = dict(name.split(":", 1) for name in frame.columns)
    return frame.set_axis([name.split(":")[0] for name in frame.columns], axis=1), lines, types


def _table_frame(
    path: Path, columns: Mapping[str, str] | None = None
) -> tuple[pd.DataFrame, np.ndarray]:
    text = read_text(path)
    first = next((line for line in text.split("\n") if line.strip()), "")
    if "::" in first:
        # A tab is free in such files, and a one-character separator is read fast.
        text, first = text.replace("::", "\t"), first.replace("::", "\t")
    separator = next((mark for mark in ("\t", ",", ";") if mark in first), ",")
    header = not all(_is_number(field) for field in first.split(separator))
    frame, lines = parse_fields(
        text, separator, path, header=header, quoting=csv.QUOTE_MINIMAL, positions=POSITIONS
    )
    # A caller who names columns has named them by `POSITIONS`.
    if not header and not columns and frame.shape[1] == 3 and _are_times(frame["rating"]):
        frame = frame.rename(columns={"rating": "time"})
    return frame, lines


def _are_times(column: pd.Series) -> bool:
    # The first tells nearly always, without a look at all others.
    return _is_time(column.iloc[0]) and bool(column.map(_is_time).all())


def _is_time(text: str) -> bool:
    text = text.strip()
    whole = text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS
    return whole and int(text) >= EARLIEST_TIME


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _from_frame(
    frame: pd.DataFrame, columns: Mapping[str, str], path: Path, lines: np.ndarray | None
) -> Interactions:
    def row_name(position: int) -> str:
        if lines is None:
            return f"row {position} of '{path}'"
        return f"line {lines[position]} of '{path}'"

    def column(kind: str) -> pd.Series | None:
        if kind not in columns:
            return None
        found = frame[columns[kind]]
        # pandas calls the second column of a name in a text file `name.1`.
        if isinstance(found, pd.DataFrame) or f"{columns[kind]}.1" in frame.columns:
            raise DataError(f"'{path}' has several columns named '{columns[kind]}'; one is needed")
        return found

    log = from_ids(
        column("user"),
        column("item"),
        times=column("time"),
        ratings=column("rating"),
        name=str(path),
        row_name=row_name,
    )
    return log if "time" in columns else replace(log, unread_times=unread_times(frame, columns))


def _add_titles(log: Interactions, items: pd.DataFrame) -> Interactions:
    """Titles and texts from a table of items: one column, and all but the ids, in words."""
    key, title = key_column(items, "item"), title_column(items)
    ids = items[key].str.strip().to_numpy()
    others = [items[name].str.strip() for name in items.columns if name != key]
    if others:
        texts = [", ".join(filter(None, row)) for row in zip(*others, strict=True)]
        log = log.with_texts(ids, np.array(texts, dtype=np.str_))
    return log if title is None else log.with_titles(ids, items[title].to_numpy())


def _add_genres(log: Interactions, items: pd.DataFrame) -> Interactions:
    """The feature `genres` from a column of that name, as MovieLens writes it."""
    if "genres" not in items.columns:
        return log
    ids = items[key_column(items, "item")].str.strip()
    genres = genre_labels(log.item_ids, dict(zip(ids, items["genres"], strict=True)))
    return log.with_features(items={**log.item_features, "genres": genres})
