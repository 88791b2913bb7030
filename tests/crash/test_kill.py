"""A run that is killed in the middle and resumed ends with the same bits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

SETTINGS = {
    "grace": ["--set", "epochs=40", "--set", "evaluate_every=5"],
    "lightgcn": ["--set", "epochs=40", "--set", "evaluate_every=5", "--set", "batch_size=64"],
}


def command(method: str, data: Path, out: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "graphcl", "run", method, str(data), "--out", str(out),
        "--checkpoint-seconds", "0", *SETTINGS[method], *more,
    ]  # fmt: skip


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def run(*arguments: str) -> None:
    subprocess.run(arguments, check=True, capture_output=True, env=environment())


def kill_after(lines: int, log: Path, *arguments: str) -> None:
    """SIGKILL the command once its log has that many lines."""
    process = subprocess.Popen(
        arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment()
    )
    deadline = time.monotonic() + 120
    while not (log.exists() and log.read_bytes().count(b"\n") >= lines):
        assert process.poll() is None, "finished before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()


def epochs_logged(log: Path) -> list[int]:
    records = [json.loads(line) for line in log.read_text().splitlines()]
    return [record["epoch"] for record in records if "loss" in record]


@pytest.mark.parametrize(
    ("method", "task"), [("grace", "node-classification"), ("lightgcn", "ranking")]
)
def test_killed_and_resumed_equals_uninterrupted(method, task, tiny_data, tmp_path):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    run(*command(method, tiny_data[task], straight))
    # Killed twice: early, and again after the first resume.
    log = broken / "log.jsonl"
    kill_after(4, log, *command(method, tiny_data[task], broken))
    assert not (broken / "result.json").exists()
    kill_after(25, log, *command(method, tiny_data[task], broken, "--resume"))
    run(*command(method, tiny_data[task], broken, "--resume"))

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
    assert epochs_logged(log) == epochs_logged(straight / "log.jsonl")
