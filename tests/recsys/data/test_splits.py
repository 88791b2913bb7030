"""Splits against per-user loops, and the leakage count against planted leaks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcl.errors import DataError
from recsys.data import (
    Interactions,
    InteractionSplit,
    from_ids,
    leakage,
    leave_one_out,
    random_ratio_per_user,
)

lengths_strategy = st.lists(st.integers(0, 25), min_size=1, max_size=8).filter(any)


def log_of(lengths: list[int]) -> Interactions:
    """Users with these many distinct items each, in time order."""
    users = np.repeat(np.arange(len(lengths)), lengths)
    items = np.concatenate([np.arange(n) for n in lengths])
    return Interactions.from_indices(
        users, items, times=np.arange(len(users)), num_users=len(lengths), num_items=30
    )


def parts_of(split: InteractionSplit, user: int) -> tuple[list[int], list[int], list[int]]:
    return (
        split.train.history(user).tolist(),
        split.validation.history(user).tolist(),
        split.test.history(user).tolist(),
    )


@given(lengths_strategy)
@settings(max_examples=60, deadline=None)
def test_leave_one_out(lengths: list[int]) -> None:
    log = log_of(lengths)
    split = leave_one_out(log)
    for user, n in enumerate(lengths):
        items = log.history(user).tolist()
        expected = (items[:-2], items[-2:-1], items[-1:]) if n >= 3 else (items, [], [])
        assert parts_of(split, user) == expected
        assert split.history.history(user).tolist() == expected[0] + expected[1]
    assert set(leakage(split).values()) == {0}


@given(lengths_strategy, st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_random_ratio_partitions_by_its_rule(lengths: list[int], seed: int) -> None:
    log = log_of(lengths)
    split = random_ratio_per_user(log, seed=seed)
    for user, n in enumerate(lengths):
        train, validation, test = parts_of(split, user)
        assert sorted(train + validation + test) == list(range(n))
        assert split.history.history(user).tolist() == sorted(train + validation)
        held_out = {0: (0, 0), 1: (0, 0), 2: (0, 1)}.get(n, (max(1, n // 10),) * 2)
        assert (len(validation), len(test)) == held_out
    found = leakage(split)
    assert [found[name] for name in found if name != "time"] == [0, 0, 0]


def test_random_ratio_follows_its_seed() -> None:
    log = log_of([20, 20, 20])
    first, same, other = (random_ratio_per_user(log, seed=seed) for seed in (1, 1, 2))
    assert first.test.content_hash() == same.test.content_hash()
    assert first.test.content_hash() != other.test.content_hash()


def test_random_ratio_is_uniform_over_items() -> None:
    counts = torch.zeros(30, dtype=torch.int64)
    log = log_of([10] * 200)
    for seed in range(10):
        counts += random_ratio_per_user(log, seed=seed).test.item_counts()
    # 2000 draws over 10 items, standard deviation 13.4.
    assert counts.sum() == 2000
    assert (counts[:10] - 200).abs().max() < 60


def test_random_ratio_without_a_validation_part() -> None:
    split = random_ratio_per_user(log_of([10, 1]), (0.7, 0.0, 0.3), seed=0)
    assert [len(part) for part in (split.train, split.validation, split.test)] == [8, 0, 3]


@pytest.mark.parametrize(
    "fractions", [(0.8, 0.2), (0.8, 0.1, 0.2), (0.0, 0.5, 0.5), (1.1, -0.1, 0.0)]
)
def test_bad_fractions(fractions: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match="fractions must be three numbers"):
        random_ratio_per_user(log_of([5]), fractions, seed=0)


def test_leakage_sees_planted_leaks() -> None:
    clean = leave_one_out(log_of([5, 6]))
    assert leakage(replace(clean, test=clean.train))["train-test"] == len(clean.train)
    assert leakage(replace(clean, validation=clean.test))["validation-test"] == 2
    swapped = replace(clean, train=clean.test, validation=clean.train)
    assert leakage(swapped)["time"] == len(clean.train)


def test_a_repeated_item_may_be_target_and_history() -> None:
    split = leave_one_out(from_ids(["a"] * 4, ["x", "y", "z", "x"]))
    assert leakage(split)["train-test"] == 1
    assert parts_of(split, 0) == ([0, 1], [2], [0])
