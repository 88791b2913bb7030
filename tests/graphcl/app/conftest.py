"""The command line as a function, and finished runs of a few methods, trained once a session."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from graphcl.app.folder import RunFolder
from graphcl.app.main import main
from graphcl.app.progress import ProgressDisplay
from graphcl.app.run import run
from graphcl.app.settings import specify


def train_run(method: str, dataset: Path, folder: Path, *settings: str, seeds: int = 1, **options):
    """Run `method` on `dataset` in `folder`, which is returned."""
    specification = specify(method, str(dataset), overrides=settings, seeds=seeds, **options)
    run(specification, RunFolder(folder), ProgressDisplay(Console(quiet=True), "test"))
    return folder


def write_odd_log(path: Path) -> Path:
    """Ids with spaces, commas and letters of any script, titles with marks, a low rating."""
    random = np.random.default_rng(0)
    rows = []
    for user in range(16):
        for time, item in enumerate(random.permutation(9)[:7]):
            rows.append(f'"user {user}","caf\u00e9, {item}",{3 + time % 3},{time}')
    rows.append('"user 3","\u65e5\u672c",1,9')
    rows += [f'"user {user}","\u65e5\u672c",5,9' for user in range(4, 9)]
    path.mkdir(parents=True)
    header = "user_id,item_id,rating,timestamp\n"
    (path / "ratings.csv").write_text(header + "\n".join(rows) + "\n", encoding="utf-8")
    titles = [f'"caf\u00e9, {item}","The [red] {item}: A/B, \u00bd"' for item in range(9)]
    (path / "movies.csv").write_text("item_id,title\n" + "\n".join(titles) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def refused():
    """Checks what a command that must refuse returned: exit code 2, one line with all the words."""

    def check(outcome, *words):
        code, _, text = outcome
        assert code == 2, text
        assert text.startswith("error: ")
        assert text.count("\n") == 1, text
        for word in words:
            assert word in text, text

    return check


@pytest.fixture
def command(monkeypatch, capsys):
    """Calls `graphcl ...`; returns exit code, output and error text."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["graphcl", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture(scope="session")
def train():
    """`train(method, dataset, folder, *settings)` trains and tests, and returns the folder."""
    return train_run


@pytest.fixture(scope="session")
def odd_log(tmp_path_factory) -> Path:
    """A folder with a log of 16 users and 10 items with unusual names."""
    return write_odd_log(tmp_path_factory.mktemp("odd") / "my logs")


@pytest.fixture(scope="session")
def named_graph(tmp_path_factory) -> Path:
    """A folder with a graph of 30 nodes that have names."""
    random = np.random.default_rng(1)
    folder = tmp_path_factory.mktemp("named") / "graph"
    folder.mkdir()
    names = [f"n\u00f8de {number}" for number in range(30)]
    edges = {tuple(sorted(random.choice(30, 2, replace=False))) for _ in range(90)}
    lines = [f"{names[a]},{names[b]}" for a, b in sorted(edges)]
    (folder / "edges.csv").write_text("source,target\n" + "\n".join(lines) + "\n")
    (folder / "nodes.csv").write_text("id\n" + "\n".join(names) + "\n")
    np.save(folder / "features.npy", random.random((30, 12)).astype(np.float32))
    (folder / "labels.csv").write_text("label\n" + "0\n1\n2\n" * 10)
    return folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory, odd_log, named_graph) -> dict[str, Path]:
    """Run folders by method; `bpr` has two seeds."""
    root = tmp_path_factory.mktemp("runs")
    quick = ("epochs=2", "evaluate_every=1")
    return {
        "bpr": train_run("bpr", odd_log, root / "bpr", *quick, "dimension=8", seeds=2),
        "sasrec": train_run(
            "sasrec", odd_log, root / "sasrec", *quick, "dimension=8", "max_length=5"
        ),
        "ease": train_run("ease", odd_log, root / "ease"),
        "grace": train_run("grace", named_graph, root / "grace", *quick, "dimension=8"),
        "raw-features": train_run("raw-features", named_graph, root / "raw"),
    }
