"""One sparse product with what surrounds it: scales, dropped entries, an addend.

    out = diag(out_scale) (factor A x + add_factor add)

`graphcl/native/sources/sparse.cpp` computes it in one pass over A; with torch it is a CSR product
with values that are written out first.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.compiled import ProductBackend, SparseProduct, address, call, use_compiled
from graphcl.kernels.scaled_matrix import ScaledMatrix
from graphcl.kernels.sparse_matrix import SparseMatrix
from graphcl.kernels.triton_device import triton_serves

Matrix = SparseMatrix | ScaledMatrix

# Numbers gathered at a time from each side: 4 MiB of float32, which stay in a processor's cache.
_ELEMENTS_PER_CHUNK = 1 << 20


def plain_product(matrix: Matrix, x: Tensor, backend: ProductBackend) -> Tensor:
    """A x with torch's CSR product (MKL on the CPU, cuSPARSE on the GPU), or dense."""
    sparse = matrix.to_sparse() if isinstance(matrix, ScaledMatrix) else matrix
    return (sparse.to_dense().detach() if backend == "dense" else sparse.to_torch()) @ x


def fused_product(
    backend: ProductBackend, matrix: Matrix, x: Tensor
) -> Callable[..., Tensor] | None:
    """The function that computes `out` in one pass, with the arguments of `compiled_product`; None
    where torch does.

    On a CUDA device "auto" takes Triton for a matrix with dropped entries only: on an H200 that is
    1.4 times as fast as writing the values out, and a whole matrix is faster with cuSPARSE
    (benchmarks/sparse.md).

    Raises:
        ArgumentError: the backend cannot compute this, or triton cannot be imported.
    """
    if use_compiled(backend, x, among=ProductBackend):
        return compiled_product
    if backend == "auto" and isinstance(matrix, ScaledMatrix) and matrix.dropped is not None:
        backend = "triton" if triton_serves(x) else backend
    if backend != "triton":
        return None
    try:
        from graphcl.kernels.sparse_triton import triton_product
    except ImportError as error:
        raise ArgumentError(
            f"backend 'triton' needs the package triton, which cannot be imported ({error}); "
            "'torch' computes on every device without it"
        ) from error
    return triton_product


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
    out = x.new_empty(matrix.shape[0], x.shape[1])
    arrays = {"x": x, "add": add, "out_scale": out_scale}
    if prescaled:
        arrays["column_scale"] = None
    _run("sparse_product", matrix, out, arrays, factor=factor, add_factor=add_factor)
    return out


def row_sum(matrix: ScaledMatrix) -> Tensor:
    """(M,) sums of the kept entries, scales left out; no value per entry is stored for it."""
    if not use_compiled("auto", matrix.matrix.value):
        return matrix.to_sparse().sum(1)
    out = matrix.matrix.value.new_empty(matrix.shape[0])
    _run("sparse_row_sum", matrix, out, {})
    return out


def sampled_product(
    matrix: SparseMatrix, left: Tensor, right: Tensor, backend: ProductBackend
) -> Tensor:
    """<left[row_e], right[column_e]> for every entry e, (entries,)."""
    if backend == "dense":
        return (left @ right.T)[matrix.row, matrix.column]
    if use_compiled(backend, left, right, among=ProductBackend):
        out = left.new_empty(matrix.entries)
        _run("sparse_sampled", matrix, out, {"x": right, "add": left})
        return out
    products = left.new_empty(matrix.entries)
    step = max(1, _ELEMENTS_PER_CHUNK // max(1, left.shape[1]))
    for start in range(0, matrix.entries, step):
        part = slice(start, start + step)
        gathered = left.index_select(0, matrix.row[part])
        gathered *= right.index_select(0, matrix.column[part])
        torch.sum(gathered, dim=1, out=products[part])
    return products


def _run(
    name: str, matrix: Matrix, out: Tensor, arrays: dict[str, Tensor | None], **factors: float
) -> None:
    """Call the compiled function `name`, which fills `out`."""
    if isinstance(matrix, SparseMatrix):
        matrix = ScaledMatrix(matrix)
    structure, dropped = matrix.matrix, matrix.dropped
    pointer, column = structure.compact()
    arrays = {
        "pointer": pointer,
        "column": column,
        "value": structure.value.detach() if matrix.weighted else None,
        "row_scale": matrix.row_scale,
        "column_scale": matrix.column_scale,
        "threshold": None if dropped is None else dropped.threshold,
        **arrays,
    }
    # Contiguous copies have to live until the call is over.
    held = {key: array if array is None else array.contiguous() for key, array in arrays.items()}
    x = arrays.get("x")
    product = SparseProduct(
        **{key: address(array) for key, array in held.items()},
        out=address(out),
        rows=structure.shape[0],
        width=1 if x is None else x.shape[1],
        threads=torch.get_num_threads(),
        **{"factor": 1.0, "add_factor": 1.0, **factors},
    )
    if dropped is not None:
        product.drop = 1
        product.seed = dropped.seed
        product.threshold_of_all = dropped.threshold_of_all
        product.undirected = dropped.undirected
        product.transposed = dropped.turned
        product.keep_self_loops = dropped.keep_self_loops
        product.divide = dropped.divide
    call(name, product, out.dtype)
