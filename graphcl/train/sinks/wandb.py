"""Weights & Biases: offline in the run folder, or its service when a key or mode is configured.

Offline unless `WANDB_API_KEY`, `WANDB_IDENTITY_TOKEN_FILE` or `WANDB_MODE` is set: nothing leaves
the machine, and `wandb sync RUN/tracking/wandb/offline-run-*` uploads it later. `WANDB_MODE=online`
is for who has used `wandb login`. The project is `graphcl` unless `WANDB_PROJECT` says otherwise.
System metrics, console output and error reports to the makers are off.

A resumed seed goes on in the same W&B run with the first epoch that the service does not have.
Offline nobody can be asked, and a killed process takes the last epochs with it: the seed begins
another offline run, of all its epochs, in the place of the unfinished one.
"""

from __future__ import annotations

import os
import shutil
import uuid
from typing import ClassVar

from graphcl.train.sinks.contract import Record, Sink, TrackedRun, scalars

CONFIGURED = ("WANDB_MODE", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")

INIT_SECONDS = 30
"""How long the start of a seed waits for a service that does not answer."""


class WandB(Sink):
    """Configuration, curves by epoch and the end state of a seed, as one W&B run."""

    package: ClassVar[str] = "wandb"

    def __init__(self, run: TrackedRun) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb

        run.folder.mkdir(parents=True, exist_ok=True)
        configured = any(os.environ.get(variable) for variable in CONFIGURED)
        offline = not configured or os.environ.get("WANDB_MODE") == "offline"
        known = run.kept_id("wandb")
        if offline and known:
            for unfinished in run.folder.glob(f"wandb/offline-run-*-{known}"):
                shutil.rmtree(unfinished)
            known = None
        identity = known or uuid.uuid4().hex[:12]
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "graphcl"),
            id=identity,
            resume="allow" if known else None,
            name=run.name,
            group=run.group,
            config=dict(run.parameters),
            dir=str(run.folder),
            mode=None if configured else "offline",
            settings=wandb.Settings(
                silent=True, console="off", x_disable_stats=True,
                disable_git=True, disable_code=True, init_timeout=INIT_SECONDS,
            ),
        )  # fmt: skip
        # The first step that the service does not have.
        self._first = self._run.step if known else 0
        if not known:
            run.keep_id("wandb", identity)

    def write(self, record: Record) -> None:
        """All numbers of an epoch are one step."""
        if record["epoch"] >= self._first:
            self._run.log(scalars(record), step=record["epoch"])
        if "stopped" in record:
            self._run.summary["stopped"] = record["stopped"]

    def close(self, failed: bool) -> None:
        """End the W&B run."""
        self._run.finish(exit_code=int(failed))
