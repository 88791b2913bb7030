"""Metrics against the definition: sort the candidates in every order that ties allow, average."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcl.errors import ArgumentError, NonFiniteError
from recsys.evaluate import metrics
from recsys.evaluate.metrics import TiePolicy, find_places, metrics_per_user

CUTOFFS = (1, 2, 3, 5, 9)


def of_ranking(ranking: list[int], targets: set[int]) -> dict[str, float]:
    """The textbook definitions for one ranked list."""
    hits = [position for position, item in enumerate(ranking) if item in targets]
    result = {"mrr": 1 / (1 + hits[0])}
    for k in CUTOFFS:
        top = [position for position in hits if position < k]
        ideal = sum(1 / math.log2(p + 2) for p in range(min(k, len(targets))))
        result[f"recall@{k}"] = len(top) / len(targets)
        result[f"precision@{k}"] = len(top) / k
        result[f"hit@{k}"] = float(bool(top))
        result[f"mrr@{k}"] = 1 / (min(top) + 1) if top else 0.0
        result[f"ndcg@{k}"] = sum(1 / math.log2(p + 2) for p in top) / ideal
    return result


def brute_force(
    scores: list[float], targets: set[int], excluded: set[int], ties: str
) -> dict[str, float]:
    candidates = [item for item in range(len(scores)) if item not in excluded or item in targets]
    if ties != "mean":
        sign = -1 if ties == "optimistic" else 1
        key = lambda item: (-scores[item], sign * (item in targets))  # noqa: E731
        return of_ranking(sorted(candidates, key=key), targets)
    groups = [
        [item for item in candidates if scores[item] == value]
        for value in sorted({scores[item] for item in candidates}, reverse=True)
    ]
    orders = itertools.product(*(itertools.permutations(group) for group in groups))
    results = [of_ranking([i for group in order for i in group], targets) for order in orders]
    return {name: sum(r[name] for r in results) / len(results) for name in results[0]}


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[list[float]], list[set[int]], list[set[int]]]:
    num_items = draw(st.integers(1, 6))
    item = st.integers(0, num_items - 1)
    values = st.sampled_from([-math.inf, -1.0, 0.0, 0.5, math.inf])
    num_rows = draw(st.integers(1, 4))
    scores = [[draw(values) for _ in range(num_items)] for _ in range(num_rows)]
    targets = [draw(st.sets(item)) for _ in range(num_rows)]
    excluded = [draw(st.sets(item)) for _ in range(num_rows)]
    return scores, targets, excluded


def flat(sets: list[set[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    pairs = [(row, item) for row, items in enumerate(sets) for item in sorted(items)]
    table = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


@pytest.mark.parametrize("ties", ["mean", "optimistic", "pessimistic"])
@given(case=cases())
@settings(max_examples=60, deadline=None)
def test_against_the_definition(ties, case) -> None:
    scores, targets, excluded = case
    tensor = torch.tensor(scores)
    before = tensor.clone()
    places = find_places(tensor, *flat(targets), flat(excluded), ties)
    found = metrics_per_user(places, len(scores), CUTOFFS)
    assert torch.equal(tensor, before)
    for row, wanted in enumerate(targets):
        if not wanted:
            assert all(math.isnan(values[row]) for values in found.values())
            continue
        expected = brute_force(scores[row], wanted, excluded[row], ties)
        assert set(found) == set(expected)
        for name, value in expected.items():
            assert float(found[name][row]) == pytest.approx(value, abs=1e-12), name
            assert -1e-12 <= float(found[name][row]) <= 1 + 1e-12


def test_ideal_list_counts_all_targets() -> None:
    """Ten positives and one hit, at rank 2: DCG 0.6309 over IDCG 4.5436, not over 0.6309."""
    scores = torch.arange(100, 0, -1, dtype=torch.float32)[None]
    targets = torch.tensor([1, *range(50, 59)])
    places = find_places(scores, torch.zeros(10, dtype=torch.int64), targets)
    found = metrics_per_user(places, 1, (20,))
    assert float(found["ndcg@20"]) == pytest.approx(0.1389, abs=5e-5)
    assert float(found["recall@20"]) == pytest.approx(0.1)
    assert float(found["mrr"]) == pytest.approx(0.5)


def test_constant_scores_get_the_value_of_chance() -> None:
    rows = torch.zeros(1, dtype=torch.int64)
    places = find_places(torch.zeros(1, 50), rows, torch.tensor([7]))
    found = metrics_per_user(places, 1, (10,))
    assert float(found["hit@10"]) == pytest.approx(10 / 50)
    assert float(found["mrr"]) == pytest.approx(sum(1 / r for r in range(1, 51)) / 50)


def test_ties_of_any_width_are_counted_in_narrow_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without history ties with all items: a row as wide as the catalogue for every user
    of a block would not fit a large one."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 3, (30, 40), generator=generator).float()
    scores[3] = 0
    rows, wanted = torch.nonzero(torch.rand(30, 40, generator=generator) < 0.1, as_tuple=True)
    places = find_places(scores, rows, wanted)
    whole = metrics_per_user(places, 30, CUTOFFS)
    seen = []
    narrow = metrics._narrow_blocks
    monkeypatch.setattr(metrics, "CELLS", 64)
    monkeypatch.setattr(
        metrics, "_narrow_blocks", lambda width: seen.append(list(narrow(width))) or seen[-1]
    )
    parts = metrics_per_user(places, 30, CUTOFFS)
    for name, values in whole.items():
        torch.testing.assert_close(parts[name], values, rtol=0, atol=1e-15, equal_nan=True)
    assert len(seen[0]) > 3
    assert torch.cat(seen[0]).sort().values.tolist() == list(range(30))


def test_vectors_and_their_products_agree() -> None:
    generator = torch.Generator().manual_seed(0)
    users, items = (torch.randint(-2, 3, (n, 6), generator=generator).float() for n in (13, 40))
    rows, wanted = torch.nonzero(torch.rand(13, 40, generator=generator) < 0.2, as_tuple=True)
    excluded = torch.nonzero(torch.rand(13, 40, generator=generator) < 0.2, as_tuple=True)
    shuffled = torch.randperm(len(excluded[0]), generator=generator)
    whole = find_places(users @ items.T, rows, wanted, excluded)
    parts = find_places((users, items), rows, wanted, tuple(part[shuffled] for part in excluded))
    assert torch.equal(whole.higher, parts.higher)
    assert torch.equal(whole.tied, parts.tied)


@pytest.mark.parametrize("ties", ["mean", "optimistic", "pessimistic"])
@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.uint16])
def test_integers_of_any_width(ties: TiePolicy, dtype: torch.dtype) -> None:
    scores = torch.tensor([[0.0, 1.0, 1.0], [2.0, 2.0, 2.0]])
    rows, targets = torch.tensor([0, 0, 1]), torch.tensor([1, 0, 2])
    excluded = torch.tensor([1, 0]), torch.tensor([1, 2])
    wanted = find_places(scores, rows, targets, excluded, ties)
    got = find_places(
        scores, rows.to(dtype), targets.to(dtype), tuple(p.to(dtype) for p in excluded), ties
    )
    for one, other in zip(vars(got).values(), vars(wanted).values(), strict=True):
        assert torch.equal(one, other)


def test_refusals() -> None:
    row = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(NonFiniteError, match="NaN scores"):
        find_places(torch.tensor([[0.0, math.nan]]), row, row)
    with pytest.raises(ArgumentError, match="ties must be one of"):
        find_places(torch.zeros(1, 2), row, row, ties="lucky")  # type: ignore[arg-type]
    places = find_places(torch.zeros(1, 2), row, row)
    two = torch.zeros(2, 3)
    for rows, words in (
        ([1, 0], r"rows must ascend \(got 1 before 0\)"),
        ([0, 0, 1], "rows and targets must be of one dimension and one length"),
        ([[0, 1]], "rows and targets must be of one dimension and one length"),
        ([-1, 0], r"rows must lie in 0..1, those of scores \(got -1..0\)"),
        ([0, 2], r"rows must lie in 0..1"),
        ([0.0, 1.0], r"rows must hold integers"),
    ):
        with pytest.raises(ArgumentError, match=words):
            find_places(two, torch.tensor(rows), torch.tensor([2, 1]))
    with pytest.raises(ArgumentError, match="rows must be a tensor"):
        find_places(two, [0, 1], torch.tensor([2, 1]))  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="targets must be a tensor"):
        find_places(two, torch.tensor([0, 1]), [2, 1])  # type: ignore[arg-type]
    for excluded, words in (
        (([0], [0]), "rows excluded must be a tensor"),
        ((torch.tensor([0]), torch.tensor([0.0])), "items excluded must hold integers"),
        ((torch.tensor([0, 1]), torch.tensor([0])), "must be of one dimension and one length"),
        ((torch.tensor([1, -1]), torch.tensor([0, 0])), r"rows excluded must lie in 0..1.*-1..1"),
        ((torch.tensor([0, 2]), torch.tensor([0, 0])), r"rows excluded must lie in 0..1.*0..2"),
    ):
        with pytest.raises(ArgumentError, match=words):
            find_places(two, torch.tensor([0, 1]), torch.tensor([2, 1]), excluded)
    for cutoffs in ((), (0, 5), (5.0,), ("5",), "5", 5, (True,), None):
        with pytest.raises(ArgumentError, match="cutoffs must be positive"):
            metrics_per_user(places, 1, cutoffs)
