"""The contrast operator against its definition in double loops, and tiles against dense."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from graphcl.kernels import contrast as package
from graphcl.kernels.contrast import LOG_SUM_EXP, ContrastOutput, contrast, contrast_both
from graphcl.kernels.contrast.exclusion import match_ids

STREAMING = [name for name in LOG_SUM_EXP if name != "dense"]
every_backend = pytest.mark.parametrize("backend", list(LOG_SUM_EXP))
streaming = pytest.mark.parametrize("backend", STREAMING)


def by_definition(
    query: Tensor,
    key: Tensor,
    scale: float,
    positive: list[int],
    row_ids: list[int],
    column_ids: list[int],
    column_bias: list[float],
    decoupled: bool,
) -> tuple[list[float], list[float]]:
    """Double loop over Python floats, straight from the docstring of `contrast`."""
    denominators, positives = [], []
    for i, q in enumerate(query.tolist()):
        logits = [
            scale * sum(a * b for a, b in zip(q, k, strict=True)) + bias
            for k, bias in zip(key.tolist(), column_bias, strict=True)
        ]
        kept = [
            logit
            for j, logit in enumerate(logits)
            if row_ids[i] != column_ids[j] and not (decoupled and positive[i] == j)
        ]
        top = max(kept, default=-math.inf)
        total = sum(math.exp(logit - top) for logit in kept) if kept else 0.0
        denominators.append(top + math.log(total) if total else -math.inf)
        positives.append(logits[positive[i]] if positive[i] >= 0 else 0.0)
    return denominators, positives


def problem(rows: int, columns: int, spread: float = 0.5, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "query": torch.randn(rows, 5, generator=generator, dtype=torch.float64) * spread,
        "key": torch.randn(columns, 5, generator=generator, dtype=torch.float64) * spread,
        "column_bias": torch.randn(columns, generator=generator, dtype=torch.float64),
        "positive": torch.randint(-1, columns, (rows,), generator=generator),
        "row_ids": torch.randint(0, 9, (rows,), generator=generator),
        "column_ids": torch.randint(0, 11, (columns,), generator=generator),
    }


def value_and_gradients(output: list[Tensor], leaves: list[Tensor]) -> list[Tensor]:
    """Outputs and the gradients of a fixed, uneven combination of their finite entries."""
    total = torch.zeros((), dtype=output[0].dtype)
    for part in output:
        weight = torch.linspace(-1.0, 2.0, part.numel(), dtype=part.dtype)
        total = total + (torch.where(torch.isneginf(part), 0.0, part) * weight).sum()
    return [part.detach() for part in output] + list(torch.autograd.grad(total, leaves))


def assert_same(actual: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    for left, right in zip(actual, expected, strict=True):
        assert not left.isnan().any()
        assert torch.equal(left.isinf(), right.isinf())
        finite = ~right.isinf()
        size = max(1.0, float(right[finite].abs().max())) if finite.any() else 1.0
        assert float((left[finite] - right[finite]).abs().sum()) <= tolerance * size * right.numel()


@pytest.mark.parametrize("backend", [*LOG_SUM_EXP, "auto"])
@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize(("rows", "columns"), [(7, 10), (10, 7), (1, 1), (8, 4)])
def test_matches_the_definition(rows: int, columns: int, decoupled: bool, backend: str) -> None:
    given = problem(rows, columns)
    expected = by_definition(
        given["query"],
        given["key"],
        2.5,
        given["positive"].tolist(),
        given["row_ids"].tolist(),
        given["column_ids"].tolist(),
        given["column_bias"].tolist(),
        decoupled,
    )
    output = contrast(**given, scale=2.5, decoupled=decoupled, backend=backend, tile=4)
    for actual, wanted in zip(output, expected, strict=True):
        assert torch.allclose(actual, torch.tensor(wanted, dtype=torch.float64), atol=1e-12)


@every_backend
def test_self_similarity_excludes_oneself_by_default(backend: str) -> None:
    given = problem(9, 9)
    positive = given["positive"]
    expected, _ = by_definition(
        given["query"],
        given["query"],
        3.0,
        positive.tolist(),
        list(range(9)),
        list(range(9)),
        [0.0] * 9,
        False,
    )
    output = contrast(given["query"], scale=3.0, positive=positive, backend=backend, tile=4)
    assert torch.allclose(output.denominator, torch.tensor(expected, dtype=torch.float64))


# Spread 0.3 stays within the bounded pass, 40 needs the running maximum.
@streaming
@pytest.mark.parametrize("spread", [0.3, 40.0])
@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize(("rows", "columns"), [(37, 53), (16, 8), (53, 7), (1, 20), (20, 1)])
def test_streaming_equals_dense_one_direction(
    rows: int, columns: int, decoupled: bool, spread: float, backend: str
) -> None:
    given = problem(rows, columns, spread)
    scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    leaves = [given[name].requires_grad_() for name in ("query", "key", "column_bias")]
    results = [
        value_and_gradients(
            list(contrast(**given, scale=scale, decoupled=decoupled, backend=name, tile=8)),
            [*leaves, scale],
        )
        for name in (backend, "dense")
    ]
    assert_same(*results, tolerance=1e-10)


@streaming
@pytest.mark.parametrize("spread", [0.3, 40.0])
@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize(("rows", "columns"), [(37, 53), (24, 24), (9, 1)])
def test_streaming_equals_dense_both_directions(
    rows: int, columns: int, decoupled: bool, spread: float, backend: str
) -> None:
    given, other = problem(rows, columns, spread), problem(columns, rows, spread, seed=1)
    scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    leaves = [given["query"], given["key"], given["column_bias"], other["column_bias"]]
    leaves = [leaf.requires_grad_() for leaf in leaves]

    def outputs(name: str) -> list[Tensor]:
        forth, back = contrast_both(
            given["query"],
            given["key"],
            scale=scale,
            first_positive=given["positive"],
            second_positive=other["positive"],
            first_ids=given["row_ids"],
            second_ids=given["column_ids"],
            first_bias=other["column_bias"],
            second_bias=given["column_bias"],
            decoupled=decoupled,
            backend=name,
            tile=8,
        )
        return [*forth, *back]

    results = [value_and_gradients(outputs(name), [*leaves, scale]) for name in (backend, "dense")]
    assert_same(*results, tolerance=1e-10)
    # Each direction is the one-directional operator.
    forth = contrast(**given, scale=scale, decoupled=decoupled, backend="dense")
    back = contrast(
        given["key"],
        given["query"],
        scale=scale,
        positive=other["positive"],
        row_ids=given["column_ids"],
        column_ids=given["row_ids"],
        column_bias=other["column_bias"],
        decoupled=decoupled,
        backend="dense",
    )
    assert_same(results[0][:4], [part.detach() for part in (*forth, *back)], tolerance=1e-10)


@streaming
@pytest.mark.parametrize("spread", [0.3, 40.0])
@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("ids", ["default", "repeated", "all equal", "asymmetric"])
@pytest.mark.parametrize("count", [53, 16, 5])
def test_streaming_equals_dense_self_similarity(
    count: int, ids: str, decoupled: bool, spread: float, backend: str
) -> None:
    given = problem(count, count, spread)
    scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    leaves = [given["query"].requires_grad_(), given["column_bias"].requires_grad_()]
    settings: dict[str, Tensor | None] = {"row_ids": given["row_ids"], "column_ids": None}
    if ids == "default":
        settings["row_ids"] = None
    elif ids == "all equal":
        settings["row_ids"] = torch.zeros(count, dtype=torch.long)
    elif ids == "asymmetric":
        settings["column_ids"] = given["column_ids"]
    results = [
        value_and_gradients(
            list(
                contrast(
                    leaves[0],
                    scale=scale,
                    positive=given["positive"],
                    column_bias=leaves[1],
                    decoupled=decoupled,
                    backend=name,
                    tile=8,
                    **settings,
                )
            ),
            [*leaves, scale],
        )
        for name in (backend, "dense")
    ]
    assert_same(*results, tolerance=1e-10)


@streaming
@pytest.mark.parametrize("temperature", [0.001, 0.005, 0.02, 0.1, 0.5, 10.0])
@pytest.mark.parametrize("self_similar", [False, True])
def test_float32_against_float64(temperature: float, self_similar: bool, backend: str) -> None:
    generator = torch.Generator().manual_seed(0)
    unit = torch.nn.functional.normalize(torch.randn(300, 24, generator=generator), dim=1)
    positive = torch.arange(300).roll(150)

    def run(rows: Tensor, backend: str) -> list[Tensor]:
        rows = rows.clone().requires_grad_()
        key = None if self_similar else rows.flip(0)
        output = contrast(
            rows, key, scale=1 / temperature, positive=positive, backend=backend, tile=64
        )
        return value_and_gradients(list(output), [rows])

    single, exact = run(unit, backend), run(unit.double(), "dense")
    # The rounding of a logit, eps / temperature, bounds what any float32 order can do.
    tolerance = max(1e-5, 1e-6 / temperature)
    for left, right in zip(single, exact, strict=True):
        assert float((left - right).norm() / right.norm()) < tolerance


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@every_backend
def test_half_precision_accumulates_in_float32(dtype: torch.dtype, backend: str) -> None:
    given = problem(40, 30)
    query, key = given["query"].to(dtype).requires_grad_(), given["key"].to(dtype)
    output = contrast(query, key, scale=3.0, positive=given["positive"], backend=backend, tile=16)
    exact = contrast(query.double(), key.double(), scale=3.0, positive=given["positive"])
    assert output.denominator.dtype == torch.float32
    assert torch.allclose(output.denominator.double(), exact.denominator, atol=1e-5)
    output.denominator.sum().backward()
    assert query.grad is not None
    assert query.grad.dtype == dtype


@every_backend
def test_autocast_does_not_round_the_products(backend: str) -> None:
    query = torch.randn(300, 16, generator=torch.Generator().manual_seed(0))
    plain = contrast(query, scale=5.0, backend="dense").denominator
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = contrast(query, scale=5.0, backend=backend).denominator
    assert torch.allclose(inside, plain, rtol=1e-5)


@every_backend
@pytest.mark.parametrize("columns", [64, 100])
def test_very_negative_logits_keep_their_value(columns: int, backend: str) -> None:
    # Masking after the maximum gives -inf here when the columns do not fill the tiles.
    query, key = torch.full((3, 2), 10.0), torch.full((columns, 2), -6.0)
    output = contrast(query, key, scale=1.0, backend=backend, tile=64)
    expected = torch.full((3,), -120.0 + math.log(columns))
    assert torch.allclose(output.denominator, expected, rtol=1e-6)


@every_backend
@pytest.mark.parametrize("spread", [0.3, 40.0])
def test_rows_without_candidates_have_gradient_zero(spread: float, backend: str) -> None:
    given = problem(12, 9, spread)
    query, key = given["query"].requires_grad_(), given["key"].requires_grad_()
    row_ids = torch.arange(12) % 2
    output = contrast(
        query,
        key,
        scale=1.0,
        row_ids=row_ids,
        column_ids=torch.zeros(9, dtype=torch.long),
        backend=backend,
        tile=4,
    )
    assert torch.isneginf(output.denominator[row_ids == 0]).all()
    assert torch.isfinite(output.denominator[row_ids == 1]).all()
    output.denominator.sum().backward()
    for leaf in (query, key):
        assert leaf.grad is not None
        assert torch.isfinite(leaf.grad).all()
    assert torch.equal(query.grad[row_ids == 0], torch.zeros(6, 5, dtype=torch.float64))
    assert query.grad[row_ids == 1].abs().min() > 0


@every_backend
def test_no_positive_is_a_connected_zero(backend: str) -> None:
    given = problem(6, 5)
    query = given["query"].requires_grad_()
    for positive in (None, torch.full((6,), -1)):
        output = contrast(query, given["key"], scale=1.0, positive=positive, backend=backend)
        (gradient,) = torch.autograd.grad(output.positive.sum(), query)
        assert torch.equal(output.positive, torch.zeros(6, dtype=torch.float64))
        assert torch.equal(gradient, torch.zeros_like(query))


@every_backend
@pytest.mark.parametrize(("rows", "columns"), [(0, 5), (5, 0), (0, 0)])
def test_empty_sides(rows: int, columns: int, backend: str) -> None:
    query = torch.randn(rows, 3, requires_grad=True)
    key = torch.randn(columns, 3, requires_grad=True)
    output = contrast(query, key, scale=1.0, backend=backend)
    assert output.denominator.shape == (rows,)
    assert torch.isneginf(output.denominator).all()
    output.denominator.sum().backward()
    assert query.grad is not None
    assert not query.grad.isnan().any()


@every_backend
@pytest.mark.parametrize("spread", [0.4, 10.0])
def test_gradcheck(spread: float, backend: str) -> None:
    given = problem(7, 6, spread)
    scale = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    leaves = [given[name].requires_grad_() for name in ("query", "key", "column_bias")]

    def one(query: Tensor, key: Tensor, bias: Tensor, scale: Tensor) -> ContrastOutput:
        return contrast(
            query,
            key,
            scale=scale,
            column_bias=bias,
            positive=given["positive"],
            row_ids=torch.arange(7),
            column_ids=torch.arange(6),
            backend=backend,
            tile=4,
        )

    def itself(query: Tensor, bias: Tensor, scale: Tensor) -> ContrastOutput:
        positive = torch.arange(6).roll(1)
        return contrast(
            query,
            scale=scale,
            column_bias=bias,
            positive=positive,
            decoupled=True,
            backend=backend,
            tile=4,
        )

    assert torch.autograd.gradcheck(one, (*leaves, scale))
    assert torch.autograd.gradcheck(itself, (leaves[1], leaves[2], scale))
    if backend == "dense" and spread < 1:
        assert torch.autograd.gradgradcheck(one, (*leaves, scale))


@streaming
def test_a_second_derivative_is_refused_instead_of_dropped(backend: str) -> None:
    query = torch.randn(6, 3, requires_grad=True)
    output = contrast(query, scale=1.0, positive=torch.arange(6).roll(1), backend=backend)
    for part in output:
        (gradient,) = torch.autograd.grad(part.sum(), query, create_graph=True)
        with pytest.raises(RuntimeError, match="backend='dense' for second derivatives"):
            torch.autograd.grad(gradient.sum(), query)


@every_backend
def test_bias_of_minus_infinity_removes_a_column(backend: str) -> None:
    given = problem(8, 20)
    keep = torch.arange(20) % 3 != 0
    bias = torch.where(keep, 0.0, -torch.inf).double().requires_grad_()
    removed = contrast(
        given["query"], given["key"], scale=1.0, column_bias=bias, backend=backend, tile=8
    )
    without = contrast(given["query"], given["key"][keep], scale=1.0)
    assert torch.allclose(removed.denominator, without.denominator, rtol=1e-12)
    (gradient,) = torch.autograd.grad(removed.denominator.sum(), bias)
    assert torch.equal(gradient[~keep], torch.zeros(7, dtype=torch.float64))


@every_backend
@pytest.mark.parametrize("spread", [0.3, 40.0])
def test_every_column_removed_by_its_bias(spread: float, backend: str) -> None:
    given = problem(6, 9, spread)
    leaves = [given["query"].requires_grad_(), given["key"].requires_grad_()]
    bias = torch.full((9,), -torch.inf, dtype=torch.float64, requires_grad=True)
    output = contrast(*leaves, scale=1.0, column_bias=bias, backend=backend, tile=4)
    assert torch.isneginf(output.denominator).all()
    for gradient in torch.autograd.grad(output.denominator.sum(), [*leaves, bias]):
        assert torch.equal(gradient, torch.zeros_like(gradient))


@every_backend
def test_a_heavy_column_does_not_drown_the_rows_that_exclude_it(backend: str) -> None:
    unit = torch.nn.functional.normalize(problem(6, 6)["query"], dim=1)
    bias = torch.full((6,), -2000.0, dtype=torch.float64)
    bias[2] = 0.0
    heavy = contrast(unit, scale=2.0, column_bias=bias, backend=backend, tile=4)
    light = contrast(unit[2:3], unit[[0, 1, 3, 4, 5]], scale=2.0, backend="dense")
    assert float(heavy.denominator[2]) == pytest.approx(float(light.denominator) - 2000)


@streaming
def test_gradients_only_where_asked(backend: str) -> None:
    given = problem(20, 30)
    for name in ("query", "key", "column_bias"):
        inputs = {key: value.clone() for key, value in given.items()}
        inputs[name].requires_grad_()
        gradients = []
        for chosen in (backend, "dense"):
            output = contrast(**inputs, scale=1.0, backend=chosen, tile=8)
            gradients += torch.autograd.grad(output.denominator.sum(), inputs[name])
        assert torch.allclose(*gradients, rtol=1e-10)


@streaming
def test_tiny_upstream_gradients_are_not_lost(backend: str) -> None:
    unit = torch.nn.functional.normalize(
        torch.randn(600, 8, generator=torch.Generator().manual_seed(0)), dim=1
    )
    gradients = []
    for weight in (1.0, 1e-30):
        rows = unit.clone().requires_grad_()
        output = contrast(rows, scale=30.0, backend=backend, tile=128)
        gradients += torch.autograd.grad(output.denominator.sum() * weight, rows)
    assert torch.allclose(gradients[1] * 1e30, gradients[0], rtol=1e-4, atol=1e-3)


def test_matching_ids_lists_every_pair_once() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(-5, 20, (60,), generator=generator)
    columns = torch.randint(-5, 20, (45,), generator=generator)
    excluded = match_ids(rows, columns)
    pairs = sorted(zip(excluded.rows.tolist(), excluded.columns.tolist(), strict=True))
    expected = [(i, j) for i in range(60) for j in range(45) if rows[i] == columns[j]]
    assert pairs == expected


def test_identical_ids_are_not_listed() -> None:
    # 4 million pairs: kept as ids, compared tile by tile.
    ids = torch.zeros(2000, dtype=torch.long)
    excluded = match_ids(ids, ids)
    assert excluded.rows.numel() == 0
    assert not excluded.is_empty
    assert excluded.dense((2000, 2000)).all()


def test_auto_never_stores_a_matrix_above_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the dense backend ran")

    monkeypatch.setitem(package.LOG_SUM_EXP, "dense", refuse)
    rows = int(package.DENSE_LIMIT**0.5) + 1
    contrast(torch.randn(rows, 4), scale=1.0)
    with pytest.raises(AssertionError, match="dense backend ran"):
        contrast(torch.randn(rows - 1, 4), scale=1.0)
