"""The command `graphcl tune`: what was typed becomes a worker, a `best.yaml` and one test."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from graphcl.app.folder import RunFolder, differences
from graphcl.app.progress import ProgressDisplay
from graphcl.app.run import run
from graphcl.app.search import search_space
from graphcl.app.settings import RunSpecification, as_begun, specify
from graphcl.app.study import resolve_storage
from graphcl.app.tables import print_comparison
from graphcl.app.tracking import Tracking
from graphcl.app.tune import TuneOptions, Tuner
from graphcl.config import parse_override
from graphcl.errors import ConfigError, OutputError
from graphcl.train.device import choose_device, describe_device
from graphcl.train.processes import joined, launched

TRIALS = 50
SHORTEST_WARMUP = 20
"""Epochs; contrastive losses begin to help ranking after fifteen to twenty."""


def tune(
    method: str,
    dataset: str,
    *,
    task: str | None = None,
    protocol: str | None = None,
    config: Path | None = None,
    overrides: Sequence[str] = (),
    search: Sequence[str] = (),
    trials: int | None = None,
    timeout: float | None = None,
    seeds: int = 1,
    study: str | None = None,
    storage: str | None = None,
    out: Path | None = None,
    warmup: int | None = None,
    sampler_seed: int = 0,
    heartbeat: int = 30,
    test: bool = True,
    services: Tracking | None = None,
    data_root: Path | None = None,
    columns: Mapping[str, str | None] | None = None,
    device: str = "auto",
) -> None:
    """Search, write `OUT/best.yaml`, and test the chosen settings once in `OUT/best`.

    Raises:
        GraphclError: anything a user can cause; finished trials are kept.
    """
    if launched() > 1:
        with joined():  # so that one of them says it
            raise ConfigError(
                "tune takes several workers on one study instead of torchrun: start the same "
                f"command several times (torchrun started {launched()} processes)"
            )
    specification = specify(
        method, dataset, task=task, protocol=protocol, config=config,
        overrides=overrides, seeds=seeds, columns=columns,
    )  # fmt: skip
    space = search_space(
        specification.method_class.Config,
        specification.settings.model_dump(),
        fixed=[parse_override(text)[0] for text in overrides],
        wanted=search,
    )
    name = study or f"{method}_{Path(dataset).stem}_{specification.task.name}"
    folder = out or Path("runs") / "tune" / name.replace(os.sep, "-")
    settings = specification.settings
    if trials is None and timeout is None:
        trials = TRIALS
    if warmup is None:
        warmup = max(SHORTEST_WARMUP, settings.minimum_epochs, settings.epochs // 3)
    options = TuneOptions(
        study=name, storage=resolve_storage(storage, folder), folder=folder, trials=trials,
        timeout=timeout, warmup=warmup, heartbeat=heartbeat, sampler_seed=sampler_seed,
    )  # fmt: skip
    console = Console()
    services = services or Tracking()
    place = choose_device(device)  # a mistake in it is told before anything is written
    if place.type == "cuda":
        torch.cuda.set_device(place)
        console.print(f"device: {describe_device(place)}", highlight=False, markup=False)
    tuner = Tuner(specification, space, options, console, data_root, services, place)
    if moved := tuner.moved():
        console.print(
            f"the first trial has {', '.join(moved)}: --search leaves the start out",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip
    complete = tuner.work()
    path = tuner.write_best()
    best, metric = tuner.best(), specification.task.metric
    if best is None or path is None:
        raise ConfigError(
            f"no trial of the study '{name}' ran to its end; "
            "more --trials, a longer --timeout or other --search ranges may help"
        )
    started_from = tuner.baseline_value()
    before = "" if started_from is None else f" (started from {started_from:.4f})"
    console.print(
        f"best: trial {best.number}, validation {metric} {best.value:.4f}{before}", highlight=False
    )
    console.print(f"config: {path}", highlight=False, soft_wrap=True)
    if not complete:
        console.print("time is up before all trials: the same command goes on", highlight=False)
    elif test:
        chosen = replace(specification, settings=best.settings, settings_file=path)
        _test_once(chosen, folder / "best", console, data_root, services, device)


def _test_once(
    chosen: RunSpecification,
    path: Path,
    console: Console,
    data_root: Path | None,
    services: Tracking,
    device: str,
) -> None:
    """Run the chosen settings in `path`, or show what they measured when they were run before.

    The settings in that folder are tested only once, and no others are tested beside them: a
    study that goes on after its test would otherwise choose among test numbers.
    """
    folder = RunFolder(path)
    display = ProgressDisplay(console, f"{chosen.method} on {Path(chosen.dataset).name}, best")
    started = path.is_dir() and any(path.iterdir())
    if started:
        _check_untouched(chosen, folder)
    try:
        run(
            chosen, folder, display,
            resume=started, data_root=data_root, tracking=services, device=device,
        )  # fmt: skip
    except OutputError:
        if not _is_locked(path):
            raise
        console.print(f"another worker tests the chosen settings in '{path}'", highlight=False)
        return
    print_comparison(console, [path])
    console.print(f"result: {folder.result}", highlight=False, soft_wrap=True)


def _check_untouched(chosen: RunSpecification, folder: RunFolder) -> None:
    begun = folder.stored()
    described = as_begun(chosen.as_dict(), begun, chosen.default_settings())
    changed = differences(begun.get("settings"), described["settings"])
    if begun.get("settings") is not None and changed:
        raise OutputError(
            f"the settings of an earlier trial of this study were tested in '{folder.path}', and a "
            f"test opens once (since then {'; '.join(changed)}); the new ones are in best.yaml, "
            "--no-test leaves it at that, and another --study and --out has a test of its own"
        )


def _is_locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
