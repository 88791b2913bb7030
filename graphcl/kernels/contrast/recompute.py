"""The autograd function of the backends that recompute the products in backward.

Only the inputs and one number per row (and column) are saved: memory
O((M + N) d). A backend supplies the two passes over the products.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from graphcl.kernels.contrast.once import differentiable_once
from graphcl.kernels.contrast.operands import Gradients, Operands, Sums
from graphcl.kernels.contrast.problem import Problem


class Passes(Protocol):
    """The forward and the backward pass over all products of one problem."""

    def forward(self, operands: Operands) -> Sums:
        """Row and, if wanted, column log-sum-exp."""
        ...

    def backward(self, operands: Operands, sums: Sums, upstream: Sums, out: Gradients) -> None:
        """Add the gradients to `out`, those of query and key without the factor scale."""
        ...


def recomputed_log_sum_exp(problem: Problem, passes: Passes) -> tuple[Tensor, Tensor | None]:
    """Row and, if asked for, column log-sum-exp; see `Problem` for the definition.

    Differentiable once; use the dense backend for second derivatives.
    """
    if 0 in problem.shape:
        return _without_candidates(problem)
    rows, columns = _RecomputedLogSumExp.apply(
        problem.query, problem.key, problem.scale, problem.query_bias, problem.key_bias, passes
    )
    return rows, (columns if problem.columns else None)


def _without_candidates(problem: Problem) -> tuple[Tensor, Tensor | None]:
    key = problem.query if problem.key is None else problem.key
    connected = 0.0 * (problem.query.sum() + key.sum())
    rows, columns = (connected.new_full((length,), -torch.inf) for length in problem.shape)
    return rows + connected, (columns + connected if problem.columns else None)


class _RecomputedLogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor | None,
        scale: Tensor,
        query_bias: Tensor | None,
        key_bias: Tensor | None,
        passes: Passes,
    ) -> tuple[Tensor, Tensor | None]:
        sums = passes.forward(_operands(query, key, scale, query_bias, key_bias))
        columns = None if key is None else sums.columns
        ctx.save_for_backward(query, key, scale, query_bias, key_bias, sums.rows, columns)
        ctx.passes = passes
        return sums.rows, columns

    @staticmethod
    @differentiable_once
    def backward(
        ctx: Any, row_gradient: Tensor, column_gradient: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        query, key, scale, query_bias, key_bias, rows, columns = ctx.saved_tensors
        operands = _operands(query, key, scale, query_bias, key_bias)
        # Gradients are carried relative to the largest one, so that a tiny loss
        # weight does not push their products into denormal numbers.
        unit = row_gradient.abs().max()
        if column_gradient is not None and columns is not None:
            unit = torch.maximum(unit, column_gradient.abs().max())
        unit = torch.where(unit == 0, 1.0, unit)
        row_gradient = row_gradient / unit
        if key is None:
            columns, column_gradient = rows, row_gradient
        elif column_gradient is not None:
            column_gradient = column_gradient / unit

        out = _accumulators(operands, ctx.needs_input_grad)
        ctx.passes.backward(operands, Sums(rows, columns), Sums(row_gradient, column_gradient), out)
        scale_gradient = None
        if ctx.needs_input_grad[2] and out.query is not None:
            # sum_ij R_ij <q_i, k_j> = <dq, q>; a self-similar dq holds both roles.
            scale_gradient = torch.vdot(out.query.view(-1), query.reshape(-1)) * unit
            if key is None:
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
        return Operands(query, query, scale, key_bias, key_bias, True)
    return Operands(query, key, scale, query_bias, key_bias, False)


def _accumulators(operands: Operands, wanted: tuple[bool, ...]) -> Gradients:
    rows, columns = operands.query.shape[0], operands.key.shape[0]
    # Contiguous, whatever the layout of the embeddings.
    query = operands.query.new_zeros(operands.query.shape) if wanted[0] or wanted[2] else None
    key_bias = operands.key.new_zeros(columns) if wanted[4] else None
    if operands.self_similar:
        return Gradients(query, query, key_bias, key_bias)
    key = operands.key.new_zeros(operands.key.shape) if wanted[1] else None
    query_bias = operands.query.new_zeros(rows) if wanted[3] else None
    return Gradients(query, key, query_bias, key_bias)
