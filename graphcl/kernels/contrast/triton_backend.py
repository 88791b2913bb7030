"""The passes over all pairs as two Triton kernels, for GPUs.

The kernels are checked against the dense backend, in Triton's interpreter and compiled
on an H200; `benchmarks/contrast_gpu.py` checks and times them on a CUDA device
(benchmarks/contrast.md: fast in bfloat16, not yet tuned for TF32 and float32).

Work, counting a multiply-add as two operations: forward 2MNd, for both
directions too; backward 4MNd for each side that wants a gradient. When the key
is the query, forward computes each pair of blocks once for both (half) and the
gradient of the one side takes 4M^2 d: for M = 2N nodes of two views 20 N^2 d in
all. Scattering half of the gradient to save another 4 N^2 d would need atomic
additions, which take as long as the products saved and differ in every run.
Memory O((M + N) d); the same result in every run.

Precision: float64 and float32 are computed as such. Float32 products are rounded
to TF32 where the caller allows that to torch
(`torch.set_float32_matmul_precision("high")` or
`torch.backends.cuda.matmul.allow_tf32 = True`) or asks for it by
`contrast_precision`, and to bfloat16 with "medium" or
with bfloat16 embeddings, for which that is exact; either way they are summed in
float32. In backward the softmax is rounded likewise, so that gradients have a
relative error of about 1e-3. Logits that could leave [-40, 40] are never
computed from bfloat16.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast import bounded, running
from graphcl.kernels.contrast.exclusion import Exclusion, nothing_excluded
from graphcl.kernels.contrast.operands import Gradients, Operands, Sums
from graphcl.kernels.contrast.precision import chosen_precision
from graphcl.kernels.contrast.problem import Problem
from graphcl.kernels.contrast.recompute import recomputed_log_sum_exp
from graphcl.kernels.contrast.triton_blocks import (
    PROGRAMS,
    STRIPES,
    Blocks,
    backward_blocks,
    forward_blocks,
)
from graphcl.kernels.contrast.triton_exclusion import Argument, Cut, KernelExclusion

LOG2_E = math.log2(math.e)


def triton_log_sum_exp(problem: Problem, tile: int) -> tuple[Tensor, Tensor | None]:
    """Row and, if asked for, column log-sum-exp; see `Problem` for the definition.

    Differentiable once. No block has a side above `tile`.

    Raises:
        ArgumentError: triton is not installed, or the tensors are not on a CUDA
            device (TRITON_INTERPRET=1, set before triton is imported, lifts that).
    """
    return recomputed_log_sum_exp(problem, _TritonPasses(problem, tile))


def _kernels(like: Tensor) -> ModuleType:
    try:
        from graphcl.kernels.contrast import triton_kernels
    except ImportError as error:
        raise ArgumentError(
            f"backend 'triton' needs the package triton, which cannot be imported ({error}); "
            "'tiles' computes on every device without it"
        ) from error
    if like.device.type != "cuda" and not triton_kernels.INTERPRETED:
        raise ArgumentError(
            f"backend 'triton' computes on CUDA devices; got tensors on {like.device}; "
            "'tiles' and 'native' compute there"
        )
    return triton_kernels


@dataclass(frozen=True)
class _Side:
    """One side of s: its rows, its bias as candidates, and what belongs to its own sums."""

    rows: Tensor
    bias: Tensor | None
    level: Tensor | None
    share: Tensor | None
    excluded: Exclusion

    @property
    def summed(self) -> bool:
        return self.share is not None

    def transposed(self) -> _Side:
        """The side with its exclusion in the coordinates of the other side."""
        return _Side(self.rows, self.bias, self.level, self.share, self.excluded.transposed())


class _TritonPasses:
    def __init__(self, problem: Problem, tile: int) -> None:
        self._kernels = _kernels(problem.query)
        self._problem, self._shape, self._tile = problem, problem.shape, tile
        self._two_sided = problem.columns or problem.key is None
        self._row_excluded = problem.row_excluded
        self._column_excluded = nothing_excluded(problem.query.device)
        if self._two_sided:
            self._column_excluded = problem.mirrored_exclusion()
        self._shared = self._column_excluded.same_pairs(self._row_excluded)
        self._bounded = self._reduced = False
        # Asked for once: the gradient is as exact as the value, whatever is switched in between.
        self._float32 = "tf32" if _tf32_wanted(problem.precision) else "ieee"

    def forward(self, operands: Operands) -> Sums:
        in_range = bounded.is_bounded(operands)
        # Biases differ between the sides, so that one exponential cannot serve both.
        self._bounded = in_range and operands.query_bias is None and operands.key_bias is None
        self._reduced = in_range and self._problem.precision == "medium"
        query, precision, kind = self._rounded(operands.query)
        key = query if operands.self_similar else self._rounded(operands.key)[0]
        shape, like = self._shape, operands.scale
        blocks = forward_blocks(kind, query.shape[1], self._tile)
        grid = _Grid.of(shape, blocks, operands.self_similar, self._two_sided)
        cut = Cut(shape, blocks.rows, blocks.columns, grid.columns_per_stripe)
        excluded = self._excluded(
            self._row_excluded,
            self._column_excluded if self._two_sided else None,
            cut,
            triangle=operands.self_similar,
        )

        slots = grid.column_stripes + (1 if operands.self_similar else 0)
        sums = like.new_zeros((slots, shape[0]))
        maxima = None if self._bounded else torch.full_like(sums, -torch.inf)
        column_sums, column_maxima = sums, maxima
        if not operands.self_similar:
            column_sums = like.new_zeros((grid.row_stripes, shape[1] if self._two_sided else 0))
            column_maxima = None if self._bounded else torch.full_like(column_sums, -torch.inf)
        arguments: list[Argument] = [
            *(query, query.stride(0), shape[0], key, key.stride(0), shape[1], query.shape[1]),
            *(like * LOG2_E, _base_two(operands.query_bias), _base_two(operands.key_bias)),
            *excluded,
            *(maxima, sums, column_maxima, column_sums),
            *(grid.rows_per_stripe, grid.columns_per_stripe),
            *(grid.row_stripes, grid.column_stripes),
        ]
        with _on_device(query):
            self._kernels.forward_kernel[(grid.programs,)](
                *arguments,
                ROWS=blocks.rows,
                COLUMNS=blocks.columns,
                FEATURES=blocks.features,
                WHOLE=blocks.whole,
                SELF_SIMILAR=operands.self_similar,
                TWO_SIDED=self._two_sided,
                BOUNDED=self._bounded,
                SHARED=self._shared,
                PRECISION=precision,
                num_warps=blocks.warps,
                num_stages=blocks.stages,
                enable_fp_fusion=True,
            )
        rows = _merged(maxima, sums)
        if operands.self_similar:
            return Sums(rows, rows)
        return Sums(rows, _merged(column_maxima, column_sums) if self._two_sided else None)

    def backward(self, operands: Operands, sums: Sums, upstream: Sums, out: Gradients) -> None:
        query = self._rounded(operands.query)[0]
        first = _Side(
            query,
            operands.query_bias,
            *self._levels(sums.rows, upstream.rows),
            self._row_excluded,
        )
        if operands.self_similar:
            mirrored = _Side(
                query, operands.key_bias, first.level, first.share, self._column_excluded
            )
            self._strips(first, mirrored, operands.scale, out.query, out.key_bias)
            return
        second = _Side(
            self._rounded(operands.key)[0],
            operands.key_bias,
            *self._levels(sums.columns, upstream.columns),
            self._column_excluded,
        )
        self._strips(first, second, operands.scale, out.query, out.query_bias)
        self._strips(second.transposed(), first.transposed(), operands.scale, out.key, out.key_bias)

    def _strips(
        self,
        own: _Side,
        other: _Side,
        scale: Tensor,
        gradient: Tensor | None,
        bias_gradient: Tensor | None,
    ) -> None:
        """Fill in the gradients of the own rows and of the own bias."""
        if (gradient is None and bias_gradient is None) or not (own.summed or other.summed):
            return
        (count, width), others = own.rows.shape, other.rows.shape[0]
        _, precision, kind = self._rounded(own.rows)
        blocks = backward_blocks(kind, width, self._tile)
        outputs = 1 if gradient is None else max(1, -(-width // blocks.output))
        row_blocks = -(-count // blocks.rows)
        # Split the other side where the own side has few blocks, as long as the partial
        # gradients take no more room than the embeddings of both sides do a few times.
        split = min(-(-PROGRAMS // (row_blocks * outputs)), 4 * (count + others) // count)
        per_stripe = _per_stripe(others, split, blocks.columns)
        stripes = -(-others // per_stripe)
        cut = Cut((count, others), blocks.rows, blocks.columns, per_stripe)
        excluded = self._excluded(
            own.excluded if own.summed else None, other.excluded if other.summed else None, cut
        )

        def parts(total: Tensor | None) -> Tensor | None:
            if total is None or stripes == 1:
                return total
            return total.new_empty((stripes, *total.shape))

        partial, partial_bias = parts(gradient), parts(bias_gradient)
        arguments: list[Argument] = [
            *(own.rows, own.rows.stride(0), count, other.rows, other.rows.stride(0), others, width),
            *(scale * LOG2_E, _base_two(own.bias), _base_two(other.bias)),
            *(own.level, own.share, other.level, other.share),
            *excluded,
            *(partial, partial_bias, per_stripe, stripes),
        ]
        with _on_device(own.rows):
            self._kernels.gradient_kernel[(row_blocks, stripes, outputs)](
                *arguments,
                ROWS=blocks.rows,
                COLUMNS=blocks.columns,
                FEATURES=blocks.features,
                OUTPUT=blocks.output,
                WHOLE=blocks.whole,
                BOUNDED=self._bounded,
                SHARED=self._shared and own.summed and other.summed,
                PRECISION=precision,
                num_warps=blocks.warps,
                num_stages=blocks.stages,
                enable_fp_fusion=True,
            )
        for total, part in ((gradient, partial), (bias_gradient, partial_bias)):
            if total is not None and part is not None and stripes > 1:
                torch.sum(part, 0, out=total)

    def _excluded(
        self, own: Exclusion | None, other: Exclusion | None, cut: Cut, *, triangle: bool = False
    ) -> list[Argument]:
        """What a kernel needs to know of the exclusions of the sums that it serves."""
        if self._shared and own is not None:
            other = None
        laid_out = [
            KernelExclusion() if one is None else KernelExclusion.of(one, cut, triangle=triangle)
            for one in (own, other)
        ]
        present = [
            part for part, one in zip(laid_out, (own, other), strict=True) if one is not None
        ]
        return [*laid_out[0].arguments(), *laid_out[1].arguments(), cut.limits(present)]

    def _rounded(self, rows: Tensor) -> tuple[Tensor, str, str]:
        """Embeddings as the kernels read them, Triton's name of their precision, and ours."""
        if rows.dtype == torch.float64:
            return _aligned(rows), "ieee", "float64"
        if self._reduced or rows.dtype == torch.bfloat16:
            return _aligned(rows.to(torch.bfloat16)), "ieee", "bfloat16"
        return _aligned(rows), self._float32, self._float32

    def _levels(
        self, log_sum: Tensor | None, gradient: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Sums in base 2 and gradients; if bounded none and g e^-L."""
        if log_sum is None or gradient is None:
            return None, None
        if self._bounded:
            share = bounded.share(gradient, log_sum, log_sum.new_zeros(()))
            return None, share.contiguous()
        level, gradient = running.guarded(log_sum, gradient)
        return level * LOG2_E, gradient.contiguous()


@dataclass(frozen=True)
class _Grid:
    """The stripes of the forward kernel, whole blocks each.

    The partial sums stay linear: a side has at most `STRIPES` stripes, or its
    stripes hold few rows and there are about `PROGRAMS` crossings in all.
    """

    rows_per_stripe: int
    columns_per_stripe: int
    row_stripes: int
    column_stripes: int
    programs: int

    @classmethod
    def of(
        cls, shape: tuple[int, int], blocks: Blocks, self_similar: bool, two_sided: bool
    ) -> _Grid:
        rows = _per_stripe(shape[0], STRIPES, blocks.rows) if two_sided else blocks.rows
        row_stripes = -(-shape[0] // rows)
        if self_similar:
            crossings = row_stripes * (row_stripes + 1) // 2
            return cls(rows, rows, row_stripes, row_stripes, crossings)
        columns = _per_stripe(shape[1], -(-PROGRAMS // row_stripes), blocks.columns)
        column_stripes = -(-shape[1] // columns)
        return cls(rows, columns, row_stripes, column_stripes, row_stripes * column_stripes)


def _per_stripe(length: int, stripes: int, block: int) -> int:
    """Positions per stripe, whole blocks, so that there are at most `stripes`."""
    blocks = -(-length // block)
    return -(-blocks // max(1, stripes)) * block


def _merged(maxima: Tensor | None, sums: Tensor) -> Tensor:
    """Log-sum-exp in natural units from partial sums (slots, rows) in base 2."""
    if maxima is None:
        return sums.sum(0).log_()
    highest = maxima.amax(0)
    shift = torch.where(torch.isneginf(highest), 0.0, highest)
    total = (maxima - shift).exp2_().mul_(sums).sum(0)
    return total.log_().add_(highest / LOG2_E)


def _base_two(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias * LOG2_E


def _aligned(matrix: Tensor) -> Tensor:
    """Rows that are contiguous and start at multiples of 16 bytes; a copy where they are not."""
    unit = 16 // matrix.element_size()
    aligned = matrix.stride(0) % unit == 0 and matrix.data_ptr() % 16 == 0
    if matrix.stride(1) == 1 and aligned:
        return matrix
    count, width = matrix.shape
    padded = matrix.new_empty((count, -(-width // unit) * unit))
    padded[:, :width] = matrix
    return padded[:, :width]


def _tf32_wanted(precision: str) -> bool:
    """By `contrast_precision` inside its blocks, elsewhere by torch's switch for CUDA."""
    if chosen_precision() is not None:
        return precision != "highest"
    matmul = torch.backends.cuda.matmul
    # torch 2.9 renamed the switch and refuses the old name once the new one was used.
    if hasattr(matmul, "fp32_precision"):
        return bool(matmul.fp32_precision == "tf32")
    return bool(matmul.allow_tf32)


def _on_device(like: Tensor) -> AbstractContextManager[object]:
    return torch.cuda.device_of(like)
