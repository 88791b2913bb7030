"""The sparse product with dropped entries as a Triton kernel, for GPUs.

Checked against the dense backend in Triton's interpreter, and against float64 on an H200
(benchmarks/sparse.md). A program owns a row of the result and some of its columns, marches over
the row's entries in their order and draws for each whether it stays, as `edge_hash` says: no
values are written out, no atomics are used, and the result is the same in every run.

Importing this module imports triton.
"""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels import sparse_triton_kernel
from graphcl.kernels.scaled_matrix import ScaledMatrix
from graphcl.kernels.sparse_matrix import SparseMatrix

WHOLE, DROPPED = (32, 1), (16, 2)
"""Entries of a row that a program takes at a time, and its groups of 32 threads: the fastest of
those tried on an H200 at Gowalla's size, of a whole matrix and of one with dropped entries."""
LARGEST_PART = 128
"""Columns of the result that a program owns at most."""


def triton_product(
    matrix: SparseMatrix | ScaledMatrix,
    x: Tensor,
    *,
    prescaled: bool = False,
    out_scale: Tensor | None = None,
    factor: float = 1.0,
    add: Tensor | None = None,
    add_factor: float = 1.0,
) -> Tensor:
    """As `graphcl.kernels.sparse_product.compiled_product`, on a CUDA device.

    Raises:
        ArgumentError: tensors elsewhere, unless triton interprets its kernels.
    """
    if x.device.type != "cuda" and not sparse_triton_kernel.INTERPRETED:
        raise ArgumentError(
            f"backend 'triton' computes on CUDA devices, got tensors on {x.device}; 'native' and "
            "'torch' compute there"
        )
    if isinstance(matrix, SparseMatrix):
        matrix = ScaledMatrix(matrix)
    structure, dropped = matrix.matrix, matrix.dropped
    pointer, column = structure.compact()
    rows, width = matrix.shape[0], x.shape[1]
    out = x.new_empty(rows, width)
    if out.numel() == 0:
        return out
    part = min(triton.next_power_of_2(width), LARGEST_PART)
    seed = 0 if dropped is None else dropped.seed
    entries, warps = WHOLE if dropped is None else DROPPED
    # Triton launches on the current device, which need not be the tensors'.
    with torch.cuda.device_of(x):
        sparse_triton_kernel.product_kernel[rows, triton.cdiv(width, part)](
            pointer,
            column,
            structure.value.detach().contiguous() if matrix.weighted else None,
            x.contiguous(),
            matrix.row_scale,
            None if prescaled else matrix.column_scale,
            out_scale,
            None if add is None else add.contiguous(),
            None if dropped is None else dropped.threshold,
            out,
            width,
            # A number would be passed as float32.
            x.new_full((1,), factor),
            x.new_full((1,), add_factor),
            seed & 0xFFFFFFFF,
            seed >> 32,
            0 if dropped is None else dropped.threshold_of_all,
            DROP=dropped is not None,
            UNDIRECTED=dropped is not None and dropped.undirected,
            TURNED=dropped is not None and dropped.turned,
            KEEP_SELF_LOOPS=dropped is not None and dropped.keep_self_loops,
            DIVIDE=dropped is not None and dropped.divide,
            AT_A_TIME=entries,
            PART=part,
            num_warps=warps,
        )
    return out
