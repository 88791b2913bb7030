"""Read run folders: the only place that knows how the files of a run are laid out."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from graphcl.app.passwords import command_without_password
from graphcl.errors import ConfigError, DataError, MissingDataError
from graphcl.files import check_regular
from graphcl.report.snapshot import Snapshot, read_snapshot
from graphcl.report.study import is_study

LARGEST = 2**53
"""Counts beyond this, and seconds beyond a million million, stand in damaged files only; they
would not fit the arrays and the words of a page."""

Whole = Annotated[int, Field(ge=-LARGEST, le=LARGEST)]
Seconds = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
Command = Annotated[str, AfterValidator(command_without_password)]


class _Part(BaseModel):
    # Runs of a later version may say more than this one reads.
    model_config = ConfigDict(extra="ignore", frozen=True)


class Metric(_Part):
    """One number over seeds. None stands for a value that does not exist."""

    mean: float | None
    std: float | None = None
    values: list[float | None] = Field(default_factory=list)


class Baseline(_Part):
    """A method that was run beside the method of a run, on the same splits."""

    metrics: dict[str, Metric]
    seeds: list[Whole] = Field(default_factory=list)
    parameters: Whole | None = None
    seconds: Seconds | None = None
    epochs: list[Whole] = Field(default_factory=list)


class Result(_Part):
    """The content of `result.json`."""

    method: str
    dataset: dict[str, Any]
    task: str
    protocol: dict[str, Any]
    metrics: dict[str, Metric]
    seeds: list[Whole]
    validation: dict[str, Metric] = Field(default_factory=dict)
    baselines: dict[str, Baseline] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    parameters: Whole | None = None
    seconds: Seconds | None = None
    epochs: list[Whole] = Field(default_factory=list)
    best_epoch: list[Whole | None] = Field(default_factory=list)
    peak_memory_bytes: Whole | None = None
    peak_device_memory_bytes: Whole | None = None
    versions: dict[str, Any] = Field(default_factory=dict)
    command: Command = ""
    started: str = ""
    device: str = ""
    select: str | None = None
    headline: list[str] = Field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """One finished run."""

    folder: Path
    result: Result
    log: tuple[Mapping[str, Any], ...] = ()
    snapshot: Snapshot | None = None

    @property
    def name(self) -> str:
        """The name of the folder; of the test that a study ends with, that of the study too."""
        name = self.folder.name
        return f"{self.folder.resolve().parent.name}/{name}" if name == "best" else name


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Read every folder, each once, in the order given.

    A study stands for the run of its chosen settings, where that was tested.

    Raises:
        ConfigError: `folders` is empty.
        MissingDataError: a folder, or the result of a run, does not exist.
        DataError: a file of a run is corrupt.
    """
    if not folders:
        raise ConfigError("a report needs at least one run folder (got none)")
    unique: dict[Path, Path] = {}
    for folder in map(Path, folders):
        if is_study(folder):
            if not (folder / "best" / "result.json").exists():
                continue
            folder = folder / "best"
        unique.setdefault(folder.resolve(), folder)
    return [read_run(folder) for folder in unique.values()]


def read_run(folder: str | os.PathLike[str]) -> Run:
    """Read one run folder. `log.jsonl` and `snapshot.npz` may be absent, not corrupt.

    Raises:
        MissingDataError: the folder or its `result.json` does not exist.
        DataError: a file is corrupt.
    """
    folder = Path(folder)
    return Run(
        folder=folder,
        result=read_result(folder),
        log=_read_log(folder / "log.jsonl"),
        snapshot=read_snapshot(folder / "snapshot.npz"),
    )


def read_result(folder: str | os.PathLike[str]) -> Result:
    """Read `result.json` alone.

    Raises:
        MissingDataError: the folder or the file does not exist.
        DataError: the file is corrupt.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingDataError(
            f"there is no run folder '{folder}'; give a folder that `graphcl run` wrote"
        )
    path = folder / "result.json"
    if not path.exists():
        raise MissingDataError(f"'{folder}' holds no result.json; {_why_no_result(folder)}")
    check_regular(path, DataError)
    try:
        content = _parsed(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise DataError(f"'{path}' is not valid JSON; run the experiment again") from None
    try:
        result = Result.model_validate(content)
    except ValidationError as error:
        detail = error.errors()[0]
        key = ".".join(str(part) for part in detail["loc"]) or "the whole file"
        raise DataError(
            f"'{path}' is not the result of a run: {key}: {detail['msg'].lower()}"
        ) from None
    for key, part in (("dataset", result.dataset), ("protocol", result.protocol)):
        if not isinstance(part.get("name"), str):
            raise DataError(
                f"'{path}' is not the result of a run: {key} must have a name "
                f"(got {part.get('name')!r})"
            )
    return result


def _parsed(content: bytes) -> Any:
    parsed = json.loads(content.decode("utf-8"))
    if b"\\ud" in content.lower():
        # Half of a pair, which JSON lets through and no page can hold: a ValueError.
        json.dumps(parsed, ensure_ascii=False).encode("utf-8")
    return parsed


def _why_no_result(folder: Path) -> str:
    if (folder / "config.yaml").exists() or (folder / "log.jsonl").exists():
        return "the run did not finish: finish it with `graphcl run ... --resume`"
    inner = sorted(path.parent for path in folder.glob("*/result.json"))
    if inner:
        return f"it holds runs, so name those (the first is '{inner[0]}')"
    return "give a folder that `graphcl run` wrote"


def _read_log(path: Path) -> tuple[Mapping[str, Any], ...]:
    if not path.exists():
        return ()
    check_regular(path, DataError)
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error.strerror or error}") from None
    records: list[Mapping[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = _parsed(line)
        except (ValueError, RecursionError):
            record = None
        if not _is_record(record):
            raise DataError(
                f"'{path}' line {number} is not a log record (got {line[:40]!r}); "
                "a record is one JSON object with seed and epoch, whole numbers up to 2^53, "
                "and numbers as loss and validation"
            )
        records.append(record)
    return tuple(records)


def _is_record(record: Any) -> bool:
    if not isinstance(record, dict):
        return False
    if not all(
        type(record.get(key)) is int and abs(record[key]) <= LARGEST for key in ("seed", "epoch")
    ):
        return False
    return all(
        isinstance(record.get(key, {}), dict) and all(map(_is_value, record.get(key, {}).values()))
        for key in ("loss", "validation")
    )


def _is_value(value: Any) -> bool:
    # JSON's whole numbers have no limit, so that one may lie beyond every float.
    return isinstance(value, float | None) or (isinstance(value, int) and abs(value) <= LARGEST)
