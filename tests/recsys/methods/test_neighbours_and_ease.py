"""ItemKNN and EASE against their formulas in double loops and dense algebra."""

from __future__ import annotations

import math

import pytest
import torch

from graphcl.config import configure
from recsys.data import Interactions
from recsys.methods.ease import EASE
from recsys.methods.itemknn import ItemKNN, cosine_neighbours


def log(repeat: bool = False) -> Interactions:
    users = torch.tensor([0, 0, 0, 1, 1, 2, 2, 3, 4, 4])
    items = torch.tensor([0, 1, 2, 0, 1, 1, 3, 4, 0, 2])
    if repeat:
        users, items = torch.cat([users, users[:3]]), torch.cat([items, items[:3]])
    # User 5 and item 5 have no interactions.
    return Interactions.from_indices(users, items, num_users=6, num_items=6)


def dense(data: Interactions) -> torch.Tensor:
    matrix = torch.zeros(data.num_users, data.num_items, dtype=torch.float64)
    matrix[data.edges()] = 1.0
    return matrix


@pytest.mark.parametrize("shrinkage", [0.0, 2.0])
@pytest.mark.parametrize("repeat", [False, True])
def test_itemknn_is_its_formula(shrinkage: float, repeat: bool) -> None:
    data = log(repeat)
    model = ItemKNN(configure(ItemKNN.Config, {"neighbours": 2, "shrinkage": shrinkage}), data)
    taken = dense(data).tolist()
    columns = list(zip(*taken, strict=True))
    scores = model.score(torch.arange(6), data)
    for j in range(6):
        similarity = []
        for i in range(6):
            together = sum(a * b for a, b in zip(columns[i], columns[j], strict=True))
            lengths = math.sqrt(sum(columns[i]) * sum(columns[j])) + shrinkage
            similarity.append(together / lengths if i != j and together else 0.0)
        kept = sorted(range(6), key=lambda i: -similarity[i])[:2]
        for user in range(6):
            wanted = sum(similarity[i] for i in kept if taken[user][i])
            assert float(scores[user, j]) == pytest.approx(wanted, abs=1e-6)
    assert scores[5].abs().sum() == 0


def test_neighbours_never_hold_the_item_with_weight() -> None:
    similar, similarity = cosine_neighbours(log(), 10)
    assert similar.shape == (6, 6)
    itself = similar == torch.arange(6)[:, None]
    assert (similarity[itself] == 0).all()
    assert (similarity[5] == 0).all()


def test_ease_solves_its_problem() -> None:
    data = log()
    model = EASE(configure(EASE.Config, {"l2": 0.7}), data)
    taken, weights = dense(data), model.weights.double()
    assert (weights.diagonal() == 0).all()
    # Stationary off the diagonal: 2 R^T (R B - R) + 2 l2 B = 0.
    gradient = taken.T @ (taken @ weights - taken) + 0.7 * weights
    assert (gradient - torch.diag(gradient.diagonal())).abs().max() < 1e-5
    scores = model.score(torch.arange(6), data)
    torch.testing.assert_close(scores.double(), taken @ weights, rtol=1e-5, atol=1e-6)
    assert scores[5].abs().sum() == 0


@pytest.mark.parametrize("method", [EASE, ItemKNN])
def test_users_may_be_known_by_their_history(method: type) -> None:
    data = log()
    newcomer = Interactions.from_indices(
        torch.tensor([5]), torch.tensor([0]), num_users=6, num_items=6
    )
    by_history = method(configure(method.Config, {"known": "history"}), data)
    by_training = method(configure(method.Config, {}), data)
    assert by_history.score(torch.tensor([5]), newcomer).abs().sum() > 0
    assert by_training.score(torch.tensor([5]), newcomer).abs().sum() == 0
