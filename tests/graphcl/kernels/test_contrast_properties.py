"""Properties of the contrast operator that hold for every input."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from graphcl.kernels.contrast import (
    LOG_SUM_EXP,
    ContrastOutput,
    Pairs,
    contrast,
    mean_logit,
    pair_sum,
    top_candidates,
)

SIZES = st.integers(1, 40)
TILES = st.integers(1, 48)
SPREADS = st.sampled_from([0.1, 1.0, 30.0])
SEEDS = st.integers(0, 2**20)
FEW = settings(max_examples=40, deadline=None)
streaming = pytest.mark.parametrize("backend", [name for name in LOG_SUM_EXP if name != "dense"])


def draw(rows: int, columns: int, spread: float, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = max(2, columns // 2)
    return {
        "query": torch.randn(rows, 4, generator=generator, dtype=torch.float64) * spread,
        "key": torch.randn(columns, 4, generator=generator, dtype=torch.float64) * spread,
        "column_bias": torch.randn(columns, generator=generator, dtype=torch.float64),
        "row_ids": torch.randint(ids, (rows,), generator=generator),
        "column_ids": torch.randint(ids, (columns,), generator=generator),
        "positive": torch.randint(-1, columns, (rows,), generator=generator),
    }


def same(left: ContrastOutput, right: ContrastOutput) -> bool:
    return all(torch.allclose(a, b, rtol=1e-11, atol=1e-11) for a, b in zip(left, right))  # noqa: B905


@streaming
@FEW
@given(SIZES, SIZES, SPREADS, SEEDS, TILES, st.booleans())
def test_tile_size_does_not_matter(
    backend: str, rows: int, columns: int, spread: float, seed: int, tile: int, decoupled: bool
) -> None:
    problem = draw(rows, columns, spread, seed)
    one = contrast(**problem, scale=1.5, decoupled=decoupled, backend=backend, tile=tile)
    other = contrast(**problem, scale=1.5, decoupled=decoupled, backend=backend, tile=64)
    assert same(one, other)


@streaming
@FEW
@given(SIZES, SIZES, SPREADS, SEEDS, TILES)
def test_order_of_the_keys_does_not_matter(
    backend: str, rows: int, columns: int, spread: float, seed: int, tile: int
) -> None:
    problem = draw(rows, columns, spread, seed)
    order = torch.randperm(columns, generator=torch.Generator().manual_seed(seed))
    position = torch.empty_like(order)
    position[order] = torch.arange(columns)
    positive = problem["positive"]
    shuffled = {
        **problem,
        "key": problem["key"][order],
        "column_bias": problem["column_bias"][order],
        "column_ids": problem["column_ids"][order],
        "positive": torch.where(positive >= 0, position[positive.clamp_min(0)], -1),
    }
    one = contrast(**problem, scale=1.5, decoupled=True, backend=backend, tile=tile)
    assert same(one, contrast(**shuffled, scale=1.5, decoupled=True, backend=backend, tile=tile))


@streaming
@FEW
@given(SIZES, SIZES, SPREADS, SEEDS, TILES)
def test_a_duplicate_candidate_is_a_bias_of_log_two(
    backend: str, rows: int, columns: int, spread: float, seed: int, tile: int
) -> None:
    problem = draw(rows, columns, spread, seed)
    problem["positive"] = torch.full((rows,), -1)
    twice = {
        **problem,
        "key": torch.cat([problem["key"], problem["key"][:1]]),
        "column_ids": torch.cat([problem["column_ids"], problem["column_ids"][:1]]),
        "column_bias": torch.cat([problem["column_bias"], problem["column_bias"][:1]]),
    }
    heavier = {**problem, "column_bias": problem["column_bias"].clone()}
    heavier["column_bias"][0] += math.log(2)
    assert same(
        contrast(**twice, scale=1.5, backend=backend, tile=tile),
        contrast(**heavier, scale=1.5, backend=backend, tile=tile),
    )


@streaming
@FEW
@given(SIZES, SIZES, SPREADS, SEEDS, TILES)
def test_an_excluded_candidate_changes_nothing(
    backend: str, rows: int, columns: int, spread: float, seed: int, tile: int
) -> None:
    problem = draw(rows, columns, spread, seed)
    problem["row_ids"] = torch.zeros(rows, dtype=torch.long)
    problem["column_ids"] = torch.ones(columns, dtype=torch.long)
    # The new column is excluded for every row, however large its logit.
    more = {
        **problem,
        "key": torch.cat([problem["key"], 50 * problem["query"][:1]]),
        "column_ids": torch.cat([problem["column_ids"], torch.zeros(1, dtype=torch.long)]),
        "column_bias": torch.cat([problem["column_bias"], torch.full((1,), 9.0).double()]),
    }
    assert same(
        contrast(**problem, scale=1.5, backend=backend, tile=tile),
        contrast(**more, scale=1.5, backend=backend, tile=tile),
    )


@streaming
@FEW
@given(SIZES, SPREADS, SEEDS, TILES, st.booleans())
def test_symmetric_tiles_equal_the_one_sided_operator(
    backend: str, count: int, spread: float, seed: int, tile: int, decoupled: bool
) -> None:
    problem = draw(count, count, spread, seed)
    rows, upstream = problem["query"], torch.linspace(-1, 1, count, dtype=torch.float64)
    ids = torch.arange(count)
    common = {
        "scale": 1.5,
        "positive": problem["positive"],
        "column_bias": problem["column_bias"],
        "decoupled": decoupled,
        "backend": backend,
        "tile": tile,
    }
    results = []
    for itself in (True, False):
        leaf = rows.clone().requires_grad_()
        if itself:
            output = contrast(leaf, **common)
        else:
            output = contrast(leaf, leaf, row_ids=ids, column_ids=ids, **common)
        total = (torch.where(torch.isneginf(output.denominator), 0, output.denominator)) @ upstream
        results.append((output, torch.autograd.grad(total, leaf)[0]))
    assert same(results[0][0], results[1][0])
    assert torch.allclose(results[0][1], results[1][1], rtol=1e-9, atol=1e-9)


def with_options(problem: dict[str, Tensor], seed: int) -> dict[str, object]:
    """Every option at once, but the callable: it belongs to two backends only."""
    generator = torch.Generator().manual_seed(seed + 1)
    rows, columns = len(problem["query"]), len(problem["key"])
    order = torch.randperm(rows * columns, generator=generator)
    first, second = order[: rows * 2], order[: columns * 2].flip(0)
    return {
        **problem,
        "row_groups": torch.randint(2, (rows,), generator=generator),
        "column_groups": torch.randint(2, (columns,), generator=generator),
        "exclude": Pairs(first // columns, first % columns),
        "weights": Pairs(
            second // columns,
            second % columns,
            torch.randn(len(second), generator=generator, dtype=torch.float64),
        ),
        "hardness": 0.5,
    }


@streaming
@FEW
@given(SIZES, SIZES, SPREADS, SEEDS, TILES, st.booleans())
def test_every_option_at_once_equals_the_dense_backend(
    backend: str, rows: int, columns: int, spread: float, seed: int, tile: int, decoupled: bool
) -> None:
    problem = with_options(draw(rows, columns, spread, seed), seed)
    leaves = [problem[name].requires_grad_() for name in ("query", "key", "column_bias")]
    leaves.append(problem["weights"].log_weight.requires_grad_())
    upstream = torch.linspace(-1, 1, rows, dtype=torch.float64)
    results = []
    for name in (backend, "dense"):
        output = contrast(**problem, scale=1.5, decoupled=decoupled, backend=name, tile=tile)
        total = sum(part.masked_fill(torch.isneginf(part), 0) @ upstream for part in output)
        results.append((output, torch.autograd.grad(total, leaves)))
    assert same(results[0][0], results[1][0])
    for left, right in zip(results[0][1], results[1][1], strict=True):
        assert torch.allclose(left, right, rtol=1e-10, atol=1e-10)


@streaming
@FEW
@given(SIZES, SIZES, SPREADS, SEEDS, TILES)
def test_rows_do_not_know_of_each_other(
    backend: str, rows: int, columns: int, spread: float, seed: int, tile: int
) -> None:
    problem = draw(rows, columns, spread, seed)
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
    shuffled = {
        **problem,
        **{name: problem[name][order] for name in ("query", "row_ids", "positive")},
    }
    one = contrast(**problem, scale=1.5, backend=backend, tile=tile)
    other = contrast(**shuffled, scale=1.5, backend=backend, tile=tile)
    assert same(ContrastOutput(*(part[order] for part in one)), other)


@streaming
@FEW
@given(SIZES, SIZES, SPREADS, SEEDS, TILES)
def test_a_shift_of_every_logit_shifts_the_denominator_alone(
    backend: str, rows: int, columns: int, spread: float, seed: int, tile: int
) -> None:
    problem = draw(rows, columns, spread, seed)
    query = problem["query"].requires_grad_()
    found = []
    for shift in (0.0, -300.0):
        shifted = {**problem, "column_bias": problem["column_bias"] + shift}
        denominator = contrast(**shifted, scale=1.5, backend=backend, tile=tile).denominator
        finite = denominator.masked_fill(torch.isneginf(denominator), 0)
        found.append((denominator - shift, torch.autograd.grad(finite.sum(), query)[0]))
    for left, right in zip(*found, strict=True):
        assert torch.allclose(left, right, rtol=1e-10, atol=1e-9)


@streaming
@FEW
@given(SIZES, SIZES, SPREADS, SEEDS, TILES)
def test_pair_weights_are_biases_exclusions_and_duplicates(
    backend: str, rows: int, columns: int, spread: float, seed: int, tile: int
) -> None:
    problem = draw(rows, columns, spread, seed)
    every = torch.arange(rows)
    column = seed % columns
    pairs = every, torch.full((rows,), column)

    def run(**changes: object) -> ContrastOutput:
        return contrast(**{**problem, **changes}, scale=1.5, backend=backend, tile=tile)

    def weighted(weight: float) -> Pairs:
        return Pairs(*pairs, torch.full((rows,), weight, dtype=torch.float64))

    # The whole column by log 2: a bias of that column.
    heavier = problem["column_bias"].clone()
    heavier[column] += math.log(2)
    assert same(run(weights=weighted(math.log(2))), run(column_bias=heavier))
    # By log 0: the same as excluded.
    removed = run(weights=weighted(-math.inf)).denominator
    without = run(exclude=Pairs(*pairs)).denominator
    assert torch.allclose(removed, without, rtol=1e-11, atol=1e-11)


@streaming
@FEW
@given(SIZES, SIZES, SPREADS, SEEDS, TILES)
def test_groups_are_the_exclusion_of_every_foreign_pair(
    backend: str, rows: int, columns: int, spread: float, seed: int, tile: int
) -> None:
    problem = draw(rows, columns, spread, seed)
    generator = torch.Generator().manual_seed(seed)
    of_rows = torch.randint(-2, 3, (rows,), generator=generator)
    of_columns = torch.randint(-2, 3, (columns,), generator=generator)
    foreign = (of_rows[:, None] != of_columns).nonzero()
    assert same(
        contrast(
            **problem,
            row_groups=of_rows,
            column_groups=of_columns,
            scale=1.5,
            backend=backend,
            tile=tile,
        ),
        contrast(**problem, exclude=Pairs(*foreign.T), scale=1.5, backend=backend, tile=tile),
    )


@streaming
@FEW
@given(SIZES, SIZES, SPREADS, SEEDS, TILES)
def test_hardness_is_the_steeper_value_with_the_flatter_gradient(
    backend: str, rows: int, columns: int, spread: float, seed: int, tile: int
) -> None:
    problem = draw(rows, columns, spread, seed)
    leaves = [problem["query"].requires_grad_(), problem["key"].requires_grad_()]
    results = []
    for scale, hardness in ((1.5, 0.5), (2.0, 0.0)):
        output = contrast(**problem, scale=scale, hardness=hardness, backend=backend, tile=tile)
        finite = output.denominator.masked_fill(torch.isneginf(output.denominator), 0)
        results.append((output.denominator, torch.autograd.grad(finite.sum(), leaves)))
    (hard, slopes), (steep, steeper) = results
    assert torch.equal(hard, steep)
    for left, right in zip(slopes, steeper, strict=True):
        assert torch.allclose(left, 0.75 * right, rtol=1e-12)


@FEW
@given(SIZES, SIZES, SPREADS, SEEDS, TILES)
def test_other_reductions_do_not_know_the_tile(
    rows: int, columns: int, spread: float, seed: int, tile: int
) -> None:
    problem = draw(rows, columns, spread, seed)
    del problem["positive"]
    one, other = (
        mean_logit(**problem, scale=1.5, backend="tiles", tile=side) for side in (tile, 64)
    )
    assert torch.allclose(one.denominator, other.denominator, rtol=1e-11, atol=1e-11)
    assert torch.allclose(one.mean, other.mean, rtol=1e-11, atol=1e-11)
    assert bool((one.mean <= one.denominator + 1e-9).logical_or(one.denominator.isneginf()).all())
    sums = [
        pair_sum(**problem, function=torch.sigmoid, scale=1.5, backend="tiles", tile=side)
        for side in (tile, 64)
    ]
    assert torch.allclose(*sums, rtol=1e-11, atol=1e-11)
    del problem["column_bias"]
    problem["key"] = problem["key"].round()
    problem["query"] = problem["query"].round()  # integers: products are exact, ties are many
    found = [top_candidates(**problem, count=5, tile=side) for side in (tile, 64)]
    assert torch.equal(found[0].indices, found[1].indices)
    assert torch.equal(found[0].values, found[1].values)


@streaming
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_whose_squares_vanish(backend: str, dtype: torch.dtype) -> None:
    # Their norms are 0 in floating point, yet the logits are hundreds.
    short = 1e-24 if dtype == torch.float32 else 1e-170
    query = torch.full((3, 2), short, dtype=dtype)
    key = torch.full((5, 2), 1e10, dtype=dtype)
    scale = 100.0 / (short * 1e10)
    output = contrast(query, key, scale=scale, backend=backend)
    wanted = torch.full((3,), 200.0 + math.log(5.0), dtype=dtype)
    torch.testing.assert_close(output.denominator, wanted, rtol=1e-5, atol=0)
