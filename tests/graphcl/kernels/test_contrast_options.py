"""Every option of the contrast operators, value and gradient, against loops over candidates."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from graphcl.kernels.contrast import LOG_SUM_EXP, Pairs, contrast, contrast_both

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
    if name.startswith("callable") and backend not in ("dense", "tiles", "auto"):
        pytest.skip("callable weights belong to dense and tiles")
    for spread in (0.6, 20.0):
        for itself in (False, True):
            inputs = leaves(spread)
            query, key = inputs["query"], None if itself else inputs["key"]
            columns = ROWS if itself else COLUMNS
            arguments = {
                "scale": inputs["scale"],
                "column_bias": inputs["column_bias"][:columns],
                "positive": torch.randint(-1, columns, (ROWS,)),
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
            "positive": torch.randint(-1, COLUMNS, (ROWS,)),
            "column_bias": inputs["column_bias"],
            "hardness": 0.5,
            "decoupled": decoupled,
            **chosen,
        }
        back = {
            **forth,
            "positive": torch.randint(-1, ROWS, (COLUMNS,)),
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
