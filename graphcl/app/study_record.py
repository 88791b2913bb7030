"""`study.yaml`: which study the OUT folder of `graphcl tune` belongs to, and where it is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from graphcl.app.passwords import without_password
from graphcl.atomic import write_text
from graphcl.config import Config, configure, dump_yaml, read_yaml
from graphcl.errors import ConfigError, OutputError

NAME = "study.yaml"


class StudyRecord(Config):
    """The keys of `study.yaml`."""

    study: str
    storage: str
    """A database URL without its password, or `sqlite:///PATH` or `journal:PATH`; a path that is
    not absolute starts at the folder of the record, so that both may be moved together."""
    method: str
    dataset: str
    task: str

    def __str__(self) -> str:
        return f"'{self.study}' ({self.method} on {self.dataset}, stored in '{self.storage}')"


def described_storage(storage: str, folder: Path) -> str:
    """A storage of `resolve_storage` as the record in `folder` names it."""
    kind, path = split_storage(storage)
    if path is None:
        return without_password(storage)
    path = path.resolve()
    within = path.is_relative_to(folder.resolve())
    return f"{kind}{path.relative_to(folder.resolve()) if within else path}"


def split_storage(storage: str) -> tuple[str, Path | None]:
    """What stands before the path of a storage that is a file, and the path; None for others."""
    if storage.startswith("journal:"):
        return "journal:", Path(storage.removeprefix("journal:"))
    if storage.startswith("sqlite:///"):
        path = storage.removeprefix("sqlite:///").partition("?")[0]  # options of the driver
        return "sqlite:///", Path(path)
    return storage, None


def read_record(folder: Path) -> StudyRecord | None:
    """The record in `folder`; None where there is none.

    Raises:
        ConfigError: it is damaged.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    content: dict[str, Any] = read_yaml(path)
    try:
        return configure(StudyRecord, content)
    except ConfigError as error:
        raise ConfigError(f"'{path}' is not the record of a study: {error}") from None


def check_folder(folder: Path, record: StudyRecord) -> None:
    """Refuse a folder that another study writes: `best.yaml` and `best/` would be of both.

    Raises:
        OutputError: it belongs to another study, or to a run.
        ConfigError: its record is damaged.
    """
    # Here, since a report reads records too, and needs no torch.
    from graphcl.app.folder import RunFolder

    run = RunFolder(folder)
    if run.config.exists() and run.log.exists():
        raise OutputError(f"'{folder}' belongs to a run; give another --out for the study {record}")
    found = read_record(folder)
    if found is not None and found != record:
        raise OutputError(
            f"'{folder}' belongs to the study {found}; give another --out for the study {record}"
        )


def write_record(folder: Path, record: StudyRecord) -> None:
    """Write `study.yaml`."""
    write_text(folder / NAME, dump_yaml(record.model_dump()))
