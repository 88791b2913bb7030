"""Holds every class in `recsys.views.VIEWS` to the contract of sequence views.

A new view needs one line in `random_views` or `example`: an instance for items 0..9 with 99 as
padding, and there also the keyword arguments of its call on `rows` sequences.
"""

import inspect

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import recsys.views
from graphcl.errors import ArgumentError
from recsys.views import (
    VIEWS,
    CropItems,
    DropoutTwice,
    InsertItems,
    MaskItems,
    OneOf,
    ReorderItems,
    SameTargetSubsequences,
    SemanticNeighbours,
    Subsequences,
    SubstituteItems,
)

ITEMS, MASK, PADDING = 10, 50, 99
NEIGHBOURS = (torch.arange(ITEMS)[:, None] + torch.tensor([1, 3])) % ITEMS


def pool() -> Subsequences:
    flat = torch.randint(ITEMS, (60,), generator=torch.Generator().manual_seed(5))
    return Subsequences(flat, torch.tensor([0, 20, 21, 21, 60]), 8, padding=PADDING)


def random_views(rate: float) -> dict:
    """Views whose first argument is the rate."""
    return {
        "CropItems": CropItems(rate, padding=PADDING),
        "MaskItems": MaskItems(rate, MASK, padding=PADDING),
        "ReorderItems": ReorderItems(rate, padding=PADDING),
        "SubstituteItems": SubstituteItems(rate, NEIGHBOURS, padding=PADDING),
        "InsertItems": InsertItems(rate, NEIGHBOURS, max_length=20, padding=PADDING),
    }


def example(name: str, rows: int):
    if name in random_views(0.5):
        return random_views(0.5)[name], {}
    choice = [CropItems(0.5, padding=PADDING), ReorderItems(1.0, padding=PADDING)]
    return {
        "DropoutTwice": lambda: (DropoutTwice(), {}),
        "OneOf": lambda: (OneOf(choice, short=choice[1:], threshold=3, padding=PADDING), {}),
        "SameTargetSubsequences": lambda: (
            SameTargetSubsequences(pool()),
            {"targets": torch.arange(rows) % ITEMS},
        ),
        "SemanticNeighbours": lambda: (
            SemanticNeighbours(pool(), torch.randn(len(pool()), 4), count=3),
            {"rows": torch.arange(rows) % len(pool())},
        ),
    }[name]()


def sequences(rows: int, width: int, seed: int, dtype: torch.dtype = torch.int64):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(width + 1, (rows,), generator=generator)
    items = torch.randint(ITEMS, (rows, width), generator=generator)
    return items.masked_fill(torch.arange(width) >= lengths[:, None], PADDING).to(dtype), lengths


def padded(items, lengths):
    return items[torch.arange(items.shape[1]) >= lengths[:, None]]


every = pytest.mark.parametrize("name", VIEWS)
rated = pytest.mark.parametrize("name", random_views(0.5))
quick = settings(max_examples=12, deadline=None)
shapes = given(
    rows=st.integers(0, 9), width=st.integers(1, 12), seed=st.integers(0, 1000)
)  # fmt: skip


def test_table_holds_what_is_exported():
    assert all(name == view.__name__ for name, view in VIEWS.items())
    assert set(VIEWS) <= set(recsys.views.__all__)


@every
def test_documented(name):
    documentation = inspect.getdoc(VIEWS[name])
    assert documentation.splitlines()[0].endswith(".")
    for section in ("Shapes:", "Args:", "Raises:", "Example:"):
        assert section in documentation


@every
@shapes
@quick
def test_shapes_padding_and_lengths(name, rows, width, seed):
    view, extra = example(name, rows)
    items, lengths = sequences(rows, width, seed)
    seen, seen_lengths = view(items, lengths, torch.Generator().manual_seed(seed), **extra)
    assert seen.dtype == items.dtype
    assert seen_lengths.dtype == torch.int64
    assert seen.shape[0] == rows == len(seen_lengths)
    assert (seen_lengths <= seen.shape[1]).all()
    # Nothing is lost wholly, and nothing comes out of an empty sequence by itself.
    if not extra:
        assert torch.equal(seen_lengths > 0, lengths > 0)
    if name != "DropoutTwice":
        assert (padded(seen, seen_lengths) == PADDING).all()
    real = seen[torch.arange(seen.shape[1]) < seen_lengths[:, None]]
    assert (((real >= 0) & (real < ITEMS)) | (real == MASK)).all()


@every
@shapes
@quick
def test_input_is_never_mutated_nor_shared(name, rows, width, seed):
    view, extra = example(name, rows)
    items, lengths = sequences(rows, width, seed)
    before, before_lengths = items.clone(), lengths.clone()
    seen, seen_lengths = view(items, lengths, **extra)
    assert torch.equal(items, before)
    assert torch.equal(lengths, before_lengths)
    if rows:
        seen.fill_(-7)
        seen_lengths.fill_(-7)
        assert torch.equal(items, before)
        assert torch.equal(lengths, before_lengths)


@every
def test_same_generator_state_same_view(name):
    view, extra = example(name, 8)
    items, lengths = sequences(8, 12, 3)
    torch.manual_seed(0)
    first = view(items, lengths, torch.Generator().manual_seed(4), **extra)
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    second = view(items, lengths, torch.Generator().manual_seed(4), **extra)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    torch.manual_seed(4)
    view(items, lengths, **extra)


@every
def test_what_stands_after_the_end_has_no_influence(name):
    if name == "DropoutTwice":
        pytest.skip("it copies its input")
    view, extra = example(name, 8)
    items, lengths = sequences(8, 12, 3)
    junk = items.where(items != PADDING, torch.randint(ITEMS, items.shape))
    first = view(items, lengths, torch.Generator().manual_seed(4), **extra)
    second = view(junk, lengths, torch.Generator().manual_seed(4), **extra)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


@every
def test_32_bit_items_stay_so(name):
    view, extra = example(name, 8)
    items, lengths = sequences(8, 12, 3, torch.int32)
    wide = view(items.long(), lengths, torch.Generator().manual_seed(4), **extra)
    narrow = view(items, lengths.int(), torch.Generator().manual_seed(4), **extra)
    assert narrow[0].dtype == torch.int32
    assert torch.equal(wide[0], narrow[0].long())


@every
@pytest.mark.parametrize(
    ("items", "lengths"),
    [
        (torch.zeros(3, dtype=torch.long), torch.ones(3, dtype=torch.long)),
        (torch.zeros(3, 4, dtype=torch.long), torch.ones(2, dtype=torch.long)),
        (torch.zeros(3, 4), torch.ones(3, dtype=torch.long)),
        (torch.zeros(3, 4, dtype=torch.long), torch.ones(3)),
        (torch.zeros(3, 4, dtype=torch.long), torch.tensor([1, 5, 1])),
        (torch.zeros(3, 4, dtype=torch.long), torch.tensor([1, -1, 1])),
        ([[0, 1], [1, 2], [2, 3]], torch.ones(3, dtype=torch.long)),
        (np.zeros((3, 4), dtype=np.int64), torch.ones(3, dtype=torch.long)),
        (torch.zeros(3, 4, dtype=torch.long), [1, 1, 1]),
    ],
)
def test_wrong_shapes_dtypes_and_lengths_are_refused(name, items, lengths):
    view, extra = example(name, 3)
    with pytest.raises(ArgumentError, match="must"):
        view(items, lengths, **extra)


@rated
@shapes
@quick
def test_rate_zero_is_the_identity(name, rows, width, seed):
    items, lengths = sequences(rows, width, seed)
    seen, seen_lengths = random_views(0)[name](items, lengths)
    assert torch.equal(seen[:, :width], items)
    assert torch.equal(seen_lengths, lengths)


@rated
@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan"), True, "half"])
def test_bad_rates_are_refused(name, rate):
    with pytest.raises(ArgumentError, match="rate must be"):
        random_views(rate)
