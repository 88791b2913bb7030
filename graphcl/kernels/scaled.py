"""Normalisation by degrees, without a value per entry."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.scaled_matrix import Normalisation, ScaledMatrix
from graphcl.kernels.sparse_matrix import SparseMatrix
from graphcl.kernels.sparse_product import row_sum


def scaled(
    matrix: SparseMatrix, kind: Normalisation = "symmetric", *, self_loops: bool = False
) -> ScaledMatrix:
    """`SparseMatrix.normalised` without storing its values.

    With r the row sums and c the column sums of A, after adding self-loops where asked:

    - "symmetric": diag(r)^-1/2 A diag(c)^-1/2;
    - "gcn": diag(r)^-1/2 A diag(r)^-1/2, square only;
    - "row": diag(r)^-1 A;
    - "none": A.

    Degrees that are not positive scale by zero. Where all values of A are one they are not
    read again; other values are A's own, and get no gradient.

    Args:
        matrix: A (M, N).
        kind: see above.
        self_loops: one on the diagonal of every row that has no diagonal entry.

    Raises:
        ArgumentError: unknown kind; "gcn" or self-loops for a matrix that is not square.
    """
    if kind not in get_args(Normalisation):
        raise ArgumentError(f"kind must be 'symmetric', 'gcn', 'row' or 'none', got {kind!r}")
    if kind == "gcn" and matrix.shape[0] != matrix.shape[1]:
        raise ArgumentError(f"kind 'gcn' needs a square matrix, got shape {matrix.shape}")
    if self_loops:
        matrix = matrix.with_self_loops()
    weighted = not bool((matrix.value == 1).all())
    return rescaled(ScaledMatrix(matrix, weighted, kind=kind))


def rescaled(matrix: ScaledMatrix) -> ScaledMatrix:
    """The same entries, with scales from the degrees that they have now."""
    if matrix.kind == "none":
        return matrix
    bare = replace(matrix, row_scale=None, column_scale=None)
    if matrix.kind == "row":
        return replace(bare, row_scale=_power(row_sum(bare), -1.0))
    left = _power(row_sum(bare), -0.5)
    same = matrix.kind == "gcn" or bare.symmetric
    right = left if same else _power(row_sum(bare.T), -0.5)
    return replace(bare, row_scale=left, column_scale=right)


def _power(degree: Tensor, exponent: float) -> Tensor:
    positive = degree > 0
    return degree.where(positive, 1.0).pow(exponent).where(positive, 0.0)
