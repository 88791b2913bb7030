"""Softmax-weighted mean of the logits of every row, differentiated through its weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from graphcl.kernels.contrast.backends import resolve_backend
from graphcl.kernels.contrast.candidates import check_sides, excluded_pairs
from graphcl.kernels.contrast.checks import (
    accumulation_dtype,
    check_bias,
    check_choice,
    full_precision,
    scale_tensor,
)
from graphcl.kernels.contrast.dense import guarded_log_sum_exp
from graphcl.kernels.contrast.exclusion import nothing_excluded
from graphcl.kernels.contrast.groups import group_order, group_tile, reordered
from graphcl.kernels.contrast.mean_tiles import tiled_mean_logit
from graphcl.kernels.contrast.outputs import MeanOutput
from graphcl.kernels.contrast.pairs import Pairs
from graphcl.kernels.contrast.problem import Problem


def mean_logit(
    query: Tensor,
    key: Tensor | None = None,
    *,
    scale: float | Tensor,
    row_ids: Tensor | None = None,
    column_ids: Tensor | None = None,
    row_groups: Tensor | None = None,
    column_groups: Tensor | None = None,
    exclude: Pairs | None = None,
    column_bias: Tensor | None = None,
    backend: str = "auto",
    tile: int = 512,
) -> MeanOutput:
    r"""Log-sum-exp of every row's candidates and their mean logit under the softmax.

    .. math::
        denominator_i = \log \sum_{j \in C_i} e^{l_{ij}}, \qquad
        mean_i = \sum_{j \in C_i} p_{ij} l_{ij}, \qquad
        p_{ij} = e^{l_{ij} - denominator_i}

    with l and C as in `contrast`. The gradient flows through the weights p too:
    d mean_i / d l_ij = p_ij (1 + l_ij - mean_i). The expected cost of a
    doubly contrastive loss (Zheng et al. 2021, CACR) is a mean logit, and
    denominator - mean is the entropy of the softmax.

    Args:
        query, key, scale: as in `contrast`.
        row_ids, column_ids, row_groups, column_groups, exclude: as in `contrast`.
        column_bias: (N,) part of the logit (differentiable); -inf removes a column.
        backend: "dense" (O(M N) memory, twice differentiable), "tiles" (exact,
            O((M + N) d) memory), or "auto": dense up to `DENSE_LIMIT` entries.
        tile: side of a tile in rows.

    Returns:
        `MeanOutput`, in float64 for float64 input and float32 otherwise; a row
        without candidates has denominator -inf, mean 0 and gradient exactly 0.

    Raises:
        ArgumentError: for a wrong shape, dtype, device, index or backend name.
        NonFiniteArgumentError: for NaN or infinity in query or key, and for NaN or
            +inf in the bias.
    """
    shape = check_sides(query, key)
    check_choice(backend, ("auto", *MEAN_LOGIT), tile)
    backend = resolve_backend(backend, shape, query, ("dense", "tiles"))
    check_bias("column_bias", column_bias, shape[1], query)
    excluded = excluded_pairs(
        shape,
        query,
        self_similar=key is None,
        row_ids=row_ids,
        column_ids=column_ids,
        row_groups=row_groups,
        column_groups=column_groups,
        exclude=exclude,
    )
    dtype = accumulation_dtype(query)
    query = query.to(dtype)
    problem = Problem(
        query=query,
        key=None if key is None else key.to(dtype),
        scale=scale_tensor(scale, query),
        query_bias=None,
        key_bias=None if column_bias is None else column_bias.to(dtype),
        row_excluded=excluded,
        column_excluded=nothing_excluded(query.device),
        columns=False,
    )
    order = None if backend == "dense" else group_order(excluded)
    tile = group_tile(excluded, tile)
    with full_precision(query):
        if order is None:
            return MeanOutput(*MEAN_LOGIT[backend](problem, tile))
        outputs = MEAN_LOGIT[backend](reordered(problem, order), tile)
        return MeanOutput(*(order.restore_rows(part) for part in outputs))


def dense_mean_logit(problem: Problem, tile: int = 0) -> tuple[Tensor, Tensor]:
    """The definition on the full matrix of logits, in plain autograd."""
    key = problem.query if problem.key is None else problem.key
    logits = problem.scale * (problem.query @ key.T)
    if problem.key_bias is not None:
        logits = logits + problem.key_bias
    absent = problem.row_excluded.dense(problem.shape) | torch.isneginf(logits)
    denominator = guarded_log_sum_exp(logits.masked_fill(absent, -torch.inf))
    empty = torch.isneginf(denominator)
    level = denominator.masked_fill(empty, 0.0)
    # Absent logits are replaced before the exponential: neither -inf * 0 nor its
    # derivative may reach the sum. Logits are taken relative to their denominator, so
    # that the mean of large ones keeps its digits.
    relative = (logits - level[:, None]).masked_fill(absent, 0.0)
    weight = relative.exp().masked_fill(absent, 0.0)
    return denominator, level + (weight * relative).sum(dim=1)


MEAN_LOGIT: dict[str, Callable[[Problem, int], tuple[Tensor, Tensor]]] = {
    "dense": dense_mean_logit,
    "tiles": tiled_mean_logit,
}
"""Denominator and mean of every row, by name of the backend."""
