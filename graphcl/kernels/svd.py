"""Truncated singular value decomposition of a sparse matrix by randomised block methods.

"krylov": randomised block Krylov iteration (Musco & Musco, NeurIPS 2015, Algorithm 2). It keeps
every block of the power iteration, so for the same number of sparse products it is far more
accurate than the power iteration alone on slowly decaying spectra, which is what normalised
user-item matrices have.

"power": randomised subspace iteration (Halko, Martinsson & Tropp, SIAM Review 2011, Algorithms
4.4 and 5.1). With `iterations=2, oversampling=0`, its defaults, it is what
`torch.svd_lowrank(niter=2)` computes, and therefore what LightGCL's published numbers used.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.sparse_matrix import SparseMatrix
from graphcl.kernels.spmm import spmm


class SVD(NamedTuple):
    """A ~ left @ diag(singular) @ right.T, with orthonormal columns on both sides."""

    left: Tensor
    singular: Tensor
    right: Tensor


def truncated_svd(
    matrix: SparseMatrix,
    rank: int,
    *,
    iterations: int | None = None,
    oversampling: int | None = None,
    generator: torch.Generator | None = None,
    method: Literal["krylov", "power"] = "krylov",
) -> SVD:
    """The leading singular triplets, largest first.

    Same generator state, same result on the same machine: each left vector's entry of largest
    magnitude is positive. Empty rows and columns (isolated nodes) get zero entries. When the
    matrix has lower rank than asked for, the surplus singular values are zero up to rounding.
    No gradient flows through.

    Args:
        matrix: (M, N); float32 or float64, which is also the precision of the work.
        rank: how many triplets, 1 <= rank <= min(M, N).
        iterations: sparse products A^T A after the first A; default 5 (krylov) or 2 (power).
        oversampling: extra columns of the random block; default 3 (krylov) or 0 (power).
        generator: source of the random start; on its own device, so that a CPU generator
            gives the same start everywhere.
        method: see the module's docstring.

    Returns:
        `SVD(left (M, rank), singular (rank,), right (N, rank))`.

    Raises:
        ArgumentError: rank no integer in [1, min(M, N)], a negative count, an unknown method.
    """
    if method not in ("krylov", "power"):
        raise ArgumentError(f"method must be 'krylov' or 'power', got {method!r}")
    if isinstance(rank, bool) or not isinstance(rank, int):
        raise ArgumentError(f"rank must be an integer, got {rank!r}")
    smaller = min(matrix.shape)
    if not 1 <= rank <= smaller:
        raise ArgumentError(
            f"rank must be in [1, {smaller}] for a matrix of shape {matrix.shape}, got {rank}"
        )
    krylov = method == "krylov"
    iterations = (5 if krylov else 2) if iterations is None else iterations
    oversampling = (3 if krylov else 0) if oversampling is None else oversampling
    if iterations < 0 or oversampling < 0:
        raise ArgumentError(
            f"iterations and oversampling must not be negative, got {iterations} and {oversampling}"
        )
    with torch.no_grad():
        # The orthogonalisation works on tall blocks; Krylov keeps many, so it takes the shorter
        # side for them, while "power" takes the longer one as torch.svd_lowrank does.
        rows, columns = matrix.shape
        flip = rows > columns if krylov else rows < columns
        work = matrix.T if flip else matrix
        basis = _basis(work, min(rank + oversampling, smaller), iterations, krylov, generator)
        projected = spmm(work.T, basis)
        right, singular, mixing = torch.linalg.svd(projected, full_matrices=False)
        left = basis @ mixing[:rank].T
        right, singular = right[:, :rank], singular[:rank]
        if flip:
            left, right = right, left
        peak = left.gather(0, left.abs().argmax(0, keepdim=True))
        sign = torch.where(peak < 0, -1.0, 1.0).to(left.dtype)
        return SVD((left * sign).contiguous(), singular.clone(), (right * sign).contiguous())


def _basis(
    matrix: SparseMatrix,
    block: int,
    iterations: int,
    krylov: bool,
    generator: torch.Generator | None,
) -> Tensor:
    """Orthonormal columns that nearly span the leading left singular vectors."""
    start = torch.randn(
        matrix.shape[1],
        block,
        dtype=matrix.dtype,
        generator=generator,
        device=generator.device if generator is not None else matrix.device,
    ).to(matrix.device)
    current = _orthonormal(spmm(matrix, start))
    blocks = [current]
    for _ in range(iterations):
        back = spmm(matrix.T, current)
        # Re-orthonormalising changes no span but keeps the powers from collapsing numerically.
        current = _orthonormal(spmm(matrix, back if krylov else _orthonormal(back)))
        blocks.append(current)
    return _orthonormal(torch.cat(blocks, 1)) if krylov else current


def _orthonormal(columns: Tensor) -> Tensor:
    return torch.linalg.qr(columns).Q
