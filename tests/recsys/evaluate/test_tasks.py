"""Both tasks on small logs with known answers, and on real data where it can be found."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from graphcl.errors import (
    ArgumentError,
    DataError,
    NonFiniteError,
    SealedError,
    UnknownNameError,
)
from graphcl.methods.contract import MethodConfig
from recsys.data import Interactions, from_ids, leave_one_out, load_interactions
from recsys.evaluate import TASKS
from recsys.evaluate.full_ranking import (
    Holdout,
    evaluate_users,
    item_coverage,
    mean_metrics,
    rank_users,
)
from recsys.evaluate.next_item import NextItem
from recsys.evaluate.ranking import Ranking
from recsys.methods.contract import Recommender
from recsys.methods.popularity import Popularity, PopularityConfig


class Fixed(Recommender):
    """Gives the same scores to everybody, and remembers what it was shown."""

    def __init__(self, data: Interactions, scores: torch.Tensor) -> None:
        super().__init__(MethodConfig(), data)
        self.scores, self.shown = scores, []

    def score(self, users: torch.Tensor, history: Interactions) -> torch.Tensor:
        self.shown.append((users, history, self.training))
        return self.scores.expand(len(users), -1)


class Vectors(Recommender):
    """Small integers, whose products are exact in any order."""

    def __init__(self, data: Interactions, hidden: bool) -> None:
        super().__init__(MethodConfig(), data)
        generator = torch.Generator().manual_seed(5)
        self.own, self.items = (
            torch.randint(-2, 3, (count, 3), generator=generator).float()
            for count in (data.num_users, data.num_items)
        )
        self.hidden, self.asked = hidden, 0

    def score(self, users: torch.Tensor, history: Interactions) -> torch.Tensor:
        self.asked += 1
        return self.own[users] @ self.items.T

    def vectors(
        self, users: torch.Tensor, history: Interactions
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        return None if self.hidden else (self.own[users], self.items)


@pytest.fixture
def sequences(tmp_path: Path) -> Path:
    path = tmp_path / "log.txt"
    path.write_text("1 1 2 3 4\n2 2 2 5 2\n3 1 5\n4 3 1 5\n")
    return path


def test_tables_name_the_tasks() -> None:
    assert TASKS[Ranking.name] == f"{Ranking.__module__}:Ranking"
    assert TASKS[NextItem.name] == f"{NextItem.__module__}:NextItem"


def test_next_item_histories_and_targets(sequences: Path) -> None:
    split = NextItem().load(str(sequences), None, 0)
    test = split.test.open()
    for holdout, histories, targets in (
        (split.validation, [[1, 2], [2, 2], [1, 5], [3]], [[3], [5], [], [1]]),
        (test, [[1, 2, 3], [2, 2, 5], [1, 5], [3, 1]], [[4], [2], [], [5]]),
    ):
        ids = split.train.item_ids
        for user in range(4):
            assert ids[holdout.history.history(user).numpy()].tolist() == histories[user]
            assert ids[holdout.targets.history(user).numpy()].tolist() == targets[user]
    with pytest.raises(SealedError):
        split.test.open()


def test_leave_one_out_last_epoch_trains_on_all_that_comes_before_the_same_test(
    sequences: Path,
) -> None:
    task = NextItem()
    chosen, last = (
        task.load(str(sequences), name, 0) for name in ("leave-one-out", "leave-one-out-last-epoch")
    )
    assert last.validation is None
    assert "last epoch" in last.protocol["selection"]
    one, other = chosen.test.open(), last.test.open()
    assert other.targets.content_hash() == one.targets.content_hash()
    assert last.train.content_hash() == other.history.content_hash() == one.history.content_hash()
    assert len(last.train) == len(chosen.train) + 3
    counted = ("users_tested", "users_without_target", "mask_seen")
    assert {key: last.protocol[key] for key in counted} == {
        key: chosen.protocol[key] for key in counted
    }


def test_next_item_masks_the_history_but_not_the_target(sequences: Path) -> None:
    task = NextItem()
    scores = torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0])  # items 1..5 in this order
    masked = task.load(str(sequences), "leave-one-out", 0)
    found = task.test(Fixed(masked.train, scores), masked)
    # User 1: 1 2 3 masked, so 4 is first. User 2: target 2 was seen and stays, behind 1.
    # User 4: 3 1 masked; 5 is behind 2 and 4.
    assert found["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    kept = task.load(str(sequences), "leave-one-out-keep-seen", 0)
    other = task.test(Fixed(kept.train, scores), kept)
    assert other["mrr"] == pytest.approx((1 / 4 + 1 / 2 + 1 / 5) / 3)
    # Each says what the other would have found: ranks 1, 2, 3 masked and 4, 2, 5 kept.
    gains = [(1 + 1 / math.log2(3) + 1 / 2) / 3, sum(1 / math.log2(1 + r) for r in (4, 2, 5)) / 3]
    assert [found["ndcg@10"], found["ndcg@10-keep-seen"]] == pytest.approx(gains)
    assert [other["ndcg@10-mask-seen"], other["ndcg@10"]] == pytest.approx(gains)
    assert found["hit@10-keep-seen"] == other["hit@10-mask-seen"] == 1
    assert masked.protocol["mask_seen"] != kept.protocol["mask_seen"]
    assert masked.protocol["users_tested"] == 3


def test_method_is_shown_no_target_and_is_put_back(sequences: Path) -> None:
    task = NextItem()
    split = task.load(str(sequences), None, 0)
    method = Fixed(split.train, torch.zeros(5)).train()
    task.validate(method, split)
    ((users, history, training),) = method.shown
    assert users.tolist() == [0, 1, 3]
    assert history.content_hash() == split.train.content_hash()
    assert not training
    assert method.training


@pytest.fixture
def rated(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    rows = [
        f"u{user},i{item},{generator.integers(1, 6)}"
        for user in range(12)
        for item in generator.choice(40, 25, replace=False)
    ]
    rows.append(rows[0])  # a repetition
    path = tmp_path / "rated.csv"
    path.write_text("\n".join(["user,item,rating", *rows]) + "\n")
    return path


def test_ranking_filters_masks_and_seals(rated: Path) -> None:
    task = Ranking()
    split = task.load(str(rated), None, seed=4)
    train, validation = split.train, split.validation.targets
    assert split.protocol["minimum_rating"] == 3.0
    log = load_interactions(rated)
    assert split.protocol["dropped_by_rating"] == int((log.ratings < 3).sum()) > 0
    assert float(train.ratings.min()) >= 3
    holdout = split.test.open()
    keys = torch.cat([part.pair_keys() for part in (train, validation, holdout.targets)])
    assert len(keys.unique()) == len(keys) == split.protocol["interactions"]
    known = torch.cat((train.pair_keys(), validation.pair_keys())).sort().values
    assert torch.equal(holdout.history.pair_keys(), known)
    assert split.dataset["interactions"] == 12 * 25 + 1
    dropped = split.protocol["dropped_by_rating"] + split.protocol["dropped_repetitions"]
    assert len(log) == dropped + split.protocol["interactions"]
    kept = log.where(3)
    assert split.protocol["dropped_repetitions"] == len(kept) - len(kept.unique()) == 1
    other = task.load(str(rated), None, seed=5)
    assert other.train.content_hash() != train.content_hash()
    assert other.dataset == split.dataset
    assert other.protocol == split.protocol


def test_an_oracle_is_perfect_and_the_test_opens_once(rated: Path) -> None:
    class Oracle(Recommender):
        """Knows the targets: scores them 1."""

        def score(self, users: torch.Tensor, history: Interactions) -> torch.Tensor:
            known = torch.zeros(self.data.num_users, self.data.num_items)
            known[self.data.edges()] = 1.0
            return known[users]

    task = Ranking()
    split = task.load(str(rated), None, seed=0)
    found = task.validate(Oracle(MethodConfig(), split.validation.targets), split)
    for name in ("recall@20", "ndcg@5", "hit@5", "mrr"):
        assert found[name] == pytest.approx(1.0)
    method = Popularity(PopularityConfig(), split.train)
    assert task.metric in task.test(method, split)
    with pytest.raises(SealedError):
        task.test(method, split)


def test_coverage_counts_recommended_items(sequences: Path) -> None:
    split = NextItem().load(str(sequences), None, 0)
    method = Fixed(split.train, torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0]))
    # Unmasked, everybody gets item 1. Masked: users 1, 2, 4 get 3, 1 and 1.
    assert item_coverage(method, split.validation, 1, mask_seen="none") == pytest.approx(1 / 5)
    assert item_coverage(method, split.validation, 1) == pytest.approx(2 / 5)


def test_blocks_of_users_agree(rated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split = Ranking().load(str(rated), None, seed=0)
    method = Popularity(PopularityConfig(), split.train)
    whole = rank_users(method, split.validation, (5, 10))
    monkeypatch.setattr("recsys.evaluate.full_ranking.CELLS", 90)  # two users a block
    parts = rank_users(method, split.validation, (5, 10))
    assert whole.keys() == parts.keys()
    for name in whole:
        assert torch.allclose(whole[name], parts[name], rtol=0, atol=1e-12)


def test_vectors_rank_as_their_products_do_and_no_scores_are_made(rated: Path) -> None:
    split = Ranking().load(str(rated), None, seed=0)
    by_vectors, by_scores = (Vectors(split.train, hidden) for hidden in (False, True))
    found, wanted = (
        evaluate_users(method, split.validation, (1, 5), list_length=4)
        for method in (by_vectors, by_scores)
    )
    assert by_vectors.asked == 0
    assert by_scores.asked > 0
    assert torch.equal(found.recommended, wanted.recommended)
    for name, values in wanted.per_user.items():
        assert torch.equal(found.per_user[name], values)
    by_vectors.items = by_vectors.items[1:]
    with pytest.raises(ArgumentError, match=r"vectors\(\) must give"):
        rank_users(by_vectors, split.validation, (1,))


def test_a_target_taken_twice_counts_once() -> None:
    log = from_ids(["a", "a", "a"], ["x", "y", "y"])
    holdout = Holdout(log.select(torch.tensor([True, False, False])), log)
    found = mean_metrics(rank_users(Fixed(log, torch.tensor([1.0, 0.0])), holdout, (2,)))
    assert found["recall@2"] == pytest.approx(1.0)
    assert found["precision@2"] == pytest.approx(1.0)


def test_refusals(tmp_path: Path, rated: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'leave-one-out'"):
        NextItem().load(str(rated), "leave-one", 0)
    short = tmp_path / "short.csv"
    short.write_text("user,item,rating\na,x,5\nb,y,4\nb,x,4\n")
    with pytest.raises(DataError, match="leaves no test items"):
        NextItem().load(str(short), None, 0)
    with pytest.raises(DataError, match="leaves no validation items"):
        Ranking().load(str(short), None, 0)
    low = tmp_path / "low.csv"
    low.write_text("user,item,rating\na,x,1\n")
    with pytest.raises(
        DataError, match=r"drops interactions rated below 3, .* all 1 of .*got ratings up to 1\)"
    ):
        Ranking().load(str(low), None, 0)
    log = from_ids(["a"] * 3, ["x", "y", "z"])
    parts = leave_one_out(log)
    holdout = Holdout(parts.train, parts.validation)
    with pytest.raises(ArgumentError, match=r"score\(\) must give \(1, 3\)"):
        rank_users(Fixed(log, torch.zeros(2)), holdout, (1,))
    with pytest.raises(NonFiniteError):
        rank_users(Fixed(log, torch.tensor([0.0, torch.nan, 0.0])), holdout, (1,))
    with pytest.raises(ArgumentError, match="mask_seen must be one of"):
        rank_users(Fixed(log, torch.zeros(3)), holdout, (1,), mask_seen="all")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="mask_seen must be one of"):
        rank_users(Fixed(log, torch.zeros(3)), holdout, (1,), mask_seen=["mask"])  # type: ignore[arg-type]
    for cutoffs in ((5.0,), ("5",), 5, 0, (True,), "", None):
        with pytest.raises(ArgumentError, match="cutoffs must be positive integers"):
            evaluate_users(Fixed(log, torch.zeros(3)), holdout, cutoffs)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"got 1 and 1 users, 2 and 3 items"):
        Holdout(from_ids(["a"] * 2, ["x", "y"]), log)
    with pytest.raises(DataError, match="no user of"):
        rank_users(
            Fixed(log, torch.zeros(3)),
            Holdout(log, log.select(torch.zeros(3, dtype=torch.bool))),
            (1,),
        )


def test_snapshot_shows_the_popular_items(sequences: Path) -> None:
    task = NextItem()
    split = task.load(str(sequences), None, 0)
    method = Popularity(PopularityConfig(), split.train)
    with pytest.raises(SealedError):
        task.snapshot(method, split)
    task.test(method, split)
    shown = task.snapshot(method, split)
    # Training counts of items 1..5 are 2, 3, 1, 0, 1; item 4 was never trained on.
    assert shown["label"].tolist() == ["2", "1", "3", "5"]
    assert shown["embedding"].tolist() == [[3.0], [2.0], [1.0], [1.0]]
    assert np.allclose(shown["colour"], np.log10([3, 2, 1, 1]))


@pytest.mark.parametrize("task", [Ranking(), NextItem()])
def test_snapshot_measures_users_against_what_they_took_next(task, tiny_log: Path) -> None:
    from recsys.methods.bpr import BPRMF

    split = task.load(str(tiny_log), None, 0)
    method = BPRMF(BPRMF.Config(dimension=4), split.train).eval()
    holdout = split.test.open()
    shown = task.snapshot(method, split)
    users, items = (
        torch.nn.functional.normalize(e.detach(), dim=1) for e in method.representations()
    )
    distances = [
        float((users[user] - items[item]).square().sum())
        for user in range(holdout.targets.num_users)
        for item in holdout.targets.history(user).long()
    ]
    assert shown["alignment"] == pytest.approx(np.mean(distances), rel=1e-4)
    assert shown["uniformity"] < 0
    assert len(shown["spectrum"]) == 4


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("task", "protocol", "metric", "low", "high"),
    [
        (NextItem(), "leave-one-out", "hit@10", 0.030, 0.050),
        (NextItem(), "leave-one-out-keep-seen", "hit@10", 0.012, 0.028),
        (Ranking(), "random-8-1-1", "recall@20", 0.11, 0.15),
    ],
)
def test_popularity_on_real_ratings(task, protocol, metric, low, high) -> None:
    root = os.environ.get("GRAPHCL_DATA")
    if not root:
        pytest.skip("set GRAPHCL_DATA to a data root with ml-latest-small")
    split = task.load("ml-latest-small", protocol, 0, Path(root))
    sizes = [split.dataset[name] for name in ("users", "items", "interactions")]
    assert sizes == [610, 9724, 100836]
    assert low < task.test(Popularity(PopularityConfig(), split.train), split)[metric] < high
