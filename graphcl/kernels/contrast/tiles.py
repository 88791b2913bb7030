"""Exact log-sum-exp over tiles in plain torch: memory O((M + N) d), CPU and GPU.

Work, counting a multiply-add as two operations: 2MNd forward and 6MNd backward,
whether one direction is asked for or both. When the key is the query, only tiles
on and above the diagonal are visited and each serves its rows and its columns:
for M = 2N nodes of two views that is 16 N^2 d instead of the 24 N^2 d of the
definition.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from graphcl.kernels.contrast import bounded, running
from graphcl.kernels.contrast.operands import Gradients, Operands, Sums
from graphcl.kernels.contrast.problem import Problem
from graphcl.kernels.contrast.recompute import recomputed_log_sum_exp
from graphcl.kernels.contrast.walk import Plan


def tiled_log_sum_exp(problem: Problem, tile: int) -> tuple[Tensor, Tensor | None]:
    """Row and, if asked for, column log-sum-exp; see `Problem` for the definition.

    Differentiable once; use the dense backend for second derivatives.
    """
    if problem.block_weight is not None and problem.key is None:
        # Block weights need not be symmetric: every tile is computed.
        problem = replace(problem, key=problem.query)
    return recomputed_log_sum_exp(problem, _TilePasses(problem, tile))


def plan_of(problem: Problem, tile: int) -> Plan:
    """The pass over the tiles of a problem."""
    shape, self_similar = problem.shape, problem.key is None
    row_excluded = problem.row_excluded.tiled(tile, shape)
    mirrored = problem.mirrored_exclusion()
    if mirrored.same_pairs(problem.row_excluded):
        column_excluded = row_excluded
    else:
        column_excluded = mirrored.tiled(tile, shape)
    return Plan(
        shape,
        tile,
        self_similar,
        problem.columns,
        row_excluded,
        column_excluded,
        problem.block_weight,
    )


class _TilePasses:
    def __init__(self, problem: Problem, tile: int) -> None:
        self._plan = plan_of(problem, tile)
        self._bounded = False

    def forward(self, operands: Operands) -> Sums:
        self._bounded = self._plan.block_weight is None and bounded.is_bounded(operands)
        return (bounded if self._bounded else running).forward(self._plan, operands)

    def backward(self, operands: Operands, sums: Sums, upstream: Sums, out: Gradients) -> None:
        passes = bounded if self._bounded else running
        passes.backward(self._plan, operands, sums, upstream, out)
