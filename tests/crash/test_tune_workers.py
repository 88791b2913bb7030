"""Two workers share a study and one is killed in a trial: none is lost, none counted twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest
import yaml

from graphcl.app.study import history, open_storage, resolve_storage

LONGEST = 240


def start(log: Path, out: Path, trials: int, epochs: int, storage: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            sys.executable, "-m", "graphcl", "tune", "lightgcn", str(log), "--out", str(out),
            "--trials", str(trials), "--set", f"epochs={epochs}", "--set", "evaluate_every=10",
            "--set", "patience=0", "--set", "batch_size=64", "--heartbeat", "1",
            "--study", "shared", "--storage", storage,
        ],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def load(storage: str, out: Path) -> optuna.Study:
    return optuna.load_study(
        study_name="shared", storage=open_storage(resolve_storage(storage, out), 30)
    )


def running_trial(storage: str, out: Path, process: subprocess.Popen[bytes]) -> int | None:
    """The trial that `process` is in the middle of: it has looked at the validation split."""
    try:
        trials = load(storage, out).trials
    except Exception:  # the study is just being made
        return None
    for trial in trials:
        own = trial.user_attrs.get("worker", "").endswith(f":{process.pid}")
        if own and trial.state.name == "RUNNING" and trial.intermediate_values:
            return trial.number
    return None


def two_workers(log: Path, out: Path, trials: int, epochs: int, storage: str) -> None:
    out.mkdir()
    first, second = (start(log, out, trials, epochs, storage) for _ in range(2))
    deadline = time.monotonic() + LONGEST
    killed = None
    while killed is None:
        assert time.monotonic() < deadline
        assert first.poll() is None, first.communicate()[0].decode()
        killed = running_trial(storage, out, first)
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.wait()
    printed = second.communicate(timeout=LONGEST)[0].decode()
    assert second.returncode == 0, printed

    found = load(storage, out).trials
    states = Counter(trial.state.name for trial in found)
    assert states["COMPLETE"] + states["PRUNED"] == trials, states
    assert states["RUNNING"] == states["WAITING"] == 0
    # The killed trial was tried again, with the same settings, once.
    assert found[killed].state.name == "FAIL"
    again = [trial for trial in found if history(trial)[:1] == [killed]]
    assert [trial.state.name for trial in again if trial.state.name != "FAIL"] in (
        ["COMPLETE"], ["PRUNED"],
    )  # fmt: skip
    assert all(trial.params == found[killed].params for trial in again)
    best = yaml.safe_load((out / "best.yaml").read_text())["tuned"]
    assert sum(best["trials"].values()) == trials
    assert (out / "best" / "result.json").exists()
    assert not (out / "trials").exists()


def test_one_of_two_workers_is_killed(tiny_log, tmp_path):
    two_workers(tiny_log, tmp_path / "out", 5, 60, str(tmp_path / "study.db"))


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["db", "journal"])
def test_twenty_trials_of_two_workers_one_of_which_is_killed(ending, tiny_log, tmp_path):
    two_workers(tiny_log, tmp_path / "out", 20, 100, str(tmp_path / f"study.{ending}"))
