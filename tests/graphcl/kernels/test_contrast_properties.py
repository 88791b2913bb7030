"""Properties of the contrast operator that hold for every input."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from graphcl.kernels.contrast import ContrastOutput, contrast

SIZES = st.integers(1, 40)
TILES = st.integers(1, 48)
SPREADS = st.sampled_from([0.1, 1.0, 30.0])
SEEDS = st.integers(0, 2**20)
FEW = settings(max_examples=40, deadline=None)


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


@FEW
@given(SIZES, SIZES, SPREADS, SEEDS, TILES, st.booleans())
def test_tile_size_does_not_matter(
    rows: int, columns: int, spread: float, seed: int, tile: int, decoupled: bool
) -> None:
    problem = draw(rows, columns, spread, seed)
    one = contrast(**problem, scale=1.5, decoupled=decoupled, backend="tiles", tile=tile)
    other = contrast(**problem, scale=1.5, decoupled=decoupled, backend="tiles", tile=64)
    assert same(one, other)


@FEW
@given(SIZES, SIZES, SPREADS, SEEDS, TILES)
def test_order_of_the_keys_does_not_matter(
    rows: int, columns: int, spread: float, seed: int, tile: int
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
    one = contrast(**problem, scale=1.5, decoupled=True, backend="tiles", tile=tile)
    assert same(one, contrast(**shuffled, scale=1.5, decoupled=True, backend="tiles", tile=tile))


@FEW
@given(SIZES, SIZES, SPREADS, SEEDS, TILES)
def test_a_duplicate_candidate_is_a_bias_of_log_two(
    rows: int, columns: int, spread: float, seed: int, tile: int
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
        contrast(**twice, scale=1.5, backend="tiles", tile=tile),
        contrast(**heavier, scale=1.5, backend="tiles", tile=tile),
    )


@FEW
@given(SIZES, SIZES, SPREADS, SEEDS, TILES)
def test_an_excluded_candidate_changes_nothing(
    rows: int, columns: int, spread: float, seed: int, tile: int
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
        contrast(**problem, scale=1.5, backend="tiles", tile=tile),
        contrast(**more, scale=1.5, backend="tiles", tile=tile),
    )


@FEW
@given(SIZES, SPREADS, SEEDS, TILES, st.booleans())
def test_symmetric_tiles_equal_the_one_sided_operator(
    count: int, spread: float, seed: int, tile: int, decoupled: bool
) -> None:
    problem = draw(count, count, spread, seed)
    rows, upstream = problem["query"], torch.linspace(-1, 1, count, dtype=torch.float64)
    ids = torch.arange(count)
    common = {
        "scale": 1.5,
        "positive": problem["positive"],
        "column_bias": problem["column_bias"],
        "decoupled": decoupled,
        "backend": "tiles",
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
