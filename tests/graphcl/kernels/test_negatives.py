"""sample_negatives against sets: never a taken item, every free item equally likely."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcl.errors import ArgumentError
from graphcl.kernels import compiled
from graphcl.kernels.negatives import sample_negatives
from graphcl.native import load_library, missing_reason, usable_libraries
from graphcl.samplers.free_items import FreeItems

no_kernels = pytest.mark.skipif(missing_reason() is not None, reason="no compiled kernels")


def keys_of(taken: list[set[int]], num_items: int) -> torch.Tensor:
    pairs = sorted(u * num_items + i for u, items in enumerate(taken) for i in items)
    return torch.tensor(pairs, dtype=torch.int64)


@st.composite
def logs(draw: st.DrawFn) -> tuple[int, list[set[int]]]:
    num_items = draw(st.integers(1, 12))
    users = st.lists(st.sets(st.integers(0, num_items - 1)), min_size=1, max_size=6)
    return num_items, draw(users)


@given(logs(), st.integers(0, 2**31))
@settings(max_examples=100, deadline=None)
def test_negatives_are_exactly_the_free_items(log: tuple[int, list[set[int]]], seed: int) -> None:
    num_items, taken = log
    users = torch.arange(len(taken)).repeat_interleave(200)
    generator = torch.Generator().manual_seed(seed)
    drawn = sample_negatives(
        users, num_items, keys_of(taken, num_items), generator, backend="torch"
    )
    for user, items in enumerate(taken):
        # 200 draws of at most 12 items miss one with probability below 12 * (11/12)^200 < 4e-7.
        allowed = set(range(num_items)) - items or set(range(num_items))
        assert set(drawn[users == user].tolist()) == allowed


@no_kernels
@pytest.mark.parametrize("name", usable_libraries())
@given(log=logs(), seed=st.integers(0, 2**31), few=st.booleans())
@settings(max_examples=60, deadline=None)
def test_compiled_draws_are_the_same(
    name: str, log: tuple[int, list[set[int]]], seed: int, few: bool
) -> None:
    num_items, taken = log
    keys = keys_of(taken, num_items)
    # More users than rows, and more rows than users.
    users = torch.arange(len(taken))[-1:] if few else torch.arange(len(taken)).repeat(40)
    library = load_library(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "native_library", lambda: library)
        found, wanted = (
            sample_negatives(
                users, num_items, keys, torch.Generator().manual_seed(seed), backend=backend
            )
            for backend in ("native", "torch")
        )
        assert torch.equal(found, wanted)


@no_kernels
@pytest.mark.parametrize("name", usable_libraries())
@given(log=logs(), seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_compiled_draws_by_mass_are_the_same(
    name: str, log: tuple[int, list[set[int]]], seed: int
) -> None:
    num_items, taken = log
    generator = torch.Generator().manual_seed(seed)
    mass = torch.randint(4, (num_items,), generator=generator)
    items = FreeItems(mass, keys_of(taken, num_items))
    rows = torch.arange(len(taken))
    low = torch.randint(num_items, rows.shape, generator=generator)
    high = low + (torch.rand(rows.shape, generator=generator) * (num_items + 1 - low)).long()
    library = load_library(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "native_library", lambda: library)
        found, wanted = (
            items.draw(rows, low, high, 30, torch.Generator().manual_seed(seed), backend=backend)
            for backend in ("native", "torch")
        )
    assert torch.equal(found, wanted)


@no_kernels
def test_threads_do_not_change_the_draws() -> None:
    generator = torch.Generator().manual_seed(0)
    keys = torch.unique(torch.randint(500 * 300, (20_000,), generator=generator))
    users = torch.randint(500, (50_000,), generator=generator)
    before = torch.get_num_threads()
    drawn = []
    try:
        for threads in (1, 4):
            torch.set_num_threads(threads)
            state = torch.Generator().manual_seed(1)
            drawn.append(sample_negatives(users, 300, keys, state, backend="native"))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*drawn)
    wanted = sample_negatives(users, 300, keys, torch.Generator().manual_seed(1), backend="torch")
    assert torch.equal(drawn[0], wanted)


def test_free_items_are_equally_likely() -> None:
    draws, taken = 60_000, [{0, 1, 4, 7}]
    users = torch.zeros(draws, dtype=torch.int64)
    drawn = sample_negatives(users, 9, keys_of(taken, 9), torch.Generator().manual_seed(3))
    counts = torch.bincount(drawn, minlength=9)
    assert counts[[0, 1, 4, 7]].sum() == 0
    free = counts[[2, 3, 5, 6, 8]].double()
    chi_squared = ((free - draws / 5) ** 2 / (draws / 5)).sum()
    assert chi_squared < 18.5  # 0.1 % point of the chi-squared distribution with 4 degrees


def test_user_with_everything_gets_any_item_uniformly() -> None:
    users = torch.zeros(4000, dtype=torch.int64)
    keys = keys_of([{0, 1, 2, 3}, {1}], 4)
    drawn = sample_negatives(users, 4, keys, torch.Generator().manual_seed(0))
    assert torch.bincount(drawn, minlength=4).min() > 800


def test_same_generator_state_same_negatives_and_inputs_untouched() -> None:
    keys = keys_of([{0, 2}, {1}], 5)
    users = torch.tensor([0, 1, 1, 0])
    before = keys.clone(), users.clone()
    first = sample_negatives(users, 5, keys, torch.Generator().manual_seed(7))
    second = sample_negatives(users, 5, keys, torch.Generator().manual_seed(7))
    assert torch.equal(first, second)
    assert torch.equal(keys, before[0])
    assert torch.equal(users, before[1])


def test_keys_beyond_32_bits() -> None:
    num_items = 100_000
    user = 90_000
    taken = torch.arange(num_items - 1)  # all but the last item
    keys = user * num_items + taken
    assert sample_negatives(torch.tensor([user]), num_items, keys).item() == num_items - 1


@pytest.mark.parametrize("shape", [(0,), (3, 4)])
def test_any_shape_of_users(shape: tuple[int, ...]) -> None:
    users = torch.zeros(shape, dtype=torch.int64)
    drawn = sample_negatives(users, 3, torch.tensor([0, 1]))
    assert drawn.shape == users.shape
    assert (drawn == 2).all()


def test_nothing_taken() -> None:
    empty = torch.empty(0, dtype=torch.int64)
    drawn = sample_negatives(torch.zeros(100, dtype=torch.int64), 2, empty)
    assert set(drawn.tolist()) == {0, 1}


def test_bad_arguments() -> None:
    users, keys = torch.tensor([0]), torch.tensor([1])
    with pytest.raises(ArgumentError, match="num_items must be at least 1"):
        sample_negatives(users, 0, keys)
    with pytest.raises(ArgumentError, match="must be int64"):
        sample_negatives(users.int(), 3, keys)
    with pytest.raises(ArgumentError, match="backend must be one of auto, torch, native"):
        sample_negatives(users, 3, keys, backend="dense")
