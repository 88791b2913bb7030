"""`graphcl run`: train every seed, test it once, run the baselines beside it, write the result."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from graphcl.app.catalogue import load_class, method_table
from graphcl.app.environment import command_line, peak_memory_bytes, threads, versions
from graphcl.app.folder import RunFolder
from graphcl.app.progress import ProgressDisplay
from graphcl.app.settings import RunSpecification
from graphcl.atomic import write_json
from graphcl.config import fingerprint as fingerprint_of
from graphcl.errors import ConfigError
from graphcl.evaluate.contract import Split
from graphcl.methods.contract import Method
from graphcl.train.checkpoint import CheckpointFolder
from graphcl.train.log import RunLog, rewind
from graphcl.train.loop import Trainer
from graphcl.train.seeds import seed_everything

Metrics = dict[str, float]


def run(
    specification: RunSpecification,
    folder: RunFolder,
    display: ProgressDisplay,
    *,
    resume: bool = False,
    data_root: Path | None = None,
    save_embeddings: bool = False,
    checkpoint_seconds: float = 10.0,
) -> dict[str, Any]:
    """Run all seeds of `specification` in `folder` and return what `result.json` holds.

    Raises:
        GraphclError: anything a user can cause; finished seeds and checkpoints are kept.
    """
    if resume:
        # Seeds that are there already stay part of the run.
        seeds = dict.fromkeys([*folder.stored_seeds(), *specification.seeds])
        specification = replace(specification, seeds=tuple(seeds))
    # Data first: a mistake there must not leave a run folder behind.
    split = _load(specification, specification.seeds[0], data_root)
    with folder.locked():
        folder.open(specification.as_dict(), resume)
        return _run_seeds(
            specification, split, folder, display,
            resume=resume, data_root=data_root, save_embeddings=save_embeddings,
            checkpoint_seconds=checkpoint_seconds,
        )  # fmt: skip


def _run_seeds(
    specification: RunSpecification,
    split: Split,
    folder: RunFolder,
    display: ProgressDisplay,
    *,
    resume: bool,
    data_root: Path | None,
    save_embeddings: bool,
    checkpoint_seconds: float,
) -> dict[str, Any]:
    started = datetime.now(UTC).isoformat(timespec="seconds")
    records: list[dict[str, Any]] = []
    baselines: dict[str, list[Metrics]] = {name: [] for name in _baselines(specification)}
    for position, seed in enumerate(specification.seeds):
        fingerprint = _fingerprint(specification, split, seed)
        record = folder.finished_seed(seed, fingerprint) if resume else None
        if record and save_embeddings and position == 0:
            raise ConfigError(
                "--embeddings saves the first seed's, which is finished; give another --out"
            )
        if record is None:
            if position:
                split = _load(specification, seed, data_root)
            record = _run_seed(
                specification, split, seed, folder, display,
                fingerprint=fingerprint, resume=resume, checkpoint_seconds=checkpoint_seconds,
                snapshot=position == 0, save_embeddings=save_embeddings and position == 0,
            )  # fmt: skip
            for name in baselines:
                split = _load(specification, seed, data_root)
                record["baselines"][name] = _run_baseline(name, specification, split, seed)
            folder.finish_seed(seed, record)
        records.append(record)
        for name in baselines:
            baselines[name].append(record["baselines"][name])
        metric = specification.task.metric
        display.finish_seed(seed, metric, record["metrics"][metric], record["seconds"])
    result = _result(specification, split, records, baselines, started)
    write_json(folder.result, result)
    return result


def _load(specification: RunSpecification, seed: int, data_root: Path | None) -> Split:
    named = {"columns": specification.columns} if specification.columns else {}
    split: Split = specification.task.load(
        specification.dataset, specification.protocol, seed, data_root, **named
    )
    return split


def _baselines(specification: RunSpecification) -> Sequence[str]:
    table = method_table()
    return [
        name
        for name in specification.task.baselines
        if name in table and name != specification.method
    ]


def _run_seed(
    specification: RunSpecification,
    split: Split,
    seed: int,
    folder: RunFolder,
    display: ProgressDisplay,
    *,
    fingerprint: str,
    resume: bool,
    checkpoint_seconds: float,
    snapshot: bool,
    save_embeddings: bool,
) -> dict[str, Any]:
    clock, seconds_before = time.perf_counter(), 0.0
    generator = seed_everything(seed)
    method = _make(specification.method_class, specification.settings, specification, split)
    record: dict[str, Any] = {
        "seed": seed, "fingerprint": fingerprint,
        "epochs": 0, "best_epoch": None, "validation": {},
    }  # fmt: skip
    if method.trainable:
        checkpoints = folder.checkpoints(seed)
        checkpoint = checkpoints.load_last(fingerprint) if resume else None
        if checkpoint:
            seconds_before = checkpoint.state["progress"]["seconds"]
        rewind(folder.log, seed, checkpoint.state["progress"]["epoch"] if checkpoint else 0)
        with RunLog(folder.log) as log, display.seed(seed, method) as listener:
            trainer = Trainer(
                method, specification.task, split,
                seed=seed, generator=generator, folder=checkpoints, log=log,
                fingerprint=fingerprint,
                checkpoint_seconds=checkpoint_seconds, listener=listener,
            )  # fmt: skip
            if checkpoint:
                trainer.resume(checkpoint)
            progress = trainer.fit()
        record |= {
            "epochs": progress.epoch,
            "best_epoch": progress.best_epoch,
            "validation": progress.best_metrics,
        }
    method.eval()
    record["metrics"] = specification.task.test(method, split)
    if snapshot:
        folder.write_snapshot(specification.task.snapshot(method, split))
    if save_embeddings:
        folder.write_embeddings(method.embed(split.train).numpy(force=True))
    record["parameters"] = sum(parameter.numel() for parameter in method.parameters())
    record["seconds"] = round(seconds_before + time.perf_counter() - clock, 2)
    record["baselines"] = {}
    return record


def _make(
    method_class: type[Method], settings: Any, specification: RunSpecification, split: Split
) -> Method:
    return method_class(settings, specification.task.training_data(method_class, split))


def _run_baseline(name: str, specification: RunSpecification, split: Split, seed: int) -> Metrics:
    generator = seed_everything(seed)
    baseline_class = load_class("method", name, method_table())
    method = _make(baseline_class, baseline_class.Config(), specification, split)
    if method.trainable:
        # Trained like any method; what it leaves behind is thrown away.
        with TemporaryDirectory() as scratch, RunLog(Path(scratch) / "log.jsonl") as log:
            Trainer(
                method, specification.task, split,
                seed=seed, generator=generator, folder=CheckpointFolder(Path(scratch)), log=log,
                fingerprint=name, checkpoint_seconds=math.inf,
            ).fit()  # fmt: skip
    method.eval()
    metrics: Metrics = specification.task.test(method, split)
    return metrics


def _fingerprint(specification: RunSpecification, split: Split, seed: int) -> str:
    described = {**specification.as_dict(), "seeds": seed, "dataset": split.dataset}
    return fingerprint_of(described)


def _result(
    specification: RunSpecification,
    split: Split,
    records: Sequence[dict[str, Any]],
    baselines: dict[str, list[Metrics]],
    started: str,
) -> dict[str, Any]:
    seeds = [record["seed"] for record in records]
    return {
        "method": specification.method,
        "dataset": split.dataset,
        "task": specification.task.name,
        "protocol": split.protocol,
        # Nothing chose anything where a protocol has no validation.
        "select": specification.task.metric if any(r["validation"] for r in records) else None,
        "headline": list(specification.task.headline),
        "metrics": summarise([record["metrics"] for record in records]),
        "validation": summarise([record["validation"] for record in records]),
        "baselines": {
            name: {"metrics": summarise(values), "seeds": seeds}
            for name, values in baselines.items()
        },
        "seeds": seeds,
        "epochs": [record["epochs"] for record in records],
        "best_epoch": [record["best_epoch"] for record in records],
        "settings": specification.settings.model_dump(),
        "parameters": records[0]["parameters"],
        "seconds": round(sum(record["seconds"] for record in records), 2),
        "peak_memory_bytes": peak_memory_bytes(),
        "threads": threads(),
        "versions": versions(),
        "command": command_line(),
        "started": started,
    }


def summarise(values: Sequence[Metrics]) -> dict[str, dict[str, Any]]:
    """Mean, sample standard deviation (0 for one seed) and values of each metric."""
    summary = {}
    for name in values[0]:
        column = [float(metrics[name]) for metrics in values]
        spread = float(np.std(column, ddof=1)) if len(column) > 1 else 0.0
        summary[name] = {"mean": float(np.mean(column)), "std": spread, "values": column}
    return summary
