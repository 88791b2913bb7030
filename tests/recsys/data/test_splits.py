"""Splits against per-user loops, and the leakage count against planted leaks."""

import itertools
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
    audit,
    first_targets,
    from_ids,
    global_time,
    leakage,
    leave_one_out,
    ordered_ratio_per_user,
    random_ratio_per_user,
    trained_on_the_future,
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


@given(lengths_strategy)
@settings(max_examples=40, deadline=None)
def test_ordered_ratio_cuts_at_the_end(lengths: list[int]) -> None:
    log = log_of(lengths)
    split = ordered_ratio_per_user(log)
    sizes = random_ratio_per_user(log, seed=0)
    for user in range(len(lengths)):
        train, validation, test = parts_of(split, user)
        assert train + validation + test == log.history(user).tolist()
        assert [len(validation), len(test)] == [len(part) for part in parts_of(sizes, user)[1:]]
    assert set(leakage(split).values()) == {0}


def mixed_log(count: int = 60, moments: int = 1000) -> Interactions:
    random = np.random.default_rng(0)
    return Interactions.from_indices(
        random.integers(0, 7, count),
        random.integers(0, 30, count),
        times=random.integers(0, moments, count),
        num_users=8,
    )


@pytest.mark.parametrize("moments", [1000, 5, 2])
def test_global_time_keeps_the_future_out(moments: int) -> None:
    log = mixed_log(moments=moments)
    split = global_time(log, (0.6, 0.2, 0.2))
    parts = (split.train, split.validation, split.test)
    assert sum(len(part) for part in parts) == len(log)
    filled = [part.times for part in parts if len(part)]
    for before, after in itertools.pairwise(filled):
        assert before.max() < after.min()
    assert trained_on_the_future(split) == 0
    assert leakage(split)["time"] == 0
    assert trained_on_the_future(leave_one_out(mixed_log())) > 0
    if moments == 1000:
        assert [len(part) for part in parts] == [36, 12, 12]


def test_first_targets_are_what_follows_the_history() -> None:
    split = global_time(mixed_log(), (0.6, 0.2, 0.2))
    first = first_targets(split)
    for user in range(8):
        for whole, one in ((split.validation, first.validation), (split.test, first.test)):
            assert one.history(user).tolist() == whole.history(user).tolist()[:1]
    assert first.history is split.history


def test_global_time_refuses_what_has_no_order() -> None:
    log = log_of([3, 4])
    with pytest.raises(DataError, match="needs the time"):
        global_time(replace(log, times=None))
    with pytest.raises(DataError, match="different times"):
        global_time(replace(log, times=torch.zeros(7)))
    with pytest.raises(DataError, match="fractions"):
        global_time(log, (0.5, 0.1, 0.1))


def test_audit_counts_by_the_definition() -> None:
    rows = [
        ("a", "x", 1),
        ("a", "y", 1),
        ("a", "x", 1),
        ("a", "x", 2),
        ("b", "x", 1),
        ("c", "z", 0),
    ]
    users, items, times = zip(*rows, strict=True)
    log = from_ids(users, items, times=times)
    assert audit(log) == {
        "repeated_events": 1, "repeated_pairs": 2, "equal_times": 2, "users_below_three": 2,
    }  # fmt: skip
    untimed = from_ids(["a", "a", "a", "b"], ["x", "x", "y", "y"])
    assert audit(untimed) == {
        "repeated_events": 1, "repeated_pairs": 1, "equal_times": None, "users_below_three": 1,
    }  # fmt: skip
    assert set(audit(untimed.select(torch.zeros(4, dtype=torch.bool))).values()) == {0, None}


def test_without_times_nothing_is_known_of_the_future() -> None:
    split = leave_one_out(replace(log_of([5, 4]), times=None))
    assert trained_on_the_future(split) is None
    assert leakage(split)["time"] is None
    assert trained_on_the_future(leave_one_out(log_of([2, 1]))) == 0  # nobody has a target
