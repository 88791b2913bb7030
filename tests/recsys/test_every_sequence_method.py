"""Every sequence method of the table, run as a person runs it; a new line is tested as it is."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from graphcl.app.catalogue import load_class
from graphcl.app.main import main
from graphcl.errors import MissingDataError
from graphcl.train.seeds import seed_everything
from recsys.data import from_ids, load_interactions
from recsys.methods import METHODS
from recsys.methods.sequential import SequentialRecommender

NAMES = [
    name
    for name in METHODS
    if issubclass(load_class("method", name, METHODS), SequentialRecommender)
]
everyone = pytest.mark.parametrize("name", NAMES)
SMALL = {"dimension": 8, "layers": 1, "max_length": 6, "batch_size": 64}


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["graphcl", "run", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code


def settings(**chosen: object) -> list[str]:
    return [part for key, value in chosen.items() for part in ("--set", f"{key}={value}")]


def test_they_are_all_there() -> None:
    assert set(NAMES) == {
        "sasrec", "gru4rec", "bert4rec", "cl4srec", "coserec",
        "duorec", "iclrec", "icsrec", "mclrec", "sracl",
    }  # fmt: skip


@everyone
def test_stops_early_by_validation_but_not_before_the_minimum(
    name: str, tiny_log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With steps too small to change a rank, nothing is better than the first evaluation."""
    frozen = {"learning_rate": 1e-12, "evaluate_every": 1, "patience": 1}
    chosen = settings(**SMALL, **frozen, epochs=6, minimum_epochs=3)
    run(monkeypatch, name, tiny_log, *chosen, "--out", tmp_path / "run")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["epochs"] == [3]
    assert result["best_epoch"] == [1]
    assert result["select"] == "ndcg@10"
    assert result["protocol"]["selection"] == "validation ndcg@10"
    assert {"hit@5", "ndcg@20", "mrr@10", "recall@10", "coverage@20"} <= result["metrics"].keys()
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    seen = [line["validation"]["ndcg@10"] for line in lines if "validation" in line]
    assert seen == [result["validation"]["ndcg@10"]["mean"]] * 3
    assert ["test" in line for line in lines] == [False] * (len(lines) - 1) + [True]


@everyone
def test_one_user_is_no_mistake(name: str) -> None:
    method_class = load_class("method", name, METHODS)
    log = from_ids([0] * 9, [1, 2, 3, 2, 1, 5, 6, 7, 8])
    method = method_class(method_class.Config(**SMALL), log)
    generator = seed_everything(0)
    method.epoch_start(1, generator)
    for batch in method.batches(generator):
        parts = method.loss(batch, generator)
        assert all(bool(torch.isfinite(value)) for value in parts.values()), parts
        parts["total"].backward()
    assert torch.isfinite(method.score(torch.tensor([0]), method.data)).all()


@pytest.mark.slow
@pytest.mark.real_data
@everyone
def test_runs_on_movielens(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        load_interactions("ml-100k")
    except MissingDataError as error:
        pytest.skip(str(error))
    chosen = settings(epochs=2, evaluate_every=1, minimum_epochs=0)
    run(monkeypatch, name, "ml-100k", *chosen, "--out", tmp_path / "run")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["metrics"]["ndcg@10"]["mean"] > 0.005
    assert result["protocol"]["users_tested"] == 943
