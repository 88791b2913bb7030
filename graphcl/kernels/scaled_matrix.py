"""A normalised adjacency as its structure and its degrees, without a value per entry.

`D^-1/2 A D^-1/2` is known from `A`'s structure and one number per node. Kept so, it costs no
memory per edge, and a random subset of its edges is a seed (`graphcl.kernels.drop_entries`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from graphcl.kernels.dropped import Dropped
from graphcl.kernels.sparse_matrix import SparseMatrix

Normalisation = Literal["symmetric", "gcn", "row", "none"]


@dataclass(frozen=True, eq=False)
class ScaledMatrix:
    """diag(row_scale) A' diag(column_scale), with A' what a drop leaves of A, or A itself.

    `graphcl.kernels.spmm.scaled` and `drop_entries` make it. A constant: no gradient reaches
    values or scales (`SparseMatrix.normalised` has one).

    Attributes:
        matrix: A (M, N). Its values count only where `weighted`; otherwise every entry is one.
        weighted: whether A's values are used.
        row_scale: (M,) of the matrix's dtype, or None for ones.
        column_scale: (N,) or None for ones; the same tensor as `row_scale` where both are equal.
        kind: how the scales came from the degrees; a drop with `correct="degrees"` repeats it.
        dropped: which entries are left out, or None.
    """

    matrix: SparseMatrix
    weighted: bool = True
    row_scale: Tensor | None = None
    column_scale: Tensor | None = None
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
    def symmetric(self) -> bool:
        """Whether it equals its transpose, as far as A's own promise goes."""
        balanced = self.row_scale is self.column_scale
        undirected = self.dropped is None or self.dropped.undirected
        return self.matrix.symmetric and balanced and undirected

    @property
    def T(self) -> ScaledMatrix:
        """The transpose, the same entries dropped; itself when symmetric, else A's is cached."""
        if self.symmetric:
            return self
        return replace(
            self,
            matrix=self.matrix.T,
            row_scale=self.column_scale,
            column_scale=self.row_scale,
            dropped=None if self.dropped is None else self.dropped.transposed(),
        )

    def kept(self) -> Tensor:
        """(entries,) bool: the entries that are not dropped, in A's order."""
        if self.dropped is None:
            return torch.ones(self.entries, dtype=torch.bool, device=self.device)
        return self.dropped.kept(self.matrix)

    def to_sparse(self) -> SparseMatrix:
        """The same as a `SparseMatrix` with a value per entry, zero for dropped ones; cached."""
        return self._sparse

    def to_dense(self) -> Tensor:
        """(M, N) dense. For small matrices and tests."""
        return self._sparse.to_dense()

    @cached_property
    def _sparse(self) -> SparseMatrix:
        matrix = self.matrix
        value = matrix.value.detach() if self.weighted else torch.ones_like(matrix.value)
        if self.dropped is not None:
            value = value * self.dropped.factor(matrix).to(value.dtype)
        if self.row_scale is not None:
            value = value * self.row_scale[matrix.row]
        if self.column_scale is not None:
            value = value * self.column_scale[matrix.column]
        return matrix.with_value(value, symmetric=self.symmetric)
