from collections import Counter

import pytest
import torch

from graphcl.errors import ArgumentError, DataError
from recsys.data import Interactions
from recsys.data.batches import SequenceBatches, TripleBatches

LENGTHS = [9, 1, 4, 0, 5, 2, 17]
PADDING = 50


def log() -> Interactions:
    """Seven users; item ids count up, so that every interaction is known by its item."""
    users = torch.arange(len(LENGTHS)).repeat_interleave(torch.tensor(LENGTHS))
    return Interactions.from_indices(
        users, torch.arange(sum(LENGTHS)), num_users=len(LENGTHS), num_items=PADDING
    )


def of_lengths(lengths: torch.Tensor) -> Interactions:
    users = torch.arange(len(lengths)).repeat_interleave(lengths)
    return Interactions.from_indices(
        users, torch.zeros_like(users), num_users=len(lengths), num_items=3
    )


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("max_length", [1, 4, 8, 100])
def test_every_item_but_the_first_is_a_target_once(max_length: int) -> None:
    data = log()
    batches = list(SequenceBatches(data, max_length, 3, PADDING).epoch(generator()))
    targets = torch.cat([batch.targets for batch in batches])
    first = data.offsets[:-1][data.lengths() > 0]
    expected = set(range(len(data))) - set(data.items[first].tolist())
    assert sorted(targets.tolist()) == sorted(expected)


@pytest.mark.parametrize("max_length", [1, 4, 8, 100])
def test_inputs_precede_their_targets_and_padding_is_on_the_right(max_length: int) -> None:
    for batch in SequenceBatches(log(), max_length, 3, PADDING).epoch(generator()):
        real = batch.real
        assert torch.equal(real.sum(1), batch.lengths)
        assert torch.equal(batch.items[real] + 1, batch.targets)
        assert (batch.items[~real] == PADDING).all()
        assert batch.items.shape[1] == int(batch.lengths.max()) <= max_length
        owner = torch.tensor(LENGTHS).cumsum(0)
        assert torch.equal(
            torch.searchsorted(owner, batch.items[:, 0].contiguous(), right=True), batch.users
        )


def test_the_latest_items_fill_a_whole_window() -> None:
    batches = SequenceBatches(log(), 8, 1, PADDING)
    longest = [b for b in batches.epoch(generator()) if int(b.users[0]) == 6]
    # 17 items are 16 steps, i.e. two full windows; the last one ends before the last item.
    assert sorted(int(b.lengths[0]) for b in longest) == [8, 8]
    assert max(int(b.targets.max()) for b in longest) == sum(LENGTHS) - 1


def test_windows_of_a_batch_have_about_equal_length() -> None:
    lengths = torch.randint(2, 200, (500,), generator=generator())
    batches = list(SequenceBatches(of_lengths(lengths), 200, 20, 1).epoch(generator()))
    real = sum(int(batch.lengths.sum()) for batch in batches)
    padded = sum(batch.items.numel() for batch in batches)
    assert real / padded > 0.8  # 0.5 without buckets


@pytest.mark.parametrize("batch_size", [1, 7, 20, 1000])
def test_batches_have_about_equally_many_targets(batch_size: int) -> None:
    lengths = (40 / torch.rand(500, generator=generator()).clamp(min=0.2)).long()  # 40 to 200
    batches = list(SequenceBatches(of_lengths(lengths), 100, batch_size, 1).epoch(generator()))
    windows = sum(len(batch.lengths) for batch in batches)
    targets = torch.tensor([len(batch.targets) for batch in batches])
    share = int(targets.sum()) / len(batches)
    assert windows / batch_size / 2 <= len(batches) <= -(-windows // batch_size)
    # Two halves of a window, of at most 100, can be too much or too little.
    assert (targets - share).abs().max() <= 100 + 500 / len(batches)


def test_batches_have_about_equally_many_of_what_a_method_counts() -> None:
    lengths = torch.randint(2, 60, (3000,), generator=generator())
    batches = SequenceBatches(of_lengths(lengths), 100, 50, 1, targets_of=lambda n: n.sqrt())
    counted = torch.stack([batch.lengths.sqrt().sum() for batch in batches.epoch(generator())])
    assert len(counted) == 60
    assert counted.max() / counted.min() < 1.1  # 3.6 if positions were counted


@pytest.mark.parametrize(("rare", "long"), [(0.25, 201), (0.001, 20001), (0.5, 40)])
def test_short_windows_are_not_padded_to_the_longest(rare: float, long: int) -> None:
    is_long = torch.rand(8000, generator=generator()) < rare
    data = of_lengths(torch.where(is_long, long, 2))
    batches = list(SequenceBatches(data, 200, 64, 3).epoch(generator()))
    assert max(batch.items.numel() for batch in batches) <= 2 * 64 * min(200, long - 1)
    assert sum(len(batch.targets) for batch in batches) == len(data) - 8000


def test_sequence_epochs_follow_the_generator() -> None:
    batches = SequenceBatches(log(), 4, 2, PADDING)
    one, same = (list(batches.epoch(generator(5))) for _ in range(2))
    assert all(torch.equal(a.items, b.items) for a, b in zip(one, same, strict=True))
    state = generator(5)
    first, second = (torch.cat([b.users for b in batches.epoch(state)]) for _ in range(2))
    assert not torch.equal(first, second)


def test_sequence_batches_refuse_what_cannot_work() -> None:
    with pytest.raises(ArgumentError, match="max_length"):
        SequenceBatches(log(), 0, 2, PADDING)
    with pytest.raises(ArgumentError, match="batch_size"):
        SequenceBatches(log(), 4, 0, PADDING)
    single = Interactions.from_indices(torch.arange(3), torch.arange(3))
    with pytest.raises(DataError, match="no user with two interactions to train on, beside what"):
        SequenceBatches(single, 4, 2, PADDING)


def test_triples_cover_every_pair_once_with_a_free_item() -> None:
    users = torch.tensor([0, 0, 1, 1, 1, 2, 2])
    items = torch.tensor([1, 2, 0, 3, 3, 4, 0])
    data = Interactions.from_indices(users, items, num_items=6)
    taken = set(zip(users.tolist(), items.tolist(), strict=True))
    batches = TripleBatches(data, 4)
    epoch = list(batches.epoch(generator()))
    assert [len(b.users) for b in epoch] == [4, 2]
    assert len(batches) == 2
    pairs = Counter(
        (int(u), int(i)) for b in epoch for u, i in zip(b.users, b.positives, strict=True)
    )
    assert pairs == Counter(taken)  # the repeated pair (1, 3) counts once
    for b in epoch:
        for user, item in zip(b.users.tolist(), b.negatives.tolist(), strict=True):
            assert (user, item) not in taken
            assert 0 <= item < 6


def test_negatives_among_what_somebody_took() -> None:
    users = torch.tensor([0, 0, 1, 1, 2])
    items = torch.tensor([1, 7, 4, 7, 1])
    data = Interactions.from_indices(users, items, num_items=9)
    free = {0: {4}, 1: {1}, 2: {4, 7}}
    batches, seen = TripleBatches(data, 2, among_taken=True), {0: set(), 1: set(), 2: set()}
    for seed in range(20):
        for batch in batches.epoch(generator(seed)):
            for user, item in zip(batch.users.tolist(), batch.negatives.tolist(), strict=True):
                seen[user].add(item)
    assert seen == free


def test_triple_epochs_follow_the_generator() -> None:
    batches = TripleBatches(log(), 1000)
    one, same = (next(iter(batches.epoch(generator(2)))) for _ in range(2))
    assert torch.equal(one.positives, same.positives)
    assert torch.equal(one.negatives, same.negatives)
    other = next(iter(batches.epoch(generator(3))))
    assert not torch.equal(one.positives, other.positives)
    with pytest.raises(ArgumentError, match="batch_size"):
        TripleBatches(log(), 0)
