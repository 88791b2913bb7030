"""The index of subsequences and the views that draw from it."""

import numpy as np
import pytest
import torch

from graphcl.errors import ArgumentError, NonFiniteArgumentError
from recsys.views import (
    LearnableAugmenter,
    NeighbourSynthesis,
    Prototypes,
    SameTargetSubsequences,
    SemanticNeighbours,
    Subsequences,
)

HISTORIES = [[3, 1, 4, 1, 5, 9, 2, 6], [], [5], [3, 5, 1], [1, 5, 4, 1]]


def flat():
    items = torch.tensor([item for history in HISTORIES for item in history])
    return items, torch.tensor([0] + [len(h) for h in HISTORIES]).cumsum(0)


def expected_rows(max_length: int, min_length: int = 1):
    return [
        (user, history[max(0, end - max_length) : end], history[end])
        for user, history in enumerate(HISTORIES)
        for end in range(min_length, len(history))
    ]


@pytest.mark.parametrize("max_length", [1, 3, 50])
@pytest.mark.parametrize("min_length", [1, 3])
def test_rows_are_all_prefixes_cut_to_the_window(max_length, min_length):
    if min_length > max_length:
        with pytest.raises(ArgumentError, match="min_length"):
            Subsequences(*flat(), max_length, min_length=min_length)
        return
    rows = Subsequences(*flat(), max_length, min_length=min_length, padding=77)
    expected = expected_rows(max_length, min_length)
    assert len(rows) == len(expected)
    items, lengths = rows.gather(torch.arange(len(rows)))
    for row, (user, before, target) in enumerate(expected):
        assert int(rows.users[row]) == user
        assert items[row, : int(lengths[row])].tolist() == before
        assert (items[row, int(lengths[row]) :] == 77).all()
        assert int(rows.targets[row]) == target
    places = torch.nonzero(rows.row_at >= 0).flatten()
    assert torch.equal(rows.row_at[places], torch.arange(len(rows)))
    assert torch.equal(rows.items[places], rows.targets)


def test_last_rows_and_mean_embeddings():
    rows = Subsequences(*flat(), 3)
    assert rows.users[rows.last_rows()].tolist() == [0, 3, 4]
    embedding = torch.randn(10, 4, dtype=torch.float64)
    items, lengths = rows.gather(torch.arange(len(rows)))
    for row, mean in enumerate(rows.mean_embedding(embedding)):
        torch.testing.assert_close(mean, embedding[items[row, : int(lengths[row])]].mean(0))


def test_no_history_at_all():
    rows = Subsequences(torch.zeros(0, dtype=torch.long), torch.zeros(3, dtype=torch.long), 5)
    assert len(rows) == 0
    view = SameTargetSubsequences(rows)
    items, lengths = view(torch.tensor([[4]]), torch.tensor([1]), targets=torch.tensor([2]))
    assert items.tolist() == [[4]]
    assert lengths.tolist() == [1]


def test_the_draw_is_uniform_over_the_group_without_the_row_itself():
    view = SameTargetSubsequences(*flat(), 50)
    targets = view.subsequences.targets
    for row in range(len(targets)):
        group = [other for other in range(len(targets)) if targets[other] == targets[row]]
        group.remove(row)
        many = torch.full((1500,), row)
        drawn = view.draw(targets[many], many, torch.Generator().manual_seed(row))
        if not group:
            assert (drawn == -1).all()
            continue
        share = torch.bincount(drawn, minlength=len(targets)) / 1500
        assert share[group].sum() == 1
        assert ((share[group] - 1 / len(group)).abs() < 0.06).all()


def test_without_row_numbers_the_whole_group_is_drawn():
    view = SameTargetSubsequences(*flat(), 50)
    drawn = view.draw(torch.full((3000,), 1), generator=torch.Generator().manual_seed(0))
    group = torch.nonzero(view.subsequences.targets == 1).flatten()
    assert set(drawn.tolist()) == set(group.tolist())
    assert view.group_sizes(torch.tensor([1, 8, 1000, -1])).tolist() == [len(group), 0, 0, 0]


def test_a_row_without_partner_stays_and_results_line_up():
    view = SameTargetSubsequences(*flat(), 4, padding=77)
    rows = torch.arange(len(view.subsequences))
    items, lengths = view.subsequences.gather(rows)
    targets = view.subsequences.targets
    seen, seen_lengths = view(items, lengths, targets=targets, rows=rows)
    every = {(tuple(before), target) for _, before, target in expected_rows(4)}
    for row in rows.tolist():
        got = tuple(seen[row, : int(seen_lengths[row])].tolist())
        assert (got, int(targets[row])) in every
        if int(view.group_sizes(targets)[row]) == 1:
            assert got == tuple(items[row, : int(lengths[row])].tolist())


@pytest.mark.parametrize(
    "arguments",
    [
        (torch.tensor([1, 2]), torch.tensor([0, 1]), 3),
        (torch.tensor([1, 2]), torch.tensor([0, 2, 1, 2]), 3),
        (torch.tensor([1.0, 2.0]), torch.tensor([0, 2]), 3),
        (torch.tensor([1, 2]), torch.tensor([0, 2]), 0),
        (torch.tensor([-1, -2]), torch.tensor([0, 2]), 3),
        (torch.tensor([1, 2]),),
        ([1, 2], torch.tensor([0, 2]), 3),
        (torch.tensor([1, 2]), [0, 2], 3),
    ],
)
def test_bad_histories_are_refused(arguments):
    with pytest.raises(ArgumentError):
        SameTargetSubsequences(*arguments)


@pytest.mark.parametrize(
    "more",
    [
        {"offsets": torch.tensor([0, 2])}, {"max_length": 3}, {"min_length": 1}, {"padding": 0},
    ],
)  # fmt: skip
def test_subsequences_come_without_other_arguments(more):
    with pytest.raises(ArgumentError, match=f"have their own .*got {next(iter(more))} too"):
        SameTargetSubsequences(Subsequences(*flat(), 3), **more)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (torch.tensor([-1]), r"rows must lie in 0..11 .got -1..-1"),
        (torch.tensor([12]), "rows must lie in 0..11"),
        (torch.tensor([0.0]), "rows must hold integers"),
        (torch.tensor([True] * 12), "rows must hold integers"),
        (torch.tensor([[0]]), "one dimension"),
        ([0], "rows must be a tensor .got list"),
    ],
)
def test_rows_that_are_not_there_are_not_gathered(rows, words):
    subsequences = Subsequences(*flat(), 3)
    assert len(subsequences) == 12
    with pytest.raises(ArgumentError, match=words):
        subsequences.gather(rows)


@pytest.mark.parametrize(
    ("targets", "rows", "words"),
    [
        (torch.tensor([1.0, 5.0]), None, "targets must hold integers"),
        (torch.tensor([True, False]), None, "targets must hold integers"),
        ([1, 5], None, "targets must be a tensor"),
        (torch.tensor([1]), None, r"targets must be \(2,\)"),
        (torch.tensor([1, 5]), torch.tensor([0]), r"rows must be \(2,\)"),
        (torch.tensor([1, 5]), torch.tensor([0.0, 1.0]), "rows must hold integers"),
        (torch.tensor([1, 5]), torch.tensor([0, 99]), "rows must lie in -1"),
        (torch.tensor([1, 5]), torch.tensor([0, -2]), "rows must lie in -1"),
        (torch.tensor([1, 5]), [0, 1], "rows must be a tensor"),
    ],
)
def test_bad_targets_and_rows_are_refused(targets, rows, words):
    view = SameTargetSubsequences(*flat(), 3)
    items, lengths = view.subsequences.gather(torch.tensor([0, 1]))
    with pytest.raises(ArgumentError, match=words):
        view(items, lengths, targets=targets, rows=rows)
    if len(targets) == 2:
        with pytest.raises(ArgumentError, match=words):
            view.draw(targets, rows)


def test_semantic_neighbours_come_from_other_users_and_are_the_nearest():
    pool = Subsequences(*flat(), 5)
    embedding = torch.randn(len(pool), 3, generator=torch.Generator().manual_seed(0))
    view = SemanticNeighbours(pool, embedding, count=2)
    unit = torch.nn.functional.normalize(embedding, dim=1)
    for row in range(len(pool)):
        others = torch.nonzero(pool.users != pool.users[row]).flatten()
        best = others[(unit[others] @ unit[row]).sort(descending=True).indices[:2]]
        assert view.neighbours[row].tolist() == best.tolist()
    rows = torch.tensor([0, -1])
    items, lengths = pool.gather(torch.tensor([0, 3]))
    seen, seen_lengths = view(items, lengths, rows=rows)
    allowed = pool.gather(view.neighbours[0])
    assert seen[0, : int(seen_lengths[0])].tolist() in [
        before[:n].tolist() for before, n in zip(*allowed, strict=True)
    ]
    assert torch.equal(seen[1, : items.shape[1]], items[1])
    with pytest.raises(ArgumentError, match="one row a subsequence"):
        SemanticNeighbours(pool, embedding[1:])
    with pytest.raises(ArgumentError, match="embedding must be a tensor"):
        SemanticNeighbours(pool, embedding.tolist())
    for wrong in (rows.double(), rows[:1], rows.tolist()):
        with pytest.raises(ArgumentError, match="rows must"):
            view(items, lengths, rows=wrong)


def blobs(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    centres = torch.eye(4, 6) * 10
    labels = torch.arange(400) % 4
    return centres[labels] + torch.randn(400, 6, generator=generator) * 0.3, labels


def test_prototypes_find_planted_clusters_and_follow_them():
    points, labels = blobs()
    prototypes = Prototypes(4, 6, batch_size=64)
    prototypes.fit(points, torch.Generator().manual_seed(0))
    found, nearest = prototypes(points)
    pairs = torch.unique(torch.stack((labels, found)), dim=1)
    assert pairs.shape[1] == 4
    torch.testing.assert_close(nearest, points, atol=1.5, rtol=0)
    first = prototypes.centroids.clone()
    prototypes.fit(points + 1.0, torch.Generator().manual_seed(1))
    moved, _ = prototypes(points + 1.0)
    assert torch.equal(moved, found)  # the warm start keeps the numbers
    torch.testing.assert_close(prototypes.centroids, first + 1, atol=0.3, rtol=0)


def test_prototypes_are_reproducible_kept_in_the_state_and_never_dead():
    points, _ = blobs()
    states = []
    for _ in range(2):
        prototypes = Prototypes(8, 6)
        prototypes.fit(points, torch.Generator().manual_seed(3))
        states.append(prototypes.state_dict())
    assert torch.equal(states[0]["centroids"], states[1]["centroids"])
    other = Prototypes(8, 6)
    other.load_state_dict(states[0])
    assert torch.equal(other.assign(points), prototypes.assign(points))
    other.load_state_dict(Prototypes(8, 6).state_dict())
    with pytest.raises(ArgumentError, match="must be fitted"):
        other(points)
    other.load_state_dict(states[0])
    other.centroids[0] = 1e6
    other.fit(points, torch.Generator().manual_seed(0))
    assert other.centroids.abs().max() < 100
    more = Prototypes(8, 6)
    with pytest.raises(ArgumentError, match="must be fitted"):
        more(points)
    more.fit(points[:3])
    assert torch.isfinite(more.centroids).all()
    with pytest.raises(ArgumentError, match="representations"):
        more.fit(torch.randn(3, 5))
    with pytest.raises(ArgumentError, match="at least one"):
        more.fit(torch.randn(0, 6))


def test_the_mean_takes_a_table_of_all_items_without_nan():
    rows = Subsequences(torch.arange(8), torch.tensor([0, 4, 8]), 3)
    table = torch.ones(8, 2)
    table[1, 0] = torch.nan
    with pytest.raises(NonFiniteArgumentError, match=r"embedding must be finite.*at \[1, 0\]"):
        rows.mean_embedding(table)
    for wrong, words in (
        (torch.ones(7, 2), r"a row for every item, up to 7 \(got 7 rows\)"),
        (torch.ones(8), "floating .num_items, d."),
        (torch.ones(8, 2).long(), "floating .num_items, d."),
        ([[1.0]] * 8, "must be a tensor"),
    ):
        with pytest.raises(ArgumentError, match=words):
            rows.mean_embedding(wrong)


def test_histories_that_would_wrap_around_are_refused():
    histories, offsets = torch.tensor([300, 2, 5, 2]), torch.tensor([0, 2, 4])
    view = SameTargetSubsequences(histories, offsets, 5)
    items, lengths = torch.tensor([[1]], dtype=torch.int8), torch.tensor([1])
    with pytest.raises(ArgumentError, match=r"the histories must lie in -128\.\.127 .*got 300"):
        view(items, lengths, targets=torch.tensor([2]))
    view = SameTargetSubsequences(histories % 100, offsets, 5, padding=300)
    with pytest.raises(ArgumentError, match=r"padding must lie in -128\.\.127 .*got 300"):
        view(items, lengths, targets=torch.tensor([2]))


def test_no_rows_have_no_semantic_neighbours():
    empty = Subsequences(torch.zeros(0, dtype=torch.long), torch.zeros(3, dtype=torch.long), 5)
    with pytest.raises(ArgumentError, match="subsequences must have at least one row"):
        SemanticNeighbours(empty, torch.zeros(0, 4))


def test_prototypes_take_no_nan_at_any_fit():
    prototypes = Prototypes(2, 3)
    for _ in range(2):
        with pytest.raises(NonFiniteArgumentError, match="representations must be finite"):
            prototypes.fit(torch.full((9, 3), torch.nan))
        prototypes.fit(torch.randn(50, 3), torch.Generator().manual_seed(0))
        assert prototypes.centroids.isfinite().all()


@pytest.mark.parametrize("name", ["count", "dimension", "sample", "batch_size"])
@pytest.mark.parametrize("number", [0, True, 1.5])
def test_prototypes_are_counted_from_one(name, number):
    sizes = {"count": 2, "dimension": 3, name: number}
    with pytest.raises(ArgumentError, match=f"{name} must be a whole number of at least 1"):
        Prototypes(**sizes)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"anchor": (2, 5)}, r"anchor must be \(B, 4\)"),
        ({"neighbours": (2, 3, 5)}, r"neighbours \(B, K, 4\)"),
        ({"states": (2, 2, 6)}, r"states \(B, K, d\)"),
        ({"states": (2, 6)}, r"states must be floating \(B, K, d\)"),
        ({"present": (3, 3)}, r"present must be bool \(2, 3\)"),
    ],
)
def test_mixing_refuses_shapes_that_disagree(changed, words):
    shapes = {"anchor": (2, 4), "neighbours": (2, 3, 4), "states": (2, 3, 6)} | changed
    present = torch.ones(shapes.pop("present", (2, 3)), dtype=torch.bool)
    parts = {name: torch.randn(shape) for name, shape in shapes.items()}
    with pytest.raises(ArgumentError, match=words):
        NeighbourSynthesis(4, 5)(**parts, present=present)
    with pytest.raises(ArgumentError, match="present must be bool"):
        NeighbourSynthesis(4, 5)(
            torch.randn(2, 4), torch.randn(2, 3, 4), torch.randn(2, 3, 6), present.float()
        )


def test_learned_views_refuse_another_width():
    for wrong in (torch.randn(2, 5), torch.zeros(2, 4).long()):
        with pytest.raises(ArgumentError, match=r"representations must be floating \(..., 4\)"):
            LearnableAugmenter(4)(wrong)
    with pytest.raises(ArgumentError, match=r"hidden must be a sequence of widths \(got 8\)"):
        LearnableAugmenter(4, 8)
    assert LearnableAugmenter(np.int64(4), [np.int64(3)])(torch.randn(2, 4)).shape == (2, 4)
