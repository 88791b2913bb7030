"""Example recommendations: words for a person, stored without pickles, read back by the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from graphcl.methods.contract import MethodConfig
from recsys.data import Interactions, from_ids
from recsys.evaluate.examples import example_lists
from recsys.evaluate.full_ranking import Holdout
from recsys.evaluate.next_item import NextItem
from recsys.evaluate.ranking import Ranking
from recsys.methods.contract import Recommender
from recsys.methods.popularity import Popularity, PopularityConfig


class Fixed(Recommender):
    """Gives the same scores to everybody."""

    def __init__(self, data: Interactions, scores: list[float]) -> None:
        super().__init__(MethodConfig(), data)
        self.scores = torch.tensor(scores)

    def score(self, users: torch.Tensor, history: Interactions) -> torch.Tensor:
        return self.scores.expand(len(users), -1)


@pytest.fixture
def holdout() -> Holdout:
    users = ["Zoë"] * 4 + ["b c"] * 3 + ["d"] * 2
    items = ["i1", "i2", "i3", "i4", "i1", "i3", "i2", "i1", "i2"]
    log = from_ids(users, items)
    log = log.with_titles(np.array(["i1", "i2", "i3"]), np.array(["Amélie", "", "Heat, The"]))
    # Stored by sorted user: Zoë, b c, d.
    assert log.user_ids.tolist() == ["Zoë", "b c", "d"]
    targets = torch.zeros(len(log), dtype=torch.bool)
    targets[3] = targets[6] = True
    return Holdout(log.select(~targets), log.select(targets))


def test_lists_in_words(holdout: Holdout) -> None:
    found = example_lists(Fixed(holdout.history, [4.0, 3.0, 3.0, 1.0]), holdout)
    # The user who knows fewer items comes first; d has nothing held out.
    assert found["examples/user"].tolist() == ["b c", "Zoë"]
    history = found["examples/history"]
    assert history[0].tolist() == ["Amélie", "Heat, The", "", "", "", "", "", ""]
    assert history[1].tolist()[:4] == ["Amélie", "i2", "Heat, The", ""]
    # Known items are left out, equal scores stand in the order of the items.
    assert found["examples/recommended"][0].tolist()[:3] == ["i2", "i4", ""]
    assert found["examples/recommended"][1].tolist()[:2] == ["i4", ""]
    assert found["examples/hit"][:, :3].tolist() == [[True, False, False], [True, False, False]]
    assert found["examples/held_out"][:, :2].tolist() == [["i2", ""], ["i4", ""]]
    kept = example_lists(Fixed(holdout.history, [4.0, 3.0, 3.0, 1.0]), holdout, "none")
    assert kept["examples/recommended"][1].tolist()[:5] == ["Amélie", "i2", "Heat, The", "i4", ""]
    assert kept["examples/hit"][1].tolist()[:4] == [False, False, False, True]


@pytest.mark.parametrize("task", [Ranking(), NextItem()])
def test_a_snapshot_holds_what_the_report_reads(task, tiny_log, tmp_path: Path) -> None:
    from graphcl.report.snapshot import read_snapshot

    split = task.load(str(tiny_log), None, 0)
    method = Popularity(PopularityConfig(), split.train).eval()
    task.test(method, split)
    path = tmp_path / "snapshot.npz"
    np.savez(path, **task.snapshot(method, split))
    examples = read_snapshot(path).examples
    assert len(examples) == 5
    holdout = split.test.opened()
    for example in examples:
        user = holdout.history.user_ids.tolist().index(example.user)
        known = [f"{holdout.history.item_ids[item]}" for item in holdout.history.history(user)]
        target = [f"{holdout.targets.item_ids[item]}" for item in holdout.targets.history(user)]
        assert list(example.history) == known[-8:]
        assert list(example.held_out) == target
        assert len(example.recommended) == len(example.hits) == 10
        assert not set(example.recommended) & set(known)
        assert list(example.hits) == [title in target for title in example.recommended]
