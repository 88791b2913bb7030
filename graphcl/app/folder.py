"""The folder of one run: config, log, result, snapshot and checkpoints."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from graphcl.atomic import write_bytes, write_json, write_text
from graphcl.config import dump_yaml, read_yaml
from graphcl.errors import CheckpointError, OutputError
from graphcl.train.checkpoint import load_checkpoint
from graphcl.train.folder import CheckpointFolder
from graphcl.train.state import MOST_SECONDS, Natural, Part


class SeedRecord(BaseModel):
    """What is kept of a finished seed."""

    model_config = ConfigDict(strict=True, extra="ignore")

    fingerprint: str
    seed: int
    metrics: dict[str, FiniteFloat] = Field(min_length=1)
    validation: dict[str, FiniteFloat]
    baselines: dict[str, dict[str, FiniteFloat]]
    epochs: Natural
    best_epoch: int | None
    parameters: Natural
    seconds: float = Field(ge=0, le=MOST_SECONDS, allow_inf_nan=False)
    # Not in the records of earlier versions.
    parts: list[Part] = Field(default_factory=list)
    peak_memory_bytes: Natural = 0
    peak_device_memory_bytes: Natural | None = None


class RunFolder:
    """Paths and atomic writes of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.log = path / "log.jsonl"
        self.result = path / "result.json"
        self.snapshot = path / "snapshot.npz"
        self._started = False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder, made if need be, so that two processes never write one run.

        What was made here is removed again when nothing but `config.yaml` came of it: a
        mistake that shows when the model is built leaves no folder behind.

        Raises:
            OutputError: the folder cannot be made, or another process holds it.
        """
        try:
            if self.path.exists() and not self.path.is_dir():
                raise OutputError(f"the output folder '{self.path}' is a file")
            made = not self.path.exists()
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            raise OutputError(f"cannot write '{self.path}': {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise OutputError(f"another process is writing to '{self.path}'") from None
        try:
            yield
        finally:
            if self._started and [path.name for path in self.path.iterdir()] == [self.config.name]:
                self.config.unlink()
            if made:
                with contextlib.suppress(OSError):  # it holds something, so it stays
                    self.path.rmdir()
            os.close(descriptor)

    def stored(self) -> dict[str, Any]:
        """What `config.yaml` holds, {} while there is none."""
        return read_yaml(self.config) if self.config.exists() else {}

    def stored_seeds(self) -> list[int]:
        """The seeds of the run that is in the folder, [] if there is none.

        Raises:
            CheckpointError: `config.yaml` does not list them.
        """
        if not self.config.exists():
            return []
        seeds = self.stored().get("seeds")
        if not isinstance(seeds, list) or not all(type(seed) is int for seed in seeds):
            raise CheckpointError(
                f"'{self.config}' is damaged: seeds must be a list of integers (got {seeds!r})"
            )
        return seeds

    def open(self, specification: dict[str, Any], resume: bool) -> None:
        """Start the run, or check that the folder holds the same run when resuming.

        Raises:
            OutputError: it cannot be written, or it holds something and `resume` is false.
            CheckpointError: it holds another configuration; the message shows the difference.
        """
        if any(self.path.iterdir()):
            if not resume:
                raise OutputError(
                    f"the output folder '{self.path}' is not empty; "
                    "give another --out, or --resume to continue it"
                )
            self._check_same(specification)
            for leftover in self.path.rglob(".*.safetensors.*"):
                leftover.unlink()  # of a write that was killed
        else:
            self._started = True
        content = dump_yaml(specification)
        if not self.config.exists() or self.config.read_text(encoding="utf-8") != content:
            write_text(self.config, content)

    def checkpoints(self, seed: int) -> CheckpointFolder:
        """The checkpoint folder of one seed."""
        return CheckpointFolder(self.path / "checkpoints" / f"seed-{seed}")

    def finished_seed(self, seed: int, fingerprint: str) -> dict[str, Any] | None:
        """What `finish_seed` stored, or None while the seed is unfinished.

        A record that is no JSON, or lacks a value, counts as unfinished: the seed's checkpoint
        is still there.

        Raises:
            CheckpointError: a value is not what it can be, or the seed was run on other data or
                with other settings.
        """
        record = self.seed_record(seed)
        if record is not None and record["fingerprint"] != fingerprint:
            raise CheckpointError(
                f"seed {seed} in '{self.path}' was run on other data or with other settings; "
                "give another --out"
            )
        return record

    def seed_record(self, seed: int) -> dict[str, Any] | None:
        """`finished_seed`, whatever the settings and data were.

        Raises:
            CheckpointError: a value is not what it can be.
        """
        path = self._seed_result(seed)
        try:
            record: dict[str, Any] = SeedRecord.model_validate(
                json.loads(path.read_text(encoding="utf-8"))
            ).model_dump()
        except ValidationError as error:
            places = [(each["type"], len(each["loc"])) for each in error.errors()]
            if ("missing", 1) in places or ("model_type", 0) in places:
                return None
            detail = error.errors()[0]
            key = ".".join(str(part) for part in detail["loc"])
            found = f"{key}: {detail['msg'].lower()} (got {detail['input']!r:.80})"
        except (OSError, ValueError, RecursionError):
            return None
        else:
            if record["seed"] == seed:
                return record
            found = f"it is of seed {record['seed']}"
        raise self.damaged_record(seed, found)

    def begun_on(self, seeds: Sequence[int]) -> str | None:
        """The kind of device ("cpu", "cuda") of the first stored part of these seeds, if any."""
        for seed in seeds:
            try:
                record = self.seed_record(seed)
                parts = (
                    record["parts"] if record
                    else load_checkpoint(self.checkpoints(seed).last).state["parts"]
                )  # fmt: skip
                return str(parts[-1].get("device", "cpu")).partition(":")[0]
            except (CheckpointError, LookupError, TypeError, AttributeError):
                continue  # whatever is wrong with it is told when the seed is resumed
        return None

    def damaged_record(self, seed: int, reason: str) -> CheckpointError:
        """The error about the record of `seed`, which says how to go on."""
        return CheckpointError(
            f"'{self._seed_result(seed)}' is damaged: {reason}; {self.way_on(seed)}"
        )

    def way_on(self, seed: int) -> str:
        """What helps when files of a finished seed are of no use."""
        return (
            f"delete '{self._seed_result(seed)}', and the same `graphcl run` with --resume takes "
            f"seed {seed} up from its last checkpoint, or anew where there is none"
        )

    def finish_seed(self, seed: int, record: dict[str, Any]) -> None:
        """Store the metrics of a seed, so that a resumed run passes over it."""
        write_json(self._seed_result(seed), record)

    def write_snapshot(self, arrays: dict[str, np.ndarray]) -> None:
        """Store the arrays that a report draws."""
        if arrays:
            write_bytes(self.snapshot, _npz(arrays))

    def write_embeddings(self, embeddings: np.ndarray) -> None:
        """Store all embeddings as `embeddings.npz`."""
        write_bytes(self.path / "embeddings.npz", _npz({"embedding": embeddings}))

    def _seed_result(self, seed: int) -> Path:
        return self.checkpoints(seed).folder / "result.json"

    def _check_same(self, specification: dict[str, Any]) -> None:
        if not self.config.exists():
            raise CheckpointError(f"'{self.path}' holds no config.yaml, so it is not a run")
        found = differences(read_yaml(self.config), specification)
        # More seeds than before is the same run, continued.
        found = [line for line in found if not line.startswith("seeds")]
        if found:
            raise CheckpointError(f"'{self.path}' holds another configuration: {'; '.join(found)}")


def choose_folder(method: str, dataset: str, resume: bool, root: Path = Path("runs")) -> Path:
    """`runs/METHOD_DATASET`, with a number behind it where that exists already.

    When resuming, the newest of those that exist.
    """
    stem = f"{method}_{Path(dataset).name}"
    chosen, number = root / stem, 1
    while chosen.exists():
        number += 1
        following = root / f"{stem}-{number}"
        if resume and not following.exists():
            break
        chosen = following
    return chosen


def differences(before: Any, now: Any, key: str = "") -> list[str]:
    """What two nested mappings of settings disagree about, a phrase each; [] when they agree."""
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            line
            for name in sorted({*before, *now})
            for line in differences(
                before.get(name), now.get(name), f"{key}.{name}" if key else name
            )
        ]
    same = before == now or (isinstance(now, tuple) and list(now) == before)
    return [] if same else [f"{key} was {before!r}, now {now!r}"]


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()
