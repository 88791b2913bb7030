"""The oracle: the definition written down, on the full M x N matrix of logits.

Plain autograd in any floating dtype, so it can be differentiated twice (for
meta-learning) and compared against in float64. Memory is O(M N) several times.
"""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.kernels.contrast.problem import Problem


def dense_log_sum_exp(problem: Problem, tile: int = 0) -> tuple[Tensor, Tensor | None]:
    """Row and, if asked for, column log-sum-exp; see `Problem` for the definition.

    `tile` has no meaning here; all backends have one signature.
    """
    key = problem.query if problem.key is None else problem.key
    products = problem.scale * (problem.query @ key.T)
    if problem.block_weight is not None:
        products = products + problem.block_weight(*map(slice, (0, 0), problem.shape))
    rows = _log_sum_exp(products, problem.key_bias, problem.row_excluded.dense(problem.shape))
    if not problem.columns:
        return rows, None
    excluded = problem.column_excluded.dense(problem.shape)
    return rows, _log_sum_exp(products.T, problem.query_bias, excluded.T)


def _log_sum_exp(products: Tensor, bias: Tensor | None, excluded: Tensor) -> Tensor:
    logits = products if bias is None else products + bias
    return guarded_log_sum_exp(logits.masked_fill(excluded, -torch.inf))


def guarded_log_sum_exp(logits: Tensor) -> Tensor:
    """Log-sum-exp along the last dimension; -inf with gradient 0 where all entries are -inf."""
    # A row without candidates would differentiate exp(-inf - (-inf)) = NaN, so
    # it is computed on zeros and overwritten: value -inf, gradient exactly 0.
    empty = torch.isneginf(logits).all(dim=-1)
    finite = torch.logsumexp(logits.masked_fill(empty.unsqueeze(-1), 0.0), dim=-1)
    return finite.masked_fill(empty, -torch.inf)
