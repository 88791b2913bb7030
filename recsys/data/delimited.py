"""Text files of fields: bytes to text, text to columns, with the line number of every row."""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from graphcl.errors import DataError, MissingDataError

MOST_COLUMNS = 1000
"""No log has more; each costs milliseconds, so a header of tens of thousands would hang."""


def check_exists(path: Path) -> None:
    """Refuse what is not a file.

    Raises:
        MissingDataError: there is no such file.
    """
    if not path.is_file():
        raise MissingDataError(f"there is no file '{path}'")


def read_text(path: Path) -> str:
    r"""The text of a UTF-8 file without byte-order mark, with `\n` line ends.

    Raises:
        MissingDataError: there is no such file.
        DataError: it is not UTF-8 text.
    """
    check_exists(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"'{path}' must be UTF-8 text (got byte {error.object[error.start]:#04x} "
            f"at offset {error.start})"
        ) from None
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error}") from None
    if "\0" in text:
        raise DataError(f"'{path}' must be text (got a NUL byte at offset {text.index(chr(0))})")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse_fields(
    text: str,
    separator: str,
    path: Path,
    *,
    header: bool,
    quoting: Literal[0, 3],
    positions: Sequence[str] = (),
) -> tuple[pd.DataFrame, np.ndarray]:
    r"""Cut text into columns of strings.

    Args:
        text: with `\n` line ends.
        separator: one character.
        path: what errors call the text.
        header: whether the first line names the columns.
        quoting: `csv.QUOTE_MINIMAL` or `csv.QUOTE_NONE`.
        positions: the names of columns without a header; further ones are numbered.

    Returns:
        the table without blank lines, empty fields as "", and the line number of each row.

    Raises:
        DataError: the text is empty, its first line has more than `MOST_COLUMNS` fields, a row has
            more fields than the first, or a quote is not closed.
    """
    blank = len(text) - len(text.lstrip("\n"))
    body = text[blank:]
    if not body.strip():
        raise DataError(f"'{path}' is empty; it must hold at least one interaction")
    columns = body.partition("\n")[0].count(separator) + 1
    if columns > MOST_COLUMNS:
        raise DataError(f"'{path}' must have at most {MOST_COLUMNS} columns (got {columns})")
    try:
        with warnings.catch_warnings():
            # Otherwise pandas cuts rows that are longer than the header, with a warning only.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                io.StringIO(body),
                sep=separator,
                header=0 if header else None,
                dtype=str,
                na_filter=False,
                skip_blank_lines=False,
                quoting=quoting,
                index_col=False,
            )
    except (pd.errors.ParserError, pd.errors.ParserWarning, ValueError) as error:
        reason = (
            _open_quote(str(error), body, separator, blank)
            or _long_row(body, separator, quoting, blank)
            or one_line(str(error))
        )
        raise DataError(f"'{path}' is malformed: {reason}") from None
    frame = frame.fillna("")
    if not header:
        frame.columns = pd.Index(
            [positions[i] if i < len(positions) else str(i) for i in range(frame.shape[1])]
        )
    frame.columns = pd.Index([str(name).strip() for name in frame.columns])
    lines = np.arange(len(frame)) + blank + (2 if header else 1)
    if quoting != csv.QUOTE_NONE and '"' in body:
        lines += _breaks_before(frame)
    filled = np.zeros(len(frame), dtype=bool)
    for position in range(frame.shape[1]):
        filled |= (frame.iloc[:, position].str.strip() != "").to_numpy()
    return frame[filled].reset_index(drop=True), lines[filled]


def _breaks_before(frame: pd.DataFrame) -> np.ndarray:
    """How many line breaks the quoted fields of earlier rows hold."""
    breaks = np.zeros(len(frame), dtype=np.int64)
    for position in range(frame.shape[1]):
        breaks += frame.iloc[:, position].str.count("\n").to_numpy(dtype=np.int64)
    return breaks.cumsum() - breaks


def _open_quote(error: str, body: str, separator: str, blank: int) -> str | None:
    """Words for a quote that is not closed, which pandas tells by the rows before it."""
    found = re.search(r"EOF inside string starting at row (\d+)", error)
    if found is None:
        return None
    rows = csv.reader(io.StringIO(body), delimiter=separator)
    try:
        for _ in range(int(found[1])):
            next(rows)
    except (csv.Error, StopIteration):
        return "a quote is opened and never closed"
    return (
        f"the row that starts in line {rows.line_num + blank + 1} opens a quote and never closes it"
    )


def _long_row(body: str, separator: str, quoting: Literal[0, 3], blank: int) -> str | None:
    """Words for the first row with more fields than the first one."""
    rows = csv.reader(io.StringIO(body), delimiter=separator, quoting=quoting)
    try:
        width = len(next(rows))
        for row in rows:
            if len(row) > width:
                return (
                    f"line {rows.line_num + blank} has {len(row)} fields "
                    f"where the first line has {width}"
                )
    except csv.Error:
        pass
    return None


def one_line(text: str) -> str:
    """`text` without line breaks, for a message."""
    return " ".join(text.split())
