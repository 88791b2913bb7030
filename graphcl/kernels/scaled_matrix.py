"""A normalised adjacency as its structure and its degrees, without a value per entry.

`D^-1/2 A D^-1/2` is known from `A`'s structure and one number per node. Kept so, it costs no
memory per edge, and a random subset of its edges is a seed (`graphcl.kernels.drop_entries`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.sparse_matrix import SparseMatrix

if TYPE_CHECKING:
    from graphcl.kernels.drop_entries import Dropped

Normalisation = Literal["symmetric", "gcn", "row", "none"]


@dataclass(frozen=True, eq=False)
class ScaledMatrix:
    """diag(row_scale) A' diag(column_scale), with A' what a drop leaves of A, or A itself.

    A constant: no gradient reaches values or scales (`SparseMatrix.normalised` has one).

    Attributes:
        matrix: A (M, N). Its values count only where `weighted`; otherwise every entry is one.
        row_scale: (M,) of the matrix's dtype, or None for ones.
        column_scale: (N,) or None for ones; the same tensor as `row_scale` where both are equal.
        weighted: whether A's values are used.
        kind: how the scales came from the degrees; a drop with `correct="degrees"` repeats it.
        dropped: which entries are left out, or None.
    """

    matrix: SparseMatrix
    row_scale: Tensor | None = None
    column_scale: Tensor | None = None
    weighted: bool = False
    kind: Normalisation = "none"
    dropped: Dropped | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(M, N)."""
        return self.matrix.shape

    @property
    def entries(self) -> int:
        """Number of stored entries, dropped ones included."""
        return self.matrix.entries

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of products with it."""
        return self.matrix.dtype

    @property
    def device(self) -> torch.device:
        """Where it lives."""
        return self.matrix.device

    @property
    def T(self) -> ScaledMatrix:
        """The transpose; of a symmetric matrix it costs nothing, otherwise A's is cached."""
        dropped = None if self.dropped is None else self.dropped.transposed(self.matrix)
        return replace(
            self,
            matrix=self.matrix.T,
            row_scale=self.column_scale,
            column_scale=self.row_scale,
            dropped=dropped,
        )

    def kept(self) -> Tensor:
        """(entries,) bool: the entries that are not dropped, in A's order."""
        if self.dropped is None:
            return torch.ones(self.entries, dtype=torch.bool, device=self.device)
        return self.dropped.kept(self.matrix)

    def to_sparse(self) -> SparseMatrix:
        """The same as a `SparseMatrix` with a value per entry, zero for dropped ones."""
        matrix = self.matrix
        value = matrix.value.detach() if self.weighted else torch.ones_like(matrix.value)
        if self.dropped is not None:
            value = value * self.dropped.factor(matrix).to(value.dtype)
        if self.row_scale is not None:
            value = value * self.row_scale[matrix.row]
        if self.column_scale is not None:
            value = value * self.column_scale[matrix.column]
        symmetric = matrix.symmetric and self.row_scale is self.column_scale
        if self.dropped is not None:
            symmetric = symmetric and self.dropped.undirected
        return matrix.with_value(value, symmetric=symmetric)

    def to_dense(self) -> Tensor:
        """(M, N) dense. For small matrices and tests."""
        return self.to_sparse().to_dense()


def scaled(
    matrix: SparseMatrix,
    kind: Normalisation = "symmetric",
    *,
    self_loops: bool = False,
    weighted: bool = False,
) -> ScaledMatrix:
    """`SparseMatrix.normalised` without storing its values.

    With r the row sums and c the column sums of A (of ones, or of its values where `weighted`),
    after adding self-loops where asked:

    - "symmetric": diag(r)^-1/2 A diag(c)^-1/2;
    - "gcn": diag(r)^-1/2 A diag(r)^-1/2, square only;
    - "row": diag(r)^-1 A;
    - "none": A.

    Degrees that are not positive scale by zero.

    Args:
        matrix: (M, N), float32 or float64.
        kind: see above.
        self_loops: one on the diagonal of every row that has no diagonal entry.
        weighted: use A's values; they get no gradient.

    Raises:
        ArgumentError: unknown kind; "gcn" or self-loops for a matrix that is not square.
    """
    if kind not in ("symmetric", "gcn", "row", "none"):
        raise ArgumentError(f"kind must be 'symmetric', 'gcn', 'row' or 'none', got {kind!r}")
    if kind == "gcn" and matrix.shape[0] != matrix.shape[1]:
        raise ArgumentError(f"kind 'gcn' needs a square matrix, got shape {matrix.shape}")
    return rescaled(
        ScaledMatrix(
            matrix.with_self_loops() if self_loops else matrix, weighted=weighted, kind=kind
        )
    )


def rescaled(matrix: ScaledMatrix) -> ScaledMatrix:
    """The same entries, with scales from the degrees that they have now."""
    if matrix.kind == "none":
        return matrix
    row_sum = _row_sum(matrix)
    if matrix.kind == "row":
        return replace(matrix, row_scale=_power(row_sum, -1.0), column_scale=None)
    left = _power(row_sum, -0.5)
    dropped = matrix.dropped
    balanced = matrix.matrix.symmetric and (dropped is None or dropped.undirected)
    same = matrix.kind == "gcn" or balanced
    right = left if same else _power(_row_sum(matrix.T), -0.5)
    return replace(matrix, row_scale=left, column_scale=right)


def _row_sum(matrix: ScaledMatrix) -> Tensor:
    """(M,) sums of the kept entries without scales; no values are stored for it."""
    from graphcl.kernels.sparse_product import row_sum

    return row_sum(matrix)


def _power(degree: Tensor, exponent: float) -> Tensor:
    positive = degree > 0
    return torch.where(positive, degree.clamp(min=1e-30).pow(exponent), 0.0)
