"""Sparse matrix times dense matrix, with a backward pass that builds no transpose twice.

The gradient of `A X` with respect to X is `A^T G`: again one sparse product, with the transpose
that `SparseMatrix` caches, or with A itself where A is symmetric. Plain autograd through a torch
CSR tensor rebuilds the transpose at every backward pass, and gather + `index_add_` moves an
`edges x width` temporary through memory; both cost several times more.

Backends: "native", the compiled kernel on the CPU (32-bit columns, rows read ahead, values computed
from degrees, entries dropped by hash, threads; the same bits for any number of them); "torch", the
CSR product of MKL or cuSPARSE; "dense", the matrix written out, for tests; "triton", which drops
inside the product on a CUDA device. "auto" takes native on the CPU and torch elsewhere, but for
dropped entries on a CUDA device, where it takes triton.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.compiled import ProductBackend
from graphcl.kernels.drop_entries import drop_entries
from graphcl.kernels.dropped import KeepProbability, keep_probability
from graphcl.kernels.scaled import scaled
from graphcl.kernels.scaled_matrix import ScaledMatrix
from graphcl.kernels.sparse_matrix import SparseMatrix
from graphcl.kernels.sparse_product import (
    Matrix,
    fused_product,
    plain_product,
    sampled_product,
)

__all__ = [
    "KeepProbability",
    "Matrix",
    "ScaledMatrix",
    "SparseMatrix",
    "drop_entries",
    "horner",
    "keep_probability",
    "scaled",
    "spmm",
]


class _Spmm(torch.autograd.Function):
    """Y = A X. Backward: dX = A^T dY, dA_e = <dY[row_e], X[column_e]>, both differentiable.

    `value` is the matrix's; it is passed so that autograd sees it, and None for a constant.
    """

    @staticmethod
    def forward(
        ctx: Any, value: Tensor | None, dense: Tensor, matrix: Matrix, backend: ProductBackend
    ) -> Tensor:
        ctx.matrix, ctx.backend = matrix, backend
        if value is not None and value.requires_grad:
            ctx.save_for_backward(value, dense)
        product = fused_product(backend, matrix, dense)
        return plain_product(matrix, dense, backend) if product is None else product(matrix, dense)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        gradient = gradients[0].contiguous()
        for_value = for_dense = None
        if ctx.needs_input_grad[0]:
            _, dense = ctx.saved_tensors
            for_value = SampledProduct.apply(ctx.matrix, gradient, dense, ctx.backend)
        if ctx.needs_input_grad[1]:
            for_dense = spmm(ctx.matrix.T, gradient, backend=ctx.backend)
        return for_value, for_dense, None, None


class SampledProduct(torch.autograd.Function):
    """v_e = <L[row_e], R[column_e]>. Backward: dL = V R and dR = V^T L with V of values dv."""

    @staticmethod
    def forward(
        ctx: Any, matrix: SparseMatrix, left: Tensor, right: Tensor, backend: ProductBackend
    ) -> Tensor:
        ctx.matrix, ctx.backend = matrix, backend
        ctx.save_for_backward(left, right)
        return sampled_product(matrix, left, right, backend)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor | None, Tensor | None, None]:
        left, right = ctx.saved_tensors
        weighted = ctx.matrix.with_value(gradients[0].contiguous())
        for_left = for_right = None
        if ctx.needs_input_grad[1]:
            for_left = spmm(weighted, right, backend=ctx.backend)
        if ctx.needs_input_grad[2]:
            for_right = spmm(weighted.T, left, backend=ctx.backend)
        return None, for_left, for_right, None


class _Horner(torch.autograd.Function):
    """Y = sum_l w_l A^l X by Horner's scheme. Backward: the same with the transpose."""

    @staticmethod
    def forward(
        ctx: Any, dense: Tensor, matrix: Matrix, weights: tuple[float, ...], backend: ProductBackend
    ) -> Tensor:
        ctx.matrix, ctx.weights, ctx.backend = matrix, weights, backend
        product = fused_product(backend, matrix, dense)
        if product is not None:
            return _fused_horner(product, matrix, dense, weights)
        result = weights[-1] * dense
        for weight in reversed(weights[:-1]):
            result = plain_product(matrix, result, backend)
            if weight != 0:
                result = result.add_(dense, alpha=weight)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        gradient = gradients[0].contiguous()
        result = horner(ctx.matrix.T, gradient, ctx.weights, backend=ctx.backend)
        return result, None, None, None


def _fused_horner(
    product: Callable[..., Tensor], matrix: Matrix, dense: Tensor, weights: tuple[float, ...]
) -> Tensor:
    layers = len(weights) - 1
    if layers == 0:
        return weights[0] * dense
    scale = matrix.column_scale if isinstance(matrix, ScaledMatrix) else None
    result = dense
    for layer in range(layers, 0, -1):
        first, last, weight = layer == layers, layer == 1, weights[layer - 1]
        result = product(
            matrix,
            result,
            # Every product but the last leaves its result as the next one wants to read it.
            prescaled=not first,
            out_scale=None if last else scale,
            factor=weights[-1] if first else 1.0,
            add=dense if weight != 0 else None,
            add_factor=weight,
        )
    return result


def spmm(matrix: Matrix, dense: Tensor, *, backend: ProductBackend = "auto") -> Tensor:
    """The product of a sparse and a dense matrix, Y = A X.

    Differentiable in `dense` (cost: one product with the cached transpose, or with the matrix
    itself when `matrix.symmetric`) and, when the value of a `SparseMatrix` requires a gradient, in
    the values (a sampled product <dY_row, X_column> per entry, in bounded memory).

    Args:
        matrix: shape (M, N); empty rows, no entries at all and rectangular shapes are fine. A
            `ScaledMatrix` (`scaled`, `drop_entries`) is a constant.
        dense: (N, d) or (N,), on the matrix's device and of its dtype. Half-precision input
            (autocast) is multiplied in the matrix's dtype and rounded back.
        backend: see the module.

    Returns:
        (M, d), or (M,) for a vector.

    Raises:
        ArgumentError: shape, dtype or device do not fit, or the backend cannot compute this.
    """
    if dense.dim() == 1:
        return spmm(matrix, dense.unsqueeze(1), backend=backend).squeeze(1)
    _check_dense(matrix, dense)
    if _is_half(matrix, dense):
        return spmm(matrix, dense.to(matrix.dtype), backend=backend).to(dense.dtype)
    value = matrix.value if isinstance(matrix, SparseMatrix) else None
    product: Tensor = _Spmm.apply(value, dense, matrix, backend)
    return product


def horner(
    matrix: Matrix, dense: Tensor, weights: Sequence[float], *, backend: ProductBackend = "auto"
) -> Tensor:
    """sum_l weights[l] A^l X, by Horner's scheme: w_0 X + A (w_1 X + A (w_2 X + ...)).

    No layer is stored, neither is anything for the backward pass, which is the same with the
    transpose; two (N, d) matrices are held at a time. Equal weights are LightGCN (He et al.,
    SIGIR 2020), (0, ..., 0, 1) is SGC, theta_l a diffusion.

    Args:
        matrix: (N, N). A `SparseMatrix` whose value requires a gradient gets it, and then every
            layer is stored.
        dense: (N, d), as for `spmm`.
        weights: w_0 .. w_L, constants; L products.
        backend: see the module.

    Raises:
        ArgumentError: a matrix that is not square, no weights, or as `spmm`.
    """
    if matrix.shape[0] != matrix.shape[1]:
        raise ArgumentError(f"propagation needs a square matrix, got shape {matrix.shape}")
    if len(weights) == 0:
        raise ArgumentError("weights must hold at least w_0, got none")
    _check_dense(matrix, dense)
    if _is_half(matrix, dense):
        return horner(matrix, dense.to(matrix.dtype), weights, backend=backend).to(dense.dtype)
    constants = tuple(float(weight) for weight in weights)
    if isinstance(matrix, SparseMatrix) and matrix.value.requires_grad:
        result = constants[-1] * dense
        for weight in reversed(constants[:-1]):
            result = weight * dense + spmm(matrix, result, backend=backend)
        return result
    total: Tensor = _Horner.apply(dense, matrix, constants, backend)
    return total


def _is_half(matrix: Matrix, dense: Tensor) -> bool:
    return dense.dtype in (torch.float16, torch.bfloat16) and matrix.dtype == torch.float32


def _check_dense(matrix: Matrix, dense: Tensor) -> None:
    if dense.dim() != 2 or dense.size(0) != matrix.shape[1]:
        raise ArgumentError(
            f"dense must have shape ({matrix.shape[1]}, d) for a matrix of shape {matrix.shape}, "
            f"got {tuple(dense.shape)}"
        )
    if dense.dtype != matrix.dtype and not _is_half(matrix, dense):
        raise ArgumentError(
            f"dense must have the matrix's dtype {matrix.dtype}, got {dense.dtype}; "
            "convert one of them with .to(dtype=...)"
        )
    if dense.device != matrix.device:
        raise ArgumentError(
            f"dense must be on the matrix's device {matrix.device}, got {dense.device}"
        )
