"""The public operator in both directions at the price of one."""

from __future__ import annotations

from torch import Tensor

from graphcl.kernels.contrast.backends import BACKENDS, log_sum_exp, resolve_backend
from graphcl.kernels.contrast.candidates import check_sides, excluded_pairs, without_positive
from graphcl.kernels.contrast.checks import (
    accumulation_dtype,
    check_bias,
    check_choice,
    check_hardness,
    check_positive,
    full_precision,
    product_precision,
    scale_tensor,
)
from graphcl.kernels.contrast.hardness import steeper
from graphcl.kernels.contrast.operator import positive_logits
from graphcl.kernels.contrast.outputs import ContrastOutput
from graphcl.kernels.contrast.pairs import Pairs
from graphcl.kernels.contrast.problem import Problem


def contrast_both(
    first: Tensor,
    second: Tensor,
    *,
    scale: float | Tensor,
    first_positive: Tensor | None = None,
    second_positive: Tensor | None = None,
    first_ids: Tensor | None = None,
    second_ids: Tensor | None = None,
    first_groups: Tensor | None = None,
    second_groups: Tensor | None = None,
    exclude: Pairs | None = None,
    first_bias: Tensor | None = None,
    second_bias: Tensor | None = None,
    hardness: float = 0.0,
    decoupled: bool = False,
    backend: str = "auto",
    tile: int = 512,
) -> tuple[ContrastOutput, ContrastOutput]:
    """Contrast rows of `first` with all of `second`, and the other way round, in one pass.

    Equal to `contrast(first, second, column_bias=second_bias, ...)` and
    `contrast(second, first, column_bias=first_bias, ...)`, but every product is
    computed once for both: half the work.

    Args:
        first, second: (M, d) and (N, d).
        scale: inverse temperature, as in `contrast`.
        first_positive: (M,) row of `second` that is positive for each row of `first`, -1: none.
        second_positive: (N,) row of `first` that is positive for each row of `second`.
        first_ids, second_ids: (M,) and (N,) ids; equal ids exclude a pair both ways.
        first_groups, second_groups: (M,) and (N,) groups; only rows of one group are
            candidates of each other.
        exclude: (row of `first`, row of `second`) pairs that are no candidates, both ways.
        first_bias, second_bias: (M,) and (N,) log-weight of each row as a candidate.
        hardness, decoupled, backend, tile: as in `contrast`.

    Returns:
        The output for the rows of `first` (M,) and for the rows of `second` (N,).

    Raises:
        ArgumentError: for a wrong shape, dtype, device, index or backend name.
        NonFiniteArgumentError: for NaN or infinity in first or second, and for NaN
            or +inf in a bias.
    """
    shape = check_sides(first, second, ("first", "second"))
    check_choice(backend, BACKENDS, tile)
    backend = resolve_backend(backend, shape, first)
    check_bias("first_bias", first_bias, shape[0], first)
    check_bias("second_bias", second_bias, shape[1], first)
    check_positive("first_positive", first_positive, *shape, first)
    check_positive("second_positive", second_positive, shape[1], shape[0], first)
    check_hardness(hardness)
    excluded = excluded_pairs(
        shape,
        first,
        self_similar=False,
        row_ids=first_ids,
        column_ids=second_ids,
        row_groups=first_groups,
        column_groups=second_groups,
        exclude=exclude,
    )
    row_excluded, column_excluded = excluded, excluded
    if decoupled:
        row_excluded = without_positive(excluded, first_positive)
        column_excluded = without_positive(excluded.transposed(), second_positive).transposed()

    dtype, precision = accumulation_dtype(first), product_precision(first)
    first, second = first.to(dtype), second.to(dtype)
    first_bias = None if first_bias is None else first_bias.to(dtype)
    second_bias = None if second_bias is None else second_bias.to(dtype)
    factor = scale_tensor(scale, first)
    rows, columns, slope = steeper(first, second, factor, hardness)
    problem = Problem(
        query=rows,
        key=columns,
        scale=slope,
        query_bias=first_bias,
        key_bias=second_bias,
        row_excluded=row_excluded,
        column_excluded=column_excluded,
        columns=True,
        precision=precision,
    )
    dense = backend == "dense"
    with full_precision(first):
        of_first, of_second = log_sum_exp(problem, backend, tile)
        if of_second is None:
            raise RuntimeError("a backend ignored Problem.columns")
        forth = positive_logits(first, second, first_positive, factor, second_bias, dense=dense)
        back = positive_logits(second, first, second_positive, factor, first_bias, dense=dense)
    return ContrastOutput(of_first, forth), ContrastOutput(of_second, back)
