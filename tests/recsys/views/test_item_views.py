"""What is particular to each view of items, against slow references."""

import numpy as np
import pytest
import torch

from graphcl.errors import ArgumentError
from recsys.views import (
    CropItems,
    InsertItems,
    MaskItems,
    NeighbourTable,
    OneOf,
    ReorderItems,
    Subsequences,
    SubstituteItems,
    co_occurring_items,
    crop_items,
    insert_items,
    mask_items,
    nearest_rows,
    reorder_items,
    substitute_items,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ladder(rows: int = 400, width: int = 12):
    """Row b is 0, 1, 2, ... so that an item tells its place; lengths 1 .. width."""
    lengths = torch.arange(rows) % width + 1
    items = torch.arange(width).expand(rows, -1)
    return items.masked_fill(items >= lengths[:, None], 99), lengths


def rows_of(items, lengths):
    return [row[:n] for row, n in zip(items.tolist(), lengths.tolist(), strict=True)]


def test_crop_keeps_a_contiguous_part_of_the_stated_length_from_every_start():
    items, lengths = ladder()
    seen, kept = CropItems(0.4, padding=99)(items, lengths, seeded())
    starts = set()
    for row, before in zip(rows_of(seen, kept), lengths.tolist(), strict=True):
        assert len(row) == max(1, int(0.6 * before + 1e-9))
        assert row == list(range(row[0], row[0] + len(row)))
        assert row[-1] < before
        if before == 12:
            starts.add(row[0])
    assert starts == set(range(6))  # 12 items, 7 kept


def test_mask_hides_the_stated_number_and_every_place_alike():
    items = torch.arange(10).expand(4000, -1)
    seen, _ = MaskItems(0.3, 77)(items, torch.full((4000,), 10), seeded())
    hidden = seen == 77
    assert (hidden.sum(1) == 3).all()
    assert ((hidden.double().mean(0) - 0.3).abs() < 0.04).all()
    each, _ = MaskItems(0.3, 77, draw="each")(items, torch.full((4000,), 10), seeded())
    counts = (each == 77).sum(1).double()
    assert abs(float(counts.mean()) - 3) < 0.1
    assert abs(float(counts.var()) - 10 * 0.3 * 0.7) < 0.15


def test_reorder_shuffles_a_window_and_nothing_else():
    items, lengths = ladder()
    seen, _ = ReorderItems(0.5, padding=99)(items, lengths, seeded())
    moved_somewhere = 0
    for row in rows_of(seen, lengths):
        assert sorted(row) == list(range(len(row)))
        moved = [place for place, item in enumerate(row) if place != item]
        if moved:
            moved_somewhere += 1
            assert moved[-1] - moved[0] < len(row) // 2
    assert moved_somewhere > 150


def test_reorder_draws_every_order_alike():
    items = torch.arange(3).expand(6000, -1)
    seen, _ = ReorderItems(1.0)(items, torch.full((6000,), 3), seeded())
    _, counts = torch.unique(seen, dim=0, return_counts=True)
    assert len(counts) == 6
    assert (counts > 850).all()


def test_substitute_takes_neighbours_only_and_leaves_those_without():
    neighbours = torch.tensor([[1, 2], [2, -1], [-1, -1]])
    items = torch.tensor([0, 1, 2]).repeat(3000, 1)
    seen, _ = SubstituteItems(1.0, neighbours)(items, torch.full((3000,), 3), seeded())
    assert set(seen[:, 0].tolist()) == {1, 2}
    assert abs(float((seen[:, 0] == 1).double().mean()) - 0.5) < 0.05
    assert (seen[:, 1] == 2).all()
    assert (seen[:, 2] == 2).all()


def test_substitute_leaves_tokens_outside_the_table():
    view = SubstituteItems(1.0, torch.tensor([[1], [0]]))
    seen, _ = view(torch.tensor([[0, 7, -3, 1]]), torch.tensor([4]))
    assert seen.tolist() == [[1, 7, -3, 0]]


def test_insert_puts_the_neighbour_before_its_item_and_keeps_the_rest():
    table = torch.full((112, 1), -1)
    table[:12, 0] = torch.arange(12) + 100
    items, lengths = ladder()
    seen, grown = InsertItems(0.4, table, max_length=20, padding=99)(items, lengths, seeded())
    for row, before in zip(rows_of(seen, grown), lengths.tolist(), strict=True):
        assert [item for item in row if item < 100] == list(range(before))
        inserted = [place for place, item in enumerate(row) if item >= 100]
        assert len(inserted) == int(0.4 * before + 1e-9)
        for place in inserted:
            assert row[place] == row[place + 1] + 100


def test_insert_keeps_the_latest_items_of_what_grows_too_long():
    table = torch.full((10, 1), 9)
    items = torch.arange(5)[None]
    seen, lengths = InsertItems(1.0, table)(items, torch.tensor([5]))
    assert seen.tolist() == [[2, 9, 3, 9, 4]]
    assert lengths.tolist() == [5]
    with pytest.raises(ArgumentError, match="max_length"):
        InsertItems(1.0, table, max_length=3)(items, torch.tensor([5]))


def test_insert_is_no_wider_than_its_longest_result():
    table = torch.full((10, 1), 9)
    insert = InsertItems(0.5, table, max_length=200)
    seen, lengths = insert(torch.zeros(2, 6, dtype=torch.long), torch.tensor([6, 3]))
    assert lengths.tolist() == [9, 4]
    assert seen.shape == (2, 9)
    assert insert(seen[:0], lengths[:0])[0].shape == (0, 9)


def test_one_of_uses_every_view_and_pairs_differ():
    marks = [MaskItems(1.0, 50 + number) for number in range(3)]
    items = torch.zeros(3000, 4, dtype=torch.long)
    lengths = torch.full((3000,), 4)
    seen, _ = OneOf(marks)(items, lengths, seeded())
    share = torch.bincount(seen[:, 0] - 50, minlength=3) / 3000
    assert ((share - 1 / 3).abs() < 0.04).all()
    (left, _), (right, _) = OneOf(marks).pair(items, lengths, seeded())
    assert (left[:, 0] != right[:, 0]).all()
    combinations = torch.bincount((left[:, 0] - 50) * 3 + right[:, 0] - 50, minlength=9)
    assert (combinations[[1, 2, 3, 5, 6, 7]] > 400).all()
    (left, _), (right, _) = OneOf(marks[:1]).pair(items, lengths, seeded())
    assert torch.equal(left, right)


def test_one_of_gives_short_sequences_their_own_views():
    view = OneOf([MaskItems(1.0, 50)], short=[MaskItems(1.0, 60)], threshold=3)
    items = torch.zeros(4, 5, dtype=torch.long)
    seen, _ = view(items, torch.tensor([1, 2, 3, 5]))
    assert seen[:, 0].tolist() == [60, 60, 50, 50]


def test_an_empty_choice_is_refused():
    with pytest.raises(ArgumentError, match="at least one view"):
        OneOf([])


def test_co_occurring_items_are_those_of_the_formula():
    random = np.random.default_rng(0)
    histories = [random.integers(0, 9, size) for size in (0, 1, 7, 4, 12, 3)]
    flat = torch.tensor(np.concatenate(histories))
    offsets = torch.tensor(np.cumsum([0] + [len(history) for history in histories]))
    sets = [set(history.tolist()) for history in histories]
    similarity = np.zeros((9, 9))
    for taken in sets:
        for i in taken:
            for j in taken - {i}:
                similarity[i, j] += 1 / np.log(1 + len(taken))
    users = np.array([max(1, sum(item in taken for taken in sets)) for item in range(9)])
    similarity /= np.sqrt(np.outer(users, users))
    table = co_occurring_items(flat, offsets, 9, 4)
    for item in range(9):
        found = [j for j in table[item].tolist() if j >= 0]
        expected = sorted(similarity[item][similarity[item] > 0], reverse=True)[:4]
        assert len(found) == len(expected)
        np.testing.assert_allclose(similarity[item][found], expected, rtol=1e-12)
        assert item not in found


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_co_occurrence_leaves_the_histories_in_their_order(dtype):
    """scipy adds repetitions up in the memory it is given."""
    flat = torch.tensor([5, 1, 5, 3, 0, 2, 1], dtype=dtype)
    offsets = torch.tensor([0, 4, 7], dtype=dtype)
    co_occurring_items(flat, offsets, 6, 2)
    assert flat.tolist() == [5, 1, 5, 3, 0, 2, 1]
    assert offsets.tolist() == [0, 4, 7]


def test_nearest_rows_are_those_of_a_full_sort_and_spare_the_own_group():
    embedding = torch.randn(30, 5, generator=seeded())
    groups = torch.arange(30) % 7
    unit = torch.nn.functional.normalize(embedding, dim=1)
    cosine = (unit @ unit.T).masked_fill(groups[:, None] == groups, -2)
    expected = cosine.sort(dim=1, descending=True).indices[:, :6]
    assert torch.equal(nearest_rows(embedding, 6, groups=groups), expected)
    alone = nearest_rows(embedding, 3, groups=torch.zeros(30, dtype=torch.long))
    assert (alone == -1).all()


@pytest.mark.parametrize(
    ("embedding", "more", "words"),
    [
        (torch.zeros(3), {}, "embedding must be floating"),
        (torch.zeros(3, 2, dtype=torch.long), {}, "embedding must be floating"),
        (np.zeros((3, 2)), {}, "embedding must be a tensor .got ndarray"),
        (torch.ones(3, 2), {"groups": torch.tensor([0, 1])}, r"groups must be \(3,\).*got 2"),
        (torch.ones(3, 2), {"groups": torch.zeros(3)}, "groups must hold integers"),
        (torch.ones(3, 2), {"pool": torch.tensor([0, 3])}, r"pool must lie in 0..2 .got 0..3"),
        (torch.ones(3, 2), {"pool": torch.tensor([0, -1])}, "pool must lie in 0..2"),
        (torch.ones(3, 2), {"pool": torch.tensor([True, False, True])}, "pool must hold integers"),
        (torch.ones(3, 2), {"pool": torch.tensor([[0]])}, "pool must be of one dimension"),
    ],
)
def test_what_nearest_rows_cannot_take_is_refused(embedding, more, words):
    with pytest.raises(ArgumentError, match=words):
        nearest_rows(embedding, 2, **more)


@pytest.mark.parametrize("token", [9.7, True, "9", None])
def test_the_mask_token_is_a_whole_number(token):
    with pytest.raises(ArgumentError, match="mask_item must be a whole number"):
        MaskItems(0.5, token)
    with pytest.raises(ArgumentError, match="mask_item must be a whole number"):
        mask_items(torch.zeros(1, 2).long(), torch.tensor([2]), 0.5, mask_item=token)


@pytest.mark.parametrize("token", [np.int64(9), torch.tensor(9), np.uint8(9)])
def test_the_mask_token_may_be_counted_by_numpy_or_torch(token):
    items, _ = MaskItems(1.0, token)(torch.zeros(1, 2).long(), torch.tensor([2]))
    assert items.tolist() == [[9, 9]]


TABLE = torch.tensor([[1], [0]])


@pytest.mark.parametrize(
    "view",
    [
        lambda padding: CropItems(0.5, padding=padding),
        lambda padding: MaskItems(0.5, 9, padding=padding),
        lambda padding: ReorderItems(0.5, padding=padding),
        lambda padding: SubstituteItems(0.5, TABLE, padding=padding),
        lambda padding: InsertItems(0.5, TABLE, padding=padding),
        lambda padding: OneOf([CropItems(0.5)], padding=padding),
        lambda padding: Subsequences(TABLE[0], torch.tensor([0, 1]), 3, padding=padding),
        lambda padding: mask_items(TABLE, TABLE[:, 0], 0.5, mask_item=9, padding=padding),
    ],
)
@pytest.mark.parametrize("padding", [0.5, None, False])
def test_what_is_written_after_the_end_is_a_whole_number(view, padding):
    with pytest.raises(ArgumentError, match="padding must be a whole number"):
        view(padding)


@pytest.mark.parametrize(
    "table",
    [
        torch.zeros(3),
        torch.zeros(3, 2),
        torch.zeros(0, 2).long(),
        torch.full((3, 1), 3),
        [[1], [0]],
        np.zeros((2, 1), dtype=np.int64),
    ],
)
def test_bad_neighbour_tables_are_refused(table):
    with pytest.raises(ArgumentError, match="neighbours must be"):
        NeighbourTable(table)


def cycle(count: int = 300) -> NeighbourTable:
    """Item i is like item i + 1."""
    return NeighbourTable(((torch.arange(count) + 1) % count)[:, None])


def test_at_least_one_item_of_a_short_sequence_is_touched():
    items, lengths = torch.arange(20).view(5, 4), torch.tensor([0, 1, 2, 3, 4])
    for least in (0, 1, 2):
        substitute = SubstituteItems(0.2, cycle(), least=least, padding=99)
        seen, kept = substitute(items, lengths, seeded())
        inside = torch.arange(4) < lengths[:, None]
        changed = ((seen != items) & inside).sum(1)
        assert changed.tolist() == [min(least, length) for length in range(5)]
        assert torch.equal(kept, lengths)
        insert = InsertItems(0.2, cycle(), least=least, max_length=9)
        _, grown = insert(items, lengths, seeded())
        assert (grown - lengths).tolist() == [min(least, length) for length in range(5)]
    # A share that is more than the least stays as it is.
    ten = torch.arange(10)[None]
    seen, _ = SubstituteItems(0.5, cycle(), least=1)(ten, torch.tensor([10]), seeded())
    assert int((seen != ten).sum()) == 5


def functional_views():
    return {
        "crop": lambda items, lengths, **more: crop_items(items, lengths, 0.5, **more),
        "mask": lambda items, lengths, **more: mask_items(
            items, lengths, 0.5, **{"mask_item": 9, **more}
        ),
        "reorder": lambda items, lengths, **more: reorder_items(items, lengths, 0.5, **more),
        "substitute": lambda items, lengths, **more: substitute_items(
            items, lengths, 0.5, **{"neighbours": cycle(10), **more}
        ),
        "insert": lambda items, lengths, **more: insert_items(
            items, lengths, 0.5, **{"neighbours": cycle(10), **more}
        ),
    }


@pytest.mark.parametrize("name", functional_views())
def test_functional_views_check_what_is_written_and_drawn_from(name):
    view = functional_views()[name]
    items, lengths = torch.tensor([[1, 2, 3, 0]], dtype=torch.uint8), torch.tensor([3])
    assert view(items, lengths, padding=255)[0].dtype == torch.uint8
    for padding in (256, -1):
        with pytest.raises(
            ArgumentError, match=r"padding must lie in 0\.\.255 for items of torch.u"
        ):
            view(items, lengths, padding=padding)
    with pytest.raises(ArgumentError, match="padding must be a whole number"):
        view(items, lengths, padding=0.5)
    with pytest.raises(ArgumentError, match=r"generator must be a torch.Generator or None.*int"):
        view(items, lengths, generator=5)


@pytest.mark.parametrize("name", ["substitute", "insert"])
def test_items_that_would_wrap_around_are_refused(name):
    view, lengths = functional_views()[name], torch.tensor([3])
    for dtype, most in ((torch.int8, 127), (torch.uint8, 255)):
        items = torch.tensor([[1, 2, 3]], dtype=dtype)
        view(items, lengths, neighbours=cycle(most + 1))
        with pytest.raises(ArgumentError, match=rf"neighbours must lie in .*{most} for items of"):
            view(items, lengths, neighbours=cycle(most + 2))


def test_a_table_without_neighbours_changes_nothing_in_any_dtype():
    items, lengths = torch.tensor([[1, 2, 3]], dtype=torch.uint8), torch.tensor([3])
    none = torch.full((4, 2), -1)
    for view in (SubstituteItems(1.0, none), InsertItems(1.0, none)):
        assert torch.equal(view(items, lengths)[0], items)


def test_mask_tokens_that_would_wrap_around_are_refused():
    items, lengths = torch.tensor([[1, 2, 3]], dtype=torch.int8), torch.tensor([3])
    with pytest.raises(ArgumentError, match=r"mask_item must lie in -128\.\.127 .*got 300"):
        MaskItems(1.0, 300)(items, lengths)
    with pytest.raises(ArgumentError, match=r"padding must lie in -128\.\.127 .*got 300"):
        OneOf([CropItems(0.5)], padding=300)(items, lengths)


def test_choices_of_what_is_no_view_are_refused():
    for views in ({"views": [5]}, {"views": [CropItems(0.5)], "short": ["crop"]}):
        with pytest.raises(ArgumentError, match="views must be callable"):
            OneOf(**views)


@pytest.mark.parametrize("count", [0, -1, True, 2.0, "2", None, torch.tensor([1, 2])])
def test_counts_are_whole_and_at_least_one(count):
    histories = torch.tensor([0, 1, 2, 0, 1]), torch.tensor([0, 3, 5])
    with pytest.raises(ArgumentError, match="count must be a whole number of at least 1"):
        nearest_rows(torch.randn(6, 3), count)
    with pytest.raises(ArgumentError, match="count must be a whole number of at least 1"):
        co_occurring_items(*histories, 3, count)
    with pytest.raises(ArgumentError, match="num_items must be a whole number of at least 1"):
        co_occurring_items(*histories, count, 2)
    with pytest.raises(ArgumentError, match="max_length must be a whole number of at least 1"):
        Subsequences(*histories, count)


@pytest.mark.parametrize("kind", [np.int64, torch.tensor])
def test_counts_may_be_counted_by_numpy_or_torch(kind):
    embedding, histories = (
        torch.randn(6, 3),
        (torch.tensor([0, 1, 2, 0, 1]), torch.tensor([0, 3, 5])),
    )
    assert torch.equal(nearest_rows(embedding, kind(2)), nearest_rows(embedding, 2))
    got = co_occurring_items(*histories, kind(3), kind(2))
    assert torch.equal(got, co_occurring_items(*histories, 3, 2))


def test_a_row_named_twice_in_the_pool_is_one_neighbour():
    embedding = torch.randn(6, 3)
    twice = nearest_rows(embedding, 3, pool=torch.tensor([2, 1, 1, 2]).int())
    assert torch.equal(twice, nearest_rows(embedding, 3, pool=torch.tensor([1, 2])))
