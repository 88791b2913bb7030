"""A run that is killed in the middle and resumed ends with the same bits."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from graphcl.errors import CheckpointError
from graphcl.train.checkpoint import load_checkpoint

SETTINGS = {
    "grace": ["--set", "epochs=40", "--set", "evaluate_every=5"],
    "lightgcn": ["--set", "epochs=40", "--set", "evaluate_every=5", "--set", "batch_size=64"],
}

Run = Callable[..., int]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Runs `graphcl ...` in a child of its own; returns its exit code, -9 when it was killed."""
    harness = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("harness.py"))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1",
             "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])},
    )  # fmt: skip

    def call(*arguments: Any, **moment: Any) -> int:
        assert harness.stdin is not None
        assert harness.stdout is not None
        request = {"arguments": [str(argument) for argument in arguments], **moment}
        harness.stdin.write(json.dumps(request) + "\n")
        harness.stdin.flush()
        return json.loads(harness.stdout.readline())["code"]

    yield call
    harness.kill()
    harness.wait()


def command(method: str, data: Path, out: Path, *more: str) -> list[Any]:
    resume = ["--resume"] if out.exists() else []
    return [
        "run", method, data, "--out", out, "--checkpoint-seconds", "0",
        *SETTINGS[method], *resume, *more,
    ]  # fmt: skip


def assert_same_run(straight: Path, broken: Path) -> None:
    """Weights, optimiser, random states, log and metrics are equal bit for bit."""
    for name in ("last", "best"):
        first, second = (
            load_file(folder / "checkpoints" / "seed-0" / f"{name}.safetensors")
            for folder in (straight, broken)
        )
        assert first.keys() == second.keys()
        for key in first:
            assert first[key].equal(second[key]), f"{name}: {key}"
    results = [json.loads((folder / "result.json").read_text()) for folder in (straight, broken)]
    assert results[0]["metrics"] == results[1]["metrics"]
    assert records(straight / "log.jsonl") == records(broken / "log.jsonl")
    assert not list(broken.rglob(".*")), "a temporary file stayed"


def records(log: Path) -> list[dict[str, Any]]:
    """All records, without the time that an epoch took."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def count_lines(log: Path) -> int:
    return log.read_bytes().count(b"\n") if log.exists() else 0


def loadable(run_folder: Path) -> bool:
    """Whether a full checkpoint is there; every one that is there must load."""
    folder = run_folder / "checkpoints" / "seed-0"
    present = [folder / f"{name}.safetensors" for name in ("last", "previous", "best")]
    present = [path for path in present if path.exists()]
    for path in present:
        load_checkpoint(path)
    return any(path.stem != "best" for path in present)


@pytest.mark.parametrize(
    ("method", "task"), [("grace", "node-classification"), ("lightgcn", "ranking")]
)
def test_killed_and_resumed_equals_uninterrupted(run, method, task, tiny_data, tmp_path):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    assert run(*command(method, tiny_data[task], straight)) == 0
    # Killed twice: early, and again after the first resume.
    log = broken / "log.jsonl"
    for lines in (4, 25):
        arguments = command(method, tiny_data[task], broken)
        assert run(*arguments, log=str(log), lines=lines) == -signal.SIGKILL
        assert not (broken / "result.json").exists()
    assert run(*command(method, tiny_data[task], broken)) == 0
    assert_same_run(straight, broken)
    result = json.loads((broken / "result.json").read_text())
    # The second stretch leaves no part where it was killed before its first save.
    resumes = ["--resume" in part["command"] for part in result["parts"]]
    assert resumes in ([False, True, True], [False, True])
    assert result["command"] == result["parts"][0]["command"]


def test_killed_at_every_step_of_a_save(run, tiny_log, tmp_path):
    """A save has nine steps, as it renames twice; the writes before are of other files."""
    killed_and_resumed(run, tiny_log, tmp_path, 9, lambda number: {"step": 26 + number})


def test_killed_at_twenty_random_moments(run, tiny_log, tmp_path):
    """Ten at steps of writes, ten by the clock, all of them of one run."""
    random = np.random.default_rng(0)
    log = tmp_path / "broken" / "log.jsonl"

    def moment(number: int) -> dict[str, Any]:
        if number % 2:
            return {"step": int(random.integers(20, 120))}
        return {"log": str(log), "lines": count_lines(log) + int(random.integers(1, 12))}

    long = ["--set", "epochs=400", "--set", "patience=0"]
    killed_and_resumed(run, tiny_log, tmp_path, 20, moment, *long)


@pytest.mark.parametrize("step", [3, 22, 24, 26, 28, 41, 63])
def test_full_disk_is_said_in_one_sentence_and_nothing_is_lost(run, step, tiny_log, tmp_path):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    errors = tmp_path / "errors"
    assert run(*command("lightgcn", tiny_log, straight)) == 0
    assert run(*command("lightgcn", tiny_log, broken), full=step, errors=str(errors)) == 2
    said = errors.read_text()
    assert "No space left on device" in said
    assert said.startswith("error: cannot write '")
    assert said.count("\n") == 1
    assert not list(broken.rglob(".*")), "half of a file stayed"
    kept = broken.exists() and loadable(broken)
    assert kept == ("the last good checkpoint is" in said)
    assert run(*command("lightgcn", tiny_log, broken)) == 0
    assert_same_run(straight, broken)


def loads(path: Path) -> bool:
    try:
        load_checkpoint(path)
    except CheckpointError:
        return False
    return True


@pytest.mark.parametrize("fate", ["step", "full"])
def test_a_damaged_last_never_costs_the_good_previous(run, fate, tiny_log, tmp_path):
    """Resumed from `previous`, and killed or out of space at every step of the next saves."""
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    assert run(*command("lightgcn", tiny_log, straight)) == 0
    arguments = command("lightgcn", tiny_log, killed)
    assert run(*arguments, log=str(killed / "log.jsonl"), lines=20) == -signal.SIGKILL
    for step in range(7, 18):
        broken = shutil.copytree(killed, tmp_path / f"broken-{step}")
        folder = broken / "checkpoints" / "seed-0"
        last, previous = (folder / f"{name}.safetensors" for name in ("last", "previous"))
        # A kill between its two renames leaves `previous` alone.
        last.write_bytes((last if last.exists() else previous).read_bytes()[:-1])
        errors = tmp_path / "errors"
        code = run(*command("lightgcn", tiny_log, broken), errors=str(errors), **{fate: step})
        assert code == (2 if fate == "full" else -signal.SIGKILL)
        assert loads(last) or loads(previous), f"step {step}"
        if fate == "full":
            named = errors.read_text().rpartition("the last good checkpoint is '")[2]
            assert loads(Path(named.partition("'")[0])), f"step {step}: {named}"
    assert run(*command("lightgcn", tiny_log, broken)) == 0
    assert_same_run(straight, broken)


def killed_and_resumed(
    run: Run,
    data: Path,
    folder: Path,
    times: int,
    moment: Callable[[int], dict[str, Any]],
    *settings: str,
) -> None:
    straight, broken = folder / "straight", folder / "broken"
    assert run(*command("lightgcn", data, straight, *settings)) == 0
    saved = False
    for number in range(times):
        arguments = command("lightgcn", data, broken, *settings)
        assert run(*arguments, **moment(number)) == -signal.SIGKILL, f"moment {number}"
        present = loadable(broken)
        assert present or not saved, f"moment {number} left no loadable checkpoint"
        saved = saved or present
    assert saved
    assert run(*command("lightgcn", data, broken, *settings)) == 0
    assert_same_run(straight, broken)
