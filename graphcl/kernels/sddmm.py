"""Inner products of two matrices' rows, only where a sparse matrix has entries (SDDMM).

`sddmm(A, L, R)_e = <L[row_e], R[column_e]>` for every entry e of A: the weights that a graph gets
from embeddings of its nodes. The entries x width tensor of gathered embeddings, which plain
indexing builds and keeps, exists in slices of bounded size only, or not at all in compiled code;
the gradients are two products of A's structure with the other side, dL = G R and dR = G^T L with
the entries of G from above.
"""

from __future__ import annotations

from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.compiled import ProductBackend
from graphcl.kernels.sparse_matrix import SparseMatrix
from graphcl.kernels.spmm import SampledProduct


def sddmm(
    matrix: SparseMatrix, left: Tensor, right: Tensor, *, backend: ProductBackend = "auto"
) -> Tensor:
    """Products of the rows of `left` and `right` that the entries of `matrix` name.

    Differentiable in both sides, any number of times; the values of `matrix` take no part.
    Memory is O(entries + (M + N) d).

    Args:
        matrix: (M, N), whose structure is used. Entries that occur twice are computed twice.
        left: (M, d) floating.
        right: (N, d), same dtype and device.
        backend: as for `graphcl.kernels.spmm.spmm`; "triton" is torch here.

    Returns:
        (entries,), in the order of the matrix's entries.

    Raises:
        ArgumentError: shapes, dtypes or devices do not fit, or the backend cannot compute this.
    """
    rows, columns = matrix.shape
    if left.dim() != 2 or right.dim() != 2 or left.shape[1] != right.shape[1]:
        raise ArgumentError(
            "left and right must be (M, d) and (N, d) of one width d, "
            f"got {tuple(left.shape)} and {tuple(right.shape)}"
        )
    if (len(left), len(right)) != (rows, columns):
        raise ArgumentError(
            f"left and right must have {rows} and {columns} rows for a matrix of shape "
            f"{matrix.shape}, got {len(left)} and {len(right)}"
        )
    for name, side in (("left", left), ("right", right)):
        if side.dtype != matrix.dtype or side.device != matrix.device:
            raise ArgumentError(
                f"{name} must be {matrix.dtype} on {matrix.device} as the matrix is, "
                f"got {side.dtype} on {side.device}"
            )
    products: Tensor = SampledProduct.apply(matrix, left, right, backend)
    return products
