"""Sparse matrix times dense matrix, with a backward pass that builds no transpose twice.

`spmm(A, X) = A X` uses torch's CSR product (MKL on the CPU, cuSPARSE on the GPU) in both
directions: the gradient with respect to X is `A^T G`, again one CSR product, with the
transpose that `SparseMatrix` caches. Plain autograd through a torch CSR tensor rebuilds the
transpose at every backward pass, and gather + `index_add_` moves an `edges x width`
temporary through memory; both cost several times more.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.sparse_matrix import SparseMatrix

__all__ = ["SparseMatrix", "spmm"]

# Rows of the gather in the gradient for values: bounds the temporary to about 32 MiB of float32.
_ELEMENTS_PER_CHUNK = 1 << 23


class _Spmm(torch.autograd.Function):
    """Y = A X. Backward: dX = A^T dY, dA_e = <dY[row_e], X[column_e]>, both differentiable.

    `value` is `matrix.value`; it is passed so that autograd sees it.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, dense: Tensor, matrix: SparseMatrix) -> Tensor:
        ctx.matrix = matrix
        if value.requires_grad:
            ctx.save_for_backward(value, dense)
        return matrix.to_torch() @ dense

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        gradient = gradients[0].contiguous()
        matrix: SparseMatrix = ctx.matrix
        for_value = for_dense = None
        if ctx.needs_input_grad[0]:
            _, dense = ctx.saved_tensors
            for_value = _sampled_product(matrix, gradient, dense)
        if ctx.needs_input_grad[1]:
            for_dense = spmm(matrix.T, gradient)
        return for_value, for_dense, None


def spmm(matrix: SparseMatrix, dense: Tensor) -> Tensor:
    """The product of a sparse and a dense matrix, Y = A X.

    Differentiable in `dense` (cost: one product with the cached transpose, or with the matrix
    itself when `matrix.symmetric`) and, when `matrix.value` requires a gradient, in the values
    (a sampled product <dY_row, X_column> per entry, in chunks of bounded memory).

    Args:
        matrix: shape (M, N); empty rows, no entries at all and rectangular shapes are fine.
        dense: (N, d) or (N,), on the matrix's device and of its dtype. Half-precision input
            (autocast) is multiplied in the matrix's dtype and rounded back.

    Returns:
        (M, d), or (M,) for a vector.

    Raises:
        ArgumentError: shape, dtype or device do not fit.
    """
    if dense.dim() == 1:
        return spmm(matrix, dense.unsqueeze(1)).squeeze(1)
    if dense.dim() != 2 or dense.size(0) != matrix.shape[1]:
        raise ArgumentError(
            f"dense must have shape ({matrix.shape[1]}, d) for a matrix of shape {matrix.shape}, "
            f"got {tuple(dense.shape)}"
        )
    if dense.dtype in (torch.float16, torch.bfloat16) and matrix.dtype == torch.float32:
        return spmm(matrix, dense.to(matrix.dtype)).to(dense.dtype)
    if dense.dtype != matrix.dtype:
        raise ArgumentError(
            f"dense must have the matrix's dtype {matrix.dtype}, got {dense.dtype}; "
            "convert one of them with .to(dtype=...)"
        )
    if dense.device != matrix.device:
        raise ArgumentError(
            f"dense must be on the matrix's device {matrix.device}, got {dense.device}"
        )
    product: Tensor = _Spmm.apply(matrix.value, dense, matrix)
    return product


def _sampled_product(matrix: SparseMatrix, left: Tensor, right: Tensor) -> Tensor:
    """<left[row_e], right[column_e]> for every entry e, (entries,)."""
    step = max(1, _ELEMENTS_PER_CHUNK // max(1, left.size(1)))
    parts = [
        (left[row] * right[column]).sum(1)
        for row, column in zip(matrix.row.split(step), matrix.column.split(step), strict=True)
    ]
    return torch.cat(parts)
