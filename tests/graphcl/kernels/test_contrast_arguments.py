"""One sentence per mistake, with the value got and what is allowed."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import softplus

from graphcl.errors import ArgumentError, NonFiniteArgumentError
from graphcl.kernels.contrast import (
    Pairs,
    contrast,
    contrast_both,
    log_add_exp,
    mean_logit,
    pair_logits,
    pair_sum,
    segment_log_sum_exp,
    statistics,
    top_candidates,
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backend": "flash"}, "unknown backend 'flash'; allowed: auto, dense, tiles"),
        ({"tile": 0}, "tile must be a positive integer; got 0"),
        ({"scale": 0.0}, "scale must be positive"),
        ({"scale": float("nan")}, "scale must be positive"),
        ({"scale": torch.ones(2)}, "one number"),
        ({"scale": "big"}, "scale must be a number or a 0-d tensor; got 'big'"),
        ({"hardness": None}, "hardness must be a finite number of at least 0; got None"),
        ({"hardness": 1e300}, r"must be finite in torch.float32; got 1.0 \+ 1e\+300"),
        ({"query": [[1.0]]}, "query must be a tensor; got list"),
        ({"query": torch.randn(4, 3).to_sparse()}, "dense tensor with values; got one of layout"),
        ({"query": torch.empty(4, 3, device="meta")}, "got one on the meta device"),
        ({"column_bias": [0.0] * 5}, "column_bias must be a tensor; got list"),
        ({"exclude": ([0], [1])}, "exclude must be Pairs; got tuple"),
        ({"exclude": Pairs([0], [1])}, "exclude.rows must be a tensor; got list"),
        ({"weights": 3.0}, "weights must be Pairs or a callable; got float"),
        (
            {"row_ids": torch.arange(4).to(torch.uint16), "column_ids": torch.arange(5)},
            r"integer dtype \(torch.int64, .*\); got torch.uint16",
        ),
        ({"query": torch.randn(4)}, r"\(rows, d\); got shape \(4,\)"),
        ({"query": torch.ones(4, 3, dtype=torch.long)}, "floating"),
        ({"key": torch.randn(5, 2)}, "the other side, 3; got 2"),
        ({"key": torch.randn(5, 3).double()}, "float32"),
        ({"positive": torch.tensor([0, 1, 2, 5])}, "-1 .. 4"),
        ({"positive": torch.tensor([0, 1, 2, -2])}, "-1 .. 4"),
        ({"positive": torch.zeros(3, dtype=torch.long)}, r"\(4,\)"),
        ({"positive": torch.zeros(4)}, "integer"),
        ({"positive": torch.zeros(4, dtype=torch.int32)}, "int64"),
        ({"row_ids": torch.zeros(4, dtype=torch.long)}, "both sides"),
        (
            {"row_ids": torch.zeros(3, dtype=torch.long), "column_ids": torch.arange(5)},
            r"row ids must have shape \(4,\); got \(3,\)",
        ),
        ({"column_groups": torch.zeros(5, dtype=torch.long)}, "groups .* both sides"),
        (
            {"row_groups": torch.arange(4), "column_groups": torch.arange(6)},
            r"column groups must have shape \(5,\); got \(6,\)",
        ),
        (
            {"exclude": Pairs(torch.tensor([4]), torch.tensor([0]))},
            r"exclude.rows must lie in 0 .. 3; got values in 4 .. 4",
        ),
        (
            {"weights": Pairs(torch.tensor([3]), torch.tensor([5]), torch.zeros(1))},
            r"weights.columns must lie in 0 .. 4; got values in 5 .. 5",
        ),
        (
            {"weights": Pairs(torch.tensor([3, 3]), torch.tensor([2, 2]), torch.zeros(2))},
            "at most once; got row 3, column 2 twice",
        ),
        (
            {"weights": Pairs(torch.tensor([3]), torch.tensor([2]), torch.tensor([torch.nan]))},
            r"weights.log_weight must be finite or -inf; got nan at \[0\]",
        ),
        (
            {"weights": lambda rows, columns: torch.zeros(2, 2)},
            r"weights must return \(4, 5\) for such slices; got \(2, 2\)",
        ),
        ({"weights": lambda rows, columns: 0.0}, "a floating tensor; got float"),
        (
            {"weights": lambda rows, columns: torch.full((4, 5), torch.nan)},
            "weights returned a log-weight that is NaN",
        ),
        ({"hardness": -0.5}, "hardness must be a finite number of at least 0; got -0.5"),
        ({"scale": -2.0}, "scale must be positive and finite; got -2.0"),
        ({"column_bias": torch.tensor([0, 0, 0, 0, torch.inf])}, r"got inf at \[4\]"),
        ({"query": torch.full((4, 3), torch.nan)}, r"query must be finite; got nan at \[0, 0\]"),
        ({"key": torch.full((5, 3), -torch.inf)}, "key must be finite; got -inf"),
        ({"column_bias": torch.zeros(4)}, r"\(5,\)"),
        ({"column_bias": torch.zeros(5, dtype=torch.long)}, "floating"),
    ],
)
def test_wrong_arguments_of_contrast_are_named(change: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {
        "query": torch.randn(4, 3),
        "key": torch.randn(5, 3),
        "scale": 1.0,
    }
    with pytest.raises(ArgumentError, match=message):
        contrast(**{**arguments, **change})


def test_wrong_arguments_of_both_directions_are_named() -> None:
    first, second = torch.randn(4, 3), torch.randn(5, 3)
    with pytest.raises(NonFiniteArgumentError, match="second must be finite; got nan"):
        contrast_both(first, second * torch.nan, scale=1.0)
    with pytest.raises(ArgumentError, match=r"second_positive must lie in -1 .. 3; got"):
        contrast_both(first, second, scale=1.0, second_positive=torch.full((5,), 4))
    with pytest.raises(ArgumentError, match=r"first_bias must have shape \(4,\)"):
        contrast_both(first, second, scale=1.0, first_bias=torch.zeros(5))


LEARNED = torch.nn.Parameter(torch.tensor(2.0))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: mean_logit(x, scale=1.0, backend="flash"), ArgumentError, "allowed: auto, den"),
        (lambda x: mean_logit(x, scale=0.0), ArgumentError, "scale must be positive"),
        (lambda x: mean_logit(x, x[:, :2], scale=1.0), ArgumentError, "the other side, 3; got 2"),
        (lambda x: mean_logit(x * torch.nan, scale=1.0), NonFiniteArgumentError, "query must be"),
        (
            lambda x: mean_logit(x, scale=1.0, column_bias=torch.full((4,), torch.inf)),
            NonFiniteArgumentError,
            r"column_bias must be finite or -inf; got inf at \[0\]",
        ),
        (
            lambda x: pair_sum(x, function=lambda y: y.sum(), scale=1.0),
            ArgumentError,
            r"the shape of its argument, \(2, 3\); got \(\)",
        ),
        (
            lambda x: pair_sum(x, function=lambda y: y > 0, scale=1.0),
            ArgumentError,
            "keep the dtype torch.float32; got torch.bool",
        ),
        (
            lambda x: pair_sum(x, function=lambda y: LEARNED * y, scale=1.0),
            ArgumentError,
            "must not close over tensors that require a gradient",
        ),
        (
            lambda x: pair_sum(x, function=softplus, scale=1.0, row_bias=torch.zeros(3)),
            ArgumentError,
            r"row_bias must have shape \(4,\); got \(3,\)",
        ),
        (
            lambda x: pair_sum(
                x, function=softplus, scale=1.0, column_bias=torch.full((4,), -torch.inf)
            ),
            NonFiniteArgumentError,
            "column_bias must be finite; got -inf",
        ),
        (lambda x: top_candidates(x, count=0), ArgumentError, "count must be a positive integer"),
        (lambda x: top_candidates(x, count=1, tile=0), ArgumentError, "tile must be a positive"),
        (
            lambda x: top_candidates(x / 0.0, count=1),
            NonFiniteArgumentError,
            "query must be finite",
        ),
        (
            lambda x: pair_logits(x, None, torch.tensor([0, 4]), torch.tensor([0, 0])),
            ArgumentError,
            "rows must lie in 0 .. 3; got values in 0 .. 4",
        ),
        (
            lambda x: pair_logits(x, None, torch.tensor([0, 1]), torch.tensor([0])),
            ArgumentError,
            r"columns must have shape \(2,\); got \(1,\)",
        ),
        (
            lambda x: statistics(x, scale=1.0, row_ids=torch.arange(3)),
            ArgumentError,
            r"row ids must have shape \(4,\); got \(3,\)",
        ),
        (lambda x: log_add_exp(), ArgumentError, "at least one term"),
        (lambda x: log_add_exp(x, x[:2]), ArgumentError, r"one shape; got \(4, 3\), \(2, 3\)"),
        (
            lambda x: segment_log_sum_exp(x[:, 0], torch.tensor([0, 1, 2, 5]), 5),
            ArgumentError,
            "segment must lie in 0 .. 4; got values in 0 .. 5",
        ),
        (
            lambda x: segment_log_sum_exp(x, torch.tensor([0, 1, 2, 3]), 5),
            ArgumentError,
            "values must be a floating vector",
        ),
    ],
)
def test_wrong_arguments_of_the_other_operators_are_named(
    call, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call(torch.randn(4, 3))
