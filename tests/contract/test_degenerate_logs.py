"""Every recommender of the table on logs that nobody hopes for: a defined answer or a named error.

Walks the table, so a new recommender is held to it without test code of its own.
"""

from __future__ import annotations

import pytest
import torch

from graphcl.app.catalogue import load_class, method_table
from graphcl.errors import ArgumentError, DataError, GraphclError
from recsys.data import Interactions, Labels, Numbers
from recsys.evaluate.full_ranking import Holdout, rank_users
from recsys.methods.contract import Recommender
from recsys.methods.sequential import SequentialRecommender

TABLE = method_table()
RECOMMENDERS = [
    name for name in TABLE if issubclass(load_class("method", name, TABLE), Recommender)
]
SEQUENTIAL = [
    name for name in RECOMMENDERS
    if issubclass(load_class("method", name, TABLE), SequentialRecommender)
]  # fmt: skip
USERS, ITEMS = 9, 8


def with_features(log: Interactions, zero: bool = False) -> Interactions:
    """Features of both kinds; of item 3 nothing is known, or of nobody."""
    image = torch.randn(log.num_items, 3, generator=torch.Generator().manual_seed(0))
    image[:] *= 0.0 if zero else 1.0
    tags = [[] if zero else ["a"] if item % 2 else ["a", "b"] for item in range(log.num_items)]
    if log.num_items > 3:
        image[3], tags[3] = 0.0, []
    kinds = [[] if zero or user == 2 else ["x"] for user in range(log.num_users)]
    return log.with_features(
        {"kind": Labels.from_lists(kinds)},
        {"image": Numbers(image), "tags": Labels.from_lists(tags)},
    )


def pairs(rows: list[tuple[int, int]], users: int = USERS, items: int = ITEMS) -> Interactions:
    user, item = (torch.tensor(column) for column in zip(*rows, strict=True))
    return Interactions.from_indices(user, item, num_users=users, num_items=items, name="odd")


def usual() -> Interactions:
    """Users 0 and 8 took nothing, nobody took items 0 and 7, user 1 one item."""
    rows = [(1, 3)]
    rows += [(user, item) for user in range(2, 8) for item in range(1, 7) if (user + item) % 2]
    return pairs(rows)


def no_interactions() -> Interactions:
    log = pairs([(0, 0)], 4, 5)
    return log.select(torch.zeros(1, dtype=torch.bool))


CASES = {
    "empty users and items unseen": usual,
    "no edges": no_interactions,
    "one interaction": lambda: pairs([(0, 0)], 1, 2),
    "everything taken": lambda: pairs([(u, i) for u in range(4) for i in range(3)], 4, 3),
    "every pair twice": lambda: pairs([(u, i) for u in range(4) for i in (0, 1, 2, 0, 1, 2)], 4, 4),
}


def build(name: str, log: Interactions, **settings: object):
    method_class = load_class("method", name, TABLE)
    torch.manual_seed(0)
    small = {"dimension": 4, "layers": 2, "batch_size": 16, "clusters": 3, "hyperedges": 4}
    fields = method_class.Config.model_fields
    chosen = {key: value for key, value in {**small, **settings}.items() if key in fields}
    return method_class(method_class.Config(**chosen), log)


def train(method: Recommender, generator: torch.Generator) -> None:
    optimizer = method.optimizer()
    method.train()
    method.epoch_start(1, generator)
    for batch in method.batches(generator):
        optimizer.zero_grad()
        parts = method.loss(batch, generator)
        assert all(torch.isfinite(value) for value in parts.values()), parts
        parts["total"].backward()
        optimizer.step()


def check_scores(method: Recommender, log: Interactions) -> torch.Tensor:
    method.eval()
    scores = method.score(torch.arange(log.num_users), log)
    assert scores.shape == (log.num_users, log.num_items)
    assert torch.isfinite(scores).all()
    assert torch.isfinite(method.embed(log)).all()
    return scores


@pytest.mark.parametrize("name", RECOMMENDERS)
def test_the_log_stays_as_it_was(name: str) -> None:
    """Its order is what a sequence method learns, and validation reads the same tensors."""
    log = with_features(pairs([(u, i) for u in range(5) for i in (6, 2, 7, 2, u)], 5, 8))
    before, method = log.content_hash(), build(name, log)
    if method.trainable:
        train(method, torch.Generator().manual_seed(0))
    check_scores(method, log)
    method.score_newcomers(torch.arange(log.num_users), log)
    assert log.content_hash() == before


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", RECOMMENDERS)
def test_trains_and_scores_or_says_why_not(name: str, case: str) -> None:
    log = with_features(CASES[case]())
    generator = torch.Generator().manual_seed(0)
    reason = None
    if load_class("method", name, TABLE).trainable and len(log) == 0:
        reason = "no interactions"
    if name in SEQUENTIAL and int(log.lengths().max()) < 2:
        reason = "two interactions"  # they learn what follows what
    if reason is not None:
        with pytest.raises(DataError, match=reason):
            build(name, log)
        return
    method = build(name, log)
    if method.trainable:
        train(method, generator)
    check_scores(method, log)


@pytest.mark.parametrize("name", RECOMMENDERS)
def test_features_of_nothing_but_zeros(name: str) -> None:
    log = with_features(usual(), zero=True)
    method = build(name, log)
    if method.trainable:
        train(method, torch.Generator().manual_seed(0))
    check_scores(method, log)


@pytest.mark.parametrize("name", [name for name in RECOMMENDERS if name not in SEQUENTIAL])
def test_a_pair_taken_twice_counts_once(name: str) -> None:
    once = with_features(usual())
    rows = list(zip(once.users().tolist(), once.items.tolist(), strict=True))
    twice = with_features(pairs(rows + rows[:5]))
    scores = []
    for log in (once, twice):
        method = build(name, log)
        if method.trainable:
            train(method, torch.Generator().manual_seed(0))
        scores.append(check_scores(method, log))
    if name == "popularity":
        # How often an item was taken is all it knows; it counts repetitions, and says so.
        assert (scores[1] >= scores[0]).all()
    else:
        torch.testing.assert_close(scores[0], scores[1])


@pytest.mark.parametrize("user", [-1, USERS, 10**9])
@pytest.mark.parametrize("name", RECOMMENDERS)
def test_an_unknown_user_is_refused(name: str, user: int) -> None:
    log = with_features(usual())
    method = build(name, log).eval()
    with pytest.raises(ArgumentError, match=rf"users must be numbers in 0\.\.8 .*\(got {user}\)"):
        method.score(torch.tensor([0, user]), log)
    assert method.score(torch.tensor([], dtype=torch.int64), log).shape == (0, ITEMS)


@pytest.mark.parametrize("name", RECOMMENDERS)
def test_users_without_history_and_new_items_are_ranked(name: str) -> None:
    """Targets of a user, and items, that training never saw: metrics are defined."""
    log = with_features(usual())
    method = build(name, log)
    targets = pairs([(0, 7), (8, 1), (1, 0), (2, 2)])
    found = rank_users(method, Holdout(log, targets), (3,))
    assert found["user"].tolist() == [0, 1, 2, 8]
    for metric, values in found.items():
        assert torch.isfinite(values.double()).all(), metric


def test_the_walk_has_somebody_to_walk() -> None:
    assert len(RECOMMENDERS) > 20
    assert 5 < len(SEQUENTIAL) < len(RECOMMENDERS)
    assert issubclass(DataError, GraphclError)
