"""The store against plain Python lists."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcl.errors import ArgumentError, DataError
from recsys.data import Interactions, flat_histories, from_ids, k_core, pad_histories

Rows = list[tuple[int, int, int]]
rows_strategy = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=40
)


def build(rows: Rows) -> Interactions:
    users, items, times = (np.array(column) for column in zip(*rows, strict=True))
    return Interactions.from_indices(users, items, times=times, num_users=5, num_items=6)


def expected_history(rows: Rows, user: int) -> list[int]:
    mine = [(time, item) for u, item, time in rows if u == user]
    return [item for _, item in sorted(mine, key=lambda pair: pair[0])]  # sorted() is stable


@given(rows_strategy)
@settings(max_examples=60, deadline=None)
def test_histories_are_in_time_then_given_order(rows: Rows) -> None:
    log = build(rows)
    assert len(log) == len(rows)
    assert (log.num_users, log.num_items) == (5, 6)
    for user in range(5):
        assert log.history(user).tolist() == expected_history(rows, user)
    assert log.users().tolist() == sorted(u for u, _, _ in rows)
    assert log.item_counts().tolist() == [sum(i == item for _, i, _ in rows) for item in range(6)]
    assert log.items.dtype == torch.int32
    assert log.offsets.dtype == torch.int64


@given(rows_strategy)
@settings(max_examples=60, deadline=None)
def test_edges_and_unique_drop_repetitions(rows: Rows) -> None:
    log = build(rows)
    pairs = sorted({(u, i) for u, i, _ in rows})
    users, items = log.edges()
    assert list(zip(users.tolist(), items.tolist(), strict=True)) == pairs
    assert log.pair_keys().tolist() == [u * 6 + i for u, i in pairs]
    unique = log.unique()
    for user in range(5):
        # dict keeps the first occurrence: the earliest interaction of each pair.
        assert unique.history(user).tolist() == list(dict.fromkeys(log.history(user).tolist()))


@given(rows_strategy, st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_select_keeps_numbers_and_order(rows: Rows, seed: int) -> None:
    log = build(rows)
    mask = torch.rand(len(log), generator=torch.Generator().manual_seed(seed)) < 0.5
    chosen = log.select(mask)
    kept = [
        (u, i)
        for u, i, keep in zip(log.users().tolist(), log.items.tolist(), mask.tolist(), strict=True)
        if keep
    ]
    assert list(zip(chosen.users().tolist(), chosen.items.tolist(), strict=True)) == kept
    assert (chosen.num_users, chosen.num_items) == (log.num_users, log.num_items)
    assert torch.equal(chosen.times, log.times[mask])


@given(rows_strategy)
@settings(max_examples=60, deadline=None)
def test_compact_keeps_ids(rows: Rows) -> None:
    log = build(rows)
    small = log.compact()
    assert small.user_ids.tolist() == sorted({u for u, _, _ in rows})
    assert small.item_ids.tolist() == sorted({i for _, i, _ in rows})
    for number, user in enumerate(small.user_ids):
        ids = small.item_ids[small.history(number).numpy()]
        assert ids.tolist() == log.history(int(user)).tolist()


@given(rows_strategy, st.integers(0, 2**10))
@settings(max_examples=60, deadline=None)
def test_among_some_users_and_items(rows: Rows, seed: int) -> None:
    log = build(rows)
    generator = torch.Generator().manual_seed(seed)
    users = torch.rand(log.num_users, generator=generator) < 0.7
    items = torch.rand(log.num_items, generator=generator) < 0.7
    small = log.among(users, items)
    assert small.user_ids.tolist() == torch.nonzero(users).flatten().tolist()
    assert small.item_ids.tolist() == torch.nonzero(items).flatten().tolist()
    for number, user in enumerate(small.user_ids.tolist()):
        ids = small.item_ids[small.history(number).numpy()].tolist()
        assert ids == [item for item in log.history(user).tolist() if items[item]]


@given(rows_strategy, st.integers(0, 4), st.integers(0, 4))
@settings(max_examples=60, deadline=None)
def test_k_core_is_the_largest_core(rows: Rows, min_user: int, min_item: int) -> None:
    kept = [(u, i) for u, i, _ in rows]
    while True:  # one removal at a time: another order, the same core
        weak = [
            (u, i)
            for u, i in kept
            if sum(a == u for a, _ in kept) < min_user or sum(b == i for _, b in kept) < min_item
        ]
        if not weak:
            break
        kept = [pair for pair in kept if pair != weak[0]]
    if not kept:
        with pytest.raises(DataError, match="left after the k-core filter"):
            k_core(build(rows), min_user, min_item)
        return
    core = k_core(build(rows), min_user, min_item)
    users = core.user_ids[core.users().numpy()].tolist()
    items = core.item_ids[core.items.numpy()].tolist()
    assert sorted(zip(users, items, strict=True)) == sorted(kept)


@given(rows_strategy, st.integers(1, 7))
@settings(max_examples=60, deadline=None)
def test_pad_histories_keeps_the_latest_items(rows: Rows, max_length: int) -> None:
    log = build(rows)
    users = torch.tensor([3, 0, 3, 1])
    items, lengths = pad_histories(log, users, max_length, padding=6)
    assert items.shape[1] == max(1, int(lengths.max()))
    for row, user in enumerate(users.tolist()):
        latest = log.history(user).tolist()[-max_length:]
        padding = [6] * (items.shape[1] - len(latest))
        assert items[row].tolist() == latest + padding
        assert lengths[row] == len(latest)


def test_histories_of_no_users_and_of_an_empty_log() -> None:
    log = build([(0, 1, 0)])
    none = torch.empty(0, dtype=torch.int64)
    assert pad_histories(log, none, 3, 6)[0].shape == (0, 1)
    assert flat_histories(log, none)[0].numel() == 0
    empty = log.select(torch.tensor([False]))
    items, lengths = pad_histories(empty, torch.tensor([0]), 3, 6)
    assert (items.tolist(), lengths.tolist()) == ([[6]], [0])
    with pytest.raises(ArgumentError, match="max_length"):
        pad_histories(log, none, 0, 6)


@given(rows_strategy)
@settings(max_examples=30, deadline=None)
def test_flat_histories(rows: Rows) -> None:
    log = build(rows)
    users = torch.tensor([4, 2, 0])
    found_rows, items = flat_histories(log, users)
    expected = [(r, i) for r, u in enumerate(users.tolist()) for i in log.history(u).tolist()]
    assert list(zip(found_rows.tolist(), items.tolist(), strict=True)) == expected


@given(rows_strategy, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_distinct_times_make_the_row_order_irrelevant(rows: Rows, random) -> None:
    rows = [(u, i, time) for time, (u, i, _) in enumerate(rows)]
    shuffled = random.sample(rows, len(rows))

    def ids(rows: Rows) -> Interactions:
        users, items, times = zip(*rows, strict=True)
        return from_ids([f"u{u}" for u in users], items, times=times)

    assert ids(rows).content_hash() == ids(shuffled).content_hash()


def test_ids_come_back_as_given() -> None:
    log = from_ids(["b", "a", "b"], [10, 9, 9])
    assert log.user_ids.tolist() == ["a", "b"]
    assert log.item_ids.tolist() == [9, 10]
    assert log.history(1).tolist() == [1, 0]
    assert from_ids(["10", "9"], ["01", "1"]).user_ids.tolist() == [9, 10]
    # "01" is not how 1 is written, so these ids stay text.
    assert from_ids(["10", "9"], ["01", "1"]).item_ids.tolist() == ["01", "1"]


def test_content_hash_sees_content_only() -> None:
    log = from_ids(["a", "b"], ["x", "y"], ratings=[1, 2])
    same = from_ids(["a", "b"], ["x", "y"], ratings=[1.0, 2.0], name="other")
    assert log.content_hash() == same.content_hash()
    others = [
        from_ids(["a", "b"], ["x", "y"]),
        from_ids(["a", "b"], ["x", "y"], ratings=[1, 3]),
        from_ids(["a", "b"], ["x", "z"], ratings=[1, 2]),
        from_ids(["a", "b"], ["y", "x"], ratings=[1, 2]),
        from_ids(["a", "b"], ["x", "y"], times=[1, 2], ratings=[1, 2]),
    ]
    assert len({log.content_hash(), *(other.content_hash() for other in others)}) == 6


def test_where() -> None:
    log = from_ids(["a", "a", "b"], ["x", "y", "x"], ratings=[3, 2.5, 5])
    assert log.where(3).history(0).tolist() == [0]
    assert len(log.where(3)) == 2
    unrated = from_ids(["a"], ["x"])
    assert unrated.where(3) is unrated


def test_titles_follow_the_items() -> None:
    log = from_ids(["a", "a"], [7, 5]).with_titles(np.array([5, 6]), np.array(["five", "six"]))
    assert log.titles.tolist() == ["five", "7"]
    assert log.select(torch.tensor([False, True])).compact().titles.tolist() == ["five"]


@pytest.mark.parametrize(
    ("users", "items", "options", "message"),
    [
        ([], [], {}, "has no interactions"),
        ([0], [0, 1], {}, "equally long"),
        ([-1], [0], {}, r"user numbers must lie in 0..-1|user numbers must lie in"),
        ([0], [-2], {"num_items": 3}, r"item numbers must lie in 0..2 \(got -2 at position 0\)"),
        ([0], [3], {"num_items": 3}, r"item numbers must lie in 0..2 \(got 3 at position 0\)"),
        ([0.5], [0], {}, "1-d integer array"),
        ([0], [0], {"times": np.array([np.nan])}, "times must be finite"),
        ([0], [0], {"ratings": np.array([np.inf])}, "ratings must be finite"),
        ([0], [0], {"ratings": np.array(["x"])}, "ratings must be numbers"),
        ([0], [0], {"times": np.array([1, 2])}, "one per interaction"),
        ([0], [0], {"user_ids": np.array([1, 2]), "num_users": 1}, "as many as users"),
        ([0], [0], {"titles": np.array(["a", "b"])}, "titles must name every item"),
    ],
)
def test_from_indices_refuses(users, items, options, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Interactions.from_indices(np.array(users), np.array(items), **options)


@pytest.mark.parametrize(
    ("users", "items", "options", "message"),
    [
        ([], [], {}, "has no interactions"),
        (["a"], ["x", "y"], {}, "equally long"),
        (["a", None], ["x", "y"], {}, "user id is missing in row 1"),
        (["a", " "], ["x", "y"], {}, "user id is missing in row 1"),
        (["a", "b"], ["x", float("nan")], {}, "item id is missing in row 1"),
        ([1.0, 2.5], ["x", "y"], {}, "user id in row 1 must be a whole number"),
        (["a"], ["x"], {"ratings": ["good"]}, "rating in row 0 must be a finite number"),
        (["a"], ["x"], {"times": ["soon"]}, "time in row 0 must be a finite number or an ISO"),
        (["a"], ["x"], {"ratings": [float("inf")]}, "rating in row 0"),
        (["a", "b"], ["x", "y"], {"times": ["2020-01-01", "2020-13-01"]}, "time in row 1"),
    ],
)
def test_from_ids_refuses(users, items, options, message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_ids(users, items, **options)


def test_dates_order_like_their_instants() -> None:
    times = ["2020-01-02T00:00:00", "2020-01-01T12:00:00+00:00", "2020-01-01T12:30:00+02:00"]
    log = from_ids(["a"] * 3, ["x", "y", "z"], times=times)
    assert log.item_ids[log.history(0).numpy()].tolist() == ["z", "y", "x"]


def test_numbers_beyond_64_bits_keep_their_order() -> None:
    """As int64 they would wrap around to negative ones."""
    log = from_ids(["a"] * 3, ["x", "y", "z"], times=[2**63 + 2**40, 5, 2**64 - 1])
    assert log.item_ids[log.history(0).numpy()].tolist() == ["y", "x", "z"]
    log = from_ids(np.array([2**63 + 5, 1], dtype=np.uint64), ["x", "y"])
    assert log.user_ids.tolist() == ["1", str(2**63 + 5)]


def test_dates_that_nanoseconds_cannot_tell_are_refused() -> None:
    times = np.array(["2000-01-01", "1500-01-01"], dtype="datetime64[s]")
    with pytest.raises(DataError, match=r"row 1 must be a date of the years 1678 to 2261"):
        from_ids(["a", "a"], ["x", "y"], times=times)


def test_mask_must_fit() -> None:
    log = from_ids(["a"], ["x"])
    with pytest.raises(DataError, match="mask must be bool"):
        log.select(torch.tensor([1]))
