"""The public operator: checks its arguments, builds the problem and picks a backend."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast.checks import (
    check_choice,
    check_matrix,
    check_positive,
    check_vector,
    scale_tensor,
)
from graphcl.kernels.contrast.dense import dense_log_sum_exp
from graphcl.kernels.contrast.exclusion import (
    Exclusion,
    diagonal,
    match_ids,
    nothing_excluded,
)
from graphcl.kernels.contrast.native import native_log_sum_exp
from graphcl.kernels.contrast.pairs import pair_products
from graphcl.kernels.contrast.problem import Problem
from graphcl.kernels.contrast.tiles import tiled_log_sum_exp

Backend = Literal["auto", "dense", "tiles", "native"]
BACKENDS: tuple[str, ...] = get_args(Backend)

DENSE_LIMIT = 1 << 16
"""`backend="auto"` stores the full matrix up to this many entries, and uses tiles above.

Near this size the two take the same time on a CPU; the matrix is then under 1 MB.
"""


class ContrastOutput(NamedTuple):
    """What a contrastive loss is made of, one number per row.

    `denominator` (M,): log-sum-exp of the row's candidates, -inf without any.
    `positive` (M,): logit of the row's positive, 0 without one.
    Both are differentiable; a row without candidates, or without a positive,
    has gradient exactly 0 in that field.
    """

    denominator: Tensor
    positive: Tensor


def contrast(
    query: Tensor,
    key: Tensor | None = None,
    *,
    scale: float | Tensor,
    positive: Tensor | None = None,
    row_ids: Tensor | None = None,
    column_ids: Tensor | None = None,
    column_bias: Tensor | None = None,
    decoupled: bool = False,
    backend: str = "auto",
    tile: int = 512,
) -> ContrastOutput:
    r"""Log-sum-exp over all candidates of every row, and the logit of its positive.

    .. math::
        l_{ij} = scale \cdot \langle q_i, k_j \rangle + column\_bias_j, \qquad
        denominator_i = \log \sum_{j \in C_i} e^{l_{ij}}, \qquad
        positive_i = l_{i,p(i)}

    where C_i is every column but those with `column_ids[j] == row_ids[i]` and,
    if `decoupled`, but p(i). The positive may be an excluded column.

    Args:
        query: (M, d) rows, float16/bfloat16/float32/float64. Not normalised here.
        key: (N, d) columns, same dtype. None: the rows are also the columns
            (self-similarity), and unless ids are given each row excludes itself.
        scale: inverse temperature, a positive number or 0-d tensor (differentiable).
        positive: (M,) int64 column of each row's positive, -1 for none. None: no
            row has one.
        row_ids, column_ids: (M,) and (N,) integer ids; equal ids exclude the pair
            from the denominator (the same node in the same view, a known
            neighbour group, ...). Ids may repeat. With `key=None`, `column_ids`
            defaults to `row_ids`.
        column_bias: (N,) log-weight of each column in logit units (differentiable);
            -inf removes a column.
        decoupled: leave the positive out of the denominator (Yeh et al. 2021).
        backend: "dense" (O(M N) memory, twice differentiable), "tiles" (exact,
            O((M + N) d) memory), or "auto": dense up to `DENSE_LIMIT` entries.
        tile: side of a tile in rows. Memory grows with its square.

    Returns:
        `ContrastOutput`, in float64 for float64 input and float32 otherwise.

    Raises:
        ArgumentError: for a wrong shape, dtype, device, index or backend name.
    """
    check_matrix("query", query, None)
    check_choice(backend, BACKENDS, tile)
    if key is not None:
        check_matrix("key", key, query)
    rows, columns = query.shape[0], (query if key is None else key).shape[0]
    backend = _resolve(backend, rows, columns)
    check_vector("column_bias", column_bias, columns, query, floating=True)
    check_positive("positive", positive, rows, columns, query)
    if key is None and column_ids is None:
        column_ids = row_ids
    excluded = _excluded(row_ids, column_ids, rows, columns, query)
    if key is None and row_ids is None:
        excluded = diagonal(rows, query.device)
    if decoupled:
        excluded = _without_positive(excluded, positive)

    dtype, reduced = _accumulation_dtype(query), _reduced_precision(query)
    query = query.to(dtype)
    key = None if key is None else key.to(dtype)
    bias = None if column_bias is None else column_bias.to(dtype)
    factor = scale_tensor(scale, query)
    problem = Problem(
        query=query,
        key=key,
        scale=factor,
        query_bias=None,
        key_bias=bias,
        row_excluded=excluded,
        column_excluded=nothing_excluded(query.device),
        columns=False,
        reduced_precision=reduced,
    )
    with _full_precision(query):
        denominator, _ = _log_sum_exp(problem, backend, tile)
        logits = _positive_logits(query, key, positive, factor, bias, dense=backend == "dense")
    return ContrastOutput(denominator, logits)


def contrast_both(
    first: Tensor,
    second: Tensor,
    *,
    scale: float | Tensor,
    first_positive: Tensor | None = None,
    second_positive: Tensor | None = None,
    first_ids: Tensor | None = None,
    second_ids: Tensor | None = None,
    first_bias: Tensor | None = None,
    second_bias: Tensor | None = None,
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
        first_bias, second_bias: (M,) and (N,) log-weight of each row as a candidate.
        decoupled, backend, tile: as in `contrast`.

    Returns:
        The output for the rows of `first` (M,) and for the rows of `second` (N,).

    Raises:
        ArgumentError: for a wrong shape, dtype, device, index or backend name.
    """
    check_matrix("first", first, None)
    check_matrix("second", second, first)
    check_choice(backend, BACKENDS, tile)
    rows, columns = first.shape[0], second.shape[0]
    backend = _resolve(backend, rows, columns)
    check_vector("first_bias", first_bias, rows, first, floating=True)
    check_vector("second_bias", second_bias, columns, first, floating=True)
    check_positive("first_positive", first_positive, rows, columns, first)
    check_positive("second_positive", second_positive, columns, rows, first)
    excluded = _excluded(first_ids, second_ids, rows, columns, first)
    row_excluded, column_excluded = excluded, excluded
    if decoupled:
        row_excluded = _without_positive(excluded, first_positive)
        column_excluded = _without_positive(excluded.transposed(), second_positive).transposed()

    dtype, reduced = _accumulation_dtype(first), _reduced_precision(first)
    first, second = first.to(dtype), second.to(dtype)
    first_bias = None if first_bias is None else first_bias.to(dtype)
    second_bias = None if second_bias is None else second_bias.to(dtype)
    factor = scale_tensor(scale, first)
    problem = Problem(
        query=first,
        key=second,
        scale=factor,
        query_bias=first_bias,
        key_bias=second_bias,
        row_excluded=row_excluded,
        column_excluded=column_excluded,
        columns=True,
        reduced_precision=reduced,
    )
    with _full_precision(first):
        of_first, of_second = _log_sum_exp(problem, backend, tile)
        if of_second is None:
            raise RuntimeError("a backend ignored Problem.columns")
        dense = backend == "dense"
        forth = _positive_logits(first, second, first_positive, factor, second_bias, dense=dense)
        back = _positive_logits(second, first, second_positive, factor, first_bias, dense=dense)
    return ContrastOutput(of_first, forth), ContrastOutput(of_second, back)


def _resolve(backend: str, rows: int, columns: int) -> str:
    if backend != "auto":
        return backend
    return "dense" if rows * columns <= DENSE_LIMIT else "tiles"


def _log_sum_exp(problem: Problem, backend: str, tile: int) -> tuple[Tensor, Tensor | None]:
    if backend == "dense":
        return dense_log_sum_exp(problem)
    if backend == "native":
        return native_log_sum_exp(problem, tile)
    return tiled_log_sum_exp(problem, tile)


def _positive_logits(
    query: Tensor,
    key: Tensor | None,
    positive: Tensor | None,
    scale: Tensor,
    bias: Tensor | None,
    *,
    dense: bool,
) -> Tensor:
    if positive is None or 0 in (query.shape[0], (query if key is None else key).shape[0]):
        return 0.0 * query.sum(dim=1)
    index = positive.clamp_min(0)
    logits = scale * pair_products(query, key, index, dense=dense)
    if bias is not None:
        logits = logits + bias.index_select(0, index)
    return torch.where(positive >= 0, logits, 0.0)


def _excluded(
    row_ids: Tensor | None, column_ids: Tensor | None, rows: int, columns: int, like: Tensor
) -> Exclusion:
    check_vector("row ids", row_ids, rows, like, floating=False)
    check_vector("column ids", column_ids, columns, like, floating=False)
    if (row_ids is None) != (column_ids is None):
        raise ArgumentError("ids exclude a pair when both sides have them; got only one side")
    if row_ids is None or column_ids is None:
        return nothing_excluded(like.device)
    return match_ids(row_ids, column_ids)


def _without_positive(excluded: Exclusion, positive: Tensor | None) -> Exclusion:
    if positive is None:
        return excluded
    rows = (positive >= 0).nonzero().view(-1)
    return excluded.with_pairs(rows, positive[rows])


def _accumulation_dtype(query: Tensor) -> torch.dtype:
    return torch.float64 if query.dtype == torch.float64 else torch.float32


def _reduced_precision(query: Tensor) -> bool:
    """Whether the caller allows products of bfloat16 roundings."""
    if query.dtype == torch.float32:
        return torch.get_float32_matmul_precision() == "medium"
    return query.dtype == torch.bfloat16


def _full_precision(like: Tensor) -> AbstractContextManager[object]:
    # Under autocast the products would be rounded to 16 bits behind our back.
    return torch.autocast(like.device.type, enabled=False)
