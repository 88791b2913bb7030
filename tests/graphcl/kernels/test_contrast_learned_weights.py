"""Learned pair weights: both backends against the definition, gradients, bound, and memory."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import logsigmoid

from graphcl.errors import ArgumentError, NonFiniteArgumentError
from graphcl.kernels.contrast import contrast, learned_weight_log_sum_exp

NAMES = ("query", "key", "row_terms", "column_terms", "weight", "bias", "scale")


def log_weight(rows: Tensor, columns: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return logsigmoid(torch.tanh(rows[:, None] + columns) @ weight + bias)


def arguments(rows: int = 7, columns: int = 5, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((rows, 4), (columns, 4), (rows, 3), (columns, 3), (3,), ())
    values = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    values.append(torch.tensor(1.7, dtype=torch.float64))
    return {name: value.requires_grad_() for name, value in zip(NAMES, values, strict=True)}


def value(given: dict[str, Tensor], **settings: object) -> Tensor:
    return learned_weight_log_sum_exp(
        given["query"], given["key"], scale=given["scale"], log_weight=log_weight,
        row_terms=given["row_terms"], column_terms=given["column_terms"],
        parameters=(given["weight"], given["bias"]), **settings,
    )  # fmt: skip


def by_definition(given: dict[str, Tensor], normalised: bool) -> Tensor:
    """Entry by entry."""
    values = []
    for query, terms in zip(given["query"], given["row_terms"], strict=True):
        weights, logits = [], []
        for key, others in zip(given["key"], given["column_terms"], strict=True):
            inner = torch.tanh(terms + others) @ given["weight"] + given["bias"]
            weights.append(torch.sigmoid(inner))
            logits.append(given["scale"] * (query @ key))
        weight = torch.stack(weights)
        weight = weight / weight.mean() if normalised else weight
        values.append((weight * torch.stack(logits).exp()).sum().log())
    return torch.stack(values)


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("backend", ["dense", "tiles"])
def test_values_and_gradients_are_those_of_the_definition(backend: str, normalised: bool) -> None:
    given = arguments()
    upstream = torch.arange(7, dtype=torch.float64) - 2
    found = value(given, backend=backend, normalised=normalised, tile=2)
    results = [
        (result, *torch.autograd.grad((result * upstream).sum(), given.values()))
        for result in (found, by_definition(given, normalised))
    ]
    for name, one, other in zip(("value", *NAMES), *results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10, msg=name)


@settings(max_examples=8, deadline=None)
@given(rows=st.integers(1, 6), columns=st.integers(1, 6), tile=st.integers(1, 6))
def test_gradcheck_for_any_shape_and_tile(rows: int, columns: int, tile: int) -> None:
    given = arguments(rows, columns)

    def function(*tensors: Tensor) -> Tensor:
        return value(dict(zip(NAMES, tensors, strict=True)), backend="tiles", tile=tile)

    assert torch.autograd.gradcheck(function, tuple(given.values()))


def test_dense_is_twice_differentiable_and_tiles_say_that_they_are_not() -> None:
    given = arguments(3, 4)
    slopes = {
        backend: torch.autograd.grad(
            value(given, backend=backend).sum(), given["weight"], create_graph=True
        )[0]
        for backend in ("dense", "tiles")
    }
    torch.autograd.grad(slopes["dense"].sum(), given["query"])
    with pytest.raises(RuntimeError, match="differentiated once"):
        slopes["tiles"].sum().backward()


def test_equal_weights_are_no_weights() -> None:
    given = arguments()
    given["weight"] = torch.zeros(3, dtype=torch.float64)
    plain = contrast(given["query"], given["key"], scale=given["scale"]).denominator
    torch.testing.assert_close(value(given, tile=2, backend="tiles"), plain)


def test_normalised_weights_cannot_lower_the_sum_together() -> None:
    given = arguments()
    products = given["query"] @ given["key"].T
    lowest = math.log(5) + given["scale"] * products.min(dim=1).values
    for bias in (0.0, -50.0, -700.0):
        given["bias"] = torch.tensor(bias, dtype=torch.float64)
        assert (value(given, backend="tiles", tile=3) >= lowest - 1e-9).all()
    # Without the constraint nothing holds them.
    assert (value(given, normalised=False, backend="tiles", tile=3) < -600).all()


def test_a_row_without_weight_and_empty_sides() -> None:
    query, key = torch.randn(3, 2, requires_grad=True), torch.randn(4, 2)

    def only_first(rows: Tensor, columns: Tensor) -> Tensor:
        return (rows + columns.T).masked_fill(rows > 0, -torch.inf)

    terms = torch.tensor([[0.0], [1.0], [0.0]])
    for backend in ("dense", "tiles"):
        found = learned_weight_log_sum_exp(
            query, key, scale=1.0, log_weight=only_first, row_terms=terms,
            column_terms=torch.zeros(4, 1), backend=backend, tile=2,
        )  # fmt: skip
        assert torch.isneginf(found).tolist() == [False, True, False]
        (slope,) = torch.autograd.grad(found[[0, 2]].sum(), query)
        assert torch.isfinite(slope).all()
        assert (slope[1] == 0).all()
    nothing = learned_weight_log_sum_exp(
        query, key[:0], scale=1.0, log_weight=only_first, row_terms=terms,
        column_terms=torch.zeros(0, 1),
    )  # fmt: skip
    assert torch.isneginf(nothing).all()


def test_sixteen_bits_are_computed_in_float32() -> None:
    given = {name: part.detach().to(torch.bfloat16) for name, part in arguments().items()}
    wide = {name: part.float() for name, part in given.items()}
    for backend in ("dense", "tiles"):
        found = value(given, backend=backend, tile=2)
        torch.testing.assert_close(found, value(wide, backend=backend, tile=2))


def test_memory_is_linear() -> None:
    sizes = []

    def remembered(rows: Tensor, columns: Tensor) -> Tensor:
        sizes.append(rows.shape[0] * columns.shape[0])
        return rows + columns.T

    query, key = torch.randn(700, 4, requires_grad=True), torch.randn(900, 4)
    found = learned_weight_log_sum_exp(
        query, key, scale=1.0, log_weight=remembered, row_terms=torch.zeros(700, 1),
        column_terms=torch.zeros(900, 1), tile=64,
    )  # fmt: skip
    found.sum().backward()
    assert max(sizes) == 64 * 64


def test_misuse_is_named() -> None:
    given = arguments()

    def call(**changes: object) -> Tensor:
        settings = {
            "scale": 1.0, "log_weight": log_weight, "row_terms": given["row_terms"],
            "column_terms": given["column_terms"], "parameters": (given["weight"], given["bias"]),
        }  # fmt: skip
        return learned_weight_log_sum_exp(given["query"], given["key"], **{**settings, **changes})

    with pytest.raises(ArgumentError, match="row_terms must have 7 rows; got 5"):
        call(row_terms=given["column_terms"])
    with pytest.raises(ArgumentError, match="unknown backend 'native'"):
        call(backend="native")
    with pytest.raises(ArgumentError, match=r"must return \(7, 5\) for such rows; got \(5, 7\)"):
        call(log_weight=lambda rows, columns, *rest: log_weight(rows, columns, *rest).T)
    with pytest.raises(ArgumentError, match="must keep the dtype"):
        call(log_weight=lambda rows, columns, *rest: log_weight(rows, columns, *rest).float())
    for backend in ("dense", "tiles"):
        with pytest.raises(NonFiniteArgumentError, match=r"NaN or \+inf"):
            call(
                log_weight=lambda rows, columns, *rest: torch.nan * rows[:, :1] * columns[:, 0],
                backend=backend,
            )
    with pytest.raises(NonFiniteArgumentError, match="column_terms must be finite"):
        call(column_terms=given["column_terms"] / 0)
