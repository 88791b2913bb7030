"""An interaction log by the name of a data set card, or by path."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from graphcl.data import card_names, load_card
from graphcl.data.locate import locate
from graphcl.errors import DataError, MissingDataError, unknown_name
from recsys.data.interactions import Interactions
from recsys.data.published import read_counted_lists, read_user_lists
from recsys.data.readers import (
    read_attributes,
    read_interactions,
    read_lines,
    read_recbole,
    read_table,
)


def load_interactions(
    name_or_path: str | os.PathLike[str],
    data_root: str | os.PathLike[str] | None = None,
    columns: Mapping[str, str] | None = None,
) -> Interactions:
    """Load a data set that has a card, or a log of one's own.

    Args:
        name_or_path: the name of a card (ml-100k, ml-latest-small, ...), which is searched along
            the order that `graphcl.data.locate` documents; otherwise a file or folder that
            `recsys.data.read_interactions` understands.
        data_root: searched first for the files of a card.
        columns: `{"user": header, "item": header, "time": header, "rating": header}` of a table
            of one's own whose headers cannot be guessed; time and rating may be left out.

    Raises:
        UnknownNameError: it is neither a card nor an existing path; names the nearest card.
        MissingDataError: the files of the card, or the path, were not found.
        DataError: the card is of a graph, the log is malformed, or `name_or_path` is empty.
    """
    text = os.fspath(name_or_path)
    if not text.strip():
        raise DataError(
            f"the data set must be a name such as ml-100k or a path (got {text!r}); "
            "the current folder is '.'"
        )
    if text in card_names():
        if columns:
            raise DataError(
                f"the columns of '{text}' are known; naming them is for a file of one's own "
                f"(got {', '.join(columns.values())})"
            )
        return _load_card(text, data_root)
    path = Path(name_or_path).expanduser()
    if path.exists():
        name = path.resolve().name if path.is_dir() else path.stem
        return replace(read_interactions(path, columns), name=name)
    if path.suffix or len(path.parts) > 1:
        raise MissingDataError(f"there is no file or folder '{path}'")
    logs = [name for name in card_names() if load_card(name).kind == "interactions"]
    raise unknown_name("data set or path", text, logs)


def _load_card(name: str, data_root: str | os.PathLike[str] | None) -> Interactions:
    card = load_card(name)
    if card.kind != "interactions":
        raise DataError(f"data set '{name}' is a {card.kind}; recommenders need interactions")
    files = locate(card, data_root)
    if card.format == "recbole-atomic":
        log = read_recbole(
            _ending(name, files, ".inter"),
            _optional(files, ".item"),
            user_path=_optional(files, ".user"),
        )
    elif card.format == "movielens-csv":
        log = read_table(
            _ending(name, files, "ratings.csv"), title_path=_optional(files, "movies.csv")
        )
    elif card.format == "item-lists":
        log = read_lines(_ending(name, files, ".txt"))
        attributes = _optional(files, ".json")
        log = log if attributes is None else read_attributes(log, attributes)
    elif card.format == "user-lists":
        # The parts stand in place of times; without the split they mean nothing.
        log = replace(read_user_lists(files), times=None)
    elif card.format == "counted-lists":
        log = read_counted_lists(files)
    else:
        raise DataError(f"no reader of interactions for the format '{card.format}' of '{name}'")
    return replace(log, name=name)


def _optional(files: dict[str, Path], ending: str) -> Path | None:
    return next((path for name, path in files.items() if name.endswith(ending)), None)


def _ending(dataset: str, files: dict[str, Path], ending: str) -> Path:
    path = _optional(files, ending)
    if path is None:
        raise DataError(f"the card of '{dataset}' names no file ending in '{ending}'")
    return path
