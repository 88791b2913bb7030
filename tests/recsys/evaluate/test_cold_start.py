"""Warm and cold apart, against loops; and that a cold item is new."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from graphcl.errors import DataError, SealedError, UnknownNameError
from recsys.data import Interactions
from recsys.evaluate.cold_start import Among, ColdStart
from recsys.evaluate.full_ranking import device_of
from recsys.evaluate.ranking import Ranking
from recsys.methods.contract import Recommender
from recsys.methods.popularity import Popularity, PopularityConfig


class Noise(Recommender):
    """Random but fixed scores."""

    def score(self, users, history):
        shape = history.num_users, history.num_items
        return torch.randn(shape, generator=torch.Generator().manual_seed(0))[users]


def recall(row: torch.Tensor, targets: list[int], cutoff: int) -> float:
    top = row.topk(min(cutoff, len(row))).indices.tolist()
    return sum(t in top for t in targets) / len(targets)


@pytest.mark.parametrize("protocol", ["cold-items-0", "cold-items-1", "cold-users-1"])
def test_metrics_are_those_of_loops(tiny_log: Path, protocol: str) -> None:
    task = ColdStart()
    split = task.load(str(tiny_log), protocol, 0)
    method = Noise(None, split.train)
    held = split.validation
    found = task.validate(method, split)
    history, targets = held.history, held.targets
    scores = method.score(torch.arange(history.num_users), history)
    overall, apart = [], {"warm": [], "cold": []}
    for user in range(history.num_users):
        wanted = targets.history(user).tolist()
        if not wanted:
            continue
        row = scores[user].clone()
        row[history.history(user).long()] = -torch.inf
        overall.append(recall(row, wanted, 20))
        if held.side == "users":
            apart["cold" if held.cold[user] else "warm"].append(recall(row, wanted, 10))
            continue
        for name, chosen in (("warm", ~held.cold), ("cold", held.cold)):
            mine = [item for item in wanted if chosen[item]]
            if mine:
                apart[name].append(recall(row.masked_fill(~chosen, -torch.inf), mine, 10))
    assert found["recall@20"] == pytest.approx(sum(overall) / len(overall))
    for name, values in apart.items():
        assert values
        assert found[f"{name}-recall@10"] == pytest.approx(sum(values) / len(values))
    assert set(task.headline) <= {*found, "coverage@20"}
    assert split.protocol["cold_tested"] == int(split.test.open().cold.sum())


def test_cold_items_are_at_the_mercy_of_chance_for_popularity(tiny_log: Path) -> None:
    """Nothing tells items without interactions apart, so each is as likely as another."""
    split = ColdStart().load(str(tiny_log), "cold-items-0", 0)
    method = Popularity(PopularityConfig(), split.train)
    held = split.validation
    counts = split.train.item_counts()
    assert (counts[held.cold] == 0).all()
    found = ColdStart().validate(method, split)
    assert found["cold-recall@10"] == pytest.approx(min(1, 10 / int(held.cold.sum())))


def test_the_test_opens_once_and_shows_the_other_cold_ones(tiny_log: Path) -> None:
    task = ColdStart()
    split = task.load(str(tiny_log), None, 0)
    assert split.protocol["name"] == "cold-items-0"
    found = task.test(Popularity(PopularityConfig(), split.train), split)
    assert all(0 <= value <= 1 for value in found.values())
    with pytest.raises(SealedError):
        task.test(Popularity(PopularityConfig(), split.train), split)


def test_among_leaves_other_items_out() -> None:
    inner = Noise(None, None)
    items = torch.tensor([True, False, True])

    class History:
        num_users, num_items = 2, 3

    scores = Among(inner, items).score(torch.tensor([0, 1]), History)
    assert scores[:, 1].tolist() == [-torch.inf] * 2
    assert torch.equal(scores[:, [0, 2]], inner.score(torch.tensor([0, 1]), History)[:, [0, 2]])


def test_among_is_where_its_method_is() -> None:
    """A method without parameters is found by its buffers, and Among's own come first."""
    log = Interactions.from_indices(torch.tensor([0, 0]), torch.tensor([0, 1]))
    method = Popularity(PopularityConfig(), log).to("meta")
    assert device_of(Among(method, torch.tensor([True, False]))).type == "meta"


def test_protocols_of_a_published_split() -> None:
    task = Ranking()
    assert task.default_protocol("gowalla") == "lightgcn-split"
    assert task.default_protocol("tiktok") == "mmssl-split"
    assert task.default_protocol("ml-100k") == "random-8-1-1"
    assert task.default_protocol("my_log.csv") == "random-8-1-1"
    assert ColdStart().default_protocol("tiktok") == "cold-items-0"
    with pytest.raises(DataError, match=r"published with gowalla \(got 'ml-100k'\)"):
        task.load("ml-100k", "lightgcn-split", 0)
    with pytest.raises(UnknownNameError, match="cold-items"):
        ColdStart().load("ml-100k", "cold-items-2", 0)
