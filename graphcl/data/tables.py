"""Rows of a small CSV file with their line numbers, so that an error can name the line."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from graphcl.errors import DataError


def read_rows(path: Path, width: int | None = None) -> list[tuple[int, list[str]]]:
    """The non-empty rows of a comma- or tab-separated UTF-8 file as (line number, stripped cells).

    Args:
        path: the file; a byte order mark and Windows line ends are fine.
        width: the number of cells every row must have, or None for that of the first row.

    Raises:
        DataError: the file is missing, not text, empty, or a row has another number of cells.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"'{path}' is not UTF-8 text") from None
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error.strerror or error}") from None
    first = next((line for line in text.splitlines() if line.strip()), "")
    reader = csv.reader(
        io.StringIO(text), delimiter="\t" if "\t" in first and "," not in first else ","
    )
    rows: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            rows.append((reader.line_num, [cell.strip() for cell in cells]))
    except csv.Error as error:
        raise DataError(f"'{path}', line {reader.line_num}: {error}") from None
    if not rows:
        raise DataError(f"'{path}' is empty")
    expected = width if width is not None else len(rows[0][1])
    for line, cells in rows:
        if len(cells) != expected:
            raise DataError(f"'{path}', line {line} has {len(cells)} columns instead of {expected}")
    return rows
