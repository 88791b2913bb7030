"""RecBole's atomic files beyond the interactions: features of users and items, and the writer.

An atomic file is tab-separated text whose header names each column `name:type`; the types are
`token` (an id or a label), `token_seq` (labels separated by blanks), `float` and `float_seq`.
`recsys.data.readers.read_recbole` reads the `.inter` file and calls `read_features` for the
`.user` and `.item` files beside it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from graphcl.atomic import write_text
from graphcl.errors import DataError
from recsys.data.features import Feature, Labels, Numbers
from recsys.data.interactions import Interactions

TYPES = ("token", "token_seq", "float", "float_seq")


def read_features(
    frame: pd.DataFrame,
    types: Mapping[str, str],
    key: str,
    ids: np.ndarray,
    path: Path,
    skip: Iterable[str] = (),
) -> dict[str, Feature]:
    """The columns of a `.user` or `.item` file as features of `ids`.

    `token` and `token_seq` become `Labels`, `float` and `float_seq` `Numbers`. An id that the file
    does not list, and an empty field, has no label and zeros. Of rows with equal ids the last
    counts.

    Args:
        frame: columns of strings.
        types: column -> type.
        key: the column with the ids.
        ids: (n,), the ids in the order of their numbers.
        path: what errors call the file.
        skip: columns that are no features, such as the title.

    Raises:
        DataError: a type is unknown, a number is not one, or the vectors of a column differ in
            length.
    """
    row = {name: position for position, name in enumerate(frame[key].str.strip())}
    rows = torch.tensor([row.get(str(name), -1) for name in ids.tolist()], dtype=torch.int64)
    features: dict[str, Feature] = {}
    for name in frame.columns:
        if name == key or name in skip:
            continue
        column = [str(text).strip() for text in frame[name]]
        if types[name] == "token":
            read: Feature = Labels.from_lists([[text] if text else [] for text in column])
        elif types[name] == "token_seq":
            read = Labels.from_lists([text.split() for text in column])
        elif types[name] in ("float", "float_seq"):
            read = _numbers(column, name, path)
        else:
            raise DataError(
                f"the types in the header of '{path}' must be among {', '.join(TYPES)} "
                f"(got '{types[name]}' of '{name}')"
            )
        features[name] = read.take(rows)
    return features


def _numbers(column: list[str], name: str, path: Path) -> Numbers:
    try:
        vectors = [np.array(text.split(), dtype=np.float32) for text in column]
    except ValueError as error:
        raise DataError(f"'{path}' has a value of '{name}' that is no number: {error}") from None
    width = max((len(vector) for vector in vectors), default=0)
    lengths = {len(vector) for vector in vectors} - {0}
    if len(lengths) > 1:
        raise DataError(
            f"all vectors of '{name}' in '{path}' must have one length "
            f"(got {', '.join(map(str, sorted(lengths)))})"
        )
    table = np.zeros((len(column), max(width, 1)), dtype=np.float32)
    for position, vector in enumerate(vectors):
        table[position, : len(vector)] = vector
    if not np.isfinite(table).all():
        raise DataError(f"the numbers of '{name}' in '{path}' must be finite")
    return Numbers(torch.from_numpy(table))


def write_recbole(log: Interactions, folder: str | os.PathLike[str], name: str) -> list[Path]:
    """Write a log as RecBole's atomic files `NAME.inter`, and `.user` and `.item` where needed.

    Reading `NAME.inter` with `read_recbole` gives the same log again, features and titles
    included, when ids are numbered in their sorted order and every user and item has an
    interaction, as in every log that was read and in every `compact` one. (In RecBole the folder
    is `data_path/NAME`.)

    Args:
        log: times become `timestamp:float`, ratings `rating:float`; without times the order of
            the lines is the time order. Line breaks and tabs in titles become blanks.
        folder: made if it does not exist.
        name: of the data set.

    Returns:
        The paths written; each is written whole or not at all.

    Raises:
        DataError: an id or label cannot be written: it is empty, holds a tab or line break, or
            blanks at an end (a label among several: anywhere).
        OutputError: the folder cannot be written.
    """
    columns = {
        "user_id:token": _ids("user", log.user_ids)[log.users().cpu().numpy()],
        "item_id:token": _ids("item", log.item_ids)[log.items.long().cpu().numpy()],
    }
    if log.ratings is not None:
        columns["rating:float"] = _written(log.ratings)
    if log.times is not None:
        columns["timestamp:float"] = _written(log.times)
    tables = {"inter": columns}
    if log.user_features:
        tables["user"] = {"user_id:token": _ids("user", log.user_ids)}
        tables["user"] |= _feature_columns(log.user_features)
    if log.titles is not None or log.item_features:
        tables["item"] = {"item_id:token": _ids("item", log.item_ids)}
        if log.titles is not None:
            titles = [" ".join(str(title).split()) for title in log.titles]
            tables["item"]["title:token_seq"] = np.array(titles, dtype=object)
        tables["item"] |= _feature_columns(log.item_features)
    paths = []
    for ending, table in tables.items():
        paths.append(Path(folder) / f"{name}.{ending}")
        lines = ["\t".join(table), *map("\t".join, zip(*table.values(), strict=True))]
        write_text(paths[-1], "\n".join(lines) + "\n")
    return paths


def _ids(kind: str, ids: np.ndarray) -> np.ndarray:
    texts = [str(name) for name in ids.tolist()]
    for text in texts:
        if not text or text != text.strip() or any(mark in text for mark in "\t\r\n"):
            raise DataError(
                f"a {kind} id in an atomic file must not be empty, hold tabs or line breaks, or "
                f"begin or end with a blank (got {text!r})"
            )
    return np.array(texts, dtype=object)


def _written(numbers: Tensor) -> np.ndarray:
    # The shortest text that reads as the same number; whole numbers without a point.
    return numbers.cpu().numpy().astype(np.str_).astype(object)


def _feature_columns(features: Mapping[str, Feature]) -> dict[str, np.ndarray]:
    columns = {}
    for name, feature in features.items():
        if isinstance(feature, Numbers):
            kind = "float" if feature.values.shape[1] == 1 else "float_seq"
            texts = [" ".join(row) for row in _written(feature.values)]
        else:
            single = bool((feature.offsets.diff() <= 1).all())
            kind = "token" if single else "token_seq"
            parts = [_label(str(label), single) for label in feature.names.tolist()]
            listed = [parts[label] for label in feature.labels.tolist()]
            bounds = feature.offsets.tolist()
            texts = [" ".join(listed[a:b]) for a, b in pairwise(bounds)]
        columns[f"{name}:{kind}"] = np.array(texts, dtype=object)
    return columns


def _label(text: str, single: bool) -> str:
    blanks = "\t\r\n" if single else "\t\r\n "
    if not text or text != text.strip() or any(mark in text for mark in blanks):
        raise DataError(
            "a label in an atomic file must not be empty, hold tabs or line breaks, begin or end "
            f"with a blank, or, beside other labels, hold one (got {text!r})"
        )
    return text
