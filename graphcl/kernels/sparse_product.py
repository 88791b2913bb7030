"""One sparse product with what surrounds it: scales, dropped entries, an addend.

    out = diag(out_scale) (factor A x + add_factor add)

`graphcl/native/sources/spmm.h` computes it in one pass over A; with torch it is a CSR product with
values that are written out first.
"""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.kernels.compiled import SparseProduct, address, call
from graphcl.kernels.scaled_matrix import ScaledMatrix
from graphcl.kernels.sparse_matrix import SparseMatrix

Matrix = SparseMatrix | ScaledMatrix

# Rows of the gather in the sampled product: bounds the temporary to about 32 MiB of float32.
_ELEMENTS_PER_CHUNK = 1 << 23


def plain_product(matrix: Matrix, x: Tensor) -> Tensor:
    """A x with torch's CSR product (MKL on the CPU, cuSPARSE on the GPU)."""
    sparse = matrix.to_sparse() if isinstance(matrix, ScaledMatrix) else matrix
    return sparse.to_torch() @ x


def compiled_product(
    matrix: Matrix,
    x: Tensor,
    *,
    prescaled: bool = False,
    out_scale: Tensor | None = None,
    factor: float = 1.0,
    add: Tensor | None = None,
    add_factor: float = 1.0,
) -> Tensor:
    """out as above, (M, d), from x (N, d); all on the CPU and of one dtype.

    `prescaled` says that x has been multiplied by the matrix's column scales already, which the
    previous product does on its way out.
    """
    x = x.contiguous()
    add = None if add is None else add.contiguous()
    out = x.new_empty(matrix.shape[0], x.shape[1])
    product, arrays = _structure(matrix)
    product.width = x.shape[1]
    product.x, product.add, product.out = address(x), address(add), address(out)
    product.factor, product.add_factor = factor, add_factor
    product.out_scale = address(out_scale)
    if prescaled:
        product.column_scale = None
    call("sparse_product", product, x.dtype)
    del arrays
    return out


def row_sum(matrix: ScaledMatrix) -> Tensor:
    """(M,) sums of the kept entries, without the scales."""
    from graphcl.kernels.compiled import use_compiled

    if not use_compiled("auto", matrix.matrix.value):
        bare = ScaledMatrix(matrix.matrix, weighted=matrix.weighted, dropped=matrix.dropped)
        return bare.to_sparse().sum(1)
    out = matrix.matrix.value.new_empty(matrix.shape[0])
    product, arrays = _structure(matrix)
    product.column_scale = product.row_scale = None
    product.out, product.width = address(out), 1
    call("sparse_row_sum", product, out.dtype)
    del arrays
    return out


def sampled_product(matrix: SparseMatrix, left: Tensor, right: Tensor, compiled: bool) -> Tensor:
    """<left[row_e], right[column_e]> for every entry e, (entries,)."""
    if compiled:
        left, right = left.contiguous(), right.contiguous()
        out = left.new_empty(matrix.entries)
        product, arrays = _structure(matrix)
        product.x, product.add, product.out = address(right), address(left), address(out)
        product.width = left.shape[1]
        call("sparse_sampled", product, out.dtype)
        del arrays
        return out
    step = max(1, _ELEMENTS_PER_CHUNK // max(1, left.size(1)))
    parts = [
        (left[row] * right[column]).sum(1)
        for row, column in zip(matrix.row.split(step), matrix.column.split(step), strict=True)
    ]
    return torch.cat(parts)


def _structure(matrix: Matrix) -> tuple[SparseProduct, list[Tensor | None]]:
    """The matrix as the compiled kernels read it, and the arrays that must outlive the call."""
    if isinstance(matrix, SparseMatrix):
        matrix = ScaledMatrix(matrix, weighted=True)
    structure, dropped = matrix.matrix, matrix.dropped
    arrays = [
        structure.row_pointer.contiguous(),
        structure.small_column,
        structure.value.detach().contiguous() if matrix.weighted else None,
        matrix.row_scale,
        matrix.column_scale,
        None if dropped is None else dropped.threshold,
    ]
    pointer, column, value, row_scale, column_scale, threshold = map(address, arrays)
    product = SparseProduct(
        rows=structure.shape[0],
        pointer=pointer,
        column=column,
        value=value,
        row_scale=row_scale,
        column_scale=column_scale,
        factor=1.0,
        add_factor=1.0,
        threads=torch.get_num_threads(),
    )
    if dropped is not None:
        product.drop = 1
        product.seed = dropped.seed
        product.threshold = threshold
        product.threshold_of_all = dropped.threshold_of_all
        product.undirected = dropped.undirected
        product.transposed = dropped.turned
        product.keep_self_loops = dropped.keep_self_loops
        product.divide = dropped.divide
    return product, arrays


