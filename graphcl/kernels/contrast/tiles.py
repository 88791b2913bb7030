"""Exact log-sum-exp over tiles: memory O((M + N) d), products recomputed in backward.

Only the inputs and one number per row (and column) are saved. Work, counting a
multiply-add as two operations: 2MNd forward and 6MNd backward, whether one
direction is asked for or both. When the key is the query, only tiles on and
above the diagonal are visited and each serves its rows and its columns: for
M = 2N nodes of two views that is 16 N^2 d instead of the 24 N^2 d of the
definition.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from graphcl.kernels.contrast import bounded, running
from graphcl.kernels.contrast.once import differentiable_once
from graphcl.kernels.contrast.operands import Gradients, Operands, Sums
from graphcl.kernels.contrast.problem import Problem
from graphcl.kernels.contrast.walk import Plan


def tiled_log_sum_exp(problem: Problem, tile: int) -> tuple[Tensor, Tensor | None]:
    """Row and, if asked for, column log-sum-exp; see `Problem` for the definition.

    Differentiable once; use the dense backend for second derivatives.
    """
    if 0 in problem.shape:
        return _without_candidates(problem)
    if problem.block_weight is not None and problem.key is None:
        # Block weights need not be symmetric: every tile is computed.
        problem = replace(problem, key=problem.query)
    plan = plan_of(problem, tile)
    rows, columns = _TiledLogSumExp.apply(
        problem.query, problem.key, problem.scale, problem.query_bias, problem.key_bias, plan
    )
    return rows, columns


def plan_of(problem: Problem, tile: int) -> Plan:
    """The pass over the tiles of a problem."""
    shape, self_similar = problem.shape, problem.key is None
    row_excluded = problem.row_excluded.tiled(tile, shape)
    # Per column, the columns of a symmetric s leave out what the rows do, mirrored.
    mirrored = problem.column_excluded
    if self_similar:
        mirrored = problem.row_excluded.transposed()
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


def _without_candidates(problem: Problem) -> tuple[Tensor, Tensor | None]:
    key = problem.query if problem.key is None else problem.key
    connected = 0.0 * (problem.query.sum() + key.sum())
    rows, columns = (connected.new_full((length,), -torch.inf) for length in problem.shape)
    return rows + connected, (columns + connected if problem.columns else None)


class _TiledLogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor | None,
        scale: Tensor,
        query_bias: Tensor | None,
        key_bias: Tensor | None,
        plan: Plan,
    ) -> tuple[Tensor, Tensor | None]:
        operands = _operands(query, key, scale, query_bias, key_bias)
        bounded_logits = plan.block_weight is None and bounded.is_bounded(operands)
        sums = (bounded if bounded_logits else running).forward(plan, operands)
        columns = None if plan.self_similar else sums.columns
        ctx.save_for_backward(query, key, scale, query_bias, key_bias, sums.rows, columns)
        ctx.plan, ctx.bounded_logits = plan, bounded_logits
        return sums.rows, columns

    @staticmethod
    @differentiable_once
    def backward(
        ctx: Any, row_gradient: Tensor, column_gradient: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        query, key, scale, query_bias, key_bias, rows, columns = ctx.saved_tensors
        plan: Plan = ctx.plan
        operands = _operands(query, key, scale, query_bias, key_bias)
        # Gradients are carried relative to the largest one, so that a tiny loss
        # weight does not push their products into denormal numbers.
        unit = row_gradient.abs().max()
        if column_gradient is not None and columns is not None:
            unit = torch.maximum(unit, column_gradient.abs().max())
        unit = torch.where(unit == 0, 1.0, unit)
        row_gradient = row_gradient / unit
        if plan.self_similar:
            columns, column_gradient = rows, row_gradient
        elif column_gradient is not None:
            column_gradient = column_gradient / unit

        out = _accumulators(operands, plan, ctx.needs_input_grad)
        (bounded if ctx.bounded_logits else running).backward(
            plan, operands, Sums(rows, columns), Sums(row_gradient, column_gradient), out
        )
        scale_gradient = None
        if ctx.needs_input_grad[2] and out.query is not None:
            # sum_ij R_ij <q_i, k_j> = <dq, q>; a self-similar dq holds both roles.
            scale_gradient = torch.vdot(out.query.view(-1), query.reshape(-1)) * unit
            if plan.self_similar:
                scale_gradient = scale_gradient / 2
        for embedding in {id(part): part for part in (out.query, out.key)}.values():
            if embedding is not None:
                embedding.mul_(scale * unit)
        for bias in {id(part): part for part in (out.query_bias, out.key_bias)}.values():
            if bias is not None:
                bias.mul_(unit)
        return (
            out.query if ctx.needs_input_grad[0] else None,
            out.key if ctx.needs_input_grad[1] else None,
            scale_gradient,
            out.query_bias if ctx.needs_input_grad[3] else None,
            out.key_bias if ctx.needs_input_grad[4] else None,
            None,
        )


def _operands(
    query: Tensor,
    key: Tensor | None,
    scale: Tensor,
    query_bias: Tensor | None,
    key_bias: Tensor | None,
) -> Operands:
    if key is None:
        return Operands(query, query * scale, query, key_bias, key_bias)
    return Operands(query, query * scale, key, query_bias, key_bias)


def _accumulators(operands: Operands, plan: Plan, wanted: tuple[bool, ...]) -> Gradients:
    query = torch.zeros_like(operands.query) if wanted[0] or wanted[2] else None
    key_bias = operands.key.new_zeros(plan.shape[1]) if wanted[4] else None
    if plan.self_similar:
        return Gradients(query, query, key_bias, key_bias)
    key = torch.zeros_like(operands.key) if wanted[1] else None
    query_bias = operands.query.new_zeros(plan.shape[0]) if wanted[3] else None
    return Gradients(query, key, query_bias, key_bias)
