"""Sinks: what each service is told, read back from what it stored or from a stand-in."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from graphcl.app.catalogue import load_class
from graphcl.train.log import RunLog, seed_records
from graphcl.train.sinks import SINKS, Sink, Sinks, TrackedRun, scalars
from graphcl.train.sinks.contract import Guarded

RECORDS = [
    {"seed": 0, "epoch": 1, "loss": {"total": 2.0, "bpr": 1.5}, "seconds": 0.1},
    {"seed": 0, "epoch": 2, "loss": {"total": 1.0, "bpr": 0.5}, "seconds": 0.1},
    {"seed": 0, "epoch": 2, "validation": {"recall@20": 0.25}, "best": True},
    {"seed": 0, "epoch": 3, "loss": {"total": 0.5, "bpr": 0.25}, "seconds": 0.1},
    {"seed": 0, "epoch": 3, "stopped": "epochs"},
    {"seed": 0, "epoch": 3, "test": {"recall@20": 0.125}},
]

CURVES = {
    "loss/total": [(1, 2.0), (2, 1.0), (3, 0.5)],
    "loss/bpr": [(1, 1.5), (2, 0.5), (3, 0.25)],
    "validation/recall_at_20": [(2, 0.25)],
    "test/recall_at_20": [(3, 0.125)],
    "seconds": [(1, 0.1), (2, 0.1), (3, 0.1)],
}

PARAMETERS = {
    "method": "lightgcn",
    "settings.epochs": 3,
    "settings.learning_rate": 0.01,
    "settings.feed_forward": None,
    "dataset.hash": "0123",
}


def tracked(folder: Path) -> TrackedRun:
    return TrackedRun("seed-0", "lightgcn on log seed 0", "run", folder, PARAMETERS)


def sink(name: str, folder: Path) -> Sink:
    return load_class("sink", name, SINKS)(tracked(folder))


def told(name: str, folder: Path, upto: int = len(RECORDS)) -> None:
    """One sink that gets the first records and ends well."""
    with sink(name, folder) as one:
        for record in RECORDS[:upto]:
            one.write(record)


def approximate(curves: dict[str, list[tuple[int, float]]]) -> dict[str, Any]:
    return {name: [(step, pytest.approx(value)) for step, value in curves[name]] for name in curves}


def test_scalars_have_names_that_every_service_takes():
    assert scalars(RECORDS[2]) == {"validation/recall_at_20": 0.25}
    assert scalars(RECORDS[4]) == {}


def test_the_log_gives_a_seed_its_records_back(tmp_path):
    assert seed_records(tmp_path / "log.jsonl", 0) == []
    with RunLog(tmp_path / "log.jsonl") as log:
        for record in RECORDS:
            log.write(record)
            log.write({**record, "seed": 1})
    assert seed_records(tmp_path / "log.jsonl", 0) == RECORDS


class Failing(Sink):
    """Fails at the second record."""

    def __init__(self) -> None:
        self.written = 0
        self.closed: bool | None = None

    def write(self, record):
        self.written += 1
        if self.written == 2:
            raise ConnectionError("the server went away\nwith a long story")

    def close(self, failed):
        self.closed = failed


def test_a_service_that_fails_is_told_once_and_gets_no_more(tmp_path):
    failing, reasons = Failing(), []
    with Sinks(RunLog(tmp_path / "log.jsonl"), Guarded(lambda: failing, reasons.append)) as log:
        for record in RECORDS:
            log.write(record)
    assert [type(reason) for reason in reasons] == [ConnectionError]
    assert failing.written == 2
    assert failing.closed is None
    assert seed_records(tmp_path / "log.jsonl", 0) == RECORDS


def test_a_service_that_cannot_be_opened_is_no_error():
    def refuse() -> Sink:
        raise OSError("no such host")

    reasons: list[Exception] = []
    guarded = Guarded(refuse, reasons.append)
    guarded.write(RECORDS[0])
    guarded.close(False)
    assert len(reasons) == 1


def test_a_person_can_stop_a_service_that_hangs():
    class Hanging(Sink):
        def write(self, record):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Guarded(Hanging, lambda error: None).write(RECORDS[0])


def test_all_sinks_are_closed_and_learn_how_it_ended():
    first, last = Failing(), Failing()

    class Breaking(Sink):
        def close(self, failed):
            raise OSError("cannot close")

    def stop() -> None:
        with Sinks(first, Breaking(), last):
            raise ValueError

    with pytest.raises(OSError, match="cannot close"):
        stop()
    assert first.closed is last.closed is True


# --- TensorBoard ---


def tensorboard_curves(folder: Path) -> tuple[Any, dict[str, list[tuple[int, float]]]]:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    ).EventAccumulator(str(folder / "tensorboard" / "seed-0"), {"scalars": 0, "tensors": 0})
    accumulator.Reload()
    curves = {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)]
        for tag in accumulator.Tags()["scalars"]
    }
    return accumulator, curves


def test_tensorboard_holds_curves_parameters_and_the_hparams_row(tmp_path):
    pytest.importorskip("tensorboard")
    told("tensorboard", tmp_path)
    accumulator, curves = tensorboard_curves(tmp_path)
    assert curves == approximate(CURVES)
    text = accumulator.Tensors("parameters/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| settings.learning_rate | 0.01 |" in text
    assert "| settings.feed_forward | None |" in text
    summaries = accumulator.SummaryMetadata("_hparams_/session_start_info")
    assert b"settings.epochs" in summaries.plugin_data.content


def test_tensorboard_of_a_killed_and_resumed_seed_has_every_epoch_once(tmp_path):
    pytest.importorskip("tensorboard")
    killed = sink("tensorboard", tmp_path)
    for record in RECORDS[:4]:
        killed.write(record)
    killed._writer.flush()
    told("tensorboard", tmp_path)
    assert len(list((tmp_path / "tensorboard" / "seed-0").iterdir())) == 2
    assert tensorboard_curves(tmp_path)[1] == approximate(CURVES)


# --- MLflow ---


class FakeMlflow(ModuleType):
    """As much of MLflow as we call, with the rules that real servers have."""

    def __init__(self) -> None:
        super().__init__("mlflow")
        self.runs: dict[str, SimpleNamespace] = {}
        self.uris: list[str | None] = []
        self.artifacts: list[str | None] = []
        self.MlflowClient = self._client
        self.entities = ModuleType("mlflow.entities")
        self.entities.Metric = lambda key, value, timestamp, step: SimpleNamespace(
            key=key, value=value, timestamp=timestamp, step=step
        )
        self.entities.Param = lambda key, value: SimpleNamespace(key=key, value=value)

    def _client(self, tracking_uri: str | None = None) -> FakeMlflow:
        self.uris.append(tracking_uri)
        return self

    def search_experiments(self, max_results):
        Path(self.uris[-1].removeprefix("sqlite:///")).write_text("tables")

    def get_experiment_by_name(self, name):
        return None

    def create_experiment(self, name, artifact_location=None):
        self.artifacts.append(artifact_location)
        return name

    def create_run(self, experiment_id, run_name, tags):
        identity = f"run-{len(self.runs)}"
        self.runs[identity] = SimpleNamespace(
            experiment=experiment_id, name=run_name, tags=dict(tags),
            parameters={}, metrics=[], status="RUNNING", requests=0,
        )  # fmt: skip
        return SimpleNamespace(info=SimpleNamespace(run_id=identity))

    def log_batch(self, run_id, metrics=(), params=()):
        run = self.runs[run_id]
        assert len(metrics) <= 1000
        assert all(len(param.value) <= 500 for param in params)
        run.requests += 1
        run.metrics += metrics
        run.parameters |= {param.key: param.value for param in params}

    def get_metric_history(self, run_id, key):
        return [metric for metric in self.runs[run_id].metrics if metric.key == key]

    def update_run(self, run_id, status):
        self.runs[run_id].status = status

    def set_tag(self, run_id, key, value):
        self.runs[run_id].tags[key] = value

    def set_terminated(self, run_id, status):
        self.runs[run_id].status = status

    def curves(self, run_id="run-0"):
        names = {metric.key for metric in self.runs[run_id].metrics}
        return {
            name: [(metric.step, metric.value) for metric in self.get_metric_history(run_id, name)]
            for name in names
        }


@pytest.fixture
def fake_mlflow(monkeypatch) -> FakeMlflow:
    fake = FakeMlflow()
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    monkeypatch.setitem(sys.modules, "mlflow.entities", fake.entities)
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(variable, raising=False)
    for variable in (
        "MLFLOW_DISABLE_TELEMETRY", "MLFLOW_HTTP_REQUEST_MAX_RETRIES",
        "MLFLOW_HTTP_REQUEST_TIMEOUT",
    ):  # fmt: skip
        monkeypatch.setenv(variable, "1")  # so that they are as before afterwards
    return fake


def test_mlflow_is_told_of_everything_and_keeps_it_in_the_run_folder(fake_mlflow, tmp_path):
    told("mlflow", tmp_path)
    assert fake_mlflow.uris[-1] == f"sqlite:///{tmp_path}/mlflow.db"
    assert (tmp_path / "mlflow.db").read_text() == "tables"
    assert not (tmp_path / "mlflow-unfinished.db").exists()
    assert fake_mlflow.artifacts == [(tmp_path / "mlflow").as_uri()]
    (run,) = fake_mlflow.runs.values()
    assert fake_mlflow.curves() == CURVES
    assert run.parameters == {key: str(value) for key, value in PARAMETERS.items()}
    assert (run.name, run.experiment) == ("lightgcn on log seed 0", "graphcl")
    assert (run.status, run.tags["stopped"]) == ("FINISHED", "epochs")
    assert run.requests == 2, "parameters, and all metrics of less than a second together"


def test_mlflow_goes_to_the_server_that_is_configured(fake_mlflow, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    told("mlflow", tmp_path)
    assert fake_mlflow.uris == [None], "MLflow reads the variable itself"
    assert fake_mlflow.artifacts == [None]
    assert fake_mlflow.runs["run-0"].experiment == "mine"


def test_mlflow_of_a_resumed_seed_is_one_run_without_doubled_steps(fake_mlflow, tmp_path):
    killed = sink("mlflow", tmp_path)
    for record in RECORDS[:4]:
        killed.write(record)
    killed._send()
    told("mlflow", tmp_path)
    assert list(fake_mlflow.runs) == ["run-0"]
    assert fake_mlflow.curves() == CURVES
    assert fake_mlflow.runs["run-0"].status == "FINISHED"


def test_mlflow_of_a_seed_that_an_error_ended_says_so(fake_mlflow, tmp_path):
    def diverge() -> None:
        with sink("mlflow", tmp_path) as one:
            one.write(RECORDS[0])
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        diverge()
    assert fake_mlflow.runs["run-0"].status == "FAILED"
    assert fake_mlflow.curves()["loss/total"] == [(1, 2.0)]


def test_mlflow_for_real(tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="mlflow is not installed (extra 'track')")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    from mlflow import MlflowClient

    killed = sink("mlflow", tmp_path)
    for record in RECORDS[:4]:
        killed.write(record)
    killed._send()
    told("mlflow", tmp_path)
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("graphcl").experiment_id
    (run,) = client.search_runs([experiment])
    assert (run.info.status, run.data.tags["stopped"]) == ("FINISHED", "epochs")
    assert run.data.params["settings.learning_rate"] == "0.01"
    curves = {
        name: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }
    assert curves == CURVES


# --- Weights & Biases ---


class FakeWandb(ModuleType):
    """As much of W&B as we call: steps that do not increase are ignored, as there."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.begun: list[dict[str, Any]] = []
        self.history: dict[str, dict[int, dict[str, float]]] = {}
        self.exits: list[int] = []
        self.summary: dict[str, Any] = {}
        self.step = 0

    @staticmethod
    def Settings(**settings):
        return settings

    def init(self, **arguments):
        self.begun.append(arguments)
        steps = self.history.setdefault(arguments["id"], {})
        self.step = max(steps) + 1 if steps and arguments["resume"] else 0
        return self

    def log(self, values, step):
        steps = self.history[self.begun[-1]["id"]]
        assert not steps or step >= max(steps), "W&B would warn"
        steps.setdefault(step, {}).update(values)

    def finish(self, exit_code):
        self.exits.append(exit_code)


@pytest.fixture
def fake_wandb(monkeypatch) -> FakeWandb:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    for variable in (
        "WANDB_MODE", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_PROJECT"
    ):  # fmt: skip
        monkeypatch.delenv(variable, raising=False)
    for variable in ("WANDB_ERROR_REPORTING", "WANDB_SILENT"):
        monkeypatch.setenv(variable, "1")
    return fake


BY_STEP = {
    1: {"loss/total": 2.0, "loss/bpr": 1.5, "seconds": 0.1},
    2: {"loss/total": 1.0, "loss/bpr": 0.5, "seconds": 0.1, "validation/recall_at_20": 0.25},
    3: {"loss/total": 0.5, "loss/bpr": 0.25, "seconds": 0.1, "test/recall_at_20": 0.125},
}


def test_wandb_is_offline_in_the_run_folder_unless_configured(fake_wandb, tmp_path):
    told("wandb", tmp_path)
    (begun,) = fake_wandb.begun
    assert (begun["mode"], begun["dir"], begun["project"]) == ("offline", str(tmp_path), "graphcl")
    assert begun["config"] == PARAMETERS
    assert begun["group"] == "run"
    assert fake_wandb.history == {begun["id"]: BY_STEP}
    assert fake_wandb.exits == [0]
    assert fake_wandb.summary == {"stopped": "epochs"}


@pytest.mark.parametrize(
    ("variable", "value"), [("WANDB_API_KEY", "0" * 40), ("WANDB_MODE", "online")]
)
def test_wandb_online_resumes_the_run_where_the_service_is(
    fake_wandb, tmp_path, monkeypatch, variable, value
):
    monkeypatch.setenv(variable, value)
    killed = sink("wandb", tmp_path)
    for record in RECORDS[:3]:
        killed.write(record)
    told("wandb", tmp_path)
    first, second = fake_wandb.begun
    assert first["mode"] is second["mode"] is None
    assert (first["resume"], second["resume"]) == (None, "allow")
    assert fake_wandb.history == {first["id"]: BY_STEP}


def test_wandb_offline_replaces_what_a_kill_left(fake_wandb, tmp_path):
    killed = sink("wandb", tmp_path)
    killed.write(RECORDS[0])
    old = fake_wandb.begun[0]["id"]
    folder = tmp_path / "wandb" / f"offline-run-20260101_000000-{old}"
    folder.mkdir(parents=True)
    told("wandb", tmp_path)
    new = fake_wandb.begun[1]["id"]
    assert new != old
    assert fake_wandb.history[new] == BY_STEP
    assert not folder.exists()


def test_wandb_for_real(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="wandb is not installed (extra 'track')")
    for variable in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    killed = sink("wandb", tmp_path)
    killed.write(RECORDS[0])
    killed._run.finish(exit_code=1)
    told("wandb", tmp_path)
    wandb.teardown()  # which waits, as the end of a process does, until all is written
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    history, parameters, exits = {}, {}, []
    for record in wandb_records(file):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            parameters |= {
                item.key: json.loads(item.value_json) for item in record.run.config.update
            }
        if kind == "history":
            values = {
                item.key or "/".join(item.nested_key): json.loads(item.value_json)
                for item in record.history.item
            }
            step = values["_step"]
            history[step] = {key: v for key, v in values.items() if not key.startswith("_")}
        if kind == "exit":
            exits.append(record.exit.exit_code)
    assert history == BY_STEP
    assert PARAMETERS.items() <= parameters.items()
    assert exits == [0]


def wandb_records(path: Path) -> Iterator[Any]:
    """The records of a `.wandb` file: LevelDB's log format, each a protocol buffer."""
    from wandb.proto import wandb_internal_pb2

    block, header = 32768, 7
    content, place, part = path.read_bytes(), 7, b""
    while place + header <= len(content):
        if block - place % block < header:
            place += block - place % block
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + header])
        part += content[place + header : place + header + length]
        place += header + length
        if kind in (1, 4):  # a whole record, or the end of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(part)
            part = b""
            yield record
