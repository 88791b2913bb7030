"""From the caller's own ids to the numbers of a log; a misspelt id is told the nearest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from graphcl.errors import ConfigError, UnknownNameError, nearest
from recsys.data.interactions import Interactions

MOST_COMPARED = 50_000
"""Comparing letters takes about ten microseconds a name: half a second at most."""


def user_numbers(log: Interactions, users: Any) -> Tensor:
    """The numbers of some users, int64 (n,).

    Args:
        log: any with these users.
        users: ids, or one; integer ids may be given as text.

    Raises:
        UnknownNameError: there is no such user; the message names the nearest id.
    """
    wanted = _listed(users)
    found = _positions(log.user_ids, wanted)
    if (found < 0).any():
        place = int(np.argmax(found < 0))
        raise _unknown("user", wanted[place], log.user_ids)
    return torch.from_numpy(found)


def item_numbers(log: Interactions, items: Any) -> Tensor:
    """The numbers of some items, int64 (n,).

    Args:
        log: any with these items.
        items: ids, or one; integer ids may be given as text. Where the log has titles, what is
            no id may be the title of exactly one item (case does not matter).

    Raises:
        UnknownNameError: there is no such item; the message names the nearest id or title.
        ConfigError: several items have this title.
    """
    wanted = _listed(items)
    found = _positions(log.item_ids, wanted)
    for place in np.flatnonzero(found < 0):
        found[place] = _by_title(log, wanted[place])
    return torch.from_numpy(found)


def _listed(wanted: Any) -> list[Any]:
    return [wanted] if isinstance(wanted, str | int | np.integer) else list(wanted)


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
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if isinstance(value, str) or number == value else None


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
    if np.issubdtype(ids.dtype, np.integer) and number is not None:
        guess = str(min(ids.tolist(), key=lambda known: abs(known - number)))
    else:
        # A title among integer ids, and either among names.
        by_id = [] if np.issubdtype(ids.dtype, np.integer) else ids.astype(str).tolist()
        by_title = [] if titles is None else titles.astype(str).tolist()
        guess = nearest(str(wanted), _worth_comparing(str(wanted), [*by_title, *by_id])) or ""
    shown = ", ".join(str(known) for known in ids[:3])
    hint = f"did you mean '{guess}'?" if guess else f"there are {len(ids)}, such as {shown}"
    return UnknownNameError(f"unknown {kind} '{wanted}'; {hint}")


def _worth_comparing(wanted: str, names: list[str]) -> list[str]:
    if len(names) > MOST_COMPARED:
        names = [name for name in names if name[:2].casefold() == wanted[:2].casefold()]
    return names[:MOST_COMPARED]
