"""Passwords of databases, which nothing that is written or printed may hold."""

from __future__ import annotations

import json
import time

import pytest

from graphcl.app.environment import command_line
from graphcl.app.passwords import command_without_password, without_password
from graphcl.app.study import resolve_storage
from graphcl.errors import ConfigError
from graphcl.report import read_run

SHOWN = {
    "postgresql+pg8000://anna:secret@host:5432/tune": "postgresql+pg8000://anna@host:5432/tune",
    "postgresql://anna:sec@ret/secret@host/tune": "postgresql://anna@host/tune",
    "postgresql://:secret@host/tune": "postgresql://@host/tune",
    "--storage=mysql://anna:secret@host/tune": "--storage=mysql://anna@host/tune",
    "postgresql://host/tune?user=a&password=secret": "postgresql://host/tune?user=a&password=***",
    "mysql://host/tune?passwd=secret&x=1": "mysql://host/tune?passwd=***&x=1",
    "mysql://host/tune?PWD=secret": "mysql://host/tune?PWD=***",
    "mysql://host/tune?passwd=a secret&x=1": "mysql://host/tune?passwd=***&x=1",
    "--storage=mysql://host/tune?passwd='a;secret": "--storage=mysql://host/tune?passwd=***",
    "postgresql://anna@server:secret@host/tune": "postgresql://anna@server@host/tune",
    "postgresql://anna o'b:secret@host/tune": "postgresql://anna o'b@host/tune",
    "mysql://host/tune?p%61ssword=secret": "mysql://host/tune?p%61ssword=***",
    "mssql://?odbc_connect=DRIVER%3Dx%3BPWD%3Dsecret": "mssql://?odbc_connect=***",
    "sqlite:////x.db?password=secret": "sqlite:////x.db?password=***",
    "no database 'mysql://anna:secret@host/x' here": "no database 'mysql://anna@host/x' here",
}


@pytest.mark.parametrize("typed", SHOWN)
def test_a_password_is_never_shown(typed):
    assert without_password(typed) == SHOWN[typed]
    assert without_password(SHOWN[typed]) == SHOWN[typed]


@pytest.mark.parametrize(
    "plain",
    [
        "sqlite:///a@b.db", "sqlite:////tmp/a:b@c/study.db", "postgresql://anna@host:5432/tune",
        "https://host:8080/path?page=2", "learning_rate=0.1", "runs/a:b@c", "views={a: 1}",
    ],
)  # fmt: skip
def test_everything_else_is_shown_as_it_is(plain):
    assert without_password(plain) == plain


def test_the_recorded_command_has_none(monkeypatch):
    for given in (["--storage", "mysql://a:secret@h/x"], ["--storage=mysql://h/x?passwd=secret"]):
        monkeypatch.setattr("sys.argv", ["/bin/graphcl", "tune", "bpr", "my log@x.csv", *given])
        assert "secret" not in command_line()
        assert command_line().startswith("graphcl tune bpr 'my log@x.csv' ")
    recorded = "graphcl tune 'a b' --storage 'mysql://a:secret@h/x' --set x@y"
    assert command_without_password(recorded) == (
        "graphcl tune 'a b' --storage mysql://a@h/x --set x@y"
    )
    assert command_without_password("it's mysql://a:secret@h") == "it's mysql://a@h"
    assert command_without_password('graphcl  run "a b"') == 'graphcl  run "a b"'


def test_an_unreadable_storage_is_told_without_it(tmp_path):
    with pytest.raises(ConfigError) as raised:
        resolve_storage("file.csv?password=secret", tmp_path)
    assert "secret" not in str(raised.value)


def test_nothing_of_a_study_holds_it(command, tiny_log, tmp_path):
    out = tmp_path / "out"
    storage = f"sqlite:///{tmp_path / 'study.db'}?password=secret"
    tune = [
        "tune", "bpr", tiny_log, "--out", out, "--trials", 1, f"--storage={storage}",
        "--set", "epochs=1", "--set", "evaluate_every=1",
    ]  # fmt: skip
    with pytest.warns(match="password"):  # SQLite has no use for one
        code, printed, error = command(*tune)
    assert code == 0, error
    # An export of what an older version recorded.
    path = out / "best" / "result.json"
    assert "tune" in json.loads(path.read_text())["command"]
    texts = [printed, error, *contents(out)]
    assert not any(b"secret" in text for text in texts[2:])
    assert "secret" not in printed + error
    result = json.loads(path.read_text())
    path.write_text(json.dumps({**result, "command": f"graphcl tune --storage {storage}"}))
    assert "secret" not in read_run(out / "best").result.command
    code, _, error = command("export", out / "best", "-o", tmp_path / "export", "--no-encoder")
    assert code == 0, error
    assert not any(b"secret" in text for text in contents(tmp_path / "export"))


def test_a_mistaken_argument_is_told_without_it(command, tiny_log, tmp_path):
    for arguments in (
        ["tune", "bpr", "log.csv", "mysql://anna:secret@host/x"],
        ["tune", "bpr", tiny_log, "--out", tmp_path, "--storage", "mysqx://anna:secret@host/x"],
        ["run", "bpr", "x", "mysql://host/x?passwd=secret"],
    ):
        code, printed, error = command(*arguments)
        assert code == 2
        assert "secret" not in printed + error
        assert "host/x" in error


def contents(folder):
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


def test_long_words_take_no_quadratic_time():
    began = time.perf_counter()
    assert without_password("x" * 100_000) == "x" * 100_000
    assert time.perf_counter() - began < 5
