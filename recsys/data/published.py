"""Data sets as others published them: lists of items per user, with a split and features."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from graphcl.data import load_card
from graphcl.data.locate import locate
from graphcl.errors import DataError
from recsys.data.building import from_ids
from recsys.data.delimited import read_text
from recsys.data.features import Feature, Labels, Numbers
from recsys.data.interactions import Interactions
from recsys.data.splits import InteractionSplit, random_ratio_per_user

PARTS = ("train.txt", "valid.txt", "test.txt")
VALIDATION_SHARE = 0.1
"""Of each user's training items, where no validation file was published."""


def read_user_lists(files: Mapping[str, Path]) -> Interactions:
    """`train.txt`, `valid.txt` and `test.txt` of `user item item ...` lines as one log.

    Every `NAME_feat.npy` among the files is a feature of the items: row i belongs to the item
    called i. The order of a user's items is that of the files.

    Returns:
        the log, with 0, 1 or 2 as `times` where an interaction is of the train, validation or
        test file.

    Raises:
        DataError: a file is malformed, or a feature does not fit the items.
    """
    owners: list[str] = []
    counts: list[int] = []
    items: list[str] = []
    sizes = []
    for name in PARTS:
        before = len(items)
        for line in read_text(files[name]).splitlines() if name in files else ():
            user, *taken = line.split() or [""]
            if taken:
                owners.append(user)
                counts.append(len(taken))
                items += taken
        sizes.append(len(items) - before)
    log = from_ids(
        pd.Series(np.repeat(np.array(owners, dtype=object), counts), dtype=str),
        pd.Series(items, dtype=str),
        times=np.arange(len(PARTS)).repeat(sizes),
    )
    features: dict[str, Feature] = {
        name.removesuffix("_feat.npy"): _array_feature(path, log)
        for name, path in sorted(files.items())
        if name.endswith("_feat.npy")
    }
    return log.with_features(items=features)


def read_counted_lists(files: Mapping[str, Path]) -> Interactions:
    """CiteULike's files: line u of `users.dat` is `count item item ...` of user u, from 0.

    `item-tag.dat`, line i likewise for item i, gives the items' tags, called as line t of
    `tags.dat` says where that is there.

    Raises:
        DataError: a count is not the number of entries that follow it.
    """
    taken = _counted(files["users.dat"])
    counts = [len(items) for items in taken]
    users = np.repeat(np.arange(len(taken)), counts)
    log = from_ids(users, np.array([item for items in taken for item in items], dtype=np.int64))
    tags = _counted(files["item-tag.dat"])
    names = None
    if "tags.dat" in files:
        names = read_text(files["tags.dat"]).splitlines()
    called = [[names[tag] if names else str(tag) for tag in of_item] for of_item in tags]
    rows = torch.from_numpy(np.where(log.item_ids < len(tags), log.item_ids, -1))
    return log.with_features(items={"tags": Labels.from_lists(called).take(rows)})


def load_published_split(
    name: str, data_root: str | os.PathLike[str] | None, *, seed: int
) -> InteractionSplit:
    """The split that the files of a card are.

    Where no validation file was published, a tenth of each user's training items (at least one
    of two) is dealt for it at random by `seed`; the test part never changes.

    Raises:
        UnknownNameError, MissingDataError: there is no such card, or no such files.
        DataError: the card names no split.
    """
    card = load_card(name)
    if card.format != "user-lists" or not card.split:
        raise DataError(f"no split was published with '{name}'; random-8-1-1 deals one")
    log = read_user_lists(locate(card, data_root))
    if log.times is None:
        raise DataError(f"the files of '{name}' name no parts")
    part, log = log.times, replace(log, times=None, name=name)
    train, validation, test = (log.select(part == number) for number in range(3))
    if len(validation) == 0:
        shares = (1 - VALIDATION_SHARE, VALIDATION_SHARE, 0.0)
        dealt = random_ratio_per_user(train, shares, seed=seed)
        train, validation = dealt.train, dealt.validation
    return InteractionSplit(
        train=train, validation=validation, test=test, history=log.select(part < 2)
    )


def _counted(path: Path) -> list[list[int]]:
    lists = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        try:
            count, *entries = map(int, line.split())
        except ValueError:
            raise DataError(
                f"line {number} of '{path}' must be whole numbers, the first their count "
                f"(got {line[:60]!r})"
            ) from None
        if count != len(entries):
            raise DataError(
                f"line {number} of '{path}' must hold {count} entries (got {len(entries)})"
            )
        lists.append(entries)
    return lists


def _array_feature(path: Path, log: Interactions) -> Numbers:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"'{path}' is not a readable array ({reason})") from None
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
        raise DataError(
            f"'{path}' must be floating numbers of shape (items, width) "
            f"(got {array.dtype} of shape {array.shape})"
        )
    ids = log.item_ids
    if not np.issubdtype(ids.dtype, np.integer) or ids.min() < 0 or ids.max() >= len(array):
        raise DataError(
            f"'{path}' must have a row for each item called 0 to {len(array) - 1} "
            f"(got items {ids.min()} to {ids.max()})"
        )
    return Numbers(torch.from_numpy(array[ids].astype(np.float32)))
