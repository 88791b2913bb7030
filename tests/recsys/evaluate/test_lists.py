"""What recommended lists are like, against loops; and the interval of a mean."""

import pytest
import torch

from recsys.data import Interactions
from recsys.evaluate.full_ranking import Holdout, evaluate_users, item_coverage, rank_users
from recsys.evaluate.lists import bootstrap_interval, coverage, popularity_percentile
from recsys.methods.contract import Recommender


class Noise(Recommender):
    """Random but fixed scores."""

    def score(self, users, history):
        table = torch.randn(20, 15, generator=torch.Generator().manual_seed(0))
        return table[users]


@pytest.fixture
def case():
    generator = torch.Generator().manual_seed(1)
    log = Interactions.from_indices(
        torch.arange(20).repeat_interleave(5),
        torch.cat([torch.randperm(15, generator=generator)[:5] for _ in range(20)]),
        num_items=15,
    )
    last = torch.arange(100) % 5 == 4
    return Noise(None, log), Holdout(log.select(~last), log.select(last))


@pytest.mark.parametrize("seen", ["mask", "keep"])
def test_one_pass_gives_metrics_and_lists(case, seen):
    method, holdout = case
    found = evaluate_users(method, holdout, (3,), mask_seen=seen, list_length=4)
    scores = method.score(torch.arange(20), None)
    expected = torch.zeros(15, dtype=torch.long)
    hits = []
    for user in range(20):
        row = scores[user].clone()
        if seen == "mask":
            row[holdout.history.history(user).long()] = -torch.inf
        expected[row.topk(4).indices] += 1
        target = holdout.targets.history(user).long()
        row[target] = scores[user, target]
        hits.append(float(target in row.topk(3).indices))
    assert torch.equal(found.recommended, expected)
    assert found.per_user["hit@3"].tolist() == hits
    assert found.means()["hit@3"] == pytest.approx(sum(hits) / 20)
    alone = rank_users(method, holdout, (3,), mask_seen=seen)
    assert all(torch.equal(alone[name], found.per_user[name]) for name in alone)
    assert item_coverage(method, holdout, 4, mask_seen=seen) == coverage(expected)


def test_popularity_percentile_is_the_mean_of_midranks():
    counts = torch.tensor([5, 1, 1, 9, 0, 1])
    recommended = torch.tensor([2, 1, 0, 3, 0, 0])
    ranks = [
        (sum(o < c for o in counts) + (sum(o == c for o in counts) - 1) / 2) / 5 for c in counts
    ]
    expected = sum(float(r) * n for r, n in zip(ranks, recommended.tolist(), strict=True)) / 6
    assert popularity_percentile(recommended, counts) == pytest.approx(expected)
    assert popularity_percentile(torch.ones(6), counts) == pytest.approx(0.5)
    assert popularity_percentile(torch.tensor([0, 0, 0, 7, 0, 0]), counts) == 1.0
    assert popularity_percentile(torch.zeros(6), counts) == 0.5


def test_bootstrap_interval_is_about_the_normal_one():
    values = (torch.rand(4000, generator=torch.Generator().manual_seed(0)) < 0.1).double()
    low, high = bootstrap_interval(values)
    mean, error = float(values.mean()), float(values.std() / 4000**0.5)
    assert low == pytest.approx(mean - 1.96 * error, abs=0.2 * error)
    assert high == pytest.approx(mean + 1.96 * error, abs=0.2 * error)
    assert bootstrap_interval(values) == (low, high)
    assert bootstrap_interval(torch.ones(5)) == (1.0, 1.0)
