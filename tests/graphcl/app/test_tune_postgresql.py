"""A study in a PostgreSQL server that the test starts, where one is installed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

DRIVERS = ("psycopg2", "psycopg", "pg8000")


def driver() -> str | None:
    return next((name for name in DRIVERS if importlib.util.find_spec(name)), None)


def binary(name: str) -> str | None:
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(debian[-1]) if debian else None)


@pytest.fixture
def server(tmp_path_factory):
    """The URL of an empty data base."""
    if binary("initdb") is None or binary("pg_ctl") is None:
        pytest.skip("PostgreSQL is not installed")
    if driver() is None:
        pytest.skip(f"no driver of PostgreSQL is installed ({', '.join(DRIVERS)})")
    # PostgreSQL refuses to run as root, and its owner must reach the folder.
    as_user = {"user": "postgres"} if os.geteuid() == 0 else {}
    folder = Path("/tmp") / f"graphcl-postgresql-{os.getpid()}"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = folder / "data"

    def call(*arguments: str) -> None:
        subprocess.run(arguments, check=True, capture_output=True, cwd="/", **as_user)

    try:
        call(binary("initdb"), "-D", str(data), "-U", "tuner", "-A", "trust", "--no-sync")
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        call(binary("pg_ctl"), "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w",
             "start")  # fmt: skip
        yield f"postgresql+{driver()}://tuner:unused@127.0.0.1:{port}/postgres"
        call(binary("pg_ctl"), "-D", str(data), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_two_workers_share_a_study_in_postgresql(server, tiny_log, tmp_path):
    def start(number: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                sys.executable, "-m", "graphcl", "tune", "lightgcn", str(tiny_log), "--no-test",
                "--storage", server, "--study", "shared", "--out", str(tmp_path / str(number)),
                "--trials", "8", "--set", "epochs=5", "--set", "evaluate_every=1",
            ],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    for worker in [start(0), start(1)]:
        printed = worker.communicate(timeout=120)[0].decode()
        assert worker.returncode == 0, printed
        assert "unused" not in printed, "the password was printed"
    trials = optuna.load_study(study_name="shared", storage=server).trials
    done = [trial for trial in trials if trial.state.name in ("COMPLETE", "PRUNED")]
    assert len(done) == 8
    assert len({trial.user_attrs["worker"] for trial in done}) == 2
    for number in (0, 1):
        text = (tmp_path / str(number) / "best.yaml").read_text()
        assert "unused" not in text
    assert (tmp_path / "0" / "best.yaml").exists()
