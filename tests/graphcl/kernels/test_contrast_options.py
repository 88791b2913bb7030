"""Every option of the contrast operators, value and gradient, against loops over candidates."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast import (
    LOG_SUM_EXP,
    Pairs,
    contrast,
    contrast_both,
    log_add_exp,
)
from graphcl.kernels.contrast.backends import WITH_BLOCKS
from graphcl.kernels.contrast.exclusion import match_ids, nothing_excluded, within_groups
from graphcl.kernels.contrast.groups import group_tile
from graphcl.kernels.sparse_matrix import SparseMatrix

ROWS, COLUMNS = 11, 13
every_backend = pytest.mark.parametrize("backend", [*LOG_SUM_EXP, "auto"])


def leaves(spread: float = 0.6, rows: int = ROWS, columns: int = COLUMNS) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    parts = {
        "query": normal(rows, 3) * spread,
        "key": normal(columns, 3) * spread,
        "scale": torch.tensor(2.0, dtype=torch.float64),
        "column_bias": normal(columns),
        "log_weight": normal(20),
    }
    return {name: part.requires_grad_() for name, part in parts.items()}


def pairs(rows: int, columns: int, seed: int, log_weight: Tensor | None = None) -> Pairs:
    order = torch.randperm(rows * columns, generator=torch.Generator().manual_seed(seed))[:20]
    return Pairs(order // columns, order % columns, log_weight)


def integers(high: int, count: int, seed: int) -> Tensor:
    return torch.randint(high, (count,), generator=torch.Generator().manual_seed(seed))


def checkered(rows: slice, columns: slice) -> Tensor:
    """Log-weights of a block that are not symmetric in rows and columns."""
    i = torch.arange(rows.start, rows.stop)[:, None]
    j = torch.arange(columns.start, columns.stop)[None, :]
    return torch.sin(3.0 * i + 5.0 * j)


def options(name: str, rows: int, columns: int, log_weight: Tensor) -> dict[str, object]:
    groups = {"row_groups": integers(3, rows, 3), "column_groups": integers(4, columns, 4)}
    ids = {"row_ids": integers(5, rows, 5), "column_ids": integers(5, columns, 6)}
    return {
        "nothing": {},
        "ids": ids,
        "groups": groups,
        "groups and ids": groups | ids,
        "exclude": {"exclude": pairs(rows, columns, 1)},
        "weights": {"weights": pairs(rows, columns, 2, log_weight)},
        "unweighted pairs": {"weights": pairs(rows, columns, 2)},
        "callable": {"weights": checkered},
        "callable and groups": {"weights": checkered} | groups,
        "hardness": {"hardness": 1.5},
        "all": groups
        | ids
        | {
            "exclude": pairs(rows, columns, 1),
            "weights": pairs(rows, columns, 2, log_weight),
            "hardness": 0.7,
        },
    }[name]


OPTIONS = [
    "nothing",
    "ids",
    "groups",
    "groups and ids",
    "exclude",
    "weights",
    "unweighted pairs",
    "callable",
    "callable and groups",
    "hardness",
    "all",
]


def gradients(outputs: list[Tensor], inputs: dict[str, Tensor]) -> list[Tensor]:
    total = torch.zeros((), dtype=torch.float64)
    for part in outputs:
        weight = torch.linspace(-1.0, 2.0, part.numel(), dtype=part.dtype)
        total = total + (part.masked_fill(torch.isneginf(part), 0.0) * weight).sum()
    found = torch.autograd.grad(total, list(inputs.values()), allow_unused=True)
    return [
        torch.zeros_like(leaf) if part is None else part
        for part, leaf in zip(found, inputs.values(), strict=True)
    ]


def assert_same(actual: list[Tensor], expected: list[Tensor], inputs: dict[str, Tensor]) -> None:
    slopes = zip(gradients(actual, inputs), gradients(expected, inputs), strict=True)
    for left, right in [*zip(actual, expected, strict=True), *slopes]:
        assert torch.allclose(left, right, rtol=1e-10, atol=1e-10)


@every_backend
@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("decoupled", [False, True])
def test_contrast_is_its_definition(name: str, decoupled: bool, backend: str, define) -> None:
    if name.startswith("callable") and backend not in (*WITH_BLOCKS, "auto"):
        pytest.skip(f"callable weights belong to {WITH_BLOCKS}")
    for spread in (0.6, 20.0):
        for itself in (False, True):
            inputs = leaves(spread)
            query, key = inputs["query"], None if itself else inputs["key"]
            columns = ROWS if itself else COLUMNS
            arguments = {
                "scale": inputs["scale"],
                "column_bias": inputs["column_bias"][:columns],
                "positive": integers(columns + 1, ROWS, 8) - 1,
                "decoupled": decoupled,
                **options(name, ROWS, columns, inputs["log_weight"]),
            }
            definition = define(query, key, **arguments)
            output = contrast(query, key, **arguments, backend=backend, tile=4)
            assert_same(list(output), [definition.denominator(), definition.positive()], inputs)


@every_backend
@pytest.mark.parametrize("name", ["nothing", "ids", "groups", "groups and ids", "exclude"])
@pytest.mark.parametrize("decoupled", [False, True])
def test_both_directions_are_the_definition(
    name: str, decoupled: bool, backend: str, define
) -> None:
    for spread in (0.6, 20.0):
        inputs = leaves(spread)
        chosen = options(name, ROWS, COLUMNS, inputs["log_weight"])
        exclude = chosen.get("exclude")
        forth = {
            "scale": inputs["scale"],
            "positive": integers(COLUMNS + 1, ROWS, 8) - 1,
            "column_bias": inputs["column_bias"],
            "hardness": 0.5,
            "decoupled": decoupled,
            **chosen,
        }
        back = {
            **forth,
            "positive": integers(ROWS + 1, COLUMNS, 9) - 1,
            "column_bias": inputs["log_weight"][:ROWS],
            "row_ids": chosen.get("column_ids"),
            "column_ids": chosen.get("row_ids"),
            "row_groups": chosen.get("column_groups"),
            "column_groups": chosen.get("row_groups"),
            "exclude": None if exclude is None else exclude.transposed(),
        }
        expected = []
        for definition in (
            define(inputs["query"], inputs["key"], **forth),
            define(inputs["key"], inputs["query"], **back),
        ):
            expected += [definition.denominator(), definition.positive()]
        first, second = contrast_both(
            inputs["query"],
            inputs["key"],
            scale=inputs["scale"],
            first_positive=forth["positive"],
            second_positive=back["positive"],
            first_ids=chosen.get("row_ids"),
            second_ids=chosen.get("column_ids"),
            first_groups=chosen.get("row_groups"),
            second_groups=chosen.get("column_groups"),
            exclude=exclude,
            first_bias=back["column_bias"],
            second_bias=forth["column_bias"],
            hardness=0.5,
            decoupled=decoupled,
            backend=backend,
            tile=4,
        )
        assert_same([*first, *second], expected, inputs)


@pytest.mark.parametrize("backend", [name for name in LOG_SUM_EXP if name not in WITH_BLOCKS])
def test_callable_weights_are_refused_by_other_backends(backend: str) -> None:
    with pytest.raises(ArgumentError, match="callable weights need a backend of dense, tiles"):
        contrast(torch.randn(4, 3), scale=1.0, weights=checkered, backend=backend)


@every_backend
@pytest.mark.parametrize("spread", [0.4, 8.0])
def test_gradcheck_of_every_differentiable_option(spread: float, backend: str) -> None:
    inputs = leaves(spread, rows=5, columns=6)
    chosen = options("all", 5, 6, inputs["log_weight"])
    # The steeper value of hardness is not what its gradient belongs to, by definition.
    del chosen["hardness"]
    positive = torch.tensor([3, -1, 0, 5, 2])

    def run(query: Tensor, key: Tensor, scale: Tensor, bias: Tensor, weight: Tensor):
        listed = chosen["weights"]
        return contrast(
            query,
            key,
            scale=scale,
            column_bias=bias,
            positive=positive,
            **{**chosen, "weights": Pairs(listed.rows, listed.columns, weight)},
            backend=backend,
            tile=4,
        )

    def finite(*parts: Tensor):
        return [part.masked_fill(torch.isneginf(part), 0.0) for part in run(*parts)]

    assert torch.autograd.gradcheck(finite, tuple(inputs.values()))
    if backend == "dense" and spread < 1:
        assert torch.autograd.gradgradcheck(finite, tuple(inputs.values()))


@every_backend
def test_a_margin_is_a_pair_weight(backend: str) -> None:
    inputs = leaves()
    query, key, scale = inputs["query"], inputs["key"], inputs["scale"]
    positive = integers(COLUMNS, ROWS, 7)
    margin = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    rows = torch.arange(ROWS)
    listed = contrast(
        query,
        key,
        scale=scale,
        positive=positive,
        weights=Pairs(rows, positive, (-scale * margin).expand(ROWS)),
        backend=backend,
        tile=4,
    )
    apart = contrast(
        query, key, scale=scale, positive=positive, decoupled=True, backend=backend, tile=4
    )
    lowered = apart.positive - scale * margin
    joined = log_add_exp(apart.denominator, lowered)
    used = {"query": query, "key": key, "scale": scale, "margin": margin}
    assert_same(list(listed), [joined, lowered], used)


@every_backend
def test_weights_of_a_sparse_matrix_are_its_values(backend: str) -> None:
    inputs = leaves()
    value = torch.tensor([2.0, 0.0, 0.5], dtype=torch.float64)
    pointer = torch.tensor([0, 2, 2, 3] + [3] * 8)
    columns = torch.tensor([4, 0, 12])
    weights = Pairs.from_sparse(SparseMatrix(pointer, columns, value, (ROWS, COLUMNS)))
    assert weights.rows.tolist() == [0, 0, 2]
    same = Pairs.from_csr(pointer, columns, value.log())
    assert all(map(torch.equal, vars(same).values(), vars(weights).values()))
    logits = 2.0 * inputs["query"] @ inputs["key"].T
    factor = torch.ones(ROWS, COLUMNS, dtype=torch.float64)
    factor[0, 4], factor[0, 0], factor[2, 12] = value
    output = contrast(
        inputs["query"], inputs["key"], scale=2.0, weights=weights, backend=backend, tile=4
    )
    assert torch.allclose(output.denominator, (factor * logits.exp()).sum(1).log(), rtol=1e-12)
    with pytest.raises(ArgumentError, match="at least 0; got -1"):
        Pairs.from_sparse(SparseMatrix(pointer, columns, value - 1, (ROWS, COLUMNS)))


@pytest.mark.parametrize(
    ("pointer", "message"),
    [
        (torch.tensor([0, 2]), "to the number of columns, 3; got 0 to 2"),
        (torch.tensor([0, 3, 2, 3]), "pointer must rise"),
        (torch.zeros(2), "of dtype torch.int64"),
    ],
)
def test_a_pointer_must_describe_the_columns(pointer: Tensor, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Pairs.from_csr(pointer, torch.tensor([0, 1, 2]))


@pytest.mark.parametrize("backend", [*LOG_SUM_EXP])
@pytest.mark.parametrize("temperature", [1e-3, 0.05, 10.0])
def test_every_option_in_float32_at_any_temperature(temperature: float, backend: str) -> None:
    inputs = leaves(1.0)
    unit = {name: torch.nn.functional.normalize(inputs[name], dim=1) for name in ("query", "key")}
    results = []
    for dtype in (torch.float32, torch.float64):
        query = unit["query"].detach().to(dtype).requires_grad_()
        weight = inputs["log_weight"].detach().to(dtype)
        chosen = options("all", ROWS, COLUMNS, weight)
        output = contrast(
            query, unit["key"].to(dtype), scale=1 / temperature, **chosen, backend=backend, tile=4
        )
        assert output.denominator.dtype == dtype
        finite = output.denominator.masked_fill(torch.isneginf(output.denominator), 0.0)
        (slope,) = torch.autograd.grad(finite.sum(), query)
        results.append((finite.detach().double(), slope.double()))
    # The rounding of a logit, eps / temperature, bounds what any float32 order can do.
    tolerance = max(1e-5, 1e-6 / temperature)
    for single, double in zip(*results, strict=True):
        assert float((single - double).norm() / double.norm()) < tolerance


def test_groups_skip_the_tiles_of_other_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    # 40 groups of 25 in random order: the 1000 x 1000 products would be 400 tiles.
    generator = torch.Generator().manual_seed(0)
    groups = (torch.arange(1000) % 40)[torch.randperm(1000, generator=generator)]
    rows = torch.randn(1000, 4, generator=generator)
    products = []
    original = torch.mm

    def counted(*arguments: object, **keywords: object) -> Tensor:
        products.append(1)
        return original(*arguments, **keywords)

    monkeypatch.setattr(torch, "mm", counted)
    output = contrast(rows, scale=1.0, row_groups=groups, backend="tiles", tile=50)
    assert len(products) == 20
    expected = contrast(rows, scale=1.0, row_groups=groups, backend="dense")
    assert torch.allclose(output.denominator, expected.denominator, rtol=1e-5)


@pytest.mark.parametrize(
    ("sizes", "tile"),
    [([10] * 100, 64), ([200] * 5, 400), ([1000], 512), ([3000] + [1] * 300, 512), ([], 512)],
)
def test_tiles_shrink_with_the_group_of_an_average_row(sizes: list[int], tile: int) -> None:
    groups = torch.repeat_interleave(torch.tensor(sizes, dtype=torch.int64))
    excluded = within_groups(nothing_excluded(groups.device), groups, groups)
    assert group_tile(excluded, 512) == tile


@pytest.mark.parametrize("backend", [name for name in LOG_SUM_EXP if name != "dense"])
@pytest.mark.parametrize("spread", [0.3, 30.0])
@pytest.mark.parametrize("itself", [False, True])
def test_whole_blocks_of_other_groups(itself: bool, spread: float, backend: str) -> None:
    # Large enough that every backend has blocks without a candidate; group 3 has no column.
    count = 900
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, count, 4, generator=generator, dtype=torch.float64) * spread
    groups = integers(6, count, 1)
    chosen = {"row_groups": groups, "column_groups": groups.masked_fill(groups == 3, 2).roll(5)}
    used = {"query": query.requires_grad_()}
    key = None if itself else used.setdefault("key", key.requires_grad_())
    if itself:
        chosen["column_groups"] = groups
    outputs = [
        contrast(query, key, scale=1.0, **chosen, backend=name) for name in (backend, "dense")
    ]
    assert_same(list(outputs[0]), list(outputs[1]), used)
    if itself:
        return
    names = {"first_groups": chosen["row_groups"], "second_groups": chosen["column_groups"]}
    both = [
        [
            part
            for side in contrast_both(query, key, scale=1.0, **names, backend=name)
            for part in side
        ]
        for name in (backend, "dense")
    ]
    assert_same(both[0], both[1], used)


@every_backend
def test_ids_too_many_to_list_exclude_weighted_pairs_too(backend: str) -> None:
    # Two ids on 90 rows and columns: 4,050 equal pairs, kept as ids instead of a list.
    count = 90
    inputs = leaves(rows=count, columns=count)
    ids = {"row_ids": integers(2, count, 1), "column_ids": integers(2, count, 2)}
    assert match_ids(*ids.values()).row_ids is not None
    same = (ids["row_ids"][:, None] == ids["column_ids"]).nonzero()
    arguments = {
        "scale": inputs["scale"],
        "positive": integers(count, count, 3),
        "weights": pairs(count, count, 4, inputs["log_weight"]),
        "decoupled": True,
    }
    outputs = [
        contrast(inputs["query"], inputs["key"], **arguments, **chosen, backend=name, tile=32)
        for name, chosen in ((backend, ids), ("dense", {"exclude": Pairs(*same.T)}))
    ]
    assert_same(list(outputs[0]), list(outputs[1]), inputs)
