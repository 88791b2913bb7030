"""MLflow: a database in the run folder, or the server that `MLFLOW_TRACKING_URI` names.

Without that variable everything stays in `tracking/mlflow.db` (SQLite) of the run folder, and
`mlflow ui --backend-store-uri sqlite:///RUN/tracking/mlflow.db` shows it. The experiment is
`graphcl` unless `MLFLOW_EXPERIMENT_NAME` says otherwise. A resumed seed goes on in the same MLflow
run with the first epoch that is not there.

Metrics are sent once a second and at the end, since one SQLite transaction takes as long as an
epoch on a small graph. A server that does not answer is tried twice, ten seconds each, and usage
reports to MLflow's makers are off; MLflow's own variables change both.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, ClassVar

from graphcl.train.sinks.contract import Record, Sink, TrackedRun, scalars

DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}

SECONDS = 1.0
"""Between two transmissions."""

LONGEST_VALUE = 500
"""Characters of a parameter; old servers refuse more."""

MOST_METRICS = 1000
"""In one request."""


class MLflow(Sink):
    """Parameters, curves by epoch and the end state of a seed, as one MLflow run."""

    package: ClassVar[str] = "mlflow"

    def __init__(self, run: TrackedRun) -> None:
        for variable, value in DEFAULTS.items():
            os.environ.setdefault(variable, value)
        from mlflow import MlflowClient

        # Making a database tells of every table.
        for chatty in ("mlflow.store.db.utils", "alembic"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        local = not os.environ.get("MLFLOW_TRACKING_URI")
        with _alone_in(run.folder) if local else nullcontext():
            database = _database(run.folder) if local else None
            self._client = MlflowClient(tracking_uri=database)
            known = run.kept_id("mlflow")
            self._run_id = known or self._create(run, local)
        if known:
            self._client.update_run(known, status="RUNNING")
        else:
            run.keep_id("mlflow", self._run_id)
        self._resumed = known is not None
        self._last_step: dict[str, int] = {}
        self._waiting: list[Any] = []
        self._sent = time.monotonic()

    def write(self, record: Record) -> None:
        """One metric each; how the seed stopped is a tag."""
        from mlflow.entities import Metric

        now, step = int(time.time() * 1000), record["epoch"]
        for name, value in scalars(record).items():
            if step > self._step_before(name):
                self._waiting.append(Metric(name, value, now, step))
        if "stopped" in record:
            self._client.set_tag(self._run_id, "stopped", record["stopped"])
        if time.monotonic() - self._sent >= SECONDS:
            self._send()

    def close(self, failed: bool) -> None:
        """Send the rest and end the MLflow run."""
        self._send()
        self._client.set_terminated(self._run_id, "FAILED" if failed else "FINISHED")

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        for start in range(0, len(waiting), MOST_METRICS):
            self._client.log_batch(self._run_id, metrics=waiting[start : start + MOST_METRICS])
        self._sent = time.monotonic()

    def _create(self, run: TrackedRun, local: bool) -> str:
        from mlflow.entities import Param

        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "graphcl")
        # A local store would otherwise put its artifacts into the working folder.
        artifacts = (run.folder / "mlflow").resolve().as_uri() if local else None
        experiment = self._client.get_experiment_by_name(name)
        experiment_id = (
            experiment.experiment_id
            if experiment
            else self._client.create_experiment(name, artifact_location=artifacts)
        )
        created = self._client.create_run(
            experiment_id, run_name=run.name, tags={"group": run.group, "key": run.key}
        )
        identity: str = created.info.run_id
        parameters = [
            Param(name, str(value)[:LONGEST_VALUE]) for name, value in run.parameters.items()
        ]
        self._client.log_batch(identity, params=parameters)
        return identity

    def _step_before(self, name: str) -> int:
        """The last step of a metric that MLflow has from before the run was resumed."""
        if not self._resumed:
            return 0
        if name not in self._last_step:
            history = self._client.get_metric_history(self._run_id, name)
            self._last_step[name] = max((metric.step for metric in history), default=0)
        return self._last_step[name]


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold `folder`, made if need be: of two processes that make one database both would fail."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _database(folder: Path) -> str:
    """The address of the database in `folder`, made if need be.

    Making it takes seconds, and MLflow cannot use one whose making was killed: so it is made under
    another name.
    """
    from mlflow import MlflowClient

    path, unfinished = folder.resolve() / "mlflow.db", folder.resolve() / "mlflow-unfinished.db"
    if not path.exists():
        unfinished.unlink(missing_ok=True)
        MlflowClient(tracking_uri=f"sqlite:///{unfinished}").search_experiments(max_results=1)
        unfinished.replace(path)
    return f"sqlite:///{path}"
