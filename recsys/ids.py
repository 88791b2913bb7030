"""From the caller's own ids to the numbers of a log; a misspelt id is told the nearest.

An integer id is found by the integer, by a float of that value, and by the text that `str` writes
of it. "007", "1_0" and digits of other scripts are texts of their own, as in the readers, which
keep a column with such an id as text; `True` is no number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from graphcl.errors import ArgumentError, ConfigError, UnknownNameError, nearest
from recsys.data.delimited import one_line
from recsys.data.interactions import Interactions

MOST_COMPARED = 50_000
"""Comparing letters takes about ten microseconds a name: half a second at most."""


def user_numbers(log: Interactions, users: Any) -> Tensor:
    """The numbers of some users, int64 (n,).

    Args:
        log: any with these users.
        users: ids as of `listed`, or one; integer ids may be given as text.

    Raises:
        UnknownNameError: there is no such user; the message names the nearest id.
        ArgumentError: it is no list of ids.
    """
    wanted = listed("users", users)
    found = _positions(log.user_ids, wanted)
    if (found < 0).any():
        place = int(np.argmax(found < 0))
        raise _unknown("user", wanted[place], log.user_ids)
    return torch.from_numpy(found)


def item_numbers(log: Interactions, items: Any) -> Tensor:
    """The numbers of some items, int64 (n,).

    Args:
        log: any with these items.
        items: ids as of `listed`, or one; integer ids may be given as text. Where the log has
            titles, what is no id may be the title of exactly one item (case does not matter).

    Raises:
        UnknownNameError: there is no such item; the message names the nearest id or title.
        ConfigError: several items have this title.
        ArgumentError: it is no list of ids.
    """
    wanted = listed("items", items)
    found = _positions(log.item_ids, wanted)
    for place in np.flatnonzero(found < 0):
        found[place] = _by_title(log, wanted[place])
    return torch.from_numpy(found)


def listed(name: str, wanted: Any) -> list[Any]:
    """Ids as a list of Python values.

    Args:
        name: what a message calls them.
        wanted: one id, or any number: a list, a Series or Index, an array or tensor (n,), or
            anything else to walk through once.

    Raises:
        ArgumentError: it is nothing, a table or mapping, or one of its ids is a list.
    """
    if wanted is None or isinstance(wanted, pd.DataFrame | Mapping):
        raise ArgumentError(f"{name} must be an id or a list of ids (got {_kind(wanted)})")
    values = wanted if is_several(wanted) else [wanted]
    ids = [plain(value) for value in values]
    nested = next((value for value in ids if is_several(value)), None)
    if nested is not None:
        raise ArgumentError(
            f"{name} must be an id or a list of ids (got a list with {_kind(nested)} in it)"
        )
    return ids


def is_several(wanted: Any) -> bool:
    """Whether it holds any number of ids, rather than being one."""
    if isinstance(wanted, str | bytes):
        return False
    if isinstance(wanted, Tensor | np.ndarray):
        return wanted.ndim > 0
    return isinstance(wanted, Iterable)


def plain(value: Any) -> Any:
    """A single number of numpy or torch as Python's own; anything else as it is."""
    single = isinstance(value, np.number | np.bool_) or (
        isinstance(value, Tensor | np.ndarray) and value.ndim == 0
    )
    return value.item() if single else value


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    shape = getattr(value, "shape", None)
    return f"a {type(value).__name__}" + ("" if shape is None else f" of shape {tuple(shape)}")


def _positions(ids: np.ndarray, wanted: Sequence[Any]) -> np.ndarray:
    """Where each wanted id stands in `ids`, -1 where it does not."""
    if np.issubdtype(ids.dtype, np.integer):
        given = [_whole_number(value) for value in wanted]
        known = pd.Index([value or 0 for value in given], dtype=object)
        found = pd.Index(ids).get_indexer(known)
        return np.where([value is None for value in given], -1, found).astype(np.int64)
    names = pd.Index(ids.astype(object))
    return names.get_indexer(pd.Index([str(v) for v in wanted], dtype=object)).astype(np.int64)


def _whole_number(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        value = value.strip()  # as the readers do, of more marks than `int`
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if isinstance(value, str):
        return number if str(number) == value else None
    return number if number == value else None


def _by_title(log: Interactions, wanted: Any) -> int:
    if log.titles is None:
        raise _unknown("item", wanted, log.item_ids)
    text = str(wanted).strip().casefold()
    same = np.flatnonzero([title.casefold() == text for title in log.titles.astype(str)])
    if len(same) == 0:
        raise _unknown("item", wanted, log.item_ids, log.titles)
    if len(same) > 1:
        ids = ", ".join(str(log.item_ids[number]) for number in same[:5])
        raise ConfigError(f"{len(same)} items have the title '{wanted}'; give an id ({ids})")
    return int(same[0])


def _unknown(
    kind: str, wanted: Any, ids: np.ndarray, titles: np.ndarray | None = None
) -> UnknownNameError:
    number = _whole_number(wanted)
    hint = f"there are {len(ids)}, such as {', '.join(str(known) for known in ids[:3])}"
    if np.issubdtype(ids.dtype, np.integer) and number is not None:
        known = sorted(ids.tolist())
        if known and known[0] < number < known[-1]:
            hint = f"did you mean '{min(known, key=lambda each: abs(each - number))}'?"
        elif known:
            hint = f"there are {len(known)}, from {known[0]} to {known[-1]}"
    else:
        # A title among integer ids, and either among names.
        by_id = [] if np.issubdtype(ids.dtype, np.integer) else ids.astype(str).tolist()
        by_title = [] if titles is None else titles.astype(str).tolist()
        guess = nearest(str(wanted), _worth_comparing(str(wanted), [*by_title, *by_id]))
        hint = f"did you mean '{guess}'?" if guess else hint
    return UnknownNameError(f"unknown {kind} '{one_line(str(wanted))}'; {hint}")


def _worth_comparing(wanted: str, names: list[str]) -> list[str]:
    if len(names) > MOST_COMPARED:
        names = [name for name in names if name[:2].casefold() == wanted[:2].casefold()]
    return names[:MOST_COMPARED]
