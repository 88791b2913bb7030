"""`graphcl run`: train every seed, test it once, run the baselines beside it, write the result."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from graphcl.app.catalogue import load_class, method_table
from graphcl.app.environment import (
    command_line,
    forget_peak_device_memory,
    peak_device_memory_bytes,
    peak_memory_bytes,
    threads,
    versions,
)
from graphcl.app.folder import RunFolder
from graphcl.app.progress import ProgressDisplay
from graphcl.app.result import Metrics, baselines_of, complete_result, result_of
from graphcl.app.settings import RunSpecification, as_begun
from graphcl.app.tracking import Tracking, tracked_run
from graphcl.atomic import write_json
from graphcl.config import fingerprint as fingerprint_of
from graphcl.errors import ConfigError
from graphcl.evaluate.contract import Split
from graphcl.train.checkpoint import Checkpoint
from graphcl.train.device import (
    choose_device,
    describe_device,
    make_method,
    moves,
    on_device,
)
from graphcl.train.folder import CheckpointFolder
from graphcl.train.log import RunLog, rewind, seed_records
from graphcl.train.loop import Trainer
from graphcl.train.processes import Processes
from graphcl.train.seeds import seed_everything
from graphcl.train.sinks.contract import Sink, Sinks


def run(
    specification: RunSpecification,
    folder: RunFolder,
    display: ProgressDisplay,
    *,
    resume: bool = False,
    data_root: Path | None = None,
    save_embeddings: bool = False,
    checkpoint_seconds: float = 10.0,
    tracking: Tracking | None = None,
    processes: Processes | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Run all seeds of `specification` in `folder` and return what `result.json` holds.

    Several `processes` train each seed together where the method divides its batches, and
    divide the seeds otherwise; they compute on the CPU. `tracking` is told of every seed. `device`
    is a word of `graphcl.train.device.KINDS`.

    Raises:
        GraphclError: anything a user can cause; finished seeds and checkpoints are kept.
    """
    processes = processes or Processes()
    if resume:
        # Seeds that are there already stay part of the run.
        stored = processes.from_first(folder.stored_seeds)
        seeds = dict.fromkeys([*stored, *specification.seeds])
        specification = replace(specification, seeds=tuple(seeds))
    # Data first: a mistake there must not leave a run folder behind.
    split = specification.load(specification.seeds[0], data_root)
    stays = resume and folder.begun_on(specification.seeds) == "cpu"
    if device == "auto" and (stays or processes.count > 1 or not moves(split)):
        device = "cpu"
    place = choose_device(device)
    if processes.count > 1 and place.type != "cpu":
        raise ConfigError(f"several processes train on the CPU alone (got the device '{device}')")
    if place.type != "cpu":
        display.tell_device(describe_device(place))
    if place.type == "cuda":
        torch.cuda.set_device(place)
    with folder.locked() if processes.first else nullcontext():
        return _run_seeds(
            specification, split, folder, display,
            resume=resume, data_root=data_root, save_embeddings=save_embeddings,
            checkpoint_seconds=checkpoint_seconds, tracking=tracking or Tracking(),
            processes=processes, device=place,
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
    tracking: Tracking,
    processes: Processes,
    device: torch.device,
) -> dict[str, Any]:
    part = processes.from_first(
        lambda: {
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": command_line(),
            "threads": threads(),
            "processes": processes.count,
            "device": describe_device(device),
            "versions": versions(),
        }
    )
    seeds, metric = specification.seeds, specification.task.metric
    described = specification.as_dict()
    if resume:
        stored = processes.from_first(folder.stored)
        described = as_begun(described, stored, specification.default_settings())
    fingerprints = {
        seed: fingerprint_of({**described, "seeds": seed, "dataset": split.dataset})
        for seed in seeds
    }
    records = processes.from_first(
        lambda: _open(specification, described, folder, fingerprints, resume)
    )
    if seeds[0] in records and save_embeddings:
        raise ConfigError(
            "--embeddings saves the first seed's, which is finished; give another --out"
        )
    for seed, record in records.items():
        display.finish_seed(seed, metric, record["metrics"][metric], record["seconds"])
    if records.keys() == set(seeds):
        complete = processes.from_first(lambda: complete_result(folder, records, seeds))
        if complete is not None:
            display.tell_complete(folder.path)
            return complete
    team, own = processes, [seed for seed in seeds if seed not in records]
    if not specification.method_class.divides_batches:
        if 0 < len(own) < processes.count:
            display.tell_idle(specification.method, processes.count - len(own), processes.count)
        team, own = Processes(), own[processes.rank :: processes.count]
    for seed in own:
        if seed != seeds[0]:
            split = specification.load(seed, data_root)
        record = _run_seed(
            specification, split, seed, folder, display,
            fingerprint=fingerprints[seed], resume=resume, checkpoint_seconds=checkpoint_seconds,
            snapshot=seed == seeds[0], save_embeddings=save_embeddings and seed == seeds[0],
            tracking=tracking, team=team, data_root=data_root, part=part, device=device,
        )  # fmt: skip
        records[seed] = record
        display.finish_seed(seed, metric, record["metrics"][metric], record["seconds"])
    for own_records in processes.gather(records):
        for seed in own_records.keys() - records.keys():
            records[seed] = record = own_records[seed]
            display.finish_seed(seed, metric, record["metrics"][metric], record["seconds"])
    _check_names(specification, folder, records)
    result = result_of(specification, split, [records[seed] for seed in seeds], part)
    if processes.first:
        write_json(folder.result, result)
    return result


def _open(
    specification: RunSpecification,
    described: dict[str, Any],
    folder: RunFolder,
    fingerprints: Mapping[int, str],
    resume: bool,
) -> dict[int, dict[str, Any]]:
    """Start the run, or take it up where it was; the records of the seeds that are finished."""
    folder.open(described, resume)
    if not resume:
        return {}
    records = {}
    for seed, fingerprint in fingerprints.items():
        record = folder.finished_seed(seed, fingerprint)
        if record:
            records[seed] = record
        else:
            # Before anybody writes: seeds that are divided among processes share the log.
            checkpoint = folder.checkpoints(seed).load_last(
                fingerprint, seed=seed, epochs=specification.settings.epochs
            )
            rewind(folder.log, seed, _epoch(checkpoint))
    _check_names(specification, folder, records)
    return records


def _check_names(
    specification: RunSpecification, folder: RunFolder, records: Mapping[int, Mapping[str, Any]]
) -> None:
    """Refuse the record of a seed that lacks a number of the task or of the other seeds."""
    found = {seed: set(_names(record)) for seed, record in records.items()}
    wanted = {f"metrics {specification.task.metric}"}.union(*found.values())
    for seed, names in found.items():
        missing = [
            f"baselines {name}"
            for name in baselines_of(specification)
            if name not in records[seed]["baselines"]
        ]
        missing += sorted(wanted - names)
        if missing:
            raise folder.damaged_record(seed, f"it is without {missing[0]}")


def _names(record: Mapping[str, Any]) -> Iterator[str]:
    baselines = {f"baselines {name}": found for name, found in record["baselines"].items()}
    for what, numbers in {**record, **baselines}.items():
        if what in ("metrics", "validation", *baselines):
            yield from (f"{what} {name}" for name in numbers)


def _epoch(checkpoint: Checkpoint | None) -> int:
    return checkpoint.state["progress"]["epoch"] if checkpoint else 0


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
    tracking: Tracking,
    team: Processes,
    data_root: Path | None,
    part: Mapping[str, Any],
    device: torch.device,
) -> dict[str, Any]:
    """Train and test one seed, with everything that the run keeps of it."""
    clock, seconds_before = time.perf_counter(), 0.0
    forget_peak_device_memory(device)
    generator = seed_everything(seed, device)
    split = on_device(split, device)
    method = make_method(
        specification.method_class, specification.settings, specification.task, split
    )
    record: dict[str, Any] = {
        "seed": seed, "fingerprint": fingerprint,
        "epochs": 0, "best_epoch": None, "validation": {}, "parts": [part],
    }  # fmt: skip
    checkpoints, checkpoint = folder.checkpoints(seed), None
    if resume and method.trainable:
        checkpoint = team.from_first(
            lambda: checkpoints.load_last(
                fingerprint, seed=seed, epochs=specification.settings.epochs
            )
        )
    before = checkpoint.state["progress"] if checkpoint else {}
    seconds_before = before.get("seconds", 0.0)
    opening = time.perf_counter()
    with _sinks(
        specification, split, seed, folder, display, before, tracking, team, part["device"]
    ) as log:
        clock += time.perf_counter() - opening  # a service's own time is not the training's
        if method.trainable:
            trainer = Trainer(
                method, specification.task, split,
                seed=seed, generator=generator, folder=checkpoints, log=log,
                fingerprint=fingerprint,
                checkpoint_seconds=checkpoint_seconds, processes=team, part=part,
            )  # fmt: skip
            if checkpoint:
                trainer.resume(checkpoint)
            progress = trainer.fit()
            record |= {
                "epochs": progress.epoch,
                "best_epoch": progress.best_epoch,
                "validation": progress.best_metrics,
                "parts": trainer.parts,
            }
        method.eval()
        # The others wait here while the first process tests.
        record["metrics"] = team.from_first(lambda: specification.task.test(method, split))
        log.write({"seed": seed, "epoch": record["epochs"], "test": record["metrics"]})
    record["parameters"] = sum(parameter.numel() for parameter in method.parameters())
    record["seconds"] = round(seconds_before + time.perf_counter() - clock, 2)
    record["peak_device_memory_bytes"] = peak_device_memory_bytes(device)
    if team.first:
        if snapshot:
            folder.write_snapshot(specification.task.snapshot(method, split))
        if save_embeddings:
            folder.write_embeddings(method.embed(split.train).numpy(force=True))
        record["baselines"] = {
            name: _run_baseline(
                name, specification, specification.load(seed, data_root), seed, device
            )
            for name in baselines_of(specification)
        }
        record["peak_memory_bytes"] = peak_memory_bytes()
        folder.finish_seed(seed, record)
    return team.from_first(lambda: record)


def _sinks(
    specification: RunSpecification,
    split: Split,
    seed: int,
    folder: RunFolder,
    display: ProgressDisplay,
    before: Mapping[str, Any],
    tracking: Tracking,
    team: Processes,
    device: str,
) -> Sink:
    """Where the records of a seed go: the log first, for it must not miss any."""
    if not team.first:
        return Sink()
    log = RunLog(folder.log)
    services = tracking.seed(tracked_run(specification, split, seed, folder.path, device=device))
    if before and services:
        for record in seed_records(folder.log, seed):
            Sinks(*services).write(record)
    epochs, metric = specification.settings.epochs, specification.task.metric
    return Sinks(log, *services, display.seed(seed, epochs, metric, before))


def _run_baseline(
    name: str, specification: RunSpecification, split: Split, seed: int, device: torch.device
) -> Metrics:
    generator = seed_everything(seed, device)
    split = on_device(split, device)
    baseline_class = load_class("method", name, method_table())
    method = make_method(baseline_class, baseline_class.Config(), specification.task, split)
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
