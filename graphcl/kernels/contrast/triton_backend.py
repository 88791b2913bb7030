"""Exact log-sum-exp by two Triton kernels: memory O((M + N) d), products recomputed in backward.

Not yet measured on a GPU: the kernels are tested against the dense backend in
Triton's interpreter, and `benchmarks/contrast_gpu.py` checks and times them on
a CUDA device.

Work, counting a multiply-add as two operations: forward 2MNd, for both
directions too; backward 4MNd per side that wants a gradient. When the key is
the query, forward computes each pair of blocks once for both (half) and the
gradient of the one side takes 4M^2 d: for M = 2N nodes of two views 20 N^2 d in
all. Scattering half of the gradient to save another 4 N^2 d would need atomic
additions, as slow as the products saved and different in every run.

Precision of the products: float32 as it is, or rounded to TF32 where the caller
allows that to torch (`torch.set_float32_matmul_precision("high")` or
`torch.backends.cuda.matmul.allow_tf32`). bfloat16 and float16 embeddings are
multiplied as they are and summed in float32; in backward the softmax is rounded
to bfloat16, or with float16 to TF32, before it is multiplied, so gradients have
a relative error of about 1e-3. float64 needs a GPU that Triton compiles it for.
"""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast import triton_blocks
from graphcl.kernels.contrast.exclusion import Exclusion, nothing_excluded
from graphcl.kernels.contrast.once import differentiable_once
from graphcl.kernels.contrast.problem import Problem
from graphcl.kernels.contrast.triton_pairs import Argument, KernelExclusion, kernel_exclusion

LOG2_E = math.log2(math.e)
# Largest |logit| in natural units for which exponentials need no shift: half the exponent
# range, so that sums and upstream gradients multiplied to them stay clear of its ends.
_LIMIT = {torch.float32: 40.0, torch.float64: 300.0}


def is_available() -> bool:
    """Whether the package triton is installed; does not import it."""
    return importlib.util.find_spec("triton") is not None


def triton_log_sum_exp(problem: Problem, tile: int) -> tuple[Tensor, Tensor | None]:
    """Row and, if asked for, column log-sum-exp; see `Problem` for the definition.

    `problem.query` and `problem.key` may also be float16 or bfloat16, with the
    scale and biases in float32. No block has a side above `tile`. Differentiable
    once; use the dense backend for second derivatives.

    Raises:
        ArgumentError: triton is not installed, or the tensors are not on a GPU
            (and TRITON_INTERPRET=1 was not set before triton was imported).
    """
    _kernels(problem.query)
    rows, columns = problem.shape
    if 0 in (rows, columns):
        return _without_candidates(problem)
    if max(rows, columns) >= 2**31 - 2**20:
        raise ArgumentError(f"backend 'triton' takes fewer than 2**31 rows; got {rows}, {columns}")
    log_sums: tuple[Tensor, Tensor | None] = _TritonLogSumExp.apply(
        problem.query,
        problem.key,
        problem.scale,
        problem.query_bias,
        problem.key_bias,
        _Plan(problem, tile),
    )
    return log_sums


def _kernels(like: Tensor) -> ModuleType:
    try:
        from graphcl.kernels.contrast import triton_kernels
    except ImportError as error:
        raise ArgumentError(
            f"backend 'triton' needs the package triton, which cannot be imported ({error}); "
            "use backend='tiles' or install triton"
        ) from error
    if like.device.type != "cuda" and not triton_kernels.INTERPRETED:
        raise ArgumentError(
            f"backend 'triton' needs tensors on a CUDA device; got {like.device}; "
            "use backend='tiles'"
        )
    return triton_kernels


def _without_candidates(problem: Problem) -> tuple[Tensor, Tensor | None]:
    key = problem.query if problem.key is None else problem.key
    connected = 0.0 * (problem.query.sum() + key.sum()).to(problem.scale.dtype)
    rows, columns = (connected.new_full((length,), -torch.inf) for length in problem.shape)
    return rows + connected, (columns + connected if problem.columns else None)


class _Plan:
    """What forward and backward share besides tensors that autograd watches."""

    def __init__(self, problem: Problem, tile: int) -> None:
        self.shape, self.tile = problem.shape, tile
        self.self_similar = problem.key is None
        self.columns = problem.columns
        self.row_excluded = problem.row_excluded
        # In a self-similar s, the columns leave out what the rows do, mirrored.
        mirrored = problem.row_excluded.transposed()
        self.column_excluded = mirrored if self.self_similar else problem.column_excluded
        if not self.two_sided:
            self.column_excluded = nothing_excluded(problem.query.device)
        self.shared = self.two_sided and self.column_excluded.same_pairs(self.row_excluded)
        dtype = problem.query.dtype
        self.kind, self.precision = _kind_and_precision(dtype)
        # float16 cannot hold a softmax over many columns; TF32 holds float16 exactly.
        self.second_precision = "tf32" if dtype == torch.float16 else self.precision
        self.bounded = False

    @property
    def two_sided(self) -> bool:
        """Whether a block above the diagonal serves its rows and its columns."""
        return self.columns or self.self_similar


def _kind_and_precision(dtype: torch.dtype) -> tuple[str, str]:
    if dtype in (torch.float16, torch.bfloat16):
        return "16-bit", "ieee"
    if dtype == torch.float64:
        return "float64", "ieee"
    return ("tf32", "tf32") if _tf32_allowed() else ("ieee", "ieee")


def _tf32_allowed() -> bool:
    matmul = torch.backends.cuda.matmul
    # torch 2.9 renamed the switch and refuses the old name once the new one was used.
    if hasattr(matmul, "fp32_precision"):
        return bool(matmul.fp32_precision == "tf32")
    return bool(matmul.allow_tf32)


@dataclass(frozen=True)
class _Side:
    """One side of s: its rows, its bias as candidates, and what its own sums left and receive."""

    rows: Tensor
    bias: Tensor | None
    sums: Tensor | None
    gradient: Tensor | None
    excluded: Exclusion


class _TritonLogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor | None,
        scale: Tensor,
        query_bias: Tensor | None,
        key_bias: Tensor | None,
        plan: _Plan,
    ) -> tuple[Tensor, Tensor | None]:
        plan.bounded = _is_bounded(query, key, scale, query_bias, key_bias)
        rows, columns = _forward(query, key, scale, query_bias, key_bias, plan)
        ctx.save_for_backward(query, key, scale, query_bias, key_bias, rows, columns)
        ctx.plan = plan
        return rows, columns

    @staticmethod
    @differentiable_once
    def backward(
        ctx: Any, row_gradient: Tensor, column_gradient: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        query, key, scale, query_bias, key_bias, rows, columns = ctx.saved_tensors
        plan: _Plan = ctx.plan
        wanted = ctx.needs_input_grad
        # Gradients are carried relative to the largest one, so that a tiny loss
        # weight does not push their products into denormal numbers.
        unit = row_gradient.abs().max()
        if column_gradient is not None and columns is not None:
            unit = torch.maximum(unit, column_gradient.abs().max())
        unit = torch.where(unit == 0, 1.0, unit)
        rows_side = _Side(query, query_bias, rows, row_gradient / unit, plan.row_excluded)
        if plan.self_similar:
            own = _Side(query, key_bias, rows, row_gradient / unit, plan.row_excluded)
            mirrored = _Side(query, key_bias, rows, row_gradient / unit, plan.column_excluded)
            need = wanted[0] or wanted[2]
            query_gradient, bias_gradient = _strips(own, mirrored, scale, plan, need, wanted[4])
            key_gradient = query_bias_gradient = None
        else:
            if columns is None or column_gradient is None:
                columns = column_gradient = None
            else:
                column_gradient = column_gradient / unit
            columns_side = _Side(key, key_bias, columns, column_gradient, plan.column_excluded)
            need = wanted[0] or wanted[2]
            query_gradient, query_bias_gradient = _strips(
                rows_side, columns_side, scale, plan, need, wanted[3]
            )
            key_gradient, bias_gradient = _strips(
                _transposed(columns_side), _transposed(rows_side), scale, plan, wanted[1], wanted[4]
            )

        scale_gradient = None
        if wanted[2] and query_gradient is not None:
            # sum_ij R_ij <q_i, k_j> = <dq, q>; a self-similar dq holds both roles.
            scale_gradient = (query_gradient * query).sum() * unit
            if plan.self_similar:
                scale_gradient = scale_gradient / 2
        query_gradient = query_gradient if wanted[0] else None
        for embedding in (query_gradient, key_gradient):
            if embedding is not None:
                embedding.mul_(scale * unit)
        for bias in (query_bias_gradient, bias_gradient):
            if bias is not None:
                bias.mul_(unit)
        return (
            None if query_gradient is None else query_gradient.to(query.dtype),
            None if key_gradient is None else key_gradient.to(query.dtype),
            scale_gradient,
            query_bias_gradient,
            bias_gradient,
            None,
        )


def _transposed(side: _Side) -> _Side:
    return _Side(side.rows, side.bias, side.sums, side.gradient, side.excluded.transposed())


def _is_bounded(
    query: Tensor,
    key: Tensor | None,
    scale: Tensor,
    query_bias: Tensor | None,
    key_bias: Tensor | None,
) -> bool:
    # By Cauchy-Schwarz. Biases would need a second exponential anyway.
    if query_bias is not None or key_bias is not None:
        return False
    longest = [
        torch.linalg.vector_norm(side, dim=1, dtype=scale.dtype).max()
        for side in (query, query if key is None else key)
    ]
    return bool(longest[0] * longest[1] * scale <= _LIMIT[scale.dtype])


def _forward(
    query: Tensor,
    key: Tensor | None,
    scale: Tensor,
    query_bias: Tensor | None,
    key_bias: Tensor | None,
    plan: _Plan,
) -> tuple[Tensor, Tensor | None]:
    kernels = _kernels(query)
    shape, blocks = plan.shape, triton_blocks.forward_blocks(plan.kind, query.shape[1], plan.tile)
    left = _aligned(query)
    right = left if key is None else _aligned(key)
    grid = _Grid.of(shape, blocks, plan)
    triangle = blocks.rows if plan.self_similar else None
    row_excluded = kernel_exclusion(plan.row_excluded, shape, triangle)
    column_excluded = _NOTHING
    if plan.two_sided and not plan.shared:
        column_excluded = kernel_exclusion(plan.column_excluded, shape, triangle)

    slots = grid.column_stripes + (1 if plan.self_similar else 0)
    sums = scale.new_zeros((slots, shape[0]))
    maxima = None if plan.bounded else torch.full_like(sums, -torch.inf)
    column_sums, column_maxima = sums, maxima
    if not plan.self_similar:
        column_sums = scale.new_zeros((grid.row_stripes, shape[1] if plan.columns else 0))
        column_maxima = None if plan.bounded else torch.full_like(column_sums, -torch.inf)
    if plan.self_similar:
        query_bias = key_bias
    cut = (blocks.rows, blocks.columns, grid.columns_per_stripe, grid.column_stripes)
    arguments: list[Argument] = [
        left,
        left.stride(0),
        shape[0],
        right,
        right.stride(0),
        shape[1],
        query.shape[1],
        scale * LOG2_E,
        _base_two(query_bias),
        _base_two(key_bias),
        *row_excluded.arguments(shape, *cut),
        *column_excluded.arguments(shape, *cut),
        maxima,
        sums,
        column_maxima,
        column_sums,
        grid.rows_per_stripe,
        grid.columns_per_stripe,
        grid.row_stripes,
        grid.column_stripes,
    ]
    with _on_device(query):
        kernels.forward_kernel[(grid.programs,)](
            *arguments,
            ROWS=blocks.rows,
            COLUMNS=blocks.columns,
            FEATURES=blocks.features,
            WHOLE=blocks.whole,
            SELF_SIMILAR=plan.self_similar,
            TWO_SIDED=plan.two_sided,
            BOUNDED=plan.bounded,
            SHARED=plan.shared,
            PRECISION=plan.precision,
            num_warps=blocks.warps,
            num_stages=blocks.stages,
        )
    rows = _merged(maxima, sums)
    if plan.self_similar or not plan.columns:
        return rows, None
    return rows, _merged(column_maxima, column_sums)


def _merged(maxima: Tensor | None, sums: Tensor) -> Tensor:
    """Log-sum-exp, in natural units, of partial sums (slots, rows) in base 2."""
    if maxima is None:
        return sums.sum(0).log_()
    highest = maxima.amax(0)
    shift = torch.where(torch.isneginf(highest), 0.0, highest)
    total = (maxima - shift).exp2_().mul_(sums).sum(0)
    return total.log_().add_(highest / LOG2_E)


@dataclass(frozen=True)
class _Grid:
    rows_per_stripe: int
    columns_per_stripe: int
    row_stripes: int
    column_stripes: int
    programs: int

    @classmethod
    def of(cls, shape: tuple[int, int], blocks: triton_blocks.Blocks, plan: _Plan) -> _Grid:
        """Stripes of whole blocks; see `triton_kernels.forward_kernel`.

        The partial sums stay linear: there are at most `STRIPES` stripes of a
        side, or fewer than `PROGRAMS` in all of them.
        """
        wanted = triton_blocks.PROGRAMS
        if plan.self_similar:
            rows = _per_stripe(shape[0], triton_blocks.STRIPES, blocks.rows)
            stripes = -(-shape[0] // rows)
            return cls(rows, rows, stripes, stripes, stripes * (stripes + 1) // 2)
        rows = blocks.rows
        if plan.columns:
            rows = _per_stripe(shape[0], triton_blocks.STRIPES, blocks.rows)
        row_stripes = -(-shape[0] // rows)
        columns = _per_stripe(shape[1], -(-wanted // row_stripes), blocks.columns)
        column_stripes = -(-shape[1] // columns)
        return cls(rows, columns, row_stripes, column_stripes, row_stripes * column_stripes)


def _per_stripe(length: int, stripes: int, block: int) -> int:
    """Positions per stripe, whole blocks, so that there are at most `stripes`."""
    return -(-(-(-length // block)) // stripes) * block


def _strips(
    own: _Side, other: _Side, scale: Tensor, plan: _Plan, matrix: bool, bias: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of the own rows (without the factor scale) and of the own bias."""
    if not (matrix or bias):
        return None, None
    kernels = _kernels(own.rows)
    count, width = own.rows.shape
    others = other.rows.shape[0]
    shape = (count, others)
    blocks = triton_blocks.backward_blocks(plan.kind, width, plan.tile)
    left, right = _aligned(own.rows), _aligned(other.rows)
    outputs = -(-width // blocks.output) if matrix else 1
    row_blocks = -(-count // blocks.rows)
    # Split the other side where the own side has few blocks, as long as the partial
    # gradients take no more room than the embeddings of both sides do a few times.
    split = min(-(-triton_blocks.PROGRAMS // (row_blocks * outputs)), 4 * (count + others) // count)
    per_stripe = _per_stripe(others, max(1, split), blocks.columns)
    stripes = -(-others // per_stripe)

    gradient = scale.new_empty((stripes, count, width)) if matrix else None
    bias_gradient = scale.new_empty((stripes, count)) if bias else None
    own_excluded = other_excluded = _NOTHING
    if own.gradient is not None:
        own_excluded = kernel_exclusion(own.excluded, shape)
    if other.gradient is not None and not (plan.shared and own.gradient is not None):
        other_excluded = kernel_exclusion(other.excluded, shape)
    shared = plan.shared and own.gradient is not None and other.gradient is not None
    cut = (blocks.rows, blocks.columns, per_stripe, stripes)
    arguments: list[Argument] = [
        left,
        left.stride(0),
        count,
        right,
        right.stride(0),
        others,
        width,
        scale * LOG2_E,
        _base_two(own.bias),
        _base_two(other.bias),
        *_levels(own, plan.bounded),
        *_levels(other, plan.bounded),
        *own_excluded.arguments(shape, *cut),
        *other_excluded.arguments(shape, *cut),
        gradient,
        bias_gradient,
        per_stripe,
        stripes,
    ]
    with _on_device(left):
        kernels.strip_kernel[(row_blocks, stripes, outputs)](
            *arguments,
            ROWS=blocks.rows,
            COLUMNS=blocks.columns,
            FEATURES=blocks.features,
            OUTPUT=blocks.output,
            WHOLE=blocks.whole,
            BOUNDED=plan.bounded,
            SHARED=shared,
            PRECISION=plan.precision,
            SECOND_PRECISION=plan.second_precision,
            num_warps=blocks.warps,
            num_stages=blocks.stages,
        )
    return _total(gradient), _total(bias_gradient)


def _total(partial: Tensor | None) -> Tensor | None:
    if partial is None:
        return None
    return partial[0] if partial.shape[0] == 1 else partial.sum(0)


def _levels(side: _Side, bounded: bool) -> tuple[Tensor | None, Tensor | None]:
    """Sums in base 2 and upstream gradients; bounded: None and g 2^-L. Empty rows give 0."""
    if side.sums is None or side.gradient is None:
        return None, None
    empty = torch.isneginf(side.sums)
    if bounded:
        return None, torch.where(empty, 0.0, side.gradient * (-side.sums).exp())
    level = (side.sums * LOG2_E).masked_fill_(empty, torch.inf)
    return level, torch.where(empty, 0.0, side.gradient).contiguous()


def _base_two(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias * LOG2_E


def _aligned(matrix: Tensor) -> Tensor:
    """Rows that start at multiples of 16 bytes and are contiguous: a copy where they are not."""
    unit = 16 // matrix.element_size()
    aligned = matrix.stride(0) % unit == 0 and matrix.data_ptr() % 16 == 0
    if matrix.stride(1) == 1 and aligned:
        return matrix
    count, width = matrix.shape
    padded = matrix.new_empty((count, -(-width // unit) * unit))
    padded[:, :width] = matrix
    return padded[:, :width]


def _on_device(like: Tensor) -> Any:
    return torch.cuda.device_of(like)


_NOTHING = KernelExclusion(None, None, None)
