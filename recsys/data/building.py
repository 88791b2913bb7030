"""From raw columns to the store: any ids, checked times and ratings, errors that name the row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from graphcl.errors import DataError
from recsys.data.interactions import Interactions

RowName = Callable[[int], str]
"""Turns a row position (from 0) into words: "line 7 of 'log.csv'"."""

SHORTEST_ISO_DATE = 8
LARGEST = np.iinfo(np.int64).max
FIRST_DATE, LAST_DATE = pd.Timestamp("1678-01-01"), pd.Timestamp("2261-12-31 23:59:59")
"""What nanoseconds since 1970 can tell in 64 bits, in whole years."""


def _row(position: int) -> str:
    return f"row {position}"


def from_ids(
    users: Any,
    items: Any,
    *,
    times: Any = None,
    ratings: Any = None,
    name: str = "interactions",
    row_name: RowName = _row,
) -> Interactions:
    """Number arbitrary ids and build the store.

    Users and items are numbered in the sorted order of their ids (integers as numbers, strings
    as strings), so the numbering does not depend on the order of the rows. Text ids that are all
    plain integers become integers.

    Args:
        users, items: 1-d sequences (N,) of strings or integers.
        times: None, or (N,) numbers, numbers as text, ISO 8601 text, or datetimes (stored as
            nanoseconds since 1970); only their order is used.
        ratings: None, or (N,) numbers or numbers as text.
        name: where the log came from.
        row_name: how errors call a row.

    Raises:
        DataError: the log is empty, an id is missing, a list or has a line break, a time or
            rating is not a finite number or too large to be kept, or lengths differ.
    """
    user_column, item_column = pd.Series(users), pd.Series(items)
    if len(user_column) != len(item_column):
        raise DataError(
            f"users and items must be equally long (got {len(user_column)} and {len(item_column)})"
        )
    if len(user_column) == 0:
        raise DataError(f"'{name}' has no interactions; at least one is needed")
    user, user_ids = _factorize("user", user_column, row_name)
    item, item_ids = _factorize("item", item_column, row_name)
    return Interactions.from_indices(
        user,
        item,
        times=None if times is None else numbers("time", pd.Series(times), row_name),
        ratings=None if ratings is None else numbers("rating", pd.Series(ratings), row_name),
        user_ids=user_ids,
        item_ids=item_ids,
        name=name,
    )


def _factorize(kind: str, column: pd.Series, row_name: RowName) -> tuple[np.ndarray, np.ndarray]:
    """Row -> number, and number -> id in sorted order."""
    if column.dtype == object:
        nested = ~column.map(pd.api.types.is_scalar).to_numpy(dtype=bool)
        if nested.any():
            where = int(nested.argmax())
            raise DataError(
                f"the {kind} id in {row_name(where)} must be a whole number or text "
                f"(got a {type(column.iloc[where]).__name__})"
            )
    _check_no_bytes(kind, column, row_name)
    missing = column.isna()
    if not pd.api.types.is_numeric_dtype(column):
        text = column.astype(str).str.strip()
        missing |= text == ""
        strings = column.map(type).nunique() > 1 or pd.api.types.is_string_dtype(column)
        column = text if strings else column
    if missing.any():
        raise DataError(
            f"the {kind} id is missing in {row_name(int(missing.to_numpy().argmax()))}; "
            "every interaction needs one"
        )
    if pd.api.types.is_float_dtype(column):
        column = _whole(kind, column, row_name)
    if pd.api.types.is_unsigned_integer_dtype(column) and column.max() > LARGEST:
        column = column.astype(str)
    codes, ids = pd.factorize(column, sort=True)
    unique = np.asarray(ids)
    if not np.issubdtype(unique.dtype, np.integer):
        texts = [str(value) for value in unique]
        _check_one_line(kind, codes, texts, row_name)
        return _as_integers(codes.astype(np.int64), texts)
    return codes.astype(np.int64), unique.astype(np.int64)


def _check_no_bytes(kind: str, column: pd.Series, row_name: RowName) -> None:
    # Bytes are in no known encoding, and joining them to text would guess one.
    if column.dtype != object:
        return
    raw = column.map(lambda value: isinstance(value, bytes)).to_numpy(dtype=bool)
    if raw.any():
        raise DataError(
            f"the {kind} id in {row_name(int(raw.argmax()))} must be a whole number or text "
            "(got bytes)"
        )


def _check_one_line(kind: str, codes: np.ndarray, ids: list[str], row_name: RowName) -> None:
    # The lines between a quote that was not closed and the next one would be one id.
    broken = [number for number, text in enumerate(ids) if "\n" in text]
    if broken:
        where = int((codes == broken[0]).argmax())
        raise DataError(
            f"the {kind} id in {row_name(where)} must not hold a line break; is a quote left open? "
            f"(got {ids[broken[0]][:60]!r})"
        )


def _whole(kind: str, column: pd.Series, row_name: RowName) -> pd.Series:
    """Floats that are whole numbers, as pandas makes of integer columns, back to integers."""
    values = column.to_numpy(dtype=np.float64)
    bad = ~np.isfinite(values) | (values != np.floor(values)) | (np.abs(values) > 2**53)
    if bad.any():
        where = int(bad.argmax())
        raise DataError(
            f"the {kind} id in {row_name(where)} must be a whole number or text "
            f"(got {values[where]})"
        )
    return pd.Series(values.astype(np.int64))


def _as_integers(codes: np.ndarray, ids: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Ids as int64 in numeric order where writing them out again gives the same text."""
    try:
        whole = np.array([int(text) for text in ids], dtype=np.int64)
        same = all(str(value) == text for value, text in zip(whole.tolist(), ids, strict=True))
    except (ValueError, OverflowError):
        same = False
    if not same:
        return codes, np.array(ids, dtype=np.str_)
    order = np.argsort(whole)
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    return number[codes], whole[order]


def numbers(kind: str, column: pd.Series, row_name: RowName) -> np.ndarray:
    """A column as int64 (when all are whole and written so) or float64.

    Raises:
        DataError: a value is missing, not a number (for times: nor a date), or not finite, or
            numbers and dates are mixed.
    """
    if pd.api.types.is_datetime64_any_dtype(column):
        dates = column
    else:
        try:
            values = pd.to_numeric(column, errors="coerce")
        except TypeError:  # of lists, which "coerce" does not cover
            nested = ~column.map(pd.api.types.is_scalar).to_numpy(dtype=bool)
            _refuse(kind, column, int(nested.argmax()), row_name)
        if not values.isna().any() or kind != "time" or not _looks_like_dates(column):
            array = values.to_numpy(dtype=np.float64, na_value=np.nan)
            bad = ~np.isfinite(array)
            if bad.any():
                _refuse(kind, column, int(bad.argmax()), row_name)
            # Beyond 64 bits integers would wrap around, and order with it.
            integral = pd.api.types.is_integer_dtype(values) and np.abs(array).max() < 2.0**63
            return values.to_numpy(dtype=np.int64) if integral else array
        dates = pd.to_datetime(column, errors="coerce", format="ISO8601", utc=True)
    if dates.isna().any():
        _refuse(kind, column, int(dates.isna().to_numpy().argmax()), row_name)
    naive = dates.dt.tz_convert("UTC").dt.tz_localize(None) if dates.dt.tz is not None else dates
    # numpy's conversion to nanoseconds would wrap around.
    outside = ((naive < FIRST_DATE) | (naive > LAST_DATE)).to_numpy(dtype=bool)
    if outside.any():
        where = int(outside.argmax())
        raise DataError(
            f"the {kind} in {row_name(where)} must be a date of the years {FIRST_DATE.year} to "
            f"{LAST_DATE.year} (got {str(column.iloc[where])!r})"
        )
    return naive.to_numpy().astype("datetime64[ns]").astype(np.int64)


def _looks_like_dates(column: pd.Series) -> bool:
    """Whether the first value is a date rather than a broken number."""
    return _is_date(str(column.iloc[0]))


def _is_date(text: str) -> bool:
    return len(text) >= SHORTEST_ISO_DATE and not pd.isna(
        pd.to_datetime(text, errors="coerce", format="ISO8601")
    )


def _is_number(text: str) -> bool:
    return bool(np.isfinite(pd.to_numeric(text, errors="coerce")))


def _refuse(kind: str, column: pd.Series, position: int, row_name: RowName) -> NoReturn:
    got = str(column.iloc[position])
    if kind == "time":
        first = str(column.iloc[0])
        for form, other, is_form, is_other in (
            ("an ISO 8601 date", "a number", _is_date, _is_number),
            ("a number", "an ISO 8601 date", _is_number, _is_date),
        ):
            if is_form(first) and is_other(got):
                raise DataError(
                    f"times must be all numbers or all ISO 8601 dates: that in {row_name(0)} is "
                    f"{form}, {first!r}, that in {row_name(position)} {other} (got {got!r})"
                )
    wanted = "a finite number or an ISO 8601 date" if kind == "time" else "a finite number"
    raise DataError(f"the {kind} in {row_name(position)} must be {wanted} (got {got!r})")
