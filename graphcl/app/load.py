"""Load a finished run, or what `graphcl export` wrote of one: the weights that were tested.

Nothing in the folder is ever executed: settings are YAML and JSON read as data, weights are
safetensors, and names lead to classes of installed packages only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from graphcl.app.folder import RunFolder
from graphcl.app.settings import RunSpecification, stored_specification
from graphcl.config import fingerprint as fingerprint_of
from graphcl.errors import CheckpointError, ConfigError, DataError
from graphcl.evaluate.contract import Split, VectorTable
from graphcl.memory import memory_errors
from graphcl.methods.contract import Method
from graphcl.report.read import Result, read_result
from graphcl.train.checkpoint import Checkpoint, load_checkpoint, restore_model

WEIGHTS = "model.safetensors"
"""The weights of an exported folder, under the names that the method gives them."""


@dataclass(frozen=True)
class LoadedRun:
    """A trained method with the data it was trained on."""

    folder: Path
    specification: RunSpecification
    stored_config: dict[str, Any]
    """The content of `config.yaml`."""
    seed: int
    fingerprint: str
    """Of settings, data set and seed; the same in the run and in what was exported of it."""
    split: Split
    method: Method
    """In evaluation mode, on the CPU."""
    result: Result
    """What was measured, over all seeds of the run."""

    @property
    def data(self) -> Any:
        """The training data: a PyG `Data`, or `Interactions`."""
        return self.split.train

    def embed(self) -> Tensor:
        """The embeddings of all nodes or items, (n, d)."""
        return self.method.embed(self.split.train)

    def tables(self) -> dict[str, VectorTable]:
        """Vectors with the caller's own ids: "nodes", or "users" and "items"."""
        return self.specification.task.tables(self.method, self.split)

    @cached_property
    def recommendations(self) -> Any:
        """Lists of items of a recommender: a `recsys.recommend.Recommendations`.

        Raises:
            ConfigError: the run is no recommender's.
        """
        return self.specification.task.recommendations(self.method, self.split)


def load_run(
    folder: str | os.PathLike[str],
    *,
    seed: int | None = None,
    dataset: str | None = None,
    data_root: str | os.PathLike[str] | None = None,
) -> LoadedRun:
    """Build method and data of a finished run again, with the weights that were tested.

    The data set is needed: a method is built on it (its graph, its users and items), and what
    loads must be what was trained on.

    Args:
        folder: one that `graphcl run` or `graphcl export` wrote.
        seed: which seed of a run; by default its first. An exported folder has one.
        dataset: name or path, where the data set is not where it was.
        data_root: searched first for a named data set; default `$GRAPHCL_DATA`.

    Raises:
        MissingDataError: the folder or the data set is not there, or the run did not finish.
        DataError: `result.json` is damaged, or the data set is another one than the run's.
        ConfigError: `config.yaml` is damaged or names what is not installed, or no such seed.
        CheckpointError: the weights are damaged, or belong to other settings or data.
        TooLargeError: the settings ask for a model that no memory here holds.
    """
    folder = Path(folder)
    result = read_result(folder)
    specification, content = stored_specification(folder / "config.yaml")
    exported = load_checkpoint(folder / WEIGHTS) if (folder / WEIGHTS).exists() else None
    seed = _choose_seed(folder, seed, result, exported)
    # Of what is stored, so that a setting which a later version adds changes nothing.
    fingerprint = fingerprint_of({**content, "seeds": seed, "dataset": result.dataset})
    # Before a model is built, whose sizes are those of the settings.
    record = None
    if exported:
        _check_fingerprint(folder / WEIGHTS, exported, fingerprint)
    else:
        record = _tested_record(RunFolder(folder), seed, fingerprint)
    split = specification.load(
        seed, None if data_root is None else Path(data_root), dataset=dataset
    )
    _check_data(folder, split, result)
    # The caller's global generator must not notice; those of GPUs are not touched.
    with torch.random.fork_rng(devices=[]), memory_errors():
        torch.default_generator.manual_seed(seed)
        seen = specification.task.training_data(specification.method_class, split)
        method: Method = specification.method_class(specification.settings, seen)
    if exported:
        restore_model(method, exported.tensors, folder / WEIGHTS)
    elif record:
        _restore_tested(method, RunFolder(folder), record)
    method.eval()
    return LoadedRun(folder, specification, content, seed, fingerprint, split, method, result)


def _choose_seed(
    folder: Path, seed: int | None, result: Result, exported: Checkpoint | None
) -> int:
    seeds = result.seeds
    if exported is not None:
        of_weights = exported.state.get("seed")
        if type(of_weights) is not int:
            raise CheckpointError(f"'{folder / WEIGHTS}' does not say which seed it is of")
        seeds = [of_weights]
    if not seeds or (seed is not None and seed not in seeds):
        listed = ", ".join(map(str, seeds)) or "none"
        raise ConfigError(f"'{folder}' has the seeds {listed} (got seed {seed})")
    return seeds[0] if seed is None else seed


def _check_data(folder: Path, split: Split, result: Result) -> None:
    stored, found = result.dataset.get("hash"), split.dataset["hash"]
    if stored != found:
        raise DataError(
            f"the data set '{split.dataset['name']}' is not the one that '{folder}' was trained "
            f"on: its content has sha256 {str(found)[:16]}, the run's had {str(stored)[:16]}"
        )


def _tested_record(run: RunFolder, seed: int, fingerprint: str) -> dict[str, Any]:
    record = run.seed_record(seed)
    if record is None:
        raise CheckpointError(f"'{run.path}' holds no readable result of seed {seed}")
    if record["fingerprint"] != fingerprint:
        raise CheckpointError(
            f"'{run.config}' does not hold the settings and data that seed {seed} was run with"
        )
    return record


def _restore_tested(method: Method, run: RunFolder, record: Mapping[str, Any]) -> None:
    """Put the weights that `graphcl run` tested into `method`."""
    if not method.trainable:
        return  # the same data give the same method
    checkpoints = run.checkpoints(record["seed"])
    path = checkpoints.last if record["best_epoch"] is None else checkpoints.best
    try:
        checkpoint = load_checkpoint(path)
    except CheckpointError as error:
        raise CheckpointError(f"{error}; {run.way_on(record['seed'])}") from None
    _check_fingerprint(path, checkpoint, record["fingerprint"])
    progress = checkpoint.state.get("progress")
    epoch = progress.get("best_epoch") if isinstance(progress, dict) else None
    if epoch != record["best_epoch"]:
        raise CheckpointError(
            f"'{path}' holds the best epoch {epoch}, but {record['best_epoch']} was tested; "
            f"{run.way_on(record['seed'])}"
        )
    restore_model(method, checkpoint.part("model"), path)


def _check_fingerprint(path: Path, checkpoint: Checkpoint, fingerprint: str) -> None:
    found = checkpoint.state.get("fingerprint")
    if found != fingerprint:
        raise CheckpointError(
            f"'{path}' belongs to other settings or other data than the config.yaml and "
            f"result.json of its run (got fingerprint {found}, these have {fingerprint})"
        )
