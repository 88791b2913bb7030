"""Popularity: counts of the training data, the same for everybody."""

import importlib

import torch

from recsys.data import from_ids
from recsys.methods import METHODS
from recsys.methods.popularity import Popularity


def test_scores_are_training_counts() -> None:
    log = from_ids(["a", "a", "b", "b", "c"], ["x", "y", "x", "x", "z"])
    method = Popularity(Popularity.Config(), log)
    scores = method.score(torch.tensor([2, 0]), log)
    assert scores.tolist() == [[3.0, 1.0, 1.0]] * 2
    assert method.embed(log).tolist() == [[3.0], [1.0], [1.0]]


def test_history_does_not_change_the_scores() -> None:
    log = from_ids(["a", "a", "b"], ["x", "y", "x"])
    train = log.select(torch.tensor([True, False, True]))
    method = Popularity(Popularity.Config(), train)
    users = torch.tensor([0, 1])
    assert torch.equal(method.score(users, train), method.score(users, log))


def test_nothing_to_train() -> None:
    assert not Popularity.trainable
    assert Popularity.Config().epochs == 0
    method = Popularity(Popularity.Config(), from_ids(["a"], ["x"]))
    assert list(method.parameters()) == []
    module, name = METHODS["popularity"].split(":")
    assert getattr(importlib.import_module(module), name) is Popularity
