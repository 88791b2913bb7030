"""Mean logits, pair sums, top candidates and statistics against loops over candidates."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from graphcl.kernels.contrast import (
    Pairs,
    contrast,
    log_add_exp,
    mean_logit,
    pair_logits,
    pair_sum,
    segment_log_sum_exp,
    statistics,
    top_candidates,
)

ROWS, COLUMNS = 11, 13
both_backends = pytest.mark.parametrize("backend", ["dense", "tiles"])
options = pytest.mark.parametrize("name", ["nothing", "ids", "groups", "exclude", "all"])
itself = pytest.mark.parametrize("itself", [False, True])


def leaves(spread: float = 0.6) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    parts = {
        "query": normal(ROWS, 3) * spread,
        "key": normal(COLUMNS, 3) * spread,
        "scale": torch.tensor(2.0, dtype=torch.float64),
        "column_bias": normal(COLUMNS),
        "row_bias": normal(ROWS),
    }
    return {name: part.requires_grad_() for name, part in parts.items()}


def candidates(name: str, columns: int) -> dict[str, object]:
    generator = torch.Generator().manual_seed(1)
    order = torch.randperm(ROWS * columns, generator=generator)[:20]
    every = {
        "ids": {
            "row_ids": torch.randint(4, (ROWS,), generator=generator),
            "column_ids": torch.randint(4, (columns,), generator=generator),
        },
        "groups": {
            "row_groups": torch.randint(4, (ROWS,), generator=generator),
            "column_groups": torch.randint(3, (columns,), generator=generator),
        },
        "exclude": {"exclude": Pairs(order // columns, order % columns)},
    }
    if name == "all":
        return every["ids"] | every["groups"] | every["exclude"]
    return every.get(name, {})


def assert_same(actual: list[Tensor], expected: list[Tensor], inputs: dict[str, Tensor]) -> None:
    slopes = []
    for outputs in (actual, expected):
        total = torch.zeros((), dtype=torch.float64)
        for part in outputs:
            weight = torch.linspace(-1.0, 2.0, part.numel(), dtype=part.dtype)
            total = total + (part.masked_fill(torch.isneginf(part), 0.0) * weight).sum()
        slopes.append(torch.autograd.grad(total, list(inputs.values()), allow_unused=True))
    for left, right in [*zip(actual, expected, strict=True), *zip(*slopes, strict=True)]:
        if left is None or right is None:
            assert left is right
            continue
        assert torch.allclose(left, right, rtol=1e-10, atol=1e-10)


@both_backends
@options
@itself
@pytest.mark.parametrize("spread", [0.6, 20.0])
def test_mean_logit_is_its_definition(
    spread: float, itself: bool, name: str, backend: str, define
) -> None:
    inputs = leaves(spread)
    columns = ROWS if itself else COLUMNS
    arguments = {
        "query": inputs["query"],
        "key": None if itself else inputs["key"],
        "scale": inputs["scale"],
        "column_bias": inputs["column_bias"][:columns],
        **candidates(name, columns),
    }
    definition = define(**arguments)
    output = mean_logit(**arguments, backend=backend, tile=4)
    assert_same(list(output), [definition.denominator(), definition.mean()], inputs)


@both_backends
@options
@itself
@pytest.mark.parametrize("function", [softplus, torch.sin, lambda x: x, torch.relu])
def test_pair_sum_is_its_definition(
    function, itself: bool, name: str, backend: str, define
) -> None:
    inputs = leaves()
    columns = ROWS if itself else COLUMNS
    arguments = {
        "query": inputs["query"],
        "key": None if itself else inputs["key"],
        "scale": inputs["scale"],
        "row_bias": inputs["row_bias"],
        "column_bias": inputs["column_bias"][:columns],
        **candidates(name, columns),
    }
    expected = define(**arguments).pair_sum(function)
    output = pair_sum(**arguments, function=function, backend=backend, tile=4)
    assert_same([output], [expected], inputs)


@options
@itself
@pytest.mark.parametrize("count", [1, 3, 20])
@pytest.mark.parametrize("tile", [3, 64])
def test_top_candidates_are_the_sorted_definition(
    tile: int, count: int, itself: bool, name: str, define
) -> None:
    inputs = {name: part.detach().round() for name, part in leaves(1.0).items()}  # many ties
    columns = ROWS if itself else COLUMNS
    key = None if itself else inputs["key"]
    chosen = candidates(name, columns)
    values, indices = top_candidates(inputs["query"], key, count=count, **chosen, tile=tile)
    for i, logits in enumerate(define(inputs["query"], key, scale=1.0, **chosen).rows):
        wanted = sorted(logits, key=lambda j: (-float(logits[j]), j))[:count]
        missing = count - len(wanted)
        assert indices[i].tolist() == wanted + [-1] * missing
        assert values[i].tolist() == [float(logits[j]) for j in wanted] + [-math.inf] * missing


@both_backends
@options
def test_statistics_are_their_definition(name: str, backend: str, define) -> None:
    inputs = {name: part.detach() for name, part in leaves().items()}
    arguments = {
        "query": inputs["query"],
        "key": inputs["key"],
        "scale": inputs["scale"],
        "column_bias": inputs["column_bias"],
        **candidates(name, COLUMNS),
    }
    output = statistics(**arguments, backend=backend, tile=4)
    definition = define(**arguments)
    for i, (logits, total) in enumerate(
        zip(definition.rows, definition.denominator(), strict=True)
    ):
        chances = [math.exp(value - total) for value in logits.values()]
        entropy = -sum(p * math.log(p) for p in chances)
        effective = 1 / sum(p * p for p in chances) if chances else 0.0
        assert float(output.entropy[i]) == pytest.approx(entropy, rel=1e-10, abs=1e-12)
        assert float(output.effective_negatives[i]) == pytest.approx(effective, rel=1e-10)


def test_pair_logits_are_inner_products() -> None:
    inputs = leaves()
    rows = torch.tensor([0, 3, 3, 10, 0])
    columns = torch.tensor([12, 0, 0, 4, 7])
    leaf = {"query": inputs["query"], "key": inputs["key"]}
    expected = torch.stack(
        [
            sum(a * b for a, b in zip(leaf["query"][i], leaf["key"][j], strict=True))
            for i, j in zip(rows, columns, strict=True)
        ]
    )
    assert_same([pair_logits(leaf["query"], leaf["key"], rows, columns)], [expected], leaf)
    own = pair_logits(leaf["query"], None, rows, rows.flip(0))
    expected = (leaf["query"][rows] * leaf["query"][rows.flip(0)]).sum(1)
    assert_same([own], [expected], leaf)


def test_log_add_exp_joins_key_segments() -> None:
    inputs = leaves()
    query, key, scale = inputs["query"], inputs["key"], inputs["scale"]
    whole = contrast(query, key, scale=scale).denominator
    parts = [contrast(query, part, scale=scale).denominator for part in key.split([5, 8])]
    used = {name: inputs[name] for name in ("query", "key", "scale")}
    assert_same([log_add_exp(*parts)], [whole], used)


def test_log_add_exp_of_nothing_has_gradient_zero() -> None:
    terms = [torch.tensor([-torch.inf, 1.0, -torch.inf], requires_grad=True) for _ in range(2)]
    joined = log_add_exp(*terms)
    assert joined.tolist() == [-math.inf, pytest.approx(1 + math.log(2)), -math.inf]
    for gradient in torch.autograd.grad(joined.sum(), terms):
        assert gradient.tolist() == [0.0, 0.5, 0.0]


def test_segments_by_definition() -> None:
    values = torch.tensor(
        [1.0, -torch.inf, 700.0, 2.0, -torch.inf, -800.0], dtype=torch.float64, requires_grad=True
    )
    segment = torch.tensor([4, 4, 1, 4, 2, 0])
    sums = segment_log_sum_exp(values, segment, 5)
    expected = [-800.0, 700.0, -math.inf, -math.inf, math.log(math.exp(1) + math.exp(2))]
    assert sums.tolist() == pytest.approx(expected)
    (gradient,) = torch.autograd.grad(sums.sum(), values)
    share = 1 / (1 + math.exp(1))
    assert gradient.tolist() == pytest.approx([share, 0.0, 1.0, 1 - share, 0.0, 1.0])


@both_backends
@pytest.mark.parametrize("spread", [0.4, 4.0])
def test_gradcheck(spread: float, backend: str) -> None:
    inputs = leaves(spread)
    query, key, bias = (inputs[name].detach()[:5] for name in ("query", "key", "column_bias"))
    given = [part.requires_grad_() for part in (query, key, inputs["scale"], bias)]
    ids = {"row_ids": torch.arange(5), "column_ids": torch.arange(5), "tile": 3}

    def mean(query: Tensor, key: Tensor, scale: Tensor, bias: Tensor) -> list[Tensor]:
        return list(mean_logit(query, key, scale=scale, column_bias=bias, backend=backend, **ids))

    def summed(query: Tensor, key: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        return pair_sum(
            query,
            key,
            function=softplus,
            scale=scale,
            row_bias=bias.flip(0),
            column_bias=bias,
            backend=backend,
            **ids,
        )

    for operator in (mean, summed):
        assert torch.autograd.gradcheck(operator, given)
        if backend == "dense" and spread < 1:
            assert torch.autograd.gradgradcheck(operator, given)
    listed = torch.tensor([0, 3, 3]), torch.tensor([4, 0, 0])
    assert torch.autograd.gradcheck(lambda q, k: pair_logits(q, k, *listed), given[:2])
    values, segment = given[3], torch.tensor([2, 0, 0, 2, 2])
    assert torch.autograd.gradcheck(lambda v: segment_log_sum_exp(v, segment, 3)[[0, 2]], values)
    assert torch.autograd.gradgradcheck(
        lambda v: segment_log_sum_exp(v, segment, 3)[[0, 2]], values
    )


def test_a_second_derivative_is_refused_instead_of_dropped() -> None:
    query = torch.randn(6, 3, requires_grad=True)
    index = torch.arange(5)
    for output in (
        mean_logit(query, scale=1.0, backend="tiles").mean,
        pair_sum(query, function=softplus, scale=1.0, backend="tiles"),
        pair_logits(query, None, index, index + 1),
    ):
        (gradient,) = torch.autograd.grad(output.sum(), query, create_graph=True)
        with pytest.raises(RuntimeError, match="second derivatives"):
            torch.autograd.grad(gradient.sum(), query)


@both_backends
def test_rows_without_candidates_are_zero_with_gradient_zero(backend: str) -> None:
    given = leaves(20.0)
    query, key = given["query"], given["key"]
    ids = {"row_ids": torch.arange(ROWS) % 2, "column_ids": torch.zeros(COLUMNS).long()}
    denominator, mean = mean_logit(query, key, scale=1.0, **ids, backend=backend, tile=4)
    summed = pair_sum(query, key, function=torch.sin, scale=1.0, **ids, backend=backend, tile=4)
    spread = statistics(query, key, scale=1.0, **ids, backend=backend, tile=4)
    assert torch.isneginf(denominator[::2]).all()
    for part in (mean, summed, *spread):
        assert torch.equal(part[::2], torch.zeros(6, dtype=torch.float64))
        assert part.isfinite().all()
    for part in (denominator, mean, summed):
        gradients = torch.autograd.grad(part.sum(), [query, key], retain_graph=True)
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert torch.equal(gradients[0][::2], torch.zeros(6, 3, dtype=torch.float64))
        assert gradients[0][1::2].abs().sum() > 0


@both_backends
@pytest.mark.parametrize(("rows", "columns"), [(0, 5), (5, 0), (0, 0)])
def test_empty_sides(rows: int, columns: int, backend: str) -> None:
    query = torch.randn(rows, 3, requires_grad=True)
    key = torch.randn(columns, 3, requires_grad=True)
    denominator, mean = mean_logit(query, key, scale=1.0, backend=backend)
    summed = pair_sum(query, key, function=softplus, scale=1.0, backend=backend)
    assert torch.isneginf(denominator).all()
    assert mean.tolist() == summed.tolist() == [0.0] * rows
    for gradient in torch.autograd.grad((mean + summed).sum(), [query, key]):
        assert torch.equal(gradient, torch.zeros_like(gradient))
    values, indices = top_candidates(query, key, count=2)
    assert values.shape == indices.shape == (rows, 2)
    assert (indices == -1).all()


@both_backends
def test_a_bias_of_minus_infinity_removes_a_column(backend: str) -> None:
    given = leaves(3.0)
    keep = torch.arange(COLUMNS) % 3 != 0
    bias = torch.where(keep, 0.5, -torch.inf).double().requires_grad_()
    query, key = given["query"], given["key"]
    removed = mean_logit(query, key, scale=1.0, column_bias=bias, backend=backend, tile=4)
    without = mean_logit(query, key[keep], scale=1.0, column_bias=bias[keep], backend="dense")
    assert_same(list(removed), list(without), {"query": query, "key": key, "bias": bias})


@both_backends
@pytest.mark.parametrize("temperature", [1e-3, 0.05, 0.5, 10.0])
def test_float32_against_float64(temperature: float, backend: str) -> None:
    generator = torch.Generator().manual_seed(0)
    unit = torch.nn.functional.normalize(torch.randn(200, 16, generator=generator), dim=1)
    results = []
    for dtype, name in ((torch.float32, backend), (torch.float64, "dense")):
        rows = unit.to(dtype).requires_grad_()
        settings = {"scale": 1 / temperature, "backend": name, "tile": 64}
        denominator, mean = mean_logit(rows, **settings)
        # The entropy, not the mean: it has the smaller numbers.
        parts = [denominator, denominator - mean, pair_sum(rows, function=softplus, **settings)]
        slopes = [torch.autograd.grad(part.sum(), rows, retain_graph=True)[0] for part in parts]
        results.append([part.detach().double() for part in (*parts, *slopes)])
    # The rounding of a logit, eps / temperature, bounds what any float32 order can do.
    tolerance = max(1e-5, 2e-6 / temperature)
    for single, double in zip(*results, strict=True):
        assert float((single - double).norm() / double.norm()) < tolerance


@both_backends
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_accumulates_in_float32(dtype: torch.dtype, backend: str) -> None:
    query = leaves()["query"].detach().to(dtype).requires_grad_()
    outputs = {
        "mean": mean_logit(query, scale=3.0, backend=backend, tile=4).mean,
        "sum": pair_sum(query, function=softplus, scale=3.0, backend=backend, tile=4),
    }
    exact = {
        "mean": mean_logit(query.double(), scale=3.0, backend="dense").mean,
        "sum": pair_sum(query.double(), function=softplus, scale=3.0, backend="dense"),
    }
    for name, output in outputs.items():
        assert output.dtype == torch.float32
        assert torch.allclose(output.double(), exact[name], rtol=1e-5, atol=1e-5)
        (gradient,) = torch.autograd.grad(output.sum(), query)
        assert gradient.dtype == dtype
    assert top_candidates(query, count=2).values.dtype == torch.float32
    assert statistics(query, scale=3.0, backend=backend).entropy.dtype == torch.float32


def test_a_linear_pair_sum_leaves_the_upstream_gradient_alone() -> None:
    # Its slope is the upstream gradient itself; excluded entries must not be zeroed in it.
    query = torch.randn(5, 3, requires_grad=True)
    key = torch.randn(1, 3)
    ids = {"row_ids": torch.arange(5), "column_ids": torch.tensor([2])}
    output = pair_sum(query, key, function=lambda x: x, scale=1.0, backend="tiles", **ids)
    upstream = torch.ones(5)
    output.backward(upstream)
    assert torch.equal(upstream, torch.ones(5))
